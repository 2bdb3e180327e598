//! Servers and databases that are not as usual. What takes long (thousands of tables, large rows, all versions) is only
//! tried in the campaign.

use super::assert_sound;
use super::tally::{Tally, is_campaign};
use crate::bench::{Service, docker, dokku, has_postgres};
use crate::operations::copy_to;
use crate::roundtrip::{CONTENT, assert_same, everything, snapshot, snapshot_in};
use crate::started::until;

const CAMPAIGN: &str = "Versions and oddities";

fn until_it_answers(service: &Service) {
    let ask = ["exec", &service.container(), "pg_isready", "--username=postgres", "--host=localhost"];
    until("the server answers", || docker(&ask).code == 0);
}

#[test]
fn the_other_databases_of_a_cluster_stay_as_they_are() {
    let service = Service::new("cluster");
    service.fill();
    let mut tally =
        Tally::new(CAMPAIGN, "a cluster with several databases, settings and time zones of their own");
    let others = ["other", "Other db", "postgres"];
    for name in &others[..2] {
        service.sql_in("template1", &format!("create database \"{name}\""));
    }
    for name in others {
        service.sql_in(name, "create table mine as select n, now() as at from generate_series(1, 100) n");
    }
    let contents =
        || others.map(|name| snapshot_in(&service, name, "select n, extract(epoch from at) from mine"));
    let (before, oids) =
        (contents(), "select oid, datname from pg_database where datname like '%ther%' order by 1");
    let known = service.sql(oids);
    // Times are told otherwise from day to day, and are the same.
    service.sql("create table times as select timestamptz '2026-03-29 02:30+01' + n * interval '20 min' as at from generate_series(1, 100) n");
    service.sql_in(
        "template1",
        &format!("alter database {} set timezone = 'America/St_Johns'", service.database()),
    );
    let id = service.create();
    service.sql_in(
        "template1",
        &format!("alter database {} set timezone = 'Asia/Kathmandu'", service.database()),
    );
    service.sql_in("template1", "alter role postgres set datestyle = 'SQL, DMY'; alter role postgres set intervalstyle = 'sql_standard'");
    let diff = service.pgbackup("diff", &[&id, "--format", "json"]).ok().json();
    assert_eq!(diff["tables"], serde_json::json!([]), "{diff}");
    service.pgbackup("verify", &[&id]).ok();
    service.pgbackup("restore", &[&id, "--force"]).ok();
    service.pgbackup("undo", &["--force"]).ok();
    assert_eq!(service.sql(oids), known);
    for (before, after) in before.iter().zip(contents()) {
        assert_same(before, &after);
    }
    tally.saw("all as before");
    service.assert_nothing_left();
}

#[test]
fn a_server_that_was_set_up_otherwise_is_backed_up_or_told_why_not() {
    let service = Service::new("otherwise");
    service.fill();
    let mut tally = Tally::new(CAMPAIGN, "extensions preloaded, and another superuser than postgres");
    service.sql("alter system set shared_preload_libraries = 'pg_stat_statements'");
    docker(&["restart", &service.container()]).ok();
    until_it_answers(&service);
    service
        .sql("create extension pg_stat_statements; create view busy as select query from pg_stat_statements");
    let id = service.create();
    service.pgbackup("verify", &[&id]).ok();
    service.pgbackup("restore", &[&id, "--force"]).ok();
    tally.saw("preloaded: there and back");
    // dokku-postgres and its tools are the role postgres.
    service.sql("create role boss superuser login");
    let as_boss = |script: &str| {
        let psql = ["psql", "--username=boss", "--dbname=template1", "--quiet", "--command", script];
        docker(&[&["exec", &service.container()], &psql[..]].concat()).ok();
    };
    as_boss("alter role postgres rename to somebody");
    for command in [&["create"][..], &["restore", &id, "--force"], &["diff", &id]] {
        service.pgbackup(command[0], &command[1..]).fails(7, "role \"postgres\" does not exist");
        tally.saw("no role postgres: told");
    }
    as_boss("alter role somebody rename to postgres");
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    service.create();
    service.assert_nothing_left();
}

