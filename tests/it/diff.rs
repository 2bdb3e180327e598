//! `diff`: what has changed since a backup, by the live database and by a later backup.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::app::App;
use crate::bench::{Service, dokku};

const TOOLS: &str = include_str!("../data/migration-tools.sql");
const TOOLS_LATER: &str = include_str!("../data/migration-tools-later.sql");

/// What the comments of the scripts expect, a line of JSON for each schema.
fn expectations(script: &str) -> Vec<Value> {
    let lines = script.lines().filter_map(|line| line.strip_prefix("-- {"));
    lines.map(|line| serde_json::from_str(&format!("{{{line}")).unwrap()).collect()
}

#[track_caller]
fn diff(service: &Service, args: &[&str]) -> Value {
    service.pgbackup("diff", &[args, &["--format", "json"]].concat()).ok().json()
}

/// The one of `list` whose `key` is `value`.
#[track_caller]
fn entry<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|entry| entry[key] == value);
    found.unwrap_or_else(|| panic!("no {key} {value} in {list:#}"))
}

const BEFORE: &str = "\
create table same (a int); insert into same values (1); create table gone (a int);
create table \"Odd \"\"T\" (a int); create table parted (a int) partition by list (a);
create table parted_1 partition of parted for values in (1); insert into parted values (1);
create index cows_by_farmer on cows (farmer); create view herd as select count(*) from cows";
const AFTER: &str = "\
delete from cows where id <= 11; update farmers set name = name || '!' where id = 1;
create table milk (id int, litres int); insert into milk values (1, 2), (3, 4); drop table gone;
insert into \"Odd \"\"T\" values (1); insert into parted values (1), (1);
alter table farmers add column age int default 30; drop index cows_by_farmer; create index by_name on farmers (name);
create or replace view herd as select count(*) as count from cows where id > 0";

#[test]
fn rows_content_and_definitions_are_told_as_they_are() {
    for major in [15, 17] {
        let service = Service::with(&format!("diff{major}"), major, &[]);
        service.fill();
        service.sql(BEFORE);
        let id = service.create();
        assert!(service.pgbackup("diff", &[]).ok().stdout.contains("Nothing differs"));
        service.sql(AFTER);
        let seen = diff(&service, &[&id]);
        check_tables(&seen);
        check_definitions(&seen);
        check_fast(&diff(&service, &[&id, "--fast"]), &seen);
        check_text(&service.pgbackup("diff", &[&id]).ok().stdout);
        // The same by a backup of this state, for which no server is needed.
        let later = service.create();
        dokku(&["postgres:stop", &service.name]).ok();
        let between = diff(&service, &[&id, "--to", &later]);
        for key in ["tables", "columns", "objects", "same_tables"] {
            assert_eq!(between[key], seen[key], "{key}");
        }
        assert_eq!(diff(&service, &[&later, "--to", &id]), between, "in whatever order they are named");
        service.pgbackup("diff", &[]).fails(6, "dokku postgres:start");
        dokku(&["postgres:start", &service.name]).ok();
        service.assert_nothing_left();
    }
}

#[track_caller]
fn check_tables(seen: &Value) {
    for (table, change, then, now, content) in [
        ("cows", "changed", json!(5000), json!(4989), json!(true)),
        ("farmers", "changed", json!(100), json!(100), json!(true)),
        ("milk", "added", json!(null), json!(2), json!(null)),
        ("gone", "removed", json!(0), json!(null), json!(null)),
        ("Odd \"T", "changed", json!(0), json!(1), json!(true)),
        ("parted_1", "changed", json!(1), json!(3), json!(true)),
    ] {
        let found = entry(&seen["tables"], "table", table);
        assert_eq!(found["change"], change, "{table}");
        let rows = (&found["rows_then"], &found["rows_now"], &found["content_differs"]);
        assert_eq!(rows, (&then, &now, &content), "{table}");
    }
    assert_eq!(seen["same_tables"], 1);
}

