//! The command line: names, arguments and all help texts. No logic.

use std::ffi::OsString;

use clap::builder::{PossibleValuesParser, Styles};
use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};

use crate::manifest::Level;
use crate::service_name::ServiceName;

/// dokku hands on the whole command as the first argument, so the subcommands bear their full names.
#[derive(Debug, Parser)]
#[command(
    name = "dokku",
    bin_name = "dokku",
    version,
    disable_help_subcommand = true,
    subcommand_required = true
)]
#[command(about = "Back up, prove and restore the Postgres databases of this server", styles = Styles::plain())]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Commands,
}

/// Flags that every command takes, before or behind its name.
#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// Print results only
    #[arg(long, global = true, display_order = 100)]
    pub quiet: bool,
    /// Do not ask for confirmation
    #[arg(long, short, global = true, display_order = 100)]
    pub force: bool,
    /// Print every docker command
    #[arg(long, global = true, display_order = 100)]
    pub trace: bool,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Stdout,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Show what pgbackup can do
    #[command(name = "pgbackup", hide = true)]
    Default,
    /// Back up the database of a service
    #[command(
        name = "pgbackup:create",
        after_help = "Examples:
  dokku pgbackup:create happycows-db
  dokku pgbackup:create happycows-db --note \"before the big import\""
    )]
    Create(CreateArgs),
    /// List backups, newest first
    #[command(
        name = "pgbackup:list",
        after_help = "Examples:
  dokku pgbackup:list
  dokku pgbackup:list happycows-db --format json"
    )]
    List(ListArgs),
    /// Show everything about one backup
    #[command(
        name = "pgbackup:info",
        after_help = "Examples:
  dokku pgbackup:info happycows-db
  dokku pgbackup:info happycows-db 20261122T235901Z-k3f9
  dokku pgbackup:info happycows-db --rows"
    )]
    Info(InfoArgs),
    /// Prove that a backup restores, row by row
    #[command(
        name = "pgbackup:verify",
        after_help = "Levels:
  quick    every file is there, with its size and SHA-256
  archive  quick, and every row is read and compared with the fingerprint
  drill    archive, and a real restore into a throwaway server, dumped again and compared

Examples:
  dokku pgbackup:verify happycows-db
  dokku pgbackup:verify happycows-db 20261122T235901Z-k3f9 --level quick
  dokku pgbackup:verify happycows-db --all --level archive"
    )]
    Verify(VerifyArgs),
    /// Restore a backup and swap it in once it is proven
    #[command(
        name = "pgbackup:restore",
        after_help = "The backup is restored into a new database, its rows are counted, and only then the two \
databases swap names. The one that was live is kept: pgbackup:undo swaps it back.

Examples:
  dokku pgbackup:restore happycows-db --dry-run
  dokku pgbackup:restore happycows-db 20261122T235901Z-k3f9
  dokku pgbackup:restore happycows-db --to happycows-qa-db
  dokku pgbackup:restore happycows-db --table cows --table public.farmers"
    )]
    Restore(RestoreArgs),
    /// Swap the database from before the last restore back in
    #[command(
        name = "pgbackup:undo",
        after_help = "A second undo swaps them again.

Example:
  dokku pgbackup:undo happycows-db"
    )]
    Undo(UndoArgs),
    /// Delete backups for good
    #[command(
        name = "pgbackup:delete",
        after_help = "Example:
  dokku pgbackup:delete happycows-db 20261122T235901Z-k3f9"
    )]
    Delete(DeleteArgs),
    /// Show help for a command
    #[command(
        name = "pgbackup:help",
        after_help = "Example:
  dokku pgbackup:help restore"
    )]
    Help(HelpArgs),
    /// Print the lines for dokku's own help
    #[command(name = "commands-help", hide = true)]
    HelpLines,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A note to remember the backup by
    #[arg(long, value_parser = note)]
    pub note: Option<String>,
    /// Parallel jobs [default: the processors, at most 4]
    #[arg(long, value_parser = jobs)]
    pub jobs: Option<usize>,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// The Postgres service [default: all]
    #[arg(value_name = "service")]
    pub service: Option<ServiceName>,
    /// How to print the list
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest good one]
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// How to print the result [default: stdout]
    #[arg(long)]
    pub format: Option<Format>,
    /// The one value to print, when a flag names one
    #[arg(skip)]
    pub key: Option<&'static str>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest]
    #[arg(value_name = "backup", conflicts_with = "all")]
    pub backup: Option<String>,
    /// How closely to look
    #[arg(long, default_value = "drill", value_parser = PossibleValuesParser::new(["quick", "archive", "drill"]))]
    pub level: String,
    /// Verify all backups of the service
    #[arg(long)]
    pub all: bool,
    /// Parallel jobs [default: the processors, at most 4]
    #[arg(long, value_parser = jobs)]
    pub jobs: Option<usize>,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

