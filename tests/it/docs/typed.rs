//! What the documents type is there to be typed.

use pgbackup::backup_id::BackupId;
use pgbackup::cli;
use pgbackup::code;
use pgbackup::settings;

use super::{document, pages, section};
use crate::bench::dokku;

/// A line of shell as words; what comes behind a pipe or a comment is left out, and so is a file for its input.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" < ").next().unwrap_or(line);
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if open == c => quote = None,
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The command lines that a page types or names, as `dokku pgbackup:list <service>`.
fn command_lines(page: &str) -> Vec<&str> {
    let in_blocks = page.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line));
    let inline = page.split('`').skip(1).step_by(2);
    let lines = in_blocks.filter(|line| !line.contains('`')).chain(inline);
    lines.filter(|line| line.starts_with("dokku pgbackup:") && !line.contains(['\n', '…'])).collect()
}

#[test]
fn the_documents_type_commands_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    for name in &pages() {
        let page = document(name);
        let lines = command_lines(&page);
        let must_type =
            ["README.md", "docs/operations.md", "docs/incident.md", "docs/commands.md", "docs/faq.md"];
        assert!(!lines.is_empty() || !must_type.contains(&name.as_str()), "{name}");
        for line in lines.into_iter().filter(|line| !line.contains("<command>") && !line.contains('[')) {
            let words: Vec<String> = words(line).iter().map(|word| word.replace(['<', '>'], "")).collect();
            if let [_, name] = words.as_slice() {
                // Named, not typed.
                assert!(cli::definition().find_subcommand(name).is_some(), "{name}: {line}");
                continue;
            }
            let parsed = cli::definition().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.unwrap_err());
            let rest: Vec<&str> =
                words.iter().skip(2).map(String::as_str).filter(|word| !word.starts_with("--")).collect();
            let (key, value) = match (words[1].as_str(), rest.as_slice()) {
                ("pgbackup:set", [_, key, value]) => (*key, *value),
                ("pgbackup:set", [key, value]) if words.iter().any(|word| word == "--global") => {
                    (*key, *value)
                }
                ("pgbackup:schedule", [_, cron, ..]) => ("schedule", *cron),
                _ => continue,
            };
            if value.starts_with('$') || value == "-" {
                // A variable of the reader's shell, or what comes on standard input.
                continue;
            }
            let key = settings::Key::find(key).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            let set = settings::set(&folder.path().join("settings.toml"), key, Some(value));
            assert!(set.is_ok(), "{name}: {line}: {}", set.unwrap_err());
        }
    }
}

#[test]
fn readme_shows_the_commands_as_help_does() {
    let help = dokku(&["pgbackup:help"]).ok().stdout;
    let listed: Vec<&str> =
        help.lines().map(str::trim_start).filter(|line| line.starts_with("pgbackup:")).collect();
    let page = document("README.md");
    let shown = section(&page, "Commands").split("```text\n").nth(1).unwrap().split("\n```").next().unwrap();
    assert_eq!(shown.lines().collect::<Vec<_>>(), listed);
}

/// What the demo has in the place of a word that differs between two runs.
fn as_variable(word: &str) -> &str {
    if word.parse::<BackupId>().is_ok() {
        "$backup"
    } else if code::is_commit(word) {
        "$good"
    } else {
        word
    }
}

/// A command line of a document as the demo types it.
fn as_in_demo(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').map(as_variable).collect();
    let line = words.join(" ").replace("/home/dokku/", "$DOKKU_STANDIN_ROOT/home/").replace('"', "\\\"");
    // It looks into the databases of two services.
    ["happycows-db", "happycows-qa-db"].iter().fold(line, |line, service| {
        line.replace(&format!("postgres:connect {service} "), "postgres:connect $service ")
    })
}

/// What a document types in its `console` blocks.
fn typed(page: &str) -> Vec<&str> {
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ")).collect()
}

#[test]
fn the_demo_types_what_the_documents_show() {
    let demo = document("demo/run");
    for name in ["README.md", "docs/incident.md"] {
        let page = document(name);
        let lines = typed(&page);
        assert!(!lines.is_empty(), "{name}");
        for line in lines.into_iter().map(as_in_demo) {
            let has = ["'", "\""].iter().any(|quote| demo.contains(&format!("{quote}{line}{quote}")));
            assert!(has, "{name}: the demo does not type: {line}");
        }
    }
}