#[track_caller]
fn check_definitions(seen: &Value) {
    let age = entry(&seen["columns"], "column", "age");
    assert_eq!((&age["table"], &age["change"]), (&json!("farmers"), &json!("added")));
    assert_eq!(age["now"], "integer DEFAULT 30");
    for (name, change) in [("cows_by_farmer", "removed"), ("by_name", "added"), ("herd", "changed")] {
        assert_eq!(entry(&seen["objects"], "name", name)["change"], change);
    }
}

/// Counted, not compared.
#[track_caller]
fn check_fast(fast: &Value, whole: &Value) {
    let farmers = fast["tables"].as_array().unwrap().iter().any(|table| table["table"] == "farmers");
    assert!(!farmers && fast["content_compared"] == false, "only its content differs: {fast:#}");
    assert_eq!(entry(&fast["tables"], "table", "cows")["rows_now"], 4989);
    assert_eq!(entry(&fast["tables"], "table", "parted_1")["rows_now"], 3);
    assert_eq!((&fast["objects"], &fast["columns"]), (&whole["objects"], &whole["columns"]));
}

#[track_caller]
fn check_text(text: &str) {
    for words in [
        "public.cows",
        "5,000",
        "4,989",
        "-11",
        "new table",
        "table is gone",
        "rows changed",
        "+ column public.farmers.age",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "wider than a terminal:\n{text}");
}

#[test]
fn sequences_and_large_objects_are_compared() {
    let service = Service::new("values");
    service.sql("create sequence s; select nextval('s'); select lo_from_bytea(0, 'old')");
    let id = service.create();
    service.sql("select setval('s', 41); select lo_from_bytea(0, 'new')");
    let seen = diff(&service, &[&id]);
    let sequence = entry(&seen["sequences"], "name", "s");
    assert_eq!((&sequence["then"], &sequence["now"]), (&json!(1), &json!(41)));
    assert_eq!(seen["large_objects_differ"], true);
    service.pgbackup("diff", &[&id]).ok().says("s 1 → 41").says("Large objects: 1 with 3 B → 2 with 6 B");
}

#[test]
fn the_books_of_every_migration_tool_are_read_right() {
    let service = Service::new("tools");
    service.sql(TOOLS);
    let id = service.create();
    let recorded = service.pgbackup("info", &["--format", "json"]).ok().json()["migrations"].clone();
    for wanted in expectations(TOOLS) {
        let schema = wanted["schema"].as_str().unwrap();
        let found = recorded.as_array().unwrap().iter().find(|record| record["schema"] == schema);
        let Some(found) = found else {
            assert_eq!(wanted["tool"], json!(null), "{schema} was not recognised");
            continue;
        };
        for key in ["tool", "head", "count"] {
            assert_eq!(found.get(key), wanted.get(key).filter(|value| !value.is_null()), "{key} of {schema}");
        }
    }
    service.sql(TOOLS_LATER);
    let later = service.create();
    for seen in [diff(&service, &[&id, "--fast"]), diff(&service, &[&id, "--to", &later])] {
        for wanted in expectations(TOOLS_LATER) {
            compare_change(&seen["migrations"], &wanted);
        }
    }
    let text = service.pgbackup("restore", &[&id, "--dry-run"]).ok().stdout;
    assert!(text.contains("\n       dbmate (dbmate_128.schema_migrations)"), "{text}");
    assert!(text.contains("commons.0012_add_milk") && text.contains("1975ea83b712 → ae1027a6acf0"), "{text}");
}

#[track_caller]
fn compare_change(migrations: &Value, wanted: &Value) {
    let schema = wanted["schema"].as_str().unwrap();
    let found = migrations.as_array().unwrap().iter().find(|change| change["schema"] == schema);
    let nothing = json!({"applied": [], "undone": [], "failed": [], "moved": null});
    let found = found.unwrap_or(&nothing);
    for (key, none) in
        [("applied", json!([])), ("undone", json!([])), ("failed", json!([])), ("moved", json!(null))]
    {
        assert_eq!(&found[key], wanted.get(key).unwrap_or(&none), "{key} in {schema}");
    }
}

