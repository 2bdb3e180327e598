//! `pgbackup:complete`: what may stand next on a command line that is being typed. completion/pgbackup.bash asks.

use anyhow::Result;
use clap::{Arg, Command};

use super::App;
use crate::catalog;
use crate::cli;
use crate::service_name::ServiceName;
use crate::settings::{KEYS, Key, Values};

/// `words` are those behind `dokku`; the last one is being typed and may be empty.
pub fn run(app: &App<'_>, words: &[String]) -> Result<()> {
    let mut definition = cli::definition();
    definition.build();
    let Some((typed, before)) = words.split_last() else { return Ok(()) };
    let found = match wanted(&definition, before, typed) {
        Wanted::Words(words) => words,
        Wanted::Service => app.dokku.services()?.iter().map(|service| service.name.to_string()).collect(),
        Wanted::Backup(name) => backups(app, &name)?,
    };
    found.iter().filter(|word| word.starts_with(typed.as_str())).for_each(|word| app.ui.value(word));
    Ok(())
}

fn backups(app: &App<'_>, name: &str) -> Result<Vec<String>> {
    let Ok(name) = name.parse::<ServiceName>() else { return Ok(Vec::new()) };
    let service = app.service(&name)?;
    Ok(catalog::whole(catalog::list(&service.layout)?).iter().map(|backup| backup.id.to_string()).collect())
}

/// What the word being typed may be.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Words(Vec<String>),
    Service,
    /// A backup of the service of that name.
    Backup(String),
}

fn wanted(definition: &Command, before: &[String], typed: &str) -> Wanted {
    let Some((name, before)) = before.split_first() else { return Wanted::Words(command_names(definition)) };
    let Some(command) = definition.find_subcommand(name) else { return Wanted::Words(Vec::new()) };
    let (mut positionals, mut open) = (Vec::new(), None);
    for word in before {
        if open.take().is_some() {
        } else if word.starts_with('-') {
            open = flag(command, word).filter(|flag| flag.get_action().takes_values());
        } else {
            positionals.push(word.as_str());
        }
    }
    if let Some(flag) = open {
        return values(definition, flag, &positionals);
    }
    if typed.starts_with('-') {
        return Wanted::Words(flags(command));
    }
    // Behind --global, where no service is named, a key comes first.
    let skipped = usize::from(before.iter().any(|word| word == "--global"));
    match argument(command, positionals.len() + skipped) {
        Some(argument) => values(definition, argument, &positionals),
        None => Wanted::Words(Vec::new()),
    }
}

/// The positional argument at that place; the last one may be repeated.
fn argument(command: &Command, place: usize) -> Option<&Arg> {
    let is_many = |argument: &&Arg| matches!(argument.get_action(), clap::ArgAction::Append);
    command.get_positionals().nth(place).or_else(|| command.get_positionals().last().filter(is_many))
}

fn values(definition: &Command, argument: &Arg, positionals: &[&str]) -> Wanted {
    let name = argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match name {
        "service" => Wanted::Service,
        "backup" => Wanted::Backup(positionals.first().copied().unwrap_or_default().to_owned()),
        "command" => Wanted::Words(
            command_names(definition).iter().map(|name| name.replace("pgbackup:", "")).collect(),
        ),
        "key" => Wanted::Words(KEYS.iter().map(|key| key.name.to_owned()).collect()),
        "value" => Wanted::Words(setting_values(positionals)),
        _ => {
            let possible = argument.get_possible_values();
            Wanted::Words(possible.iter().map(|value| value.get_name().to_owned()).collect())
        }
    }
}

/// Of the setting that was typed before.
fn setting_values(positionals: &[&str]) -> Vec<String> {
    match positionals.last().map(|key| Key::find(key)) {
        Some(Ok(Key { values: Values::OneOf(values), .. })) => {
            values.iter().map(|value| (*value).to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

fn command_names(definition: &Command) -> Vec<String> {
    let visible = definition.get_subcommands().filter(|command| !command.is_hide_set());
    visible.map(|command| command.get_name().to_owned()).collect()
}

fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.trim_start_matches('-');
    command.get_arguments().find(|argument| argument.get_long() == Some(name))
}

fn flags(command: &Command) -> Vec<String> {
    let visible = command.get_arguments().filter(|argument| !argument.is_hide_set());
    visible.filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> Wanted {
        let mut definition = cli::definition();
        definition.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (typed, before) = words.split_last().unwrap();
        wanted(&definition, before, typed)
    }

    fn words(words: &[&str]) -> Wanted {
        Wanted::Words(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn each_place_of_a_command_line_has_its_words() {
        let backup = || Wanted::Backup("db".to_owned());
        assert_eq!(after("pgbackup:verify "), Wanted::Service);
        assert_eq!(after("pgbackup:verify --level quick d"), Wanted::Service);
        assert_eq!(after("pgbackup:verify db "), backup());
        assert_eq!(after("pgbackup:verify db --level "), words(&["quick", "archive", "drill"]));
        assert_eq!(after("pgbackup:verify db 2026 "), words(&[]));
        assert_eq!(after("pgbackup:delete db 20261122T235901Z-k3f9 "), backup());
        assert_eq!(after("pgbackup:diff db 2026 --to "), backup());
        assert_eq!(after("pgbackup:restore db --to "), Wanted::Service);
        assert_eq!(after("pgbackup:restore db --from-destroyed "), words(&[]));
        assert_eq!(after("pgbackup:set db on-deploy "), words(&["required", "warn", "off"]));
        assert_eq!(after("pgbackup:set --global gentle "), words(&["on", "off"]));
        assert_eq!(after("pgbackup:nothing "), words(&[]));
    }

    #[test]
    fn commands_flags_and_keys_are_those_that_help_shows() {
        let holds = |line: &str, shown: &str, hidden: &str| {
            let Wanted::Words(words) = after(line) else { panic!("{line}") };
            assert!(words.iter().any(|word| word == shown), "{line}: {words:?}");
            assert!(!words.iter().any(|word| word == hidden), "{line}: {words:?}");
        };
        holds("pgbackup", "pgbackup:create", "commands-help");
        holds("pgbackup:create db --", "--note", "--scheduled");
        holds("pgbackup:set --global ", "max-size", "db");
        holds("pgbackup:help ", "restore", "pgbackup:restore");
    }
}
