//! `pgbackup:help` and the lines for dokku's own help.

use anyhow::Result;
use clap::Command;

use super::App;
use crate::cli;
use crate::error::Failure;

const PREFIX: &str = "pgbackup:";

pub fn run(app: &App<'_>, wanted: Option<&str>) -> Result<()> {
    let mut definition = cli::definition();
    definition.build();
    let Some(wanted) = wanted else {
        overview(app, &definition);
        return Ok(());
    };
    let name = format!("{PREFIX}{}", wanted.trim_start_matches(PREFIX));
    let command = visible(&definition).find(|command| command.get_name() == name);
    let unknown =
        || Failure::usage(format!("there is no command {name}")).hint("see all with: dokku pgbackup:help");
    let help = command.cloned().ok_or_else(unknown)?.render_help();
    app.ui.result(help.to_string().trim_end());
    Ok(())
}

fn visible(definition: &Command) -> impl Iterator<Item = &Command> {
    definition.get_subcommands().filter(|command| !command.is_hide_set())
}

fn overview(app: &App<'_>, definition: &Command) {
    app.ui.result("Usage: dokku pgbackup:<command> …\n");
    app.ui.result("Back up, prove and restore the Postgres databases of this server.\n");
    visible(definition).for_each(|command| app.ui.result(&line(command)));
    app.ui.result(IN_TROUBLE);
}

/// At the end, where it is on the screen.
const IN_TROUBLE: &str = "
Something is wrong with the data?
  1. see the backups              dokku pgbackup:list <service>
  2. what has changed since one   dokku pgbackup:diff <service> <backup>
  3. bring it all back            dokku pgbackup:restore <service> <backup>
     or one table of it                   … --table <table>

Arguments, flags, examples:       dokku pgbackup:help <command>";

/// `    pgbackup:create <service> [--flags], Text`: dokku splits at the comma, so there is just one.
pub fn lines(app: &App<'_>) {
    let definition = cli::definition();
    visible(&definition).for_each(|command| app.ui.result(&dokku_line(command)));
}

fn signature(command: &Command) -> String {
    let arguments = command.get_positionals().map(|argument| {
        let name = argument.get_id().as_str();
        let many = if matches!(argument.get_action(), clap::ArgAction::Append) { "..." } else { "" };
        let name = if many.is_empty() { name } else { name.trim_end_matches('s') };
        if argument.is_required_set() { format!(" <{name}>{many}") } else { format!(" [<{name}>]{many}") }
    });
    format!("{}{} [--flags]", command.get_name(), arguments.collect::<String>())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn line(command: &Command) -> String {
    format!("  {:<22}  {}", command.get_name(), about(command))
}

fn dokku_line(command: &Command) -> String {
    format!("    {}, {}", signature(command), about(command).replace(',', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal() {
        let mut definition = cli::definition();
        definition.build();
        for command in visible(&definition) {
            let help = command.clone().render_help().to_string();
            let all = help.lines().map(str::to_owned).chain([line(command)]);
            for line in all.chain(IN_TROUBLE.lines().map(str::to_owned)) {
                assert!(line.chars().count() <= cli::WIDTH, "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn dokkus_help_lines_have_one_comma() {
        for command in visible(&cli::definition()) {
            let line = dokku_line(command);
            assert_eq!(line.matches(',').count(), 1, "{line}");
            assert!(line.starts_with("    pgbackup:"), "{line}");
        }
    }
}
