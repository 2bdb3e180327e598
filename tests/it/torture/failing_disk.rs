//! A disk that fails otherwise than by being full: no inodes left, read-only, unreadable from some point on, and one
//! that loses what it was given.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::assert_sound;
use super::dice::Dice;
use super::full_disk::{fill_with_noise, owned_by_dokku, small_disk};
use super::small_disk::{Disk, has_loop_devices};
use super::tally::{Tally, tries};
use crate::bench::{Run, Service, dokku};

/// Every command that only looks.
const LOOKS: [&[&str]; 6] =
    [&["list"], &["info"], &["report"], &["diff"], &["doctor"], &["verify", "--level", "archive"]];

fn survived(run: &Run) {
    assert!([0, 1, 3, 5, 6, 7].contains(&run.code) && !run.stderr.contains("panicked"), "{run:?}");
    if run.code != 0 {
        assert!(run.stderr.contains(" !     ") || run.stdout.contains(" !     "), "{run:?}");
    }
}

#[test]
fn without_inodes_nothing_is_left_and_the_next_run_works() {
    if !has_loop_devices() {
        return;
    }
    let mut dice = Dice::of("inodes");
    let service = Service::new("inodes");
    service.fill();
    let folder = service.root().join("pgbackup");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    owned_by_dokku(&folder);
    let disk = Disk::with_inodes(&folder, 64, 128);
    dokku(&["pgbackup:set", &service.name, "min-free", "off"]).ok();
    service.create();
    let mut tally = Tally::new("Full disk", "the backups' disk runs out of inodes during `create`");
    for _ in 0..tries(2) {
        let fillers = folder.join("fillers");
        fs::create_dir(&fillers).unwrap();
        let free = usize::try_from(rustix::fs::statvfs(&folder).unwrap().f_ffree).unwrap();
        (0..free - dice.index(14))
            .for_each(|number| drop(fs::File::create(fillers.join(number.to_string())).unwrap()));
        let run = service.pgbackup("create", &["--quiet"]);
        service.assert_nothing_left();
        fs::remove_dir_all(fillers).unwrap();
        if run.code == 0 {
            service.pgbackup("delete", &[run.stdout.trim(), "--force"]).ok();
            tally.saw("made");
        } else {
            assert!(
                [1, 6, 7].contains(&run.code) && run.stderr.contains("No space left on device"),
                "{run:?}"
            );
            tally.saw("told, nothing left");
        }
        assert_eq!(fs::read_dir(service.backups()).unwrap().count(), 1);
    }
    drop(disk);
}

#[test]
fn on_a_read_only_disk_all_that_reads_works_and_the_rest_says_why_not() {
    if !has_loop_devices() {
        return;
    }
    let service = Service::new("read-only");
    service.fill();
    let disk = small_disk(&service, 32);
    let id = service.create();
    let mut tally = Tally::new("Failing disk", "the backups' disk is mounted read-only");
    disk.remount("ro");
    for command in LOOKS {
        let run = service.pgbackup(command[0], &command[1..]);
        assert!(!run.stderr.contains("panicked"), "{run:?}");
        assert!([0, 1].contains(&run.code), "{run:?}");
        assert!(
            run.code == 0 || run.stderr.contains("Read-only file system") || command[0] == "doctor",
            "{run:?}"
        );
        tally.saw(if run.code == 0 { "works" } else { "says why not" });
    }
    service.pgbackup("list", &[]).ok().says(&id);
    service.pgbackup("verify", &["--level", "archive"]).ok().says("is good");
    service.pgbackup("restore", &["--dry-run"]).ok();
    service.pgbackup("restore", &["--force"]).ok();
    tally.saw("works");
    for command in [&["create"][..], &["delete", "--force"], &["pin"]] {
        let id = [id.as_str()];
        let args = if command[0] == "create" { &[][..] } else { &id[..] };
        let run = service.pgbackup(command[0], &[args, &command[1..]].concat());
        assert!([1, 6].contains(&run.code), "{run:?}");
        assert!(run.stderr.contains("Read-only file system"), "{run:?}");
        tally.saw("says why not");
    }
    disk.remount("rw");
    service.create();
    service.assert_nothing_left();
    assert_sound(&service);
}

#[test]
fn what_the_disk_gives_no_more_is_never_called_good() {
    if !has_loop_devices() {
        return;
    }
    let mut dice = Dice::of("unreadable");
    let service = Service::new("unreadable");
    service.fill();
    let mut tally =
        Tally::new("Failing disk", "the disk gives errors instead of what is behind a random point");
    for number in 0..tries(3) {
        let disk = small_disk(&service, 16);
        let id = service.create();
        disk.unmount();
        // Metadata is in front and behind, too: then there is nothing to list.
        let keep = 1_000_000 + dice.below(if number.is_multiple_of(2) { 14_000_000 } else { 3_000_000 });
        disk.mount_again("rw");
        disk.break_behind(keep);
        let verified = service.pgbackup("verify", &[&id, "--level", "quick"]);
        survived(&verified);
        for command in LOOKS {
            survived(&service.pgbackup(command[0], &command[1..]));
        }
        let restored = service.pgbackup("restore", &[&id, "--force"]);
        survived(&restored);
        assert!(verified.code == 0 || restored.code != 0, "{verified:?}{restored:?}");
        survived(&service.pgbackup("create", &[]));
        assert_eq!(service.sql("select count(*) from cows"), "5000");
        tally.saw(match verified.code {
            0 => "all could still be read",
            3 => "found, refused",
            _ => "told that it cannot be read",
        });
    }
    drop(tally);
    service.create();
    assert_sound(&service);
}

/// As of a disk that is promised to be larger than it is: what is written is only found not to fit afterwards.
#[test]
fn a_backup_that_the_disk_loses_is_not_made() {
    if !has_loop_devices() {
        return;
    }
    let mut dice = Dice::of("loses");
    let service = Service::new("loses");
    service.fill();
    let folder = service.root().join("pgbackup");
    fs::create_dir_all(&folder).unwrap();
    owned_by_dokku(&folder);
    let mut tally =
        Tally::new("Failing disk", "the disk loses what is written to it (a thin volume without room)");
    for _ in 0..tries(2) {
        let disk = Disk::promised(&folder, 64, 1_000_000 + dice.below(2_000_000));
        dokku(&["pgbackup:set", &service.name, "min-free", "off"]);
        let mut made = Vec::new();
        for _ in 0..8 {
            fill_with_noise(&service, 600);
            let run = service.pgbackup("create", &["--quiet"]);
            survived(&run);
            if run.code != 0 {
                tally.saw("told");
                break;
            }
            made.push(run.stdout.trim().to_owned());
        }
        assert!(made.len() < 8, "the disk never came to its end");
        for id in &made {
            let run = service.pgbackup("verify", &[id, "--level", "quick"]);
            assert_eq!(run.code, 0, "it was called good and is lost: {run:?}");
        }
        for command in LOOKS {
            survived(&service.pgbackup(command[0], &command[1..]));
        }
        drop(disk);
    }
    service.create();
    assert_sound(&service);
}
