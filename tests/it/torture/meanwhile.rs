//! What others do to a service in the middle of a command: it is stopped, restarted, upgraded, destroyed, its container made
//! anew, its password changed, its database renamed or dropped, its tables locked or altered. Each run ends with a
//! sentence that is true, and the live database is what its owner made of it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::tally::{Tally, is_campaign, tries};
use super::{LONGEST_RUN, assert_sound, containers, fill_waiting, has_container, hold_dumps, in_the_middle};
use crate::bench::{Run, Service, docker, dokku, dokku_command};
use crate::operations::destroyed::alone;
use crate::session::Session;
use crate::started::{Started, until};

const COMMANDS: [&str; 6] = ["create", "verify", "restore", "undo", "import", "diff"];

/// Something that others do, and how the tests make it good again.
struct Event {
    name: &'static str,
    happen: fn(&Service),
    mend: fn(&Service),
}

const EVENTS: [Event; 9] = [
    Event { name: "the service is stopped", happen: stop, mend: start },
    Event { name: "the service is restarted", happen: restart, mend: nothing },
    Event { name: "the container is made anew", happen: make_anew, mend: start },
    Event { name: "the service is upgraded to another image", happen: upgrade, mend: downgrade },
    Event { name: "the password is changed", happen: change_password, mend: nothing },
    Event {
        name: "PASSWORD holds another password than the server",
        happen: falsify_password,
        mend: right_password,
    },
    Event { name: "the database is renamed", happen: rename, mend: rename_back },
    Event { name: "the database is dropped", happen: drop_database, mend: restore },
    Event { name: "a table is altered, another dropped, an index made", happen: alter, mend: alter_back },
];

fn nothing(_: &Service) {}

fn stop(service: &Service) {
    dokku(&["postgres:stop", &service.name]).ok();
}

fn start(service: &Service) {
    dokku(&["postgres:start", &service.name]).ok();
}

fn restart(service: &Service) {
    docker(&["restart", "--time", "5", &service.container()]).ok();
}

fn make_anew(service: &Service) {
    docker(&["rm", "--force", &service.container()]).ok();
    start(service);
}

/// An image that is the same but for its id.
fn upgrade(service: &Service) {
    let image = format!("pgbackup-meanwhile-{}", service.name);
    let target = format!("{image}:17");
    docker(&["commit", "--change", "LABEL pgbackup.test=1", &service.container(), &target]).ok();
    fs::write(service.root().join("IMAGE"), format!("{image}\n")).unwrap();
    make_anew(service);
}

fn downgrade(service: &Service) {
    fs::write(service.root().join("IMAGE"), "postgres\n").unwrap();
    make_anew(service);
    docker(&["image", "rm", "--force", &format!("pgbackup-meanwhile-{}:17", service.name)]);
}

fn set_password(service: &Service, password: &str) {
    service.sql_in("template1", &format!("alter role postgres password '{password}'"));
    fs::write(service.root().join("PASSWORD"), format!("{password}\n")).unwrap();
}

fn change_password(service: &Service) {
    set_password(service, &format!("new{}", std::process::id()));
}

fn falsify_password(service: &Service) {
    let path = service.root().join("PASSWORD");
    fs::copy(&path, service.root().join("PASSWORD.right")).unwrap();
    fs::write(path, "wrong\n").unwrap();
}

fn right_password(service: &Service) {
    fs::rename(service.root().join("PASSWORD.right"), service.root().join("PASSWORD")).unwrap();
    let owned =
        std::process::Command::new("chown").arg("dokku:dokku").arg(service.root().join("PASSWORD")).status();
    assert!(owned.unwrap().success());
}

/// Everybody is sent away first, or there would be no renaming.
fn rename(service: &Service) {
    let live = service.database();
    service.sql_in(
        "template1",
        &format!(
            "alter database \"{live}\" allow_connections false;
select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{live}';
alter database \"{live}\" rename to renamed; alter database renamed allow_connections true"
        ),
    );
}

fn rename_back(service: &Service) {
    let live = service.database();
    // A restore may have made one of that name meanwhile: the service has what it is to have.
    let there = service.databases();
    if there.contains(&live) {
        service.sql_in("template1", "drop database renamed with (force)");
    } else {
        service.sql_in("template1", &format!("alter database renamed rename to \"{live}\""));
    }
}

