//! Hostile texts in a database, in a manifest and in the records beside it: whatever shows them shows them harmlessly.

use std::fs;

use super::super::tally::{Tally, tries};
use super::{CAMPAIGN, Canary, assert_plain, command, run};
use crate::bench::{Service, dokku_command};
use crate::verify::reseal;

/// What each is, and the text; one that runs a command where a shell gets hold of it.
fn texts(canary: &Canary) -> Vec<(&'static str, String)> {
    let command = canary.command();
    vec![
        ("escape sequences", "x\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{7f}\u{8}".to_owned()),
        ("colours like our own", "\u{1b}[1;32mgood\u{1b}[0m".to_owned()),
        ("newlines", "x\n !     forged\r\n=====> forged\u{2028}x\u{85}y".to_owned()),
        ("letters that turn the line", "x\u{202e}dab\u{2066}\u{200f}\u{2069}".to_owned()),
        ("shell metacharacters", format!("x'; {command}; `{command}` $({command}) #")),
        ("paths that lead out", "../../../../etc/passwd".to_owned()),
        ("leading dashes", "--privileged".to_owned()),
        ("10,000 characters", "x".repeat(10_000)),
    ]
}

/// A backup whose every free text is `text`, sealed as if pgbackup had written it.
fn poison(service: &Service, id: &str, text: &str) {
    let folder = service.backup(id);
    let path = folder.join("manifest.toml");
    let mut manifest: toml::Table = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let value = || toml::Value::String(text.to_owned());
    manifest.insert("note".into(), value());
    manifest.insert("pgbackup".into(), value());
    for (table, key) in
        [("server", "version"), ("server", "image"), ("server", "image_id"), ("dump", "compression")]
    {
        manifest[table].as_table_mut().unwrap().insert(key.into(), value());
    }
    manifest["database"].as_table_mut().unwrap().insert("extensions".into(), vec![value()].into());
    let more = "[[apps]]\nname = 'T'\ncommit = 'T'\nbranch = 'T'\nsubject = 'T'\nsource = 'git-sync'\norigin = 'T'\nimage_tag = 'T'
[[apps]]\nname = 'T'\nsource = 'docker-image'\norigin = 'T'\n[apps.coming]\nsubject = 'T'\ncommit = 'T'
[[migrations]]\ntool = 'T'\nschema = 'T'\ntable = 'T'\ncount = 1\nhead = 'T'
[import]\nkind = 'T'\nwrapped = ['T']\nsize_bytes = 1\nserver_version = 'T'\ndump_version = 'T'\nerrors = 1\nfirst_errors = ['T']";
    let quoted = toml::Value::String(text.to_owned()).to_string();
    manifest.extend(toml::from_str::<toml::Table>(&more.replace("'T'", &quoted)).unwrap());
    fs::write(&path, toml::to_string(&manifest).unwrap()).unwrap();
    reseal(service, id);
    let records = [
        ("pinned.toml", "at = 2026-01-01T00:00:00Z\nby = 'T'\nnote = 'T'".to_owned()),
        ("pushed.toml", "at = 2026-01-01T00:00:00Z\nremote = 'T'\ngood = false\nproblem = 'T'".to_owned()),
        (
            "verified.toml",
            format!(
                "at = 2026-01-01T00:00:00Z\nlevel = 'drill'\ngood = true\nduration_seconds = 1\nproblems = ['T']\nmanifest_sha256 = '{}'",
                pgbackup::checksum::sha256_hex(&fs::read(&path).unwrap())
            ),
        ),
    ];
    for (name, record) in records {
        fs::write(folder.join(name), record.replace("'T'", &quoted)).unwrap();
    }
    let event = serde_json::json!({"at": "2026-01-01T00:00:00Z", "command": text, "who": text, "backup": text, "pool": text,
        "good": false, "code": 1, "message": text, "duration_ms": 1});
    fs::write(service.root().join("pgbackup/history.jsonl"), format!("{event}\n")).unwrap();
    own(service);
}

/// What root wrote belongs to dokku again.
fn own(service: &Service) {
    let owned = std::process::Command::new("chown")
        .args(["-hR", "dokku:dokku"])
        .arg(service.root().join("pgbackup"))
        .status();
    assert!(owned.unwrap().success());
}

const SHOWING: [&str; 26] = [
    "list",
    "list S",
    "list S --format json",
    "info S B",
    "info S B --format json",
    "info S B --note",
    "info S B --commits",
    "info S B --migrations",
    "info S B --import",
    "info S B --image",
    "history S",
    "history S --format json",
    "report S",
    "report S --format json",
    "report S --format prometheus",
    "doctor S",
    "diff S B",
    "diff S B --format json",
    "restore S B --dry-run",
    "restore S B --dry-run --format json",
    "restore S B --table no-such-table",
    "verify S B --level archive",
    "verify S B",
    "prune S --dry-run",
    "practice S B --app poisoned-qa",
    "list S --quiet",
];