impl VerifyArgs {
    pub fn level(&self) -> Level {
        match self.level.as_str() {
            "quick" => Level::Quick,
            "archive" => Level::Archive,
            _ => Level::Drill,
        }
    }
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The Postgres service that was backed up
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest good one]
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// Restore into this service instead
    #[arg(long, value_name = "service")]
    pub to: Option<ServiceName>,
    /// Restore only this table, into a schema of its own; may be repeated
    #[arg(long = "table", value_name = "schema.table", conflicts_with_all = ["to", "stop_apps"])]
    pub tables: Vec<String>,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stop the linked apps first and start them afterwards
    #[arg(long)]
    pub stop_apps: bool,
    /// Parallel jobs [default: the processors, at most 4]
    #[arg(long, value_parser = jobs)]
    pub jobs: Option<usize>,
    /// How to print plan and result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The backups' ids, or the beginnings of them
    #[arg(required = true, value_name = "backup")]
    pub backups: Vec<String>,
}

#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command, with or without pgbackup: in front
    #[arg(value_name = "command")]
    pub command: Option<String>,
    /// Accepted as dokku's own help does
    #[arg(long, hide = true)]
    pub all: bool,
}

const MAX_JOBS: usize = 64;
const MAX_NOTE: usize = 500;

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs) if (1..=MAX_JOBS).contains(&jobs) => Ok(jobs),
        _ => Err(format!("a number from 1 to {MAX_JOBS} is wanted")),
    }
}

fn note(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_NOTE {
        return Err(format!("a note has at most {MAX_NOTE} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("a note is one line of plain text".to_owned());
    }
    Ok(text.to_owned())
}

/// The values that `pgbackup:info` prints alone when a flag names one: `--rows`.
pub const INFO_KEYS: [&str; 17] = [
    "id",
    "created-at",
    "age",
    "pool",
    "note",
    "commits",
    "verified",
    "size",
    "database",
    "database-size",
    "tables",
    "rows",
    "large-objects",
    "postgres-version",
    "image",
    "made-in",
    "path",
];

/// A command line that was understood.
#[derive(Debug)]
pub struct Parsed {
    pub common: Common,
    pub command: Commands,
}

/// Everything about the command line, for parsing and for help.
pub fn definition() -> Command {
    let key_flag = |key: &'static str| {
        Arg::new(key).long(key).action(ArgAction::SetTrue).help_heading("One value alone")
    };
    // All of them, since changing a single one would move it to the end of the list.
    Cli::command().mut_subcommands(|command| match command.get_name() {
        "pgbackup:info" => INFO_KEYS
            .iter()
            .fold(command, |info, key| info.arg(key_flag(key).conflicts_with("format").group("key"))),
        _ => command,
    })
}

/// Parses what dokku hands on.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let matches = definition().try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Commands::Info(info), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
        info.key = chosen_key(matches);
    }
    Ok(Parsed { common: cli.common, command: cli.command })
}

fn chosen_key(matches: &ArgMatches) -> Option<&'static str> {
    INFO_KEYS.into_iter().find(|key| matches.get_flag(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        definition().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in definition().get_subcommands().filter(|command| !command.is_hide_set()) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.contains(&format!("  dokku {}", command.get_name())), "{}", command.get_name());
        }
    }
}