/// What was made while it was ahead has a date to come; operations/retention.rs has what retention makes of that.
#[test]
fn a_clock_that_was_set_back_costs_no_backup() {
    if !is_campaign() {
        return;
    }
    let service = Service::new("clock");
    service.fill();
    let mut tally = Tally::new(CAMPAIGN, "the clock was set back by 26 hours");
    for key in ["keep-last", "keep-daily", "keep-weekly", "keep-monthly"] {
        dokku(&["pgbackup:set", &service.name, key, if key == "keep-last" { "1" } else { "0" }]).ok();
    }
    let made = service.create();
    let ahead = (chrono::Utc::now() + chrono::TimeDelta::hours(26)).format("%Y%m%dT%H%M%SZ-ahea");
    let ahead = ahead.to_string();
    copy_to(&service, &made, &ahead, "scheduled");
    service.pgbackup("delete", &[&made, "--force"]).ok();
    service.sql("insert into farmers (name) values ('after it was set back')");
    let run = service.pgbackup("create", &["--scheduled"]).ok();
    assert!(run.stderr.contains("or the clock is wrong: no backup is removed any more"), "{}", run.stderr);
    let later = service.create();
    for id in [&ahead, &later] {
        service.pgbackup("verify", &[id]).ok();
        service.pgbackup("diff", &[id]).ok();
        service.pgbackup("restore", &[id, "--force"]).ok();
        service.pgbackup("undo", &["--force"]).ok();
        tally.saw("told, nothing removed, all work");
    }
    service.pgbackup("prune", &[]).ok().says("0 of 3 backups removed");
    service.pgbackup("doctor", &[]).fails(1, "found").says("clock");
    assert_eq!(service.sql("select count(*) from farmers where name like 'after%'"), "1");
    assert_sound(&service);
    service.assert_nothing_left();
}

#[test]
fn every_version_moves_to_every_later_one() {
    if !is_campaign() {
        return;
    }
    for (old, new) in [(15, 15), (15, 17), (15, 18), (17, 17), (17, 18), (18, 18)] {
        if !has_postgres(old) || !has_postgres(new) {
            continue;
        }
        let mut tally = Tally::new(CAMPAIGN, &format!("everything from Postgres {old} to {new}"));
        let (from, into) = (everything("moves", old), Service::with("into", new, &[]));
        // No trigger may note who connects.
        let only_read = format!("alter database {} set default_transaction_read_only = on", into.database());
        into.sql_in("template1", &only_read);
        from.create();
        let before = snapshot(&from, CONTENT);
        from.pgbackup("restore", &["--to", &into.name, "--force"]).ok();
        assert_same(&before, &snapshot(&into, CONTENT));
        into.create();
        into.pgbackup("verify", &[]).ok();
        into.assert_nothing_left();
        tally.saw("the same, and verified there");
        if old < new {
            let back = into.pgbackup("restore", &["--to", &from.name, "--force"]);
            back.fails(6, "older");
            tally.saw("not back to the older one");
        }
    }
}

/// Another C library, `BusyBox` in place of GNU's tools, another uid. Where no image can be pulled, one is compiled.
#[test]
fn an_image_of_alpine_is_as_good_as_any() {
    if !is_campaign() {
        return;
    }
    let setup = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/setup");
    let made = std::process::Command::new(setup).args(["--images", "15-alpine"]).status().unwrap();
    assert!(made.success(), "there is no image postgres:15-alpine");
    let alpine = Service::of_version("alpine", "15-alpine", &[]);
    alpine.fill().sql(VARIED);
    let mut tally = Tally::new(CAMPAIGN, "an image of Alpine (musl, BusyBox), to it and from it");
    let before = snapshot(&alpine, CONTENT);
    let id = alpine.create();
    alpine.pgbackup("verify", &[&id]).ok();
    tally.saw("backed up and verified");
    alpine.sql("delete from varied");
    alpine.pgbackup("restore", &[&id, "--table", "varied"]).ok();
    assert_eq!(alpine.sql("select count(*) from varied"), "0");
    alpine.pgbackup("diff", &[&id]).ok().says("varied");
    alpine.pgbackup("restore", &[&id, "--force"]).ok();
    assert_same(&before, &snapshot(&alpine, CONTENT));
    alpine.pgbackup("undo", &["--force"]).ok();
    assert_eq!(alpine.sql("select count(*) from varied"), "0");
    alpine.pgbackup("undo", &["--force"]).ok();
    tally.saw("restored and undone");
    for version in ["15", "17", "15-alpine"] {
        let other = Service::of_version("other", version, &[]);
        alpine.pgbackup("restore", &[&id, "--to", &other.name, "--force"]).ok();
        assert_same(&before, &snapshot(&other, CONTENT));
        let back = other.create();
        other.pgbackup("verify", &[&back]).ok();
        other.assert_nothing_left();
        if version == "15" {
            other.pgbackup("restore", &[&back, "--to", &alpine.name, "--force"]).ok();
            assert_same(&before, &snapshot(&alpine, CONTENT));
        }
        tally.saw("the same elsewhere, and verified there");
    }
    alpine.assert_nothing_left();
}

