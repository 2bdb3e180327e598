//! SIGINT, SIGTERM, SIGHUP and an ssh connection that goes away: the work is undone, at once and completely.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::{assert_sound, fill_waiting, hold_dumps, in_the_middle, pending_backup};
use crate::bench::{Service, ssh_command};
use crate::session::Session;
use crate::started::{pgbackup_below, until};

/// "At once" on a machine that does a lot else; alone it is a second at most.
const AT_ONCE: Duration = Duration::from_secs(10);

fn assert_lock_is_free(service: &Service) {
    let file = File::open(service.root().join("pgbackup/lock")).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
}

fn assert_undone(service: &Service, what: &str) {
    service.assert_nothing_left();
    assert_lock_is_free(service);
    assert_sound(service);
    assert_eq!(service.databases(), [service.database()], "{what}");
}

#[test]
fn every_signal_ends_every_command_at_once_and_leaves_nothing() {
    let service = Service::new("signals");
    fill_waiting(&service);
    service.create();
    let held = hold_dumps(&service);
    let mut held = Some(held);
    for command in ["create", "verify", "restore"] {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 143)] {
            let mut run = in_the_middle(&service, command);
            let sent = Instant::now();
            assert!(run.signal(signal));
            let what = format!("{command} after {signal:?}");
            let ended = run.end().fails(code, "nothing half-done is left");
            assert!(sent.elapsed() < AT_ONCE, "{what} took {:?}", sent.elapsed());
            assert_eq!(
                ended.stdout.matches("=====>").count(),
                usize::from(command == "restore"),
                "{what}: {}",
                ended.stdout
            );
            service.assert_nothing_left();
            assert_lock_is_free(&service);
        }
        held = None;
    }
    drop(held);
    assert_undone(&service, "after all signals");
}

#[test]
fn a_connection_that_goes_away_ends_the_run_it_started() {
    let service = Service::new("hangup");
    service.fill();
    service.create();
    service.sql(
        "create table big (id int, junk bytea); select lo_from_bytea(0, 'x');
insert into big select n, (select string_agg(uuid_send(gen_random_uuid()), '') from generate_series(1, 500) where n > 0)
  from generate_series(1, 3000) n",
    );
    // 24 MB are being written, and at its last object the dump waits: it is in the middle for sure.
    let held = Session::that_did(&service, "begin; lock table pg_largeobject in access exclusive mode");
    let mut ssh = ssh_command(&format!("pgbackup:create {}", service.name));
    let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(ssh.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Backing up") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended before it began");
    }
    let pending = || pending_backup(&service);
    until("some of the dump is on the disk", || {
        let files = pending().and_then(|folder| fs::read_dir(folder.join("dump")).ok());
        files.is_some_and(|files| {
            files.flatten().any(|file| file.metadata().is_ok_and(|data| data.len() > 100_000))
        })
    });
    let process = pgbackup_below(ssh.id()).unwrap();
    let closed = Instant::now();
    drop((stderr, ssh.stdout.take(), ssh.stdin.take()));
    assert_eq!(ssh.wait().unwrap().code(), Some(143));
    assert!(closed.elapsed() < AT_ONCE, "{:?}", closed.elapsed());
    assert!(rustix::process::test_kill_process(process).is_err(), "pgbackup runs on");
    assert_undone(&service, "after the hang-up");
    assert_eq!(pending(), None);
    drop(held);
    service.create();
}
