//! The backups' disk is full: told beforehand with figures where it can be known, and cleanly where it cannot, wherever
//! it happens.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::assert_sound;
use super::dice::Dice;
use super::small_disk::{Disk, has_loop_devices};
use super::tally::{Tally, tries};
use crate::bench::{Run, Service, dokku, dokku_command, world};

/// A small disk where a service's backups go.
pub fn small_disk(service: &Service, megabytes: u64) -> Disk {
    let folder = service.root().join("pgbackup");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    owned_by_dokku(&folder);
    let disk = Disk::mount(&folder, megabytes);
    dokku(&["pgbackup:set", &service.name, "min-free", "off"]).ok();
    disk
}

pub fn owned_by_dokku(path: &Path) {
    assert!(Command::new("chown").arg("dokku:dokku").arg(path).status().unwrap().success());
}

/// A table that cannot be compressed: `kilobytes` in the database and in the dump.
pub fn fill_with_noise(service: &Service, kilobytes: u32) {
    service.sql(&format!(
        "drop table if exists noise; create table noise (id int, bytes bytea);
insert into noise select n, (select string_agg(uuid_send(gen_random_uuid()), '') from generate_series(1, 64) where n > 0)
  from generate_series(1, {kilobytes}) n"
    ));
}

#[test]
fn too_little_space_is_told_beforehand_with_figures() {
    if !has_loop_devices() {
        return;
    }
    let service = Service::new("small");
    service.fill();
    let disk = small_disk(&service, 16);
    let _ballast = disk.leave(1_000_000);
    service.pgbackup("create", &[]).fails(6, "too little space").fails(6, " are free");
    service.assert_nothing_left();
    assert_eq!(fs::read_dir(service.backups()).unwrap().count(), 0);
}

/// What a run may say that came to the end of the disk.
#[track_caller]
fn assert_told(run: &Run) {
    assert!([1, 6, 7].contains(&run.code), "{}: {}\n{}{}", run.line, run.code, run.stdout, run.stderr);
    let is_clear = ["No space left on device", "too little space", "nearly full", "is full"];
    assert!(is_clear.iter().any(|words| run.stderr.contains(words)), "{}\n{}", run.line, run.stderr);
    assert!(run.stderr.contains(" !     ") && !run.stderr.contains("panicked"), "{}", run.stderr);
}

/// How much to leave: all over what it takes, and every other time close to all of it, where the small files are written.
fn room(dice: &mut Dice, taken: u64, number: u32) -> u64 {
    let within = |dice: &mut Dice, from: u64, to: u64| from + dice.below(to - from);
    if number.is_multiple_of(2) {
        within(dice, 0, taken + 20_000)
    } else {
        within(dice, taken.saturating_sub(80_000), taken + 80_000)
    }
}

/// A service whose next backup is much larger than its last one, on a disk with enough room for all; what it takes.
fn growing(label: &str) -> (Service, Disk, u64) {
    let service = Service::new(label);
    service.fill();
    let disk = small_disk(&service, 64);
    service.create();
    fill_with_noise(&service, 3000);
    let before = disk.free();
    let measured = service.create();
    let taken = before - disk.free();
    // Nobody is to know how large it gets.
    service.pgbackup("delete", &[&measured, "--force"]).ok();
    (service, disk, taken)
}

#[test]
fn a_backup_that_outgrows_the_disk_at_any_point_fails_and_leaves_nothing() {
    if !has_loop_devices() {
        return;
    }
    let mut dice = Dice::of("outgrown");
    let (service, disk, taken) = growing("outgrown");
    let mut tally = Tally::new("Full disk", "the backups' disk runs full during `create`");
    for number in 0..tries(3) {
        let ballast = disk.leave(room(&mut dice, taken, number));
        let run = service.pgbackup("create", &["--quiet"]);
        service.assert_nothing_left();
        if run.code == 0 {
            service.pgbackup("verify", &[run.stdout.trim(), "--level", "quick"]).ok();
            service.pgbackup("delete", &[run.stdout.trim(), "--force"]).ok();
            tally.saw("made");
        } else {
            assert_told(&run);
            assert_eq!(fs::read_dir(service.backups()).unwrap().count(), 1, "{}", run.stderr);
            tally.saw("told, nothing left");
        }
        drop(ballast);
        if number % 10 == 0 {
            let made = service.create();
            service.pgbackup("delete", &[&made, "--force"]).ok();
        }
    }
    assert_sound(&service);
}