fn drop_database(service: &Service) {
    service.sql_in("template1", &format!("drop database \"{}\" with (force)", service.database()));
}

fn restore(service: &Service) {
    if !service.databases().contains(&service.database()) {
        docker(&["exec", &service.container(), "touch", "/tmp/go"]).ok();
        service.pgbackup("restore", &["--force"]).ok();
    }
}

/// Behind a dump that has its locks it waits, so it goes on by itself.
fn alter(service: &Service) {
    let script =
        "begin; alter table farmers add column if not exists hat text; create table gone (a int); commit;
create index if not exists hats on farmers (hat); drop table gone";
    let mut session = Session::open(service, &service.database());
    std::thread::spawn(move || session.try_run(script));
}

fn alter_back(service: &Service) {
    service.sql("alter table farmers drop column if exists hat; drop table if exists gone");
}

/// A service with a backup, a previous database and a dump to import; in its copies a restore waits.
struct Ground {
    service: Service,
    _files: tempfile::TempDir,
    dump: std::path::PathBuf,
}

impl Ground {
    fn new(label: &str) -> Self {
        let service = Service::new(label);
        fill_waiting(&service);
        service.create();
        let files = tempfile::tempdir().unwrap();
        let dump = files.path().join("dump.tar");
        let export = ["pgbackup:export", &service.name, "--quiet"];
        assert!(dokku_command(&export).stdout(File::create(&dump).unwrap()).status().unwrap().success());
        let ground = Ground { service, _files: files, dump };
        ground.with_previous();
        ground
    }

    /// What `undo` needs.
    fn with_previous(&self) {
        if self.service.databases().len() < 2 {
            docker(&["exec", &self.service.container(), "touch", "/tmp/go"]).ok();
            self.service.pgbackup("restore", &["--force"]).ok();
        }
        docker(&["exec", &self.service.container(), "rm", "-f", "/tmp/go"]).ok();
    }

    /// Starts `command` and brings it to where it stays; the session that it waits for.
    fn begin(&self, command: &str) -> (Started, Option<Session>) {
        let service = &self.service;
        match command {
            "create" => {
                let held = hold_dumps(service);
                (in_the_middle(service, command), Some(held))
            }
            "diff" => {
                let held = hold_dumps(service);
                let run = Started::pgbackup(service, command, &[]);
                until("pg_dump runs", || has_container(service, ".dump"));
                (run, Some(held))
            }
            "undo" => {
                let comment = format!("begin; comment on database \"{}\" is 'x'", service.database());
                let mut held = Session::open(service, "template1");
                held.run(&comment);
                let mut run = Started::pgbackup(service, command, &[]);
                let renames = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ilike 'alter database%'";
                until("it swaps", || run.has_ended() || service.sql_in("template1", renames) != "0");
                (run, Some(held))
            }
            "import" => (start_import(service, &self.dump), None),
            _ => (in_the_middle(service, command), None),
        }
    }

    /// The event in the middle of the command, and a look at everything afterwards.
    fn try_out(&self, command: &str, event: &Event, tally: &mut Tally) {
        let service = &self.service;
        self.with_previous();
        let (run, mut held) = self.begin(command);
        std::thread::scope(|scope| {
            let happening = scope.spawn(|| (event.happen)(service));
            // What the run waits for would keep some of them waiting, too.
            if command == "undo" {
                std::thread::sleep(Duration::from_millis(300));
                held = None;
            }
            happening.join().unwrap();
        });
        drop(held);
        let ended = released(service, run, command);
        (event.mend)(service);
        self.await_server();
        assert_told(command, event.name, &ended);
        // What a run could not clear because the server was away, the next one clears.
        docker(&["exec", &service.container(), "touch", "/tmp/go"]).ok();
        service.create();
        service.assert_nothing_left();
        assert_sound(service);
        tally.saw(match ended.code {
            0 => "went on and ended well",
            _ => "ended with a sentence",
        });
    }

