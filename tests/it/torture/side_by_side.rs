//! Two runs at once on one service: one writer at a time, readers beside it, and nobody clears what a living run needs.

use rustix::process::Signal;

use super::{
    assert_sound, container, containers, fill_waiting, hold_dumps, in_the_middle, is_drill, leftovers, let_go,
};
use crate::bench::{Run, Service};
use crate::started::{Started, until};

#[test]
fn the_second_writer_is_told_who_is_at_work_and_the_first_one_goes_on() {
    let service = Service::new("busy");
    service.fill();
    let id = service.create();
    let mut held = hold_dumps(&service);
    let mut first = in_the_middle(&service, "create");
    let holder = format!("pgbackup:create (process {}) has it", first.process().unwrap().as_raw_nonzero());
    let busy = |run: Run| run.fails(4, &holder);
    busy(service.pgbackup("create", &[]));
    busy(service.pgbackup("undo", &[]));
    busy(service.pgbackup("delete", &[&id, "--force"]));
    busy(service.pgbackup("restore", &["--table", "cows"]));
    busy(service.pgbackup("restore", &["--force"]));
    held.run("commit");
    first.end().ok();
    assert_eq!(service.pgbackup("list", &["--format", "json"]).ok().json().as_array().unwrap().len(), 2);
    service.assert_nothing_left();
}

#[test]
fn two_creates_at_the_same_instant_make_one_backup_or_two() {
    let service = Service::new("instant");
    service.fill();
    for _ in 0..4 {
        let runs = [(); 3].map(|()| Started::pgbackup(&service, "create", &[]));
        let codes = runs.map(|run| run.end().code);
        assert!(codes.contains(&0) && codes.iter().all(|code| [0, 4].contains(code)), "{codes:?}");
    }
    service.assert_nothing_left();
    assert_sound(&service);
}

#[test]
fn a_backup_is_not_deleted_while_it_is_verified_and_others_may_be_made() {
    let service = Service::new("beside");
    fill_waiting(&service);
    let id = service.create();
    let drill = in_the_middle(&service, "verify");
    service.pgbackup("delete", &[&id, "--force"]).fails(4, "is being verified or restored now");
    service.create();
    assert_eq!(containers(&service).len(), 2, "the drill's containers are not taken for leftovers");
    let_go(&container(&service, ".drill"));
    drill.end().ok().says("is good");
    service.pgbackup("delete", &[&id, "--force"]).ok();
    service.assert_nothing_left();
}

/// How many `pg_restore`s are at work.
fn restores(service: &Service) -> usize {
    containers(service).iter().filter(|name| name.rsplit('.').next() == Some("restore")).count()
}

#[test]
fn two_drills_of_one_backup_do_not_disturb_each_other() {
    let service = Service::new("drills");
    fill_waiting(&service);
    service.create();
    let runs = [(); 2].map(|()| Started::pgbackup(&service, "verify", &[]));
    until("both restore at once", || restores(&service) == 2);
    containers(&service).iter().filter(|name| is_drill(name)).for_each(|name| let_go(name));
    for run in runs {
        run.end().ok().says("is good");
    }
    service.assert_nothing_left();
}

#[test]
fn a_drill_and_a_restore_of_one_backup_do_not_disturb_each_other() {
    let service = Service::new("swapped");
    fill_waiting(&service);
    service.create();
    let drill = in_the_middle(&service, "verify");
    let restore = Started::pgbackup(&service, "restore", &["--force"]);
    until("both restore at once", || restores(&service) == 2);
    let_go(&service.container());
    restore.end().ok();
    assert_eq!(restores(&service), 1);
    let_go(&container(&service, ".drill"));
    drill.end().ok().says("is good");
    service.assert_nothing_left();
    assert_sound(&service);
}

#[test]
fn a_dead_drill_is_cleared_beside_a_living_one() {
    let service = Service::new("dead");
    fill_waiting(&service);
    service.create();
    let mut dead = in_the_middle(&service, "verify");
    let orphans = [container(&service, ".drill"), container(&service, ".restore")];
    let scratch = leftovers(&service, service.databases()).into_iter().find(|name| !is_drill(name)).unwrap();
    assert!(dead.signal(Signal::KILL));
    assert_eq!(dead.end().code, 137);
    assert_eq!(containers(&service).len(), 2, "nobody could clear them yet");
    // The next verify clears them and is itself left alone by a create.
    let living = in_the_middle(&service, "verify");
    let left = containers(&service);
    assert!(left.len() == 2 && orphans.iter().all(|orphan| !left.contains(orphan)), "{left:?}");
    service.create();
    assert_eq!(containers(&service), left);
    let_go(&container(&service, ".drill"));
    let ended = living.end().ok();
    for name in [&orphans[0], &orphans[1], &scratch] {
        assert!(ended.stderr.contains(name.as_str()), "{name} is not told of in\n{}", ended.stderr);
    }
    service.assert_nothing_left();
}
