//! The command line: names, arguments and all help texts. No logic.

mod arguments;
mod offsite;
mod operations;

use std::ffi::OsString;

use clap::builder::Styles;
use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};

use crate::settings::{KEYS, Key};
pub use arguments::{
    CompleteArgs, CreateArgs, DeleteArgs, DiffArgs, HelpArgs, InfoArgs, ListArgs, PracticeArgs, RestoreArgs,
    SetArgs, TriggerArgs, UndoArgs, VerifyArgs,
};
pub use offsite::{
    CredentialSource, ExportArgs, Form, ImportArgs, PullArgs, PushArgs, RemoteArgs, RemoteSetArgs,
};
pub use operations::{
    DoctorArgs, HistoryArgs, PinArgs, PruneArgs, ReportArgs, ReportFormat, ScheduleArgs, UnpinArgs,
};

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
    /// List a service's backups, or all services at a glance
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

With --table, copies of tables go into a schema of their own, with the statements that take rows back from there; for \
a table that is gone, with the command that makes it again.

Examples:
  dokku pgbackup:restore happycows-db --dry-run
  dokku pgbackup:restore happycows-db 20261122T235901Z-k3f9
  dokku pgbackup:restore happycows-db --to happycows-qa-db
  dokku pgbackup:restore happycows-db --table cows --table public.farmers"
    )]
    Restore(RestoreArgs),
    /// Show what has changed since a backup
    #[command(
        name = "pgbackup:diff",
        after_help = "What has changed is what a restore would undo: rows, definitions, migrations, and the commits of \
the linked apps. Nothing is written. Without --fast the whole database is read, as a backup does.

Examples:
  dokku pgbackup:diff happycows-db
  dokku pgbackup:diff happycows-db 20261122T235901Z-k3f9 --fast
  dokku pgbackup:diff happycows-db 20261122T235901Z-k3f9 \\
    --to 20261123T235901Z-x8d2"
    )]
    Diff(DiffArgs),
    /// Swap the database from before the last restore back in
    #[command(
        name = "pgbackup:undo",
        after_help = "It takes back the last restore only, and asks when that is more than an hour ago. A second undo \
swaps them again.

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
    /// Try a restore out with a fresh app and a fresh service
    #[command(
        name = "pgbackup:practice",
        after_help = "Makes a new app and a new service, links them, restores the backup there, and puts the app's \
repository at the backup's commit. It stops before the first build. Production is only read.

Examples:
  dokku pgbackup:practice happycows-db --app happycows-qa
  dokku pgbackup:practice happycows-db 20261122T235901Z-k3f9 \\
    --app happycows-qa --commit 82eeec6
  dokku pgbackup:practice --cleanup happycows-qa"
    )]
    Practice(PracticeArgs),
    /// Remove backups that retention does not keep
    #[command(
        name = "pgbackup:prune",
        after_help = "Each new backup does this for its own pool. Backups made by hand are kept until they are deleted.

Examples:
  dokku pgbackup:prune happycows-db --dry-run
  dokku pgbackup:prune happycows-db"
    )]
    Prune(PruneArgs),
    /// Keep a backup whatever retention says
    #[command(
        name = "pgbackup:pin",
        after_help = "Example:
  dokku pgbackup:pin happycows-db 20261122T235901Z-k3f9 --note \"our audit\""
    )]
    Pin(PinArgs),
    /// Leave a backup to retention again
    #[command(
        name = "pgbackup:unpin",
        after_help = "Example:
  dokku pgbackup:unpin happycows-db 20261122T235901Z-k3f9"
    )]
    Unpin(UnpinArgs),
    /// Set or show when a service is backed up by itself
    #[command(
        name = "pgbackup:schedule",
        override_usage = "dokku pgbackup:schedule [OPTIONS] <service> [<cron>...]",
        after_help = "Times are the server's. Runs write to pgbackup.log in dokku's folder for logs.