#[test]
fn a_drill_on_a_full_disk_says_nothing_bad_of_the_backup_and_a_restore_works() {
    if !has_loop_devices() {
        return;
    }
    let mut dice = Dice::of("drills");
    let (service, disk, taken) = growing("full-drill");
    let id = service.create();
    let mut tally = Tally::new("Full disk", "the backups' disk runs full during `verify`");
    for number in 0..tries(2) {
        let ballast = disk.leave(room(&mut dice, taken, number));
        let run = service.pgbackup("verify", &[&id]);
        if run.code == 0 {
            tally.saw("verified");
        } else {
            assert_told(&run);
            tally.saw("told, nothing left");
        }
        service.assert_nothing_left();
        drop(ballast);
        let listed = service.pgbackup("list", &["--format", "json"]).ok().json();
        assert_eq!(listed[0]["status"], "good", "{listed}\n{}", run.stderr);
    }
    drop(tally);
    let mut tally = Tally::new("Full disk", "the backups' disk is full, and there is a `restore`");
    for _ in 0..tries(1) {
        let ballast = disk.leave(0);
        service.pgbackup("restore", &[&id, "--force"]).ok();
        for command in ["list", "info", "report", "doctor", "diff"] {
            let run = service.pgbackup(command, &[]);
            assert!(
                [0, 1].contains(&run.code) && !run.stderr.contains("panicked"),
                "{command}: {}",
                run.stderr
            );
        }
        service.assert_nothing_left();
        drop(ballast);
        tally.saw("restored");
    }
    assert_sound(&service);
}

#[test]
fn what_comes_in_and_goes_out_over_a_full_disk_is_whole_or_not_there() {
    if !has_loop_devices() {
        return;
    }
    let mut dice = Dice::of("moves");
    let (service, disk, taken) = growing("moves");
    let id = service.create();
    let store = tempfile::tempdir_in("/var/tmp").unwrap();
    owned_by_dokku(store.path());
    fs::set_permissions(store.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let inside = store.path().join("disk");
    fs::create_dir(&inside).unwrap();
    owned_by_dokku(&inside);
    let remote = Disk::mount(&inside, 32);
    service.pgbackup("remote-set", &[&format!("file://{}", inside.display())]).ok();
    push_over(&service, &remote, &id, taken, &mut dice);
    service.pgbackup("push", &[&id]).ok();
    pull_over(&service, &disk, &id, taken, &mut dice);
    service.pgbackup("verify", &[&id, "--level", "archive"]).ok();
    import_over(&service, &disk, &id, taken, &mut dice);
    assert_sound(&service);
}

fn push_over(service: &Service, remote: &Disk, id: &str, taken: u64, dice: &mut Dice) {
    let mut tally = Tally::new("Full disk", "the remote's disk runs full during `push`");
    for number in 0..tries(2) {
        let ballast = remote.leave(room(dice, taken, number));
        let run = service.pgbackup("push", &[id]);
        drop(ballast);
        let listed = service.pgbackup("list", &["--remote", "--format", "json"]).ok().json();
        let is_there = listed.as_array().unwrap().iter().any(|entry| entry["status"] == "whole");
        assert_eq!(is_there, run.code == 0, "{listed}\n{}", run.stderr);
        tally.saw(if is_there { "pushed" } else { "told, not there" });
        if !is_there {
            assert_told(&run);
        }
        fs::remove_dir_all(remote.folder.join(&service.name)).unwrap_or_default();
        service.pgbackup("list", &[]).ok();
    }
}

fn pull_over(service: &Service, disk: &Disk, id: &str, taken: u64, dice: &mut Dice) {
    let mut tally = Tally::new("Full disk", "the backups' disk runs full during `pull`");
    for number in 0..tries(2) {
        service.pgbackup("delete", &[id, "--force"]).ok();
        let ballast = disk.leave(room(dice, taken, number));
        let run = service.pgbackup("pull", &[id]);
        service.assert_nothing_left();
        drop(ballast);
        assert_eq!(service.backup(id).exists(), run.code == 0, "{}", run.stderr);
        if run.code != 0 {
            assert_told(&run);
            service.pgbackup("pull", &[id]).ok();
        }
        tally.saw(if run.code == 0 { "pulled" } else { "told, nothing left" });
        service.pgbackup("verify", &[id, "--level", "quick"]).ok();
    }
}

fn import_over(service: &Service, disk: &Disk, id: &str, taken: u64, dice: &mut Dice) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = folder.path().join("herd.dump");
    let command = ["pgbackup:export", &service.name, id, "--as", "custom"];
    let exported = dokku_command(&command).stdout(fs::File::create(&file).unwrap()).status().unwrap();
    assert!(exported.success());
    let mut tally = Tally::new("Full disk", "the backups' disk runs full during `import`");
    for number in 0..tries(1) {
        let before = fs::read_dir(service.backups()).unwrap().count();
        let ballast = disk.leave(room(dice, 2 * taken, number));
        let command = ["pgbackup:import", &service.name, "--quiet"];
        let output = dokku_command(&command).stdin(fs::File::open(&file).unwrap()).output().unwrap();
        let run = Run::of(command.join(" "), &output);
        service.assert_nothing_left();
        drop(ballast);
        if run.code == 0 {
            service.pgbackup("delete", &[run.stdout.trim(), "--force"]).ok();
            tally.saw("imported");
        } else {
            assert_told(&run);
            tally.saw("told, nothing left");
        }
        assert_eq!(fs::read_dir(service.backups()).unwrap().count(), before);
    }
}

