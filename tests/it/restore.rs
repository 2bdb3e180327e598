//! `restore` and `undo`: the data comes back, and the live database is never at risk.

use rustix::process::Signal;

use crate::app::App;
use crate::bench::{Run, Service, dokku, dokku_command};
use crate::started::{Started, until};

#[test]
fn lost_rows_come_back_and_undo_goes_there_and_back() {
    let service = Service::new("restore");
    service.fill();
    service.create();
    service.sql("delete from cows");
    let run = service.pgbackup("restore", &["--force"]).ok();
    assert!(run.stdout.contains("5,100 rows, all counted"), "{}", run.stdout);
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    assert_eq!(service.databases().len(), 2);
    service.pgbackup("undo", &[]).ok();
    assert_eq!(service.sql("select count(*) from cows"), "0");
    service.pgbackup("undo", &[]).ok();
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    service.assert_nothing_left();
}

#[test]
fn undo_takes_back_the_last_restore_and_no_earlier_one() {
    let service = Service::new("undone");
    let database = service.database();
    service.fill();
    let id = service.create();
    service.sql("delete from cows");
    service.pgbackup("restore", &["--force"]).ok();
    let drop_it = || service.sql_in("template1", &format!("drop database {database} with (force)"));
    // Dropped after the restore: what that put aside is the last state there is.
    drop_it();
    service.pgbackup("undo", &[]).ok().says("It is what was live until 20").says("(just now, ");
    assert_eq!(service.sql("select count(*) from cows"), "0");
    // Brought back from nothing: what an earlier restore put aside was not live before, whatever our files know.
    service.pgbackup("restore", &["--force"]).ok();
    drop_it();
    service.pgbackup("restore", &[&id, "--force"]).ok();
    std::fs::remove_file(service.root().join("pgbackup/history.jsonl")).unwrap();
    let look = service.databases();
    service
        .pgbackup("undo", &["--force"])
        .fails(5, "there is nothing to undo")
        .fails(5, "put no database aside");
    drop_it();
    service.pgbackup("undo", &["--force"]).fails(5, "there is nothing to undo");
    // Nor does it lead back from a database that somebody else has made since.
    let previous = look.iter().find(|name| name.contains("_previous_")).unwrap();
    service.pgbackup("restore", &[&id, "--force"]).ok();
    service.pgbackup("restore", &[&id, "--force"]).ok();
    assert!(!service.databases().contains(previous), "{:?}", service.databases());
    drop_it();
    service.sql_in("template1", &format!("create database {database}"));
    service.pgbackup("undo", &[]).fails(5, "there is nothing to undo");
    service.assert_nothing_left();
}

#[test]
fn what_was_live_long_ago_comes_back_with_a_yes_only() {
    let service = Service::new("long-ago");
    service.fill();
    service.create();
    service.sql("delete from cows");
    service.pgbackup("restore", &["--force"]).ok();
    let previous = service.databases().into_iter().find(|name| name.contains("_previous_")).unwrap();
    let mark = "select substr(one, 22) from pg_db_role_setting, unnest(setconfig) one where one like 'pgbackup.replaced_by=%'";
    let (oid, time) = service.sql(mark).split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let earlier = time.parse::<u64>().unwrap() - 7300;
    service.sql_in(
        "template1",
        &format!("alter database {previous} set \"pgbackup.replaced_by\" = '{oid} {earlier}'"),
    );
    service.pgbackup("undo", &[]).fails(6, "not confirmed").fails(6, "(2 hours ago, ");
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    service.pgbackup("undo", &["--force"]).ok().says("(2 hours ago, ");
    assert_eq!(service.sql("select count(*) from cows"), "0");
    // The mark went to the other database: no dump of a live one has it.
    assert!(service.sql(mark).split_once(' ').is_some_and(|(now, _)| now != oid));
    service.create();
    service.pgbackup("diff", &["--fast"]).ok().says("No number of rows and no definition differs");
}

#[test]
fn only_one_previous_database_is_kept() {
    let service = Service::new("previous");
    service.fill();
    service.create();
    service.pgbackup("restore", &["--force"]).ok();
    let first = service.databases();
    service.pgbackup("restore", &["--dry-run"]).ok().says("is deleted for good; to keep it, first");
    let run = service.pgbackup("restore", &["--force"]).ok();
    let second = service.databases();
    assert_eq!(second.len(), 2, "{second:?}");
    let dropped = first.iter().find(|name| name.contains("_previous_")).unwrap();
    assert!(!second.contains(dropped) && run.stderr.contains(dropped.as_str()), "{}", run.stderr);
}

