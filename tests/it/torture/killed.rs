//! kill -9 at moments spread over each command's run.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::tally::{Tally, tries};
use super::{assert_sound, container, containers, in_the_middle, leftovers, pending_backup};
use crate::bench::{Run, Service, docker, dokku};
use crate::session::Session;
use crate::started::{Started, children, command_line, until};

/// Kills `command` again and again, each time a bit later. `before` makes it possible and gives its arguments, `after`
/// looks at what is special about it, `next` is a command that clears what is left.
fn kill_all_over(
    service: &Service,
    command: &str,
    before: impl Fn(u32) -> Vec<String>,
    after: impl Fn(u32),
    next: impl Fn(u32) -> Run,
) {
    // The first time is only measured. What came to its end before it was to be killed is the new measure.
    let mut duration = killed_after(service, command, &before(0), NEVER).unwrap();
    let mut hits = 0;
    let moments = tries(5);
    let mut tally = Tally::new("Crashes", &format!("kill -9 of `{command}`"));
    for moment in 0..moments {
        let args = before(moment);
        let killed = killed_after(service, command, &args, duration * (2 * moment + 1) / (2 * moments));
        after(moment);
        let left = leftovers(service);
        let verified = assert_sound(service);
        let cleared = next(moment).ok();
        for name in left {
            let told = verified.stderr.contains(&name) || cleared.stderr.contains(&name);
            assert!(told, "{name} is not told of in\n{}{}", verified.stderr, cleared.stderr);
        }
        service.assert_nothing_left();
        forget_old_backups(service);
        match killed {
            None => {
                hits += 1;
                tally.saw("killed, next run clears");
            }
            Some(quicker) => {
                duration = quicker;
                tally.saw("had ended before");
            }
        }
    }
    assert!(hits * 2 >= moments, "only {hits} of {moments} were killed before their end");
}

/// Longer than any run takes.
const NEVER: Duration = Duration::from_secs(600);

/// `None` when it was killed, else how long it lived.
fn killed_after(service: &Service, command: &str, args: &[String], delay: Duration) -> Option<Duration> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut run = Started::pgbackup(service, command, &args);
    let process = run.process().unwrap();
    let started = Instant::now();
    while started.elapsed() < delay && !run.has_ended() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let lived = started.elapsed();
    let orphans = children(process);
    let killed = kill_process(process, Signal::KILL).is_ok();
    let ended = run.end();
    orphans.iter().for_each(|(pid, line)| settle(*pid, line));
    if killed && ended.code == 137 {
        return None;
    }
    ended.ok();
    Some(lived)
}

/// Waits until docker has done what the killed run had just asked it for: nobody can clear what is not there yet.
fn settle(orphan: u32, line: &[String]) {
    let name = line.iter().position(|word| word == "--name").and_then(|at| line.get(at + 1));
    until("the orphaned docker command is done or its container is there", || {
        command_line(orphan).is_empty()
            || name.is_some_and(|name| {
                docker(&["container", "inspect", "--format", "{{.State.Running}}", name]).stdout.trim()
                    == "true"
            })
    });
}

