//! Exports in the forms of Postgres: its own tools must take them, and give back what was there.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::export;
use crate::bench::{Run, Service, docker, dokku_command, has_postgres};
use crate::roundtrip::{CONTENT, DEFINITIONS, assert_same, everything, snapshot, snapshot_in};

/// What a session of `psql` or `pg_restore` is told for the database with everything in it: its money is German, and its
/// event triggers would write into what is compared.
fn session(major: u32) -> &'static str {
    if major < 17 {
        "PGOPTIONS=-c lc_monetary=de_DE.utf8 -c session_replication_role=replica"
    } else {
        "PGOPTIONS=-c lc_monetary=de_DE.utf8 -c event_triggers=off"
    }
}

/// Runs a tool in the service's container, with `input`.
fn tool(service: &Service, options: &str, args: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new("docker")
        .args(["exec", "--interactive", "--env", options, &service.container()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writing.join();
    Run::of(args.join(" "), &output)
}

/// A new empty database beside the service's, with the same encoding and locale.
fn fresh(service: &Service, major: u32, name: &str) {
    service.sql_in("template1", &format!("create database {name} template template0"));
    if major >= 17 {
        // One of them notes who looks at it.
        service.sql_in("template1", &format!("alter database {name} set event_triggers = off"));
    }
}

/// What is in a database, but for what is said of the database itself, which neither form has.
fn definitions(service: &Service, database: &str) -> BTreeSet<String> {
    let of_itself = |line: &String| line.starts_with("database ") || line.starts_with("settings of ");
    let lines = snapshot_in(service, database, DEFINITIONS);
    lines.into_iter().filter(|line| !of_itself(line)).collect()
}

fn assert_sql_comes_back(service: &Service, major: u32) {
    let script = export(service, &["--as", "sql"]).ok();
    fresh(service, major, "by_script");
    let psql = [
        "psql",
        "--username=postgres",
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--dbname=by_script",
    ];
    tool(service, session(major), &psql, &script).ok();
    assert_is_the_same(service, "by_script");
}

fn assert_is_the_same(service: &Service, database: &str) {
    assert_same(&snapshot(service, CONTENT), &snapshot_in(service, database, CONTENT));
    assert_same(&definitions(service, &service.database()), &definitions(service, database));
}

/// A script without the words that are new each time.
fn without_tokens(script: &str) -> Vec<&str> {
    script
        .lines()
        .filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "))
        .collect()
}

/// The list of an archive, without what it says of the file.
fn listed(run: Run) -> Vec<String> {
    let list = run.ok().stdout;
    list.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect()
}

/// With what the dump itself gives, word for word, the rows and large objects too: from a file, and as it streams in.
fn assert_custom_is_the_dump(service: &Service, major: u32, archive: &[u8], dump: &Path) {
    let run = |args: &[&str], input: &[u8]| tool(service, session(major), args, input);
    let dump = dump.display().to_string();
    docker(&["cp", &dump, &format!("{}:/tmp/dump", service.container())]).ok();
    run(&["sh", "-c", "cat >/tmp/archive && chmod -R go+rX /tmp/dump"], archive).ok();
    let restore = ["pg_restore", "--file=-"];
    let dump = run(&[&restore[..], &["/tmp/dump"]].concat(), b"").ok().stdout;
    for (args, input) in [(&["/tmp/archive"][..], &b""[..]), (&[], archive)] {
        let script = run(&[&restore[..], args].concat(), input).ok().stdout;
        assert!(without_tokens(&script) == without_tokens(&dump), "the scripts differ");
    }
    let list = |file| listed(run(&["pg_restore", "--list", file], b""));
    assert_eq!(list("/tmp/archive"), list("/tmp/dump"));
    let head = run(&["pg_restore", "--list", "/tmp/archive"], b"").ok().stdout;
    assert!(head.contains("Format: CUSTOM"), "{head}");
}

/// `/tmp/archive` is in the service's container.
fn assert_custom_comes_back(service: &Service, major: u32, archive: &[u8]) {
    let run = |args: &[&str], input: &[u8]| tool(service, session(major), args, input);
    fresh(service, major, "again");
    let parallel = [
        "pg_restore",
        "--username=postgres",
        "--exit-on-error",
        "--jobs=2",
        "--dbname=again",
        "/tmp/archive",
    ];
    // Rights that were given on are only given in order.
    let jobs = [&parallel[..], &["--no-acl"]].concat();
    run(&jobs, b"").ok();
    let rows = |database: &str| -> BTreeSet<String> {
        let lines = snapshot_in(service, database, CONTENT);
        lines
            .into_iter()
            .filter(|line| !line.starts_with("rights on ") && !line.starts_with("default rights "))
            .collect()
    };
    assert_same(&rows(&service.database()), &rows("again"));

    fresh(service, major, "in_order");
    let one = ["pg_restore", "--username=postgres", "--exit-on-error", "--dbname=in_order"];
    run(&one, archive).ok();
    assert_is_the_same(service, "in_order");
}

/// All in one service: to make everything takes longer than to export it.
fn both_forms_come_back_on(major: u32) {
    if !has_postgres(major) {
        return;
    }
    let service = everything("forms", major);
    let id = service.create();
    assert_sql_comes_back(&service, major);
    let archive = export(&service, &["--as", "custom"]).ok();
    assert_custom_is_the_dump(&service, major, &archive, &service.backup(&id).join("dump"));
    assert_custom_comes_back(&service, major, &archive);
    service.assert_nothing_left();
}

#[test]
fn sql_and_custom_come_back_on_postgres_15() {
    both_forms_come_back_on(15);
}

#[test]
fn sql_and_custom_come_back_on_postgres_17() {
    both_forms_come_back_on(17);
}

#[test]
fn sql_and_custom_come_back_on_postgres_18() {
    both_forms_come_back_on(18);
}

#[test]
fn postgres_import_takes_a_custom_archive() {
    let (from, into) = (Service::new("from"), Service::new("into"));
    from.fill();
    from.create();
    into.sql("create table cows (id int); insert into cows values (7)");
    let archive = tempfile::NamedTempFile::new().unwrap();
    fs::write(archive.path(), export(&from, &["--as", "custom"]).ok()).unwrap();
    let import = dokku_command(&["postgres:import", &into.name])
        .stdin(fs::File::open(archive.path()).unwrap())
        .output()
        .unwrap();
    Run::of("postgres:import".to_owned(), &import).ok();
    let rows = "select count(*), md5(string_agg(c::text, ',' order by id)) from cows c";
    assert_eq!(from.sql(rows), into.sql(rows));
}