#[test]
fn a_newest_backup_that_has_lost_a_table_says_which_one_has_it() {
    let service = Service::new("doubt");
    service.fill();
    let whole = service.create();
    service.sql("truncate cows");
    let damaged = service.create();
    let plan = service.pgbackup("restore", &["--dry-run"]).ok();
    let warned = format!("{whole} (just now), still has rows in public.cows (5,000 rows)");
    assert!(plan.stdout.contains(&warned), "{}{}", plan.stdout, plan.stderr);
    let chosen = service.pgbackup("restore", &[&damaged, "--dry-run"]).ok();
    assert!(!chosen.stdout.contains("still has rows"), "named, it is what somebody wants");
    let asked = service.pgbackup("restore", &["--quiet"]).fails(6, "not confirmed");
    assert!(asked.stderr.contains(&warned), "nobody agrees to what they were not told: {}", asked.stderr);
}

#[test]
fn a_backup_that_root_has_copied_is_told_from_a_damaged_one() {
    let service = Service::new("copied");
    service.fill();
    let id = service.create();
    let folder = service.backup(&id);
    std::process::Command::new("chown").args(["-R", "root:root"]).arg(folder.join("dump")).status().unwrap();
    let refused = service.pgbackup("restore", &["--force"]).fails(6, "does not belong to dokku alone");
    let cure = refused.stderr.lines().find_map(|line| line.split_once("as root: ")).unwrap().1.to_owned();
    assert!(std::process::Command::new("sh").args(["-c", &cure]).status().unwrap().success(), "{cure}");
    service.pgbackup("restore", &["--force"]).ok();
}

#[test]
fn a_plan_names_the_code_of_apps_that_are_not_linked() {
    let service = Service::new("unlinked");
    service.fill();
    let app = App::linked("unlinked", &[&service]);
    let commit = app.deploy("Add cows", &[]);
    let id = service.create();
    let other = Service::new("unlinked-to");
    let plan = service.pgbackup("restore", &[&id, "--to", &other.name, "--dry-run"]).ok();
    plan.says(&format!("{} at {commit} (Add cows)", app.name));
}

#[test]
fn nothing_is_restored_without_a_yes() {
    let service = Service::new("confirm");
    service.fill();
    service.create();
    service.sql("delete from cows");
    service.pgbackup("restore", &[]).fails(6, "not confirmed");
    service.pgbackup("restore", &["--dry-run"]).ok().says("Nothing was changed");
    assert_eq!(service.sql("select count(*) from cows"), "0");
    assert_eq!(service.databases().len(), 1);
    service.pgbackup("undo", &[]).fails(5, "there is nothing to undo");
}

#[test]
fn the_new_database_is_dressed_like_the_one_that_it_replaces() {
    let service = Service::new("dressed");
    let database = service.database();
    service.fill();
    service.sql(&format!(
        "create role farmhand login password 'old'; create role boss;
alter database {database} set search_path = \"$user\", public, \"Odd \"\"One, two\";
alter database {database} set work_mem = '17MB';
alter role farmhand in database {database} set statement_timeout = '5s';
comment on database {database} is 'it''s the herd';
revoke all on database {database} from public;
grant connect, temporary on database {database} to farmhand with grant option;
alter database {database} owner to boss; alter database {database} connection limit 77;
grant select on cows to farmhand;"
    ));
    let look = format!(
        "select json_build_array(pg_get_userbyid(datdba), datconnlimit, datcollate, pg_encoding_to_char(encoding),
  (select array_agg(a::text order by a::text) from unnest(datacl) a), shobj_description(oid, 'pg_database'),
  (select json_agg(json_build_array(setrole::regrole, setconfig) order by setrole) from pg_db_role_setting where setdatabase = d.oid),
  has_table_privilege('farmhand', 'public.cows', 'select'))
from pg_database d where datname = '{database}'"
    );
    let before = service.sql(&look);
    service.create();
    service.sql_in("template1", "alter role farmhand password 'new'");
    let password =
        "select rolpassword from pg_authid where rolname in ('farmhand', 'postgres') order by rolname";
    let passwords = service.sql(password);
    service.pgbackup("restore", &["--force"]).ok();
    assert_eq!(service.sql(&look), before);
    assert_eq!(service.sql(password), passwords, "roles that exist are not touched");
}

#[test]
fn into_another_service_with_its_roles_and_never_into_an_older_version() {
    let old = Service::with("older", 15, &[]);
    let new = Service::new("newer");
    old.fill();
    old.sql("create role milkmaid login password 'x'; grant select on cows to milkmaid; alter table cows owner to milkmaid");
    old.create();
    let run = old.pgbackup("restore", &["--to", &new.name, "--force"]).ok();
    assert!(run.stdout.contains("milkmaid"), "{}", run.stdout);
    assert_eq!(
        new.sql("select count(*), min(tableowner) from cows, pg_tables where tablename = 'cows'"),
        "5000|milkmaid"
    );
    new.create();
    new.pgbackup("restore", &["--to", &old.name, "--force"])
        .fails(6, "cannot go back to an older major version");
    new.assert_nothing_left();
    old.assert_nothing_left();
}