fn shows(service: &Service, id: &str, line: &str, canary: &Canary) -> crate::bench::Run {
    let ended = run(&mut command(service, id, line));
    canary.assert_silent(&ended);
    assert_plain(&ended);
    ended
}

#[test]
fn no_text_in_a_backup_steers_whoever_reads_it() {
    let service = Service::new("shown");
    service.fill();
    let id = service.create();
    let canary = Canary::new();
    let texts = texts(&canary);
    let rounds = usize::try_from(tries(1)).unwrap().min(texts.len());
    for (at, (what, text)) in texts.iter().enumerate() {
        let mut tally = Tally::new(CAMPAIGN, &format!("{what} in a manifest, its records and the history"));
        poison(&service, &id, text);
        // In the tests each text meets some of the commands, and each command some of the texts.
        for line in SHOWING
            .iter()
            .enumerate()
            .filter(|(number, _)| rounds > 1 || number % 8 == at)
            .map(|(_, line)| line)
        {
            let ended = shows(&service, &id, line, &canary);
            assert!(
                ended.stdout.lines().all(|line| !line.starts_with(" !     forged")),
                "{line}: {}",
                ended.stdout
            );
            assert!(!ended.stdout.contains("=====> forged\n"), "{line}: {}", ended.stdout);
            tally.saw("shown harmlessly");
        }
        // What is meant to be read by a program is whole.
        let told = shows(&service, &id, "info S B --format json", &canary).ok().json();
        assert_eq!(told["note"], text.as_str(), "{what}");
    }
    assert_eq!(service.sql("select count(*) from cows"), "5000");
}

/// Tables, columns, roles, comments and rows of a migration tool's books that are called so. No database can hold a NUL.
#[test]
fn no_name_in_a_database_steers_or_runs_anywhere_on_its_way() {
    let service = Service::new("names");
    service.fill();
    let canary = Canary::new();
    let mut tally = Tally::new(CAMPAIGN, "hostile names of tables, columns, roles, schemas and migrations");
    let command = canary.command();
    let hostile = format!("x\u{1b}[2J\n\\! {command}\n\u{202e}$({command}) \"'");
    // The server cuts names at 63 bytes.
    let name: String = hostile.replace('"', "\"\"");
    service.sql(&format!(
        r#"set client_min_messages = error;
create schema "s{name}"; create role "r{name}";
create table "s{name}"."t{name}" ("c{name}" int primary key, b text default 'x
\! {command}
');
insert into "s{name}"."t{name}" values (1), (2);
comment on table "s{name}"."t{name}" is 'x
\! {command}
';
create sequence "s{name}"."q{name}";
grant select on "s{name}"."t{name}" to "r{name}";
alter table "s{name}"."t{name}" owner to "r{name}";
create table alembic_version (version_num text primary key);
insert into alembic_version values (E'a\u001b[2J\n !     forged\u202e');"#
    ));
    let id = service.create();
    service.sql(r"update alembic_version set version_num = E'b\u001b[2J\n !     forged\u202e'");
    service.sql(&format!(r#"delete from "s{name}"."t{name}"; create table "u{name}" ()"#));
    for line in [
        "info S",
        "info S --format json",
        "diff S",
        "diff S --format json",
        "restore S --dry-run",
        "restore S --table no-such-table",
        "verify S",
        "restore S --force",
        "verify S --format json",
        "undo S --force",
    ] {
        let ended = shows(&service, &id, line, &canary);
        assert!([0, 5].contains(&ended.code), "{line}: {}{}", ended.stdout, ended.stderr);
        tally.saw("shown harmlessly");
    }
    // A script that is exported is for psql, which runs programs on a line's demand.
    let script = run(&mut dokku_command(&["pgbackup:export", &service.name, &id, "--as", "sql"])).ok().stdout;
    assert!(script.contains(&command), "the texts are not in it at all");
    service.sql_in("template1", "create database taken");
    let loaded = crate::import::fed(super::archives::psql(&service, "taken"), "psql", script.as_bytes());
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    super::archives::assert_silent_inside(&service, &canary);
    assert_eq!(service.sql_in("taken", &format!(r#"select count(*) from "s{name}"."t{name}""#)), "2");
    tally.saw("exported and loaded as names");
    service.sql_in("template1", "drop database taken");
    service.assert_nothing_left();
}
