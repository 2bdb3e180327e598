//! Manifests that say what is not so, sealed as if they had been made like this; and such that cannot be taken at all.

use std::fs;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

use super::specimen::Specimen;
use crate::bench::{Run, dokku_command};
use crate::torture::tally::{Tally, is_campaign};
use crate::verify::reseal;

fn manifest(specimen: &Specimen) -> Table {
    fs::read_to_string(specimen.file("manifest.toml")).unwrap().parse().unwrap()
}

/// Writes `table` as the manifest, under checksums that fit.
fn seal(specimen: &Specimen, table: &Table) {
    fs::write(specimen.file("manifest.toml"), table.to_string()).unwrap();
    reseal(&specimen.service, &specimen.id);
}

/// What stands at `server.version`.
fn place<'a>(table: &'a mut Table, path: &str) -> (&'a mut Table, String) {
    match path.split_once('.') {
        None => (table, path.to_owned()),
        Some((part, rest)) => place(table[part].as_table_mut().unwrap(), rest),
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// One that `verify --level archive` finds and that is not restored.
fn lies() -> Vec<(&'static str, Value)> {
    let most = Value::Integer(i64::MAX);
    vec![
        ("format", Value::Integer(2)),
        ("format", Value::Integer(-1)),
        ("format", most.clone()),
        ("id", text("20260101T000000Z-aaaa")),
        ("id", text("../../../etc")),
        ("service", text("somebody-elses")),
        ("service", text("../x")),
        ("pool", text("swimming")),
        ("started_at", text("yesterday")),
        ("contents.rows", most.clone()),
        ("contents.rows", Value::Integer(-1)),
        ("contents.tables", Value::Integer(0)),
        ("contents.sequences", most.clone()),
        ("contents.large_objects", most.clone()),
        ("dump.size_bytes", most.clone()),
        ("dump.size_bytes", Value::Integer(1)),
        ("dump.files", most.clone()),
        ("database.name", text("../../../etc")),
        ("database.name", text("x'; drop database postgres; --")),
        ("server.version", text("99.1")),
        ("server.version_num", Value::Integer(990_001)),
        ("server.version_num", Value::Integer(150_000)),
        ("server.version_num", Value::Integer(-1)),
    ]
}

pub fn found_and_refused(specimen: &Specimen) {
    let mut tally =
        Tally::new("Damage", "the manifest lies (counts, sizes, versions, names, `../`), sealed again");
    for (path, lie) in lies().into_iter().step_by(sample(7)) {
        let what = format!("{path} = {lie}");
        let mut table = manifest(specimen);
        let (inner, key) = place(&mut table, path);
        inner.insert(key, lie);
        seal(specimen, &table);
        specimen.status();
        let found = specimen.run("verify", &["--level", "archive"]);
        assert_eq!(found.code, 3, "{what}: {}{}", found.stdout, found.stderr);
        assert_ne!(specimen.status(), "good", "{what}");
        specimen.assert_refused(&what);
        assert!(![0].contains(&specimen.run("restore", &["--dry-run"]).code), "{what}");
        if path == "dump.size_bytes" {
            // What is made next is not hindered by what the newest one says.
            let made = specimen.service.create();
            specimen.service.pgbackup("delete", &[&made, "--force"]).ok();
        }
        tally.saw("found, refused");
        specimen.heal();
    }
}

/// Every so-manieth in the tests, all of them in the campaign.
fn sample(step: usize) -> usize {
    if is_campaign() { 1 } else { step }
}

/// Every key that there is, with those of the tables in it.
fn keys(table: &Table, prefix: &str) -> Vec<String> {
    let below = |(key, value): (&String, &Value)| {
        let inner = value.as_table().map_or_else(Vec::new, |inner| keys(inner, &format!("{prefix}{key}.")));
        std::iter::once(format!("{prefix}{key}")).chain(inner).collect::<Vec<_>>()
    };
    table.iter().flat_map(below).collect()
}

/// Of which a reader may do without.
const OPTIONAL: [&str; 5] = ["note", "apps", "migrations", "import", "database.extensions"];

pub fn missing_keys(specimen: &Specimen) {
    let mut tally = Tally::new("Damage", "a key is missing in the manifest, sealed again");
    let all = keys(&manifest(specimen), "");
    let needed: Vec<&String> = all.iter().filter(|key| !OPTIONAL.contains(&key.as_str())).collect();
    assert!(needed.len() > 25, "{needed:?}");
    for (turn, path) in needed.into_iter().enumerate().step_by(sample(13)) {
        let mut table = manifest(specimen);
        let (inner, key) = place(&mut table, path);
        inner.remove(&key).unwrap();
        seal(specimen, &table);
        specimen.assert_found(&format!("no {path}"), turn);
        tally.saw("found, refused");
        specimen.heal();
    }
}

pub fn keys_of_a_later_one(specimen: &Specimen) {
    let mut tally = Tally::new("Damage", "a later pgbackup's keys are in the manifest, sealed again");
    let mut table = manifest(specimen);
    table.insert("mood".to_owned(), text("happy"));
    place(&mut table, "server.version").0.insert("mood".to_owned(), Value::Array(vec![text("happy")]));
    seal(specimen, &table);
    specimen.run("verify", &["--level", "archive"]).ok();
    assert_eq!(specimen.status(), "good");
    specimen.run("restore", &["--dry-run"]).ok();
    tally.saw("ignored, as the format says");
    specimen.heal();
}

fn absurdities() -> Vec<(&'static str, Value)> {
    let long = "long ".repeat(100_000);
    vec![
        ("started_at", text("9999-12-31T23:59:59Z")),
        ("started_at", text("+262142-12-31T23:59:59Z")),
        ("started_at", text("-262143-01-01T00:00:00Z")),
        ("finished_at", text("-262143-01-01T00:00:00Z")),
        ("finished_at", text("+262142-12-31T23:59:59Z")),
        ("note", text("\u{1b}[2J\u{1b}]0;owned\u{7}\r\n -----> all is well")),
        ("note", text(&long)),
        ("server.image", text("\u{1b}[2J--privileged")),
        ("server.version", text("\u{1b}[2J")),
        ("database.size_bytes", Value::Integer(i64::MAX)),
        ("database.encoding", text("'; drop table cows; --")),
        ("dump.jobs", Value::Integer(i64::MAX)),
    ]
}

/// What nothing contradicts, and what must be borne all the same: as a good backup or as a bad one.
pub fn absurd(specimen: &Specimen) {
    let mut tally = Tally::new("Damage", "absurd dates, sizes and texts in the manifest, sealed again");
    for (path, value) in absurdities().into_iter().step_by(sample(5)) {
        let mut table = manifest(specimen);
        let (inner, key) = place(&mut table, path);
        inner.insert(key, value);
        seal(specimen, &table);
        specimen.status();
        for (command, args) in [
            ("verify", &["--level", "archive"][..]),
            ("info", &[]),
            ("restore", &["--dry-run"]),
            ("export", &[]),
            ("push", &[]),
            ("prune", &[]),
            ("verify", &["--all", "--level", "quick", "--format", "json"]),
        ] {
            let run = if args.contains(&"--all") {
                specimen.service.pgbackup(command, args)
            } else {
                specimen.run(command, args)
            };
            let steers =
                command != "export" && (run.stdout.contains('\u{1b}') || run.stderr.contains('\u{1b}'));
            assert!(!steers, "{path}: {command} gives the terminal orders");
        }
        for all in [&["pgbackup:list"][..], &["pgbackup:report"], &["pgbackup:doctor"]] {
            let run = crate::bench::dokku(all);
            assert!([0, 1].contains(&run.code) && !run.stdout.contains('\u{1b}'), "{path}: {run:?}");
        }
        specimen.service.pgbackup("list", &[]).ok();
        specimen.service.pgbackup("report", &[]).ok();
        tally.saw("survived");
        specimen.heal();
    }
}

/// Less than reading 100 MB takes.
const ADDRESS_SPACE: u64 = 700_000_000;

fn in_little_memory(args: &[&str]) -> Run {
    let standin = dokku_command(args);
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={ADDRESS_SPACE}")).arg(standin.get_program()).args(standin.get_args());
    command.env("DOKKU_STANDIN_ROOT", crate::bench::world()).stdin(std::process::Stdio::null());
    Run::of(format!("dokku {}", args.join(" ")), &command.output().unwrap())
}

fn grow(file: &Path, bytes: usize) {
    let mut text = fs::read_to_string(file).unwrap();
    // A comment in TOML, and no checksum.
    let line = format!("# {}\n", "x".repeat(997));
    text.push_str(&line.repeat(bytes / 1000));
    fs::write(file, text).unwrap();
}

pub fn giants(specimen: &Specimen) {
    let mut tally = Tally::new("Damage", "a manifest, checksums or a record of 100 MB");
    for (name, sealed) in [
        ("manifest.toml", true),
        ("manifest.toml", false),
        ("SHA256SUMS", false),
        ("fingerprint.toml", false),
    ]
    .into_iter()
    .step_by(sample(2))
    {
        grow(&specimen.file(name), 100_000_000);
        if sealed {
            reseal(&specimen.service, &specimen.id);
        }
        let (service, id) = (specimen.service.name.as_str(), specimen.id.as_str());
        in_little_memory(&["pgbackup:list", service]).ok();
        let found = in_little_memory(&["pgbackup:verify", service, id, "--level", "archive"]);
        assert_eq!(found.code, 3, "{name}: {}{}", found.stdout, found.stderr);
        let refused = in_little_memory(&["--force", "pgbackup:restore", service, id]);
        assert_eq!(refused.code, 6, "{name}: {}{}", refused.stdout, refused.stderr);
        specimen.assert_found(name, 0);
        tally.saw("refused with a sentence");
        specimen.heal();
    }
    for record in ["verified.toml", "pinned.toml", "pushed.toml"] {
        fs::write(specimen.file(record), "# nothing\n").unwrap();
        grow(&specimen.file(record), 100_000_000);
        in_little_memory(&["pgbackup:list", &specimen.service.name]).ok();
        specimen.heal();
    }
}