#[test]
fn single_tables_go_into_a_schema_of_their_own() {
    let service = Service::new("tables");
    service.fill();
    service.sql(
        "create schema \"Odd.Schema\"; create table \"Odd.Schema\".\"we\"\"ird \" (a int, b int generated always as (a * 2) stored);
insert into \"Odd.Schema\".\"we\"\"ird \" values (1), (2);
create table parted (day date, n int) partition by range (day);
create table parted_1 partition of parted for values from ('2026-01-01') to ('2026-07-01');
create table parted_2 partition of parted for values from ('2026-07-01') to ('2027-01-01');
insert into parted values ('2026-02-02', 1), ('2026-08-08', 2);",
    );
    let id = service.create();
    service.sql("delete from cows where id <= 10; drop table parted");
    let run = service
        .pgbackup("restore", &["--table", "cows", "--table", "Odd.Schema.we\"ird ", "--table", "parted"])
        .ok();
    let schema = format!("pgbackup_{}", id.to_lowercase().replace('-', "_"));
    assert!(run.stdout.contains(&schema), "{}", run.stdout);
    assert_eq!(service.sql(&format!("select count(*) from {schema}.cows")), "5000");
    assert_eq!(service.sql(&format!("select sum(b) from {schema}.\"we\"\"ird \"")), "6");
    assert_eq!(service.sql(&format!("select sum(n) from {schema}.parted")), "3");
    assert_eq!(service.sql("select count(*) from cows"), "4990");
    // The lines that the message gives bring the rows back.
    let lines: Vec<&str> =
        run.stdout.lines().map(str::trim).filter(|line| line.starts_with("insert into")).collect();
    assert_eq!(lines.len(), 2, "one for each table that is there\n{}", run.stdout);
    lines.iter().for_each(|line| drop(service.sql(line)));
    assert_eq!(service.sql("select count(*), sum(id) from cows"), "5000|12502500");
    service
        .pgbackup("restore", &["--table", "cows"])
        .fails(6, &format!("<<<\"drop schema {schema} cascade\""));
    service.pgbackup("restore", &["--table", "cwos"]).fails(5, "has no table cwos");
    service.assert_nothing_left();
}

#[test]
fn linked_apps_can_be_stopped_meanwhile() {
    let service = Service::new("apps");
    let app = format!("app{}", std::process::id());
    dokku(&["apps:create", &app]).ok();
    dokku(&["postgres:link", &service.name, &app, "--no-restart"]).ok();
    let commit = "82eeec6fe1aa82eeec6fe1aa82eeec6fe1aa82ee";
    dokku(&["git:deploy-record", &app, commit]).ok();
    service.create();
    service.pgbackup("info", &["--commits"]).ok().says(&format!("{commit} ({app})"));
    service.pgbackup("restore", &["--dry-run"]).ok().says(&format!("{app}: loses its connections"));
    let run = service.pgbackup("restore", &["--stop-apps", "--force"]).ok();
    assert!(
        run.stderr.contains(&format!("Stopping {app}")) && run.stderr.contains(&format!("Starting {app}"))
    );
    dokku(&["ps:report", &app]).ok().says("running");
    dokku(&["ps:stop", &app]).ok();
    let run = service.pgbackup("restore", &["--stop-apps", "--force"]).ok();
    assert!(
        run.stderr.contains("is not started afterwards") && !run.stderr.contains("Starting"),
        "{}",
        run.stderr
    );
    dokku(&["ps:report", &app, "--running"]).ok().says("false");
    dokku(&["postgres:unlink", &service.name, &app, "--no-restart"]).ok();
    dokku(&["--force", "apps:destroy", &app]).ok();
}

