//! A run that is killed while its dump goes on.

use std::fs;

use rustix::process::Signal;

use super::{container, containers, in_the_middle, pending_backup};
use crate::bench::{Service, dokku};
use crate::session::Session;
use crate::started::until;

#[test]
fn a_dump_that_outlived_its_run_is_stopped_and_removed_by_the_next_run() {
    let service = Service::new("kill-orphan");
    service.fill().sql("select lo_from_bytea(0, 'x')");
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