#[test]
fn books_that_cannot_be_read_are_not_compared() {
    let service = Service::new("unread");
    service.sql("create table schema_migrations (version varchar primary key); create table ar_internal_metadata (key varchar)");
    service.sql("insert into schema_migrations values ('20260101'), ('20260102')");
    let id = service.create();
    for file in service.files(&id).iter().filter(|file| file.contains(".dat") && !file.ends_with("toc.dat")) {
        std::fs::write(service.backup(&id).join(file), "rotten").unwrap();
    }
    let run = service.pgbackup("diff", &[&id, "--format", "json"]).ok();
    assert_eq!(run.json()["migrations"], json!([]), "not: all of them since then");
    assert!(run.stderr.contains("cannot be compared, as those of"), "{}", run.stderr);
}

#[test]
fn a_backup_of_a_clock_that_was_ahead_is_not_later_than_the_live_database() {
    let service = Service::new("ahead");
    service.fill();
    let id = service.create();
    let manifest = service.backup(&id).join("manifest.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let ahead = text.replacen("started_at = \"20", "started_at = \"21", 1);
    assert_ne!(ahead, text);
    std::fs::write(&manifest, ahead).unwrap();
    service.sql("delete from cows");
    let seen = diff(&service, &[&id]);
    assert_eq!((&seen["then"]["backup"], &seen["now"]["backup"]), (&json!(id), &json!(null)));
    assert_eq!(entry(&seen["tables"], "table", "cows")["rows_now"], 0);
}

#[test]
fn migrations_behind_two_hundred_commits_are_found() {
    let service = Service::new("many");
    let app = App::linked("many", &[&service]);
    app.deploy("One", &[("web", "1")]);
    let id = service.create();
    let old = app.commit("An old migration", &[("db/migrate/001_step.rb", "x")]);
    for number in 0..210 {
        app.git(&["commit", "--quiet", "--allow-empty", "--message", &format!("Step {number}")]);
    }
    app.push().ok();
    let commits = diff(&service, &[&id])["apps"][0]["commits"].clone();
    assert_eq!((&commits["count"], commits["commits"].as_array().unwrap().len()), (&json!(211), 201));
    assert_eq!(commits["commits"][200]["commit"], json!(old));
    service.pgbackup("diff", &[&id]).ok().says("211 commits since then, 1 with migrations");
}

#[test]
fn commits_are_listed_with_the_migrations_that_they_bring() {
    let service = Service::new("commits");
    service.sql("create table schema_migrations (version varchar primary key); create table ar_internal_metadata (key varchar)");
    let app = App::linked("commits", &[&service]);
    let first = app.deploy("One", &[("web", "1")]);
    let id = service.create();
    let mut last = String::new();
    for number in 1..=24 {
        let mut name = String::new();
        write!(name, "db/migrate/{number:03}_step.rb").unwrap();
        let files: &[(&str, &str)] =
            if number % 12 == 0 { &[(name.as_str(), "x")] } else { &[("web", name.as_str())] };
        last = app.commit(&format!("Commit {number}"), files);
    }
    app.push().ok();
    let seen = diff(&service, &[&id]);
    let change = entry(&seen["apps"], "name", &app.name);
    assert_eq!((&change["then"]["commit"], &change["now"]["commit"]), (&json!(first), &json!(last)));
    assert_eq!(change["commits"]["count"], 24);
    let twelfth = &change["commits"]["commits"][12];
    assert_eq!(
        (&twelfth["subject"], &twelfth["migration_files"]),
        (&json!("Commit 12"), &json!(["db/migrate/012_step.rb"]))
    );
    let text = service.pgbackup("diff", &[&id]).ok().stdout;
    for words in
        ["24 commits since then, 2 with migrations", "migration db/migrate/024_step.rb", "and 4 more"]
    {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert!(text.contains("Commit 5\n") && !text.contains("Commit 4\n"), "twenty are listed:\n{text}");
    // Taken back to older code, and on a line of its own.
    app.git(&["reset", "--quiet", "--hard", &first]);
    let other = app.commit("Another way", &[("web", "other")]);
    dokku(&["git:sync", "--build", &app.name, &app.folder().display().to_string(), &other]).ok();
    let seen = diff(&service, &[]);
    let change = entry(&seen["apps"], "name", &app.name);
    assert_eq!(
        (&change["commits"]["count"], &change["commits_taken_back"]["count"]),
        (&json!(1), &json!(24))
    );
}