#[test]
fn an_app_whose_code_does_not_fit_is_left_stopped() {
    let service = Service::new("unfit");
    service.fill();
    let app = App::linked("unfit", &[&service]);
    app.deploy("One", &[("web", "1")]);
    let id = service.create();
    app.deploy("Two", &[("web", "2")]);
    let start = format!("dokku ps:start {}", app.name);
    let stays = format!("{}: stopped before, and not started", app.name);
    service.pgbackup("restore", &[&id, "--stop-apps", "--dry-run"]).ok().says(&stays);
    let run = service.pgbackup("restore", &[&id, "--stop-apps", "--force"]).ok();
    assert!(!run.stderr.contains(&format!("Starting {}", app.name)), "{}", run.stderr);
    let run = run.says(&format!("{} is left stopped", app.name)).says(&start);
    dokku(&["ps:report", &app.name, "--running"]).ok().says("false");
    // The printed command brings it back, and then it fits.
    let command = run.stdout.lines().map(str::trim).rfind(|line| line.contains("git:sync --build")).unwrap();
    dokku(&command.split(' ').skip(1).collect::<Vec<_>>()).ok();
    dokku(&["ps:report", &app.name, "--running"]).ok().says("true");
    // What reads nothing else is warned, too.
    app.deploy("Three", &[("web", "3")]);
    let run = service.pgbackup("restore", &[&id, "--stop-apps", "--force", "--quiet"]).ok();
    for words in ["and the data belongs to", "git:sync --build", start.as_str()] {
        assert!(run.stderr.contains(words), "{words} is not in\n{}", run.stderr);
    }
    // A restore that fails changes nothing for the app either.
    dokku(&["ps:start", &app.name]).ok();
    let mut run = Started::pgbackup(&service, "restore", &[&id, "--stop-apps", "--force"]);
    run.until_it_says("Restoring into the new database");
    run.signal(Signal::INT);
    run.end().fails(130, "interrupted");
    dokku(&["ps:report", &app.name, "--running"]).ok().says("true");
}

#[test]
fn a_lock_on_the_books_of_migrations_keeps_nobody_from_restoring() {
    let service = Service::new("locked");
    service.fill();
    service.sql("create table schema_migrations (version varchar primary key); create table ar_internal_metadata (key varchar)");
    let id = service.create();
    let container = service.container();
    let database = service.database();
    let mut psql = std::process::Command::new("docker");
    let hold = "begin; lock table schema_migrations in access exclusive mode; select pg_sleep(120)";
    psql.args(["exec", &container, "psql", "--username=postgres", "--dbname", &database, "--command", hold]);
    let holder = Started::spawn("the lock".into(), &mut psql);
    until("the lock is held", || {
        service.sql("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and relation = 'schema_migrations'::regclass") == "1"
    });
    let told = service.pgbackup("restore", &[&id, "--dry-run", "--format", "json"]).ok().json();
    let warning = told["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("schema_migrations") && warning.contains("locked by another session"),
        "{warning}"
    );
    service.pgbackup("restore", &[&id, "--force"]).ok().says("schema_migrations");
    assert_ne!(holder.end().code, 0, "its session ended with the swap");
}

#[test]
fn a_database_that_was_dropped_comes_back_with_its_settings() {
    let service = Service::new("dropped");
    let database = service.database();
    let app = App::linked("dropped", &[&service]);
    let commit = app.deploy("One", &[("web", "1")]);
    service.fill();
    service.sql(&format!(
        "alter database {database} set work_mem = '17MB'; comment on database {database} is 'the herd'"
    ));
    let id = service.create();
    app.deploy("Two", &[("web", "2")]);
    service.sql_in("template1", &format!("drop database {database} with (force)"));
    service.pgbackup("create", &[]).fails(7, &format!("dokku pgbackup:restore {}", service.name));
    let plan = service.pgbackup("restore", &[&id, "--dry-run"]).ok().says("which is not there any more");
    plan.says(&format!("the backup belongs to {} (One), 1 commit earlier", &commit[..7]));
    service.pgbackup("restore", &[&id, "--force"]).ok();
    let look = "select current_setting('work_mem'), shobj_description(oid, 'pg_database'), (select count(*) from cows)
from pg_database where datname = current_database()";
    assert_eq!(service.sql(look), "17MB|the herd|5000");
    assert_eq!(service.databases(), [database]);
}

#[test]
fn jobs_that_lock_each_other_out_are_followed_by_a_single_one() {
    let service = Service::new("deadlock");
    service.fill();
    let id = service.create();
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker");
    // A deadlock of parallel jobs comes by chance only. This docker says that there was one, as pg_restore does.
    let script = "#!/usr/bin/env bash
if [[ \" $* \" == *' pg_restore '*--jobs* ]]; then
  echo 'pg_restore: error: could not execute query: ERROR:  deadlock detected' >&2
  exit 1
fi
exec docker \"$@\"
";
    std::fs::write(&docker, script).unwrap();
    for path in [folder.path(), docker.as_path()] {
        std::process::Command::new("chmod").arg("755").arg(path).status().unwrap();
    }
    for (command, args) in [("restore", [id.as_str(), "--force"]), ("verify", [id.as_str(), "--level=drill"])]
    {
        let mut run =
            dokku_command(&[&[format!("pgbackup:{command}").as_str(), &service.name], &args[..]].concat());
        let run = Run::of(command.to_owned(), &run.env("DOCKER_BIN", &docker).output().unwrap()).ok();
        assert!(run.stderr.contains("once more with one job"), "{}", run.stderr);
    }
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    service.assert_nothing_left();
}