/// Or the checks of all would take longer each time.
fn forget_old_backups(service: &Service) {
    let mut names: Vec<_> =
        fs::read_dir(service.backups()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for old in names.iter().rev().skip(4) {
        fs::remove_dir_all(old).unwrap();
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn filled(label: &str) -> Service {
    let service = Service::new(label);
    service.fill().sql("create table marks (at int)");
    service.create();
    service
}

#[test]
fn a_killed_create_leaves_a_good_backup_or_rubbish_that_the_next_one_clears() {
    let service = filled("kill-create");
    let create = |_| service.pgbackup("create", &[]);
    kill_all_over(&service, "create", |_| Vec::new(), |_| (), create);
}

#[test]
fn a_killed_delete_leaves_a_whole_backup_or_none() {
    let service = filled("kill-delete");
    let doomed = |_| vec![service.create(), "--force".to_owned()];
    kill_all_over(&service, "delete", doomed, |_| (), |_| service.pgbackup("create", &[]));
}

#[test]
fn a_killed_drill_is_cleared_by_the_next_create() {
    let service = filled("kill-verify");
    kill_all_over(&service, "verify", |_| Vec::new(), |_| (), |_| service.pgbackup("create", &[]));
    service.pgbackup("verify", &[]).ok();
}

/// The mark that was made before a restore is in the live database or, after the swap, in the previous one.
fn assert_mark_is_kept(service: &Service, moment: u32) {
    let question = format!("select count(*) from marks where at = {moment}");
    let databases = service.databases();
    let previous = databases.iter().filter(|name| name.contains("_previous_")).max();
    let kept =
        service.sql(&question) == "1" || previous.is_some_and(|name| service.sql_in(name, &question) == "1");
    assert!(kept, "the row written before restore {moment} is lost; {databases:?}");
}

#[test]
fn a_killed_restore_has_swapped_or_has_changed_nothing() {
    let service = filled("kill-restore");
    let mark = |moment: u32| {
        service.sql(&format!("insert into marks values ({moment})"));
        strings(&["--force"])
    };
    let next = |moment: u32| {
        if moment.is_multiple_of(2) {
            service.pgbackup("create", &[])
        } else {
            service.pgbackup("restore", &["--force"])
        }
    };
    kill_all_over(&service, "restore", mark, |moment| assert_mark_is_kept(&service, moment), next);
    service.pgbackup("restore", &["--force"]).ok();
    service.assert_nothing_left();
}

#[test]
fn a_killed_undo_has_swapped_or_has_changed_nothing() {
    let service = filled("kill-undo");
    service.pgbackup("restore", &["--force"]).ok();
    let both = |_| {
        let databases = service.databases();
        assert_eq!(databases.len(), 2, "{databases:?}");
        Vec::new()
    };
    kill_all_over(&service, "undo", both, |moment| drop(both(moment)), |_| service.pgbackup("create", &[]));
    service.pgbackup("undo", &[]).ok();
}

#[test]
fn killed_while_it_restores_a_table_the_copy_is_whole_or_not_there() {
    let service = filled("kill-tables");
    let copies = "select nspname from pg_namespace where nspname like 'pgbackup\\_%'";
    let none_there = |_| {
        for schema in service.sql(copies).lines() {
            service.sql(&format!("drop schema {schema} cascade"));
        }
        strings(&["--table", "cows"])
    };
    let whole = |_| {
        for schema in service.sql(copies).lines() {
            assert_eq!(service.sql(&format!("select count(*) from {schema}.cows")), "5000");
        }
    };
    kill_all_over(&service, "restore", none_there, whole, |_| service.pgbackup("create", &[]));
    none_there(0);
    service.pgbackup("restore", &["--table", "cows"]).ok();
}

#[test]
fn a_dump_that_outlived_its_run_is_stopped_and_removed_by_the_next_run() {
    let service = filled("kill-orphan");
    service.sql("select lo_from_bytea(0, 'x')");
    service.create();
    // Large objects come last: tables are on the disk when the dump has to wait.
    let held = Session::that_did(&service, "begin; lock table pg_largeobject in access exclusive mode");
    let mut run = in_the_middle(&service, "create");
    let pending = || pending_backup(&service);
    until("the dump writes", || {
        let files = pending().and_then(|folder| fs::read_dir(folder.join("dump")).ok());
        files.is_some_and(|files| files.count() > 1)
    });
    assert!(run.signal(Signal::KILL));
    assert_eq!(run.end().code, 137);
    let orphan = container(&service, ".dump");
    let restored = service.pgbackup("restore", &["--force"]).ok();
    assert!(restored.stderr.contains(&orphan), "{}", restored.stderr);
    assert_eq!(containers(&service), Vec::<String>::new());
    assert_eq!(pending(), None);
    service.assert_nothing_left();
    drop(held);
    dokku(&["pgbackup:create", &service.name]).ok();
}