/// Of what may depend on the C library or the tools around the server, what every server can have.
const VARIED: &str = "create extension hstore;
create table varied (id int generated always as identity primary key, name text, words hstore, at timestamptz,
  doubled text generated always as (name || name) stored);
insert into varied (name, words, at) select 'Ä ß ' || n || E'\t\\\n', hstore('k', n::text), '2026-03-29 02:30+01'::timestamptz + n * '20 min'::interval
  from generate_series(1, 500) n;
create index on varied (name);
create table parts (n int, t text) partition by range (n);
create table parts_1 partition of parts for values from (0) to (100);
create table parts_2 partition of parts default;
insert into parts select n, 'ü' from generate_series(1, 300) n;
create materialized view sums as select n % 7 as k, count(*) from parts group by 1;
select lo_from_bytea(0, 'an object')";

/// Backup, drill, restore and what came back.
#[track_caller]
fn goes_all_the_way(what: &str, script: &str, question: &str) {
    let service = Service::new("huge");
    let mut tally = Tally::new(CAMPAIGN, what);
    service.sql(script);
    let before = service.sql(question);
    let id = service.create();
    service.pgbackup("verify", &[&id]).ok();
    service.pgbackup("restore", &[&id, "--force"]).ok();
    assert_eq!(service.sql(question), before);
    service.assert_nothing_left();
    tally.saw("the same");
}

#[test]
fn hundreds_of_schemas_with_names_that_need_quotes() {
    let count = if is_campaign() { 200 } else { 20 };
    let script = format!(
        r#"select format('create schema %1$I; create table %1$I.%2$I (%3$I int primary key, "select" text);
insert into %1$I.%2$I values (1, ''x''), (2, null); create index %4$I on %1$I.%2$I ("select")', s, s || ' t;"', 'c''' || s, 'i ' || s)
from (select 'S "' || n || '" ''ü.\ $$' as s from generate_series(1, {count}) n) \gexec"#
    );
    let question = "select count(*), sum(n_live) from (select (xpath('/row/c/text()', query_to_xml(format('select count(*) as c from %s', oid::regclass), false, true, '')))[1]::text::int as n_live from pg_class where relkind = 'r' and relnamespace::regnamespace::text like '%S %') x";
    goes_all_the_way(&format!("{count} schemas with names that need quotes everywhere"), &script, question);
}

#[test]
fn thousands_of_tables_large_objects_and_long_rows() {
    if !is_campaign() {
        return;
    }
    goes_all_the_way(
        "10,000 tables",
        "select format('create table t%s (id int primary key)', n) from generate_series(1, 10000) n \\gexec",
        "select count(*) from pg_class where relname ~ '^t[0-9]+$'",
    );
    goes_all_the_way(
        "100,000 large objects",
        "select count(lo_from_bytea(10000 + n, convert_to('object ' || n, 'UTF8'))) from generate_series(1, 100000) n",
        "select count(*), md5(string_agg(data, '' order by loid)) from pg_largeobject",
    );
    goes_all_the_way(
        "rows of 100 MB",
        "create table long as select n, repeat(md5(n::text), 3276800) as line from generate_series(1, 5) n",
        "select n, length(line), md5(line) from long order by n",
    );
}

#[test]
fn a_table_of_five_gigabytes() {
    if !is_campaign() {
        return;
    }
    goes_all_the_way(
        "a table of 5 GB",
        "create table big (n int, junk text); alter table big alter junk set storage external;
insert into big select n, repeat(md5(n::text), 32) from generate_series(1, 4700000) n",
        "select count(*), sum(hashtext(junk)), pg_relation_size('big') > 5000000000 from big",
    );
}