    fn await_server(&self) {
        let question = ["exec", &self.service.container(), "pg_isready", "--host=localhost", "--quiet"];
        until("the server answers again", || docker(&question).code == 0);
    }
}

fn start_import(service: &Service, dump: &Path) -> Started {
    let name = service.name.as_str();
    let mut import = dokku_command(&["pgbackup:import", name]);
    import.stdin(File::open(dump).unwrap());
    let run = Started::spawn(format!("dokku pgbackup:import {name}"), &mut import);
    until("it loads", || has_container(service, ".load"));
    run
}

/// Lets everything go on that waits, and waits for the end.
fn released(service: &Service, mut run: Started, command: &str) -> Run {
    let started = Instant::now();
    while !run.has_ended() {
        assert!(started.elapsed() < LONGEST_RUN, "{command} does not end");
        let servers = containers(service)
            .into_iter()
            .filter(|name| matches!(name.rsplit('.').next(), Some("drill" | "import")));
        for container in servers.chain([service.container()]) {
            docker(&["exec", &container, "touch", "/tmp/go"]);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    run.end()
}

/// One sentence with a code that says what is wrong: a tool failed, the service is not there or not running.
#[track_caller]
fn assert_told(command: &str, event: &str, run: &Run) {
    let told = || format!("{command} while {event} ended with {}:\n{}{}", run.code, run.stdout, run.stderr);
    assert!([0, 5, 6, 7].contains(&run.code), "{}", told());
    assert!(!run.stderr.contains("panicked"), "{}", told());
    if run.code != 0 {
        assert!(run.stderr.lines().any(|line| line.starts_with(" !     ") && line.len() > 30), "{}", told());
    }
}

/// As many of all commands as make so many tries of each event.
fn rounds() -> u32 {
    tries(1).div_ceil(u32::try_from(COMMANDS.len()).unwrap())
}

#[test]
fn whatever_is_done_to_the_service_meanwhile_the_run_says_what_happened_and_leaves_nothing() {
    let campaign = is_campaign();
    let ground = Ground::new("meanwhile");
    for (at, event) in EVENTS.iter().enumerate().step_by(if campaign { 1 } else { 2 }) {
        let mut tally =
            Tally::new("Others at work", &format!("{}, in the middle of each command", event.name));
        let some = [COMMANDS[at % COMMANDS.len()]];
        let commands = if campaign { &COMMANDS[..] } else { &some[..] };
        for _ in 0..rounds() {
            for command in commands {
                ground.try_out(command, event, &mut tally);
            }
        }
    }
    if campaign {
        drop(ground);
        (0..rounds()).for_each(|_| COMMANDS.into_iter().for_each(destroyed_meanwhile));
    }
}

/// Who holds the service's lock is waited for; a drill or a diff has none, and says what happened.
fn destroyed_meanwhile(command: &str) {
    let mut tally = Tally::new("Others at work", "the service is destroyed, in the middle of each command");
    let ground = Ground::new("meanwhile");
    let service = &ground.service;
    let (run, held) = ground.begin(command);
    let destroy = Started::dokku(&["--force", "postgres:destroy", &service.name]);
    if held.is_none() {
        std::thread::sleep(Duration::from_secs(1));
    }
    drop(held);
    let ended = released(service, run, command);
    destroy.end().ok();
    assert_told(command, "it is destroyed", &ended);
    let kept = dokku(&["pgbackup:list", &service.name, "--destroyed", "--format", "json"]).ok().json();
    let kept = kept.as_array().unwrap();
    assert!(!kept.is_empty() && kept.iter().all(|one| one["status"] == "good"), "{kept:?}");
    assert_eq!(containers(service), Vec::<String>::new());
    dokku(&["--force", "pgbackup:delete", "--destroyed", &service.name]).ok();
    tally.saw(if ended.code == 0 { "went on and ended well" } else { "ended with a sentence" });
}

/// While it reads, an import keeps nobody out.
#[test]
fn a_service_that_is_destroyed_while_a_dump_comes_in_is_said_to_be_gone() {
    let _place = alone();
    let service = Service::new("incoming");
    service.fill();
    service.create();
    let export = ["pgbackup:export", &service.name, "--quiet"];
    let dump = dokku_command(&export).output().unwrap().stdout;
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut import = dokku_command(&["pgbackup:import", &service.name]);
    let run = Started::spawn("dokku pgbackup:import".to_owned(), import.stdin(reader));
    drop(import);
    let (first, rest) = dump.split_at(dump.len() / 2);
    writer.write_all(first).unwrap();
    let scratch = service.root().join("pgbackup/scratch");
    until("it reads", || fs::read_dir(&scratch).is_ok_and(|entries| entries.count() > 0));
    dokku(&["--force", "postgres:destroy", &service.name]).ok();
    // It may have ended already.
    let _ = writer.write_all(rest);
    drop(writer);
    let ended = run.end().fails(5, &format!("Postgres service {} was destroyed meanwhile", service.name));
    assert!(ended.stderr.contains("dokku pgbackup:list --destroyed"), "{}", ended.stderr);
    dokku(&["--force", "pgbackup:delete", "--destroyed", &service.name]).ok();
}

#[test]
fn a_locked_table_is_waited_for_with_a_word_and_given_up_after_lock_timeout() {
    let service = Service::new("locked");
    service
        .fill()
        .sql("create sequence tickets; create view brown as select * from cows where name like 'B%'");
    service.create();
    let mut tally = Tally::new("Others at work", "ACCESS EXCLUSIVE held on a table, a view or a sequence");
    dokku(&["pgbackup:set", &service.name, "lock-timeout", "2"]).ok();
    for lock in [
        "lock table cows in access exclusive mode",
        "drop view brown",
        "alter sequence tickets as int; drop sequence tickets",
    ] {
        let held = Session::that_did(&service, &format!("begin; {lock}"));
        let name = if lock.contains("view") {
            "brown"
        } else if lock.contains("sequence") {
            "tickets"
        } else {
            "cows"
        };
        for command in [&["create"][..], &["diff"]] {
            let run = service.pgbackup(command[0], &command[1..]);
            let run = run.fails(7, &format!("{name} is locked by process "));
            assert!(
                run.stderr.contains("(lock-timeout)") && run.stderr.contains("lock-timeout <seconds>"),
                "{}",
                run.stderr
            );
            service.assert_nothing_left();
            tally.saw("given up with a sentence that names the holder");
        }
        drop(held);
    }
    dokku(&["pgbackup:set", &service.name, "lock-timeout", "300"]).ok();
    let held = hold_dumps(&service);
    let mut run = Started::pgbackup(&service, "create", &[]);
    run.until_it_says("waiting for it, at most 5 min");
    drop(held);
    run.end().ok();
    tally.saw("waited with a word, then done");
    assert_sound(&service);
}

/// Someone waits to alter a table that the dump has locked: a second job of `pg_dump` cannot get its lock any more.
#[test]
fn a_table_that_is_altered_during_the_dump_costs_a_second_attempt_and_not_the_backup() {
    let service = Service::new("altered");
    service
        .fill()
        .sql("select lo_from_bytea(0, 'x'); create table last as select n from generate_series(1, 1000) n");
    dokku(&["pgbackup:set", &service.name, "jobs", "2"]).ok();
    let mut tally = Tally::new("Others at work", "tables altered and dropped while they are dumped");
    for change in [
        "alter table last add column a int",
        "drop table last",
        "create index on cows (name)",
        "truncate farmers cascade",
    ]
    .iter()
    .take(tries(1).max(1).try_into().unwrap())
    {
        let mut run = Started::pgbackup(&service, "create", &[]);
        until("the dump has its locks", || {
            let locks = "select count(*) from pg_locks l join pg_stat_activity using (pid) where application_name like 'pgbackup dump%' and relation = 'cows'::regclass";
            run.has_ended() || service.sql(locks) != "0"
        });
        let mut other = Session::open(&service, &service.database());
        other.try_run(change);
        let ended = run.end().ok();
        tally.saw(if ended.stderr.contains("once more with one job") {
            "backed up at the second attempt"
        } else {
            "backed up"
        });
        service.assert_nothing_left();
    }
    let verified = service.pgbackup("verify", &["--all", "--level", "archive"]);
    verified.ok();
}
