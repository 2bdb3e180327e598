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
    app.ui.result("Usage: dokku pgbackup[:COMMAND]\n");
    app.ui.result("Back up, prove and restore the Postgres databases of this server.\n");
    app.ui.result("Additional commands:");
    visible(definition).for_each(|command| app.ui.result(&line(command)));
    app.ui.result("\nIn trouble now? See the backups:       dokku pgbackup:list <service>");
    app.ui.result("what a restore would do:               dokku pgbackup:restore <service> --dry-run");
    app.ui.result("Flags and examples of one command:     dokku pgbackup:help <command>");
}

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
    format!("    {:<52} {}", signature(command), about(command))
}

fn dokku_line(command: &Command) -> String {
    format!("    {}, {}", signature(command), about(command).replace(',', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dokkus_help_lines_have_one_comma() {
        for command in visible(&cli::definition()) {
            let line = dokku_line(command);
            assert_eq!(line.matches(',').count(), 1, "{line}");
            assert!(line.starts_with("    pgbackup:"), "{line}");
        }
    }
}
