//! Databases that hold everything which breaks backups, there and back. What a restore gives is compared with what was
//! there by questions of the tests' own, never by the code under test.

mod names;
mod tampered;

pub use tampered::cover_up;

use std::collections::BTreeSet;

use crate::bench::{Service, has_postgres};

/// For sessions of a database whose settings get in the way.
const FREE: &str = "set role none; set default_transaction_read_only = off;\n";

/// A service with everything in it that Postgres of that major version has.
pub fn everything(label: &str, major: u32) -> Service {
    let service = Service::with(label, major, &[]);
    let mut script = String::new();
    for (since, part) in [
        (15, include_str!("../data/everything.sql")),
        (15, include_str!("../data/everything-relations.sql")),
        (15, include_str!("../data/everything-routines.sql")),
        (17, include_str!("../data/everything-17.sql")),
        (18, include_str!("../data/everything-18.sql")),
        (15, include_str!("../data/everything-end.sql")),
    ] {
        if since <= major {
            script.push_str(part);
        }
    }
    service.sql(&script);
    service
}

/// Rights that were given on by those who had been given them, and on columns. Only in a schema that they may use can
/// they give them, and of that they have only been given the right too.
const RIGHTS_GIVEN_ON: &str = r#"
create role one; create role "two, or more"; create role three;
create schema "given on"; grant usage on schema "given on" to one with grant option;
set role one; grant usage on schema "given on" to "two, or more" with grant option; reset role;
select format('create table "given on".t%1$s (a int, b int);
  grant select, update on "given on".t%1$s to one with grant option;
  set role one; grant select on "given on".t%1$s to "two, or more" with grant option; grant update (b) on "given on".t%1$s to three;
  set role "two, or more"; grant select on "given on".t%1$s to three; reset role', n) from generate_series(1, 20) n \gexec
select lo_create(4242);
grant select on large object 4242 to one with grant option;
set role one; grant select on large object 4242 to three; reset role;
"#;

pub const CONTENT: &str = include_str!("../data/snapshot-content.sql");
pub const DEFINITIONS: &str = include_str!("../data/snapshot-definitions.sql");

/// The lines that a snapshot's questions are answered with.
pub fn snapshot(service: &Service, questions: &str) -> BTreeSet<String> {
    snapshot_in(service, &service.database(), questions)
}

/// The same of another of the server's databases.
pub fn snapshot_in(service: &Service, database: &str, questions: &str) -> BTreeSet<String> {
    service.sql_in(database, questions).lines().map(str::to_owned).collect()
}

#[track_caller]
pub fn assert_same(before: &BTreeSet<String>, after: &BTreeSet<String>) {
    let gone: Vec<&String> = before.difference(after).collect();
    let come: Vec<&String> = after.difference(before).collect();
    assert!(gone.is_empty() && come.is_empty(), "gone:\n{gone:#?}\ncome:\n{come:#?}");
}

/// What Postgres words otherwise after a restore must still do the same.
#[track_caller]
fn assert_lists_work(service: &Service) {
    let answer = service.sql(&format!(
        "{FREE} begin;
select string_agg(v::text, ';' order by v) from rules.worded_view v;
create function pg_temp.refused(v text, w text) returns text language plpgsql as $$ begin
  insert into rules.worded (id, v, w) values (9, v, w); return 'taken';
exception when check_violation then return 'refused'; end $$;
select pg_temp.refused('c', 'a'), pg_temp.refused('a', 'x)'), pg_temp.refused('b', 'w');
rollback;"
    ));
    assert_eq!(answer, "(1,t,aa);(2,t,bc)\nrefused|refused|taken");
}

fn everything_comes_back_on(major: u32) {
    if !has_postgres(major) {
        return;
    }
    let service = everything("everything", major);
    let created = service.pgbackup("create", &["--format", "json"]).ok().json();
    assert_eq!(created["backup"]["large_objects"], 24);
    let (content, definitions) = (snapshot(&service, CONTENT), snapshot(&service, DEFINITIONS));
    assert!(content.len() > 1500 && definitions.len() > 1500, "{}, {}", content.len(), definitions.len());

    let report = service.pgbackup("verify", &["--format", "json"]).ok().json();
    assert_eq!(report["problems"], serde_json::json!([]), "{report}");
    let checks: Vec<&str> =
        report["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(checks, ["files", "archive", "restore", "restored", "schema"]);
    let tables = report["tables"].as_array().unwrap();
    let many = tables.iter().find(|table| table["name"] == "vals.many").unwrap();
    assert_eq!((&many["expected_rows"], &many["found_rows"]), (&300_000.into(), &300_000.into()));
    assert!(tables.len() > 75, "{} tables were compared", tables.len());

    service.sql(&format!(
        "{FREE} drop table vals.many; update vals.wide set plain = null; select lo_unlink(4242003);"
    ));
    service.pgbackup("restore", &["--force"]).ok();
    assert_same(&content, &snapshot(&service, CONTENT));
    assert_same(&definitions, &snapshot(&service, DEFINITIONS));
    assert_lists_work(&service);
    service.assert_nothing_left();
}

#[test]
fn everything_comes_back_on_postgres_15() {
    everything_comes_back_on(15);
}

#[test]
fn everything_comes_back_on_postgres_17() {
    everything_comes_back_on(17);
}

#[test]
fn everything_comes_back_on_postgres_18() {
    everything_comes_back_on(18);
}

fn everything_moves(old: u32, new: u32) {
    if !has_postgres(old) || !has_postgres(new) {
        return;
    }
    let from = everything("from", old);
    let into = Service::with("into", new, &[]);
    // Money is written otherwise here, and no trigger may note who connects.
    for setting in ["lc_monetary = 'en_US.utf8'", "default_transaction_read_only = on"] {
        into.sql_in("template1", &format!("alter database {} set {setting}", into.database()));
    }
    from.create();
    let content = snapshot(&from, CONTENT);
    from.pgbackup("restore", &["--to", &into.name, "--force"]).ok();
    assert_same(&content, &snapshot(&into, CONTENT));
    assert_lists_work(&into);
    let money = format!("{FREE} select max(m), min(m) from vals.money_of_all_sizes");
    assert_eq!(into.sql(&money), "$92,233,720,368,547,758.07|-$92,233,720,368,547,758.08");
    into.assert_nothing_left();
}

#[test]
fn everything_moves_from_15_to_17() {
    everything_moves(15, 17);
}

#[test]
fn everything_moves_from_17_to_18() {
    everything_moves(17, 18);
}

#[test]
fn a_database_that_was_dropped_comes_back_with_its_settings() {
    let service = everything("dropped", 17);
    service.create();
    let own = |lines: BTreeSet<String>| -> BTreeSet<String> {
        lines
            .into_iter()
            .filter(|line| line.starts_with("database ") || line.starts_with("settings "))
            .collect()
    };
    let before = own(snapshot(&service, DEFINITIONS));
    service.sql(&format!("{FREE} drop subscription \"off; line\""));
    service.sql_in("template1", &format!("drop database {}", service.database()));
    service.pgbackup("restore", &["--force"]).ok();
    assert_same(&before, &own(snapshot(&service, DEFINITIONS)));
    service.assert_nothing_left();
}

#[test]
fn rights_that_were_given_on_come_back() {
    let service = Service::new("rights");
    service.sql(RIGHTS_GIVEN_ON);
    let before = snapshot(&service, CONTENT);
    let given_on = |line: &&String| line.contains("two, or more → three SELECT f");
    assert_eq!(before.iter().filter(given_on).count(), 20);
    service.create();
    service.pgbackup("verify", &["--jobs", "4"]).ok();
    service.pgbackup("restore", &["--force", "--jobs", "4"]).ok();
    assert_same(&before, &snapshot(&service, CONTENT));
    service.assert_nothing_left();
}