Examples:
  dokku pgbackup:schedule happycows-db \"30 3 * * *\"
  dokku pgbackup:schedule happycows-db --verify \"0 5 * * mon\"
  dokku pgbackup:schedule happycows-db
  dokku pgbackup:schedule happycows-db --off"
    )]
    Schedule(ScheduleArgs),
    /// Show settings and state of services
    #[command(
        name = "pgbackup:report",
        after_help = "Examples:
  dokku pgbackup:report happycows-db
  dokku pgbackup:report happycows-db --schedule
  dokku pgbackup:report --format prometheus"
    )]
    Report(ReportArgs),
    /// Find what keeps backups from being made
    #[command(
        name = "pgbackup:doctor",
        after_help = "Ends with code 0 when all is well, with 1 when not.

Examples:
  dokku pgbackup:doctor
  dokku pgbackup:doctor happycows-db"
    )]
    Doctor(DoctorArgs),
    /// Show what was done to a service, newest first
    #[command(
        name = "pgbackup:history",
        after_help = "Example:
  dokku pgbackup:history happycows-db"
    )]
    History(HistoryArgs),
    /// Set how a service, or all, are backed up
    #[command(
        name = "pgbackup:set",
        override_usage = "dokku pgbackup:set [OPTIONS] <service>|--global <key> [<value>]"
    )]
    Set(SetArgs),
    /// Take a backup to the remote
    #[command(
        name = "pgbackup:push",
        after_help = "With push-on-create on, each new backup goes up by itself. What was interrupted goes on where it \
stopped. A backup counts as pushed when every part was found there as it was sent.

Examples:
  dokku pgbackup:push happycows-db
  dokku pgbackup:push happycows-db --all"
    )]
    Push(PushArgs),
    /// Bring a backup back from the remote
    #[command(
        name = "pgbackup:pull",
        after_help = "Examples:
  dokku pgbackup:pull happycows-db 20261122T235901Z-k3f9
  dokku pgbackup:pull happycows-db 20261122T235901Z-k3f9 --identity - <key.txt"
    )]
    Pull(PullArgs),
    /// Set where backups are taken to
    #[command(
        name = "pgbackup:remote-set",
        override_usage = "dokku pgbackup:remote-set [OPTIONS] <service>|--global <address>",
        after_help = "Addresses:
  s3://bucket/prefix      any S3-compatible store
  file:///mnt/nas/folder  a folder that is mounted on this server

Examples:
  printf '%s\\n' \"$ACCESS_KEY_ID\" \"$SECRET_ACCESS_KEY\" |
    dokku pgbackup:remote-set --global s3://cows-backups/server1 \\
      --region eu-central-1 --credentials stdin
  dokku pgbackup:remote-set happycows-db s3://cows/db \\
    --endpoint https://minio.example.com --path-style
  dokku pgbackup:remote-set --global file:///mnt/nas/pgbackup"
    )]
    RemoteSet(RemoteSetArgs),
    /// Forget the remote; what is there stays
    #[command(
        name = "pgbackup:remote-unset",
        after_help = "Example:
  dokku pgbackup:remote-unset --global"
    )]
    RemoteUnset(RemoteArgs),
    /// Try the remote out
    #[command(
        name = "pgbackup:remote-check",
        after_help = "Writes a small object, reads it back and deletes it.

Example:
  dokku pgbackup:remote-check happycows-db"
    )]
    RemoteCheck(RemoteArgs),
    /// Write a backup out, for another place or another tool
    #[command(
        name = "pgbackup:export",
        after_help = "Forms:
  tar     the backup's folder as it is: docs/recovery.md restores it by hand, pgbackup:import takes it
  sql     plain SQL, for psql -f
  custom  an archive of pg_dump -Fc, for pg_restore and postgres:import

With --table, the SQL makes tables again that were dropped, with all that went with them: rows, sequences, keys, \
indexes, triggers, policies, grants, and the foreign keys and views that lead to them. A table that is still there \
is left as it is.

