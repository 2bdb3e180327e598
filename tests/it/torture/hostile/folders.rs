//! A backup's folder that is or holds a link, a pipe, a socket, a device or a folder where a file belongs: no command
//! follows it out, waits for it, or takes it for what it stands for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::super::tally::is_campaign;
use super::{Tallies, assert_plain, command, run};
use crate::bench::Service;

const KINDS: [&str; 6] = ["link", "link that leads nowhere", "pipe", "socket", "device", "folder"];

/// Below the folder of the backup; the first is that folder itself.
const PLACES: [&str; 11] = [
    "",
    "manifest.toml",
    "SHA256SUMS",
    "fingerprint.toml",
    "roles.sql",
    "dump",
    "dump/toc.dat",
    "DATA",
    "verified.toml",
    "pinned.toml",
    "dump/additional.dat",
];

/// Around it, in the service's own folder.
const AROUND: [&str; 6] =
    ["lock", "history.jsonl", "settings.toml", "backups/.pending-x", "backups/.deleted-x", "scratch/x"];

const COMMANDS: [&str; 13] = [
    "list S",
    "info S B",
    "report S",
    "verify S B --level quick",
    "verify S B --level archive",
    "restore S B --force",
    "restore S B --table cows",
    "export S B",
    "export S B --as sql",
    "export S B --as custom",
    "diff S B",
    "pin S B",
    "prune S --force",
];

const COMMANDS_AROUND: [&str; 6] =
    ["list S", "report S", "verify S B --level quick", "create S", "history S", "doctor S"];

/// A folder and a file that are none of pgbackup's business.
struct Outside {
    folder: PathBuf,
}

const PRECIOUS: &str = "PRECIOUS";

impl Outside {
    fn new(service: &Service) -> Self {
        let folder = service.root().join("outside");
        fs::create_dir_all(folder.join("dump")).unwrap();
        for name in ["precious", "manifest.toml", "dump/toc.dat"] {
            fs::write(folder.join(name), PRECIOUS).unwrap();
        }
        own(&folder);
        Outside { folder }
    }

    #[track_caller]
    fn assert_untouched(&self, what: &str) {
        for name in ["precious", "manifest.toml", "dump/toc.dat"] {
            assert_eq!(fs::read_to_string(self.folder.join(name)).unwrap(), PRECIOUS, "{what}");
        }
        let names = fs::read_dir(&self.folder).unwrap().count()
            + fs::read_dir(self.folder.join("dump")).unwrap().count();
        assert_eq!(names, 4, "{what}: something was made there");
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn own(path: &Path) {
    assert!(Command::new("chown").args(["-hR", "dokku:dokku"]).arg(path).status().unwrap().success());
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Puts something of that kind at `path`.
fn put(kind: &str, path: &Path, outside: &Outside) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    remove(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match kind {
        "link" if is_folder => symlink(&outside.folder, path).unwrap(),
        "link" => symlink(outside.folder.join("precious"), path).unwrap(),
        "link that leads nowhere" => symlink(outside.folder.join("new"), path).unwrap(),
        "pipe" => mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
        // A path to a socket may not be long.
        "socket" => mknodat(CWD, path, FileType::Socket, Mode::RWXU, 0).unwrap(),
        "device" => mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, makedev(1, 5)).unwrap(),
        _ if is_folder => fs::write(path, "a file").unwrap(),
        _ => fs::create_dir(path).unwrap(),
    }
    own(path);
}

/// A backup as it was, to go back to.
struct Pristine {
    folder: PathBuf,
    kept: PathBuf,
}

impl Pristine {
    fn of(service: &Service, id: &str) -> Self {
        let kept = service.root().join("kept");
        copy(&service.backup(id), &kept);
        Pristine { folder: service.backup(id), kept }
    }

    fn back(&self) {
        remove(&self.folder);
        copy(&self.kept, &self.folder);
    }
}

impl Drop for Pristine {
    fn drop(&mut self) {
        remove(&self.kept);
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").args(["-a", "-T"]).args([from, to]).status().unwrap().success());
}

/// Runs each command on a service that something odd lies in.
fn try_all(service: &Service, id: &str, outside: &Outside, what: &str, commands: &[&str]) {
    for line in commands {
        let ended = run(&mut command(service, id, line));
        assert_plain(&ended);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!told.contains(PRECIOUS), "{line} with {what} showed what is outside:\n{told}");
        outside.assert_untouched(&format!("{line} with {what}"));
    }
}

#[test]
fn nothing_in_a_backup_is_followed_or_waited_for() {
    let service = Service::new("folders");
    service.fill();
    let (outside, id) = (Outside::new(&service), service.create());
    let data = service.files(&id).into_iter().find(|name| name.ends_with(".dat.zst")).unwrap();
    let pristine = Pristine::of(&service, &id);
    // In the tests every place once, every kind and every command several times; in the campaign all of them together.
    let (all, mut tallies) = (is_campaign(), Tallies::default());
    for (at, place) in PLACES.iter().enumerate() {
        for (number, kind) in
            KINDS.iter().enumerate().filter(|(number, _)| all || number % KINDS.len() == at % KINDS.len())
        {
            pristine.back();
            let name = if *place == "DATA" { &data } else { *place };
            let path = if place.is_empty() { service.backup(&id) } else { service.backup(&id).join(name) };
            put(kind, &path, &outside);
            let what = format!("a {kind} at {place:?}");
            let some = |(index, command): (usize, &&'static str)| {
                (all || index % 6 == (at + number) % 6).then_some(*command)
            };
            let commands: Vec<&str> = COMMANDS.iter().enumerate().filter_map(some).collect();
            try_all(&service, &id, &outside, &what, &commands);
            // Records beside a backup are no part of it.
            let is_record = ["verified.toml", "pinned.toml"].contains(place);
            let verified = run(&mut command(&service, &id, "verify S B --level quick"));
            assert!(verified.code != 0 || is_record, "{what} is called good: {}", verified.stdout);
            try_all(&service, &id, &outside, &what, &["delete S B --force"]);
            assert!(fs::symlink_metadata(service.backup(&id)).is_err(), "{what}: it was not deleted");
            tallies.saw(
                format!("a {kind} in a backup's folder or in its place"),
                "told, not followed, deleted as it is",
            );
        }
    }
    pristine.back();
    service.pgbackup("verify", &[&id, "--level", "archive"]).ok();
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    service.assert_nothing_left();
}

#[test]
fn nothing_around_the_backups_is_followed_or_waited_for() {
    let service = Service::new("around");
    service.fill();
    let (outside, id) = (Outside::new(&service), service.create());
    let (all, mut tallies) = (is_campaign(), Tallies::default());
    for (at, place) in AROUND.iter().enumerate() {
        for (number, kind) in
            KINDS.iter().enumerate().filter(|(number, _)| all || number % KINDS.len() == at % KINDS.len())
        {
            let path = service.root().join("pgbackup").join(place);
            put(kind, &path, &outside);
            let what = format!("a {kind} at {place}");
            let some = |(index, command): (usize, &&'static str)| {
                (all || index % 2 == (at + number) % 4 / 2).then_some(*command)
            };
            let commands: Vec<&str> = COMMANDS_AROUND.iter().enumerate().filter_map(some).collect();
            try_all(&service, &id, &outside, &what, &commands);
            remove(&path);
            tallies.saw(format!("a {kind} around the backups"), "told, not followed");
        }
    }
    service.create();
    service.pgbackup("verify", &[&id, "--level", "archive"]).ok();
    service.assert_nothing_left();
}
