//! The disk with Postgres's data runs full while a restore fills a second database there: the restore gives way, and the
//! live database goes on.

use super::dice::Dice;
use super::small_disk::{Disk, has_loop_devices};
use super::tally::{Tally, tries};
use super::{assert_sound, fill_waiting, in_the_middle, let_go};
use crate::bench::{Service, docker};
use crate::started::until;

/// A service whose data folder is a small disk.
struct Small {
    service: Service,
    disk: Disk,
}

impl Small {
    fn new(label: &str, megabytes: u64) -> Self {
        let service = Service::new(label);
        docker(&["stop", &service.container()]).ok();
        let disk = Disk::mount(&service.root().join("data"), megabytes);
        docker(&["start", &service.container()]).ok();
        let small = Small { service, disk };
        small.await_server();
        small
    }

    fn await_server(&self) {
        let ready = ["exec", &self.service.container(), "pg_isready", "--quiet", "--host=localhost"];
        until("the server is ready", || docker(&ready).code == 0);
    }

    /// The live database can be written to now, while the disk is as it is.
    #[track_caller]
    fn assert_lives(&self) {
        self.await_server();
        assert_eq!(self.service.databases(), [self.service.database()]);
        assert_sound(&self.service);
    }
}

impl Drop for Small {
    /// The service is destroyed after this, and its data with it.
    fn drop(&mut self) {
        docker(&["stop", &self.service.container()]);
        self.disk.unmount_lazily();
    }
}

#[test]
fn a_restore_gives_way_before_postgres_has_no_room_left() {
    if !has_loop_devices() {
        return;
    }
    let mut dice = Dice::of("server");
    let small = Small::new("server-full", 256);
    fill_waiting(&small.service);
    small.service.create();
    refused_beforehand(&small);
    stopped_in_time(&small, &mut dice);
    all_taken_at_once(&small);
    let run = in_the_middle(&small.service, "restore");
    let_go(&small.service.container());
    run.end().ok();
    assert_eq!(small.service.sql("select count(*) from cows"), "5000");
}

fn refused_beforehand(small: &Small) {
    let mut tally = Tally::new("Full disk", "Postgres's disk has no room for a second database, `restore`");
    for _ in 0..tries(1) {
        let ballast = small.disk.leave(8_000_000);
        small.service.pgbackup("restore", &["--force"]).fails(6, "too little space to restore");
        drop(ballast);
        assert_eq!(small.service.databases(), [small.service.database()]);
        tally.saw("refused beforehand");
    }
}

/// A restore that waits in the middle, while somebody else takes the room.
fn stopped_in_time(small: &Small, dice: &mut Dice) {
    let mut tally = Tally::new("Full disk", "Postgres's disk runs full in the middle of a `restore`");
    for _ in 0..tries(2) {
        let run = in_the_middle(&small.service, "restore");
        let ballast = small.disk.leave(36_000_000 + dice.below(24_000_000));
        run.end().fails(6, "the disk is nearly full");
        // The room is still taken: what was restored has made way.
        small.assert_lives();
        small.service.assert_nothing_left();
        drop(ballast);
        tally.saw("stopped, the live database goes on");
    }
}

/// Then Postgres itself stops. Nothing is lost by that, and once there is room all is as it was.
fn all_taken_at_once(small: &Small) {
    let mut tally =
        Tally::new("Full disk", "Postgres's disk has not a byte left in the middle of a `restore`");
    for _ in 0..tries(1) {
        let run = in_the_middle(&small.service, "restore");
        let ballast = small.disk.leave(0);
        let ended = run.end();
        assert!([6, 7].contains(&ended.code), "{}{}", ended.stdout, ended.stderr);
        drop(ballast);
        // docker's restarts come ever later.
        docker(&["restart", "--time", "20", &small.service.container()]).ok();
        small.await_server();
        small.service.create();
        small.assert_lives();
        small.service.assert_nothing_left();
        tally.saw("told, nothing lost");
    }
}