Examples:
  ssh dokku@server pgbackup:export happycows-db > happycows.tar
  dokku pgbackup:export happycows-db --as sql > happycows.sql
  dokku pgbackup:export happycows-db --as custom |
    dokku postgres:import happycows-qa-db
  dokku pgbackup:export happycows-db --as sql --table public.users |
    dokku postgres:connect happycows-db"
    )]
    Export(ExportArgs),
    /// Make a backup of a dump that another tool made
    #[command(
        name = "pgbackup:import",
        after_help = "Taken is what pgbackup:export, pg_dump (in any format), pg_dumpall, postgres:export, postgres:backup \
and Heroku make, also compressed. It is loaded into a throwaway server and dumped again, so that it is as good as a \
backup of the service.

Examples:
  dokku pgbackup:import happycows-db < happycows.dump
  dokku pgbackup:import happycows-db --note \"from Heroku\" < latest.dump"
    )]
    Import(ImportArgs),
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
    /// Print what may stand next on a command line
    #[command(name = "pgbackup:complete", hide = true)]
    Complete(CompleteArgs),
    /// Answer a trigger of dokku
    #[command(name = "trigger", hide = true)]
    Trigger(TriggerArgs),
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
pub const INFO_KEYS: [&str; 19] = [
    "id",
    "created-at",
    "age",
    "pool",
    "note",
    "import",
    "commits",
    "migrations",
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

/// Columns of all help: what fits everywhere.
pub const WIDTH: usize = 80;

/// Everything about the command line, for parsing and for help.
pub fn definition() -> Command {
    let key_flag = |key: &'static str| {
        Arg::new(key).long(key).action(ArgAction::SetTrue).help_heading("One value alone")
    };
    // All of them, since changing a single one would move it to the end of the list.
    Cli::command().mut_subcommands(|command| command.max_term_width(WIDTH)).mut_subcommands(|command| {
        match command.get_name() {
            "pgbackup:info" => INFO_KEYS
                .iter()
                .fold(command, |info, key| info.arg(key_flag(key).conflicts_with("format").group("key"))),
            "pgbackup:report" => report_keys()
                .fold(command, |report, key| report.arg(key_flag(key).conflicts_with("format").group("key"))),
            "pgbackup:set" => command.after_help(set_help()),
            _ => command,
        }
    })
}

/// The values that `pgbackup:report` prints alone when a flag names one: the settings, then the state.
pub fn report_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name).chain(REPORT_STATE)
}

/// What `pgbackup:report` says besides the settings.
pub const REPORT_STATE: [&str; 9] = [
    "health",
    "last-backup",
    "last-backup-at",
    "last-drill-at",
    "next-backup-at",
    "overdue-since",
    "backups",
    "disk-use",
    "linked-apps",
];

/// Made of the table of settings, so that none is forgotten.
fn set_help() -> String {
    let width = KEYS.iter().map(|key| key.name.len()).max().unwrap_or(0);
    let line = |key: &Key| {
        let (name, about, allowed, default) = (key.name, key.about, key.allowed(), key.default);
        format!("  {name:width$}  {about}\n  {:width$}  {allowed} [default: {default}]\n", "")
    };
    let lines: String = KEYS.iter().map(line).collect();
    format!(
        "Settings:\n{lines}
Without a value, a setting goes back to its default.

Examples:
  dokku pgbackup:set happycows-db on-deploy warn
  dokku pgbackup:set --global jobs 2
  dokku pgbackup:set happycows-db on-deploy"
    )
}

/// Parses what dokku hands on.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let matches = definition().try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    match (&mut cli.command, matches.subcommand()) {
        (Commands::Info(info), Some((_, matches))) => info.key = chosen_key(INFO_KEYS, matches),
        (Commands::Report(report), Some((_, matches))) => report.key = chosen_key(report_keys(), matches),
        _ => {}
    }
    Ok(Parsed { common: cli.common, command: cli.command })
}

fn chosen_key(keys: impl IntoIterator<Item = &'static str>, matches: &ArgMatches) -> Option<&'static str> {
    keys.into_iter().find(|key| matches.get_flag(key))
}

impl Parsed {
    /// Whether cron runs it.
    pub fn is_scheduled(&self) -> bool {
        match &self.command {
            Commands::Create(args) => args.scheduled,
            Commands::Verify(args) => args.scheduled,
            _ => false,
        }
    }
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