#[test]
fn on_a_full_disk_and_without_docker_a_backup_can_be_deleted() {
    if !has_loop_devices() {
        return;
    }
    let service = Service::new("stuffed");
    service.sql("create table t (a int)");
    let disk = small_disk(&service, 16);
    let (first, second) = (service.create(), service.create());
    let ballast = disk.leave(0);
    let delete = ["--force", "pgbackup:delete", &service.name, &first];
    let run = dokku_command(&delete).env("DOCKER_HOST", "tcp://127.0.0.1:1").output().unwrap();
    let run = Run::of("delete".to_owned(), &run).ok();
    assert!(run.stderr.contains("containers that killed runs may have left stay"), "{}", run.stderr);
    drop(ballast);
    service.pgbackup("verify", &[&second, "--level", "quick"]).ok();
}

/// The backups of a service that is destroyed go to another disk, which has no room for them.
#[test]
fn a_destroy_whose_backups_find_no_room_is_refused_or_saves_them_all() {
    if !has_loop_devices() {
        return;
    }
    let mut dice = Dice::of("destroyed");
    let service = Service::new("no-room");
    service.fill();
    fill_with_noise(&service, 1000);
    // On a disk of its own, so that a rename does not do.
    let _disk = small_disk(&service, 32);
    dokku(&["pgbackup:set", &service.name, "final-backup", "off"]).ok();
    let id = service.create();
    let _alone = crate::operations::destroyed::alone();
    let place = world().join("lib/data/pgbackup/destroyed");
    fs::create_dir_all(&place).unwrap();
    owned_by_dokku(place.parent().unwrap());
    owned_by_dokku(&place);
    let other = Disk::mount(&place, 32);
    let mut tally = Tally::new("Full disk", "the disk for backups of destroyed services runs full");
    for _ in 0..tries(2) {
        let ballast = other.leave(dice.below(900_000));
        let run = dokku(&["--force", "postgres:destroy", &service.name]);
        assert_ne!(run.code, 0, "{}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains("No space left on device"), "{}", run.stderr);
        drop(ballast);
        let names = fs::read_dir(&place).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains(&service.name)).collect();
        assert!(left.is_empty(), "{left:?}");
        service.pgbackup("verify", &[&id, "--level", "quick"]).ok();
        assert_eq!(service.sql("select count(*) from cows"), "5000");
        tally.saw("refused, all is there");
    }
    service.assert_nothing_left();
}
