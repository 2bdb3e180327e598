//! `postgres:destroy` does not destroy the backups.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::app::backups;
use crate::bench::{Service, dokku, mode, world};
use crate::plugins::Hook;
use crate::started::{Started, until};

/// Where they are kept is one folder for all tests, and one of them mounts something there.
pub static PLACE: Mutex<()> = Mutex::new(());

/// Nobody else mounts anything there, or counts what is there.
pub fn alone() -> MutexGuard<'static, ()> {
    PLACE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another file system where the backups of destroyed services are kept.
struct OtherDisk(PathBuf);

impl OtherDisk {
    fn mount() -> Self {
        let place = world().join("lib/data/pgbackup/destroyed");
        fs::create_dir_all(&place).unwrap();
        let options = "size=64m,mode=700,uid=dokku,gid=dokku";
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&place).status();
        assert!(mounted.unwrap().success());
        OtherDisk(place)
    }
}

impl Drop for OtherDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn kept(service: &str) -> Vec<Value> {
    let listed = dokku(&["pgbackup:list", "--destroyed", "--format", "json"]).ok().json();
    listed.as_array().unwrap().iter().filter(|one| one["service"] == service).cloned().collect()
}

/// Destroys it for real, unlike the end of a test does.
#[track_caller]
fn destroy(service: &Service) -> crate::bench::Run {
    dokku(&["--force", "postgres:destroy", &service.name])
}

fn forget(name: &str) {
    dokku(&["--force", "pgbackup:delete", "--destroyed", name]).ok();
}

/// A backup that is told of as made and goes with the service would be worse than none.
#[test]
fn a_service_that_is_being_destroyed_is_left_alone() {
    let _place = alone();
    let service = Service::new("going");
    service.fill();
    service.create();
    let script = format!(
        "if [[ $1 == pre-delete && $3 == {} ]]; then until [[ -e {}/go ]]; do sleep 0.05; done; fi\n",
        service.name,
        service.root().display()
    );
    let _waits = Hook::new(&format!("zz-waits-{}", service.name), "service-action", &script);
    let mut destroying = Started::dokku(&["--force", "postgres:destroy", &service.name]);
    until("the backups are away", || !service.backups().exists() || destroying.has_ended());
    for command in ["create", "undo", "prune"] {
        let refused = service.pgbackup(command, &[]);
        refused.fails(5, &format!("Postgres service {} is being destroyed", service.name));
    }
    fs::write(service.root().join("go"), "").unwrap();
    destroying.end().ok();
    assert!(!service.root().exists(), "it came back");
    assert_eq!(kept(&service.name)[0]["backups"], 2);
    forget(&service.name);
}

#[test]
fn the_backups_outlive_their_service_and_come_back_into_another() {
    let _place = alone();
    let service = Service::new("gone");
    service.fill();
    service.create();
    service.sql("delete from cows where id = 1");
    let run = destroy(&service).ok();
    let kept_now = kept(&service.name);
    let name = kept_now[0]["name"].as_str().unwrap().to_owned();
    for words in [
        format!("The backups of {} are kept as {name}", service.name),
        format!("dokku pgbackup:restore <service> --from-destroyed {name}"),
        format!("dokku pgbackup:delete --destroyed {name}"),
    ] {
        assert!(run.stdout.contains(&words), "{words} is not in\n{}", run.stdout);
    }
    assert_eq!(kept_now[0]["backups"], 2, "the one before and the final one");
    let folder = PathBuf::from(kept_now[0]["path"].as_str().unwrap());
    assert_eq!((mode(&folder), mode(folder.parent().unwrap())), (0o700, 0o700));
    assert!(!service.root().exists());
    for wanted in [&service.name, &name] {
        let listed = dokku(&["pgbackup:list", wanted, "--destroyed", "--format", "json"]).ok().json();
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (2, &kept_now[0]["last_backup"]));
    }
    // A new service of that name begins with nothing.
    dokku(&["postgres:create", &service.name, "--image-version", "17"]).ok();
    assert_eq!(backups(&service), Vec::<Value>::new());
    let to = ["restore", "--from-destroyed", &service.name, "--force"];
    service.pgbackup(to[0], &to[1..]).ok();
    assert_eq!(service.sql("select count(*) from cows"), "4999");
    assert_eq!(backups(&service), Vec::<Value>::new());
    service.create();
    assert_eq!(backups(&service).len(), 1);
    let old = dokku(&["pgbackup:list", "--destroyed"]).ok().stdout;
    assert!(old.contains(&name), "{old}");
    dokku(&["pgbackup:delete", "--destroyed", &name]).fails(6, "not confirmed");
    let reader = fs::File::open(folder.join(kept_now[0]["last_backup"].as_str().unwrap())).unwrap();
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).unwrap();
    dokku(&["pgbackup:delete", "--destroyed", &name, "--force"]).fails(4, "is being restored");
    drop(reader);
    // What a killed deletion left.
    let left = world().join(format!("lib/data/pgbackup/destroyed/.deleted-{}-x", service.name));
    fs::create_dir_all(left.join("pgbackup")).unwrap();
    let owned = Command::new("chown").args(["-R", "dokku:dokku"]).arg(&left).status();
    assert!(owned.unwrap().success());
    forget(&name);
    assert!(!left.exists());
    assert_eq!(kept(&service.name), Vec::<Value>::new());
    dokku(&["pgbackup:delete", "--destroyed", &name, "--force"])
        .fails(5, "no backups of a destroyed service");
}

#[test]
fn what_cannot_be_saved_is_said_and_refused_where_that_is_wanted() {
    let _place = alone();
    let service = Service::new("final");
    service.fill();
    dokku(&["pgbackup:set", &service.name, "final-backup", "required"]).ok();
    dokku(&["postgres:stop", &service.name]).ok();
    destroy(&service).fails(6, "is not destroyed, for its last backup failed");
    assert!(service.root().join("DATABASE_NAME").exists());
    dokku(&["postgres:start", &service.name]).ok();
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    let settings = service.root().join("pgbackup/settings.toml");
    let good = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{good}jobs = 99\n")).unwrap();
    destroy(&service).fails(1, "is not destroyed").fails(1, "settings.toml cannot be used: line 2");
    fs::write(&settings, good).unwrap();
    service.create();
    dokku(&["pgbackup:set", &service.name, "final-backup", "on"]).ok();
    dokku(&["postgres:stop", &service.name]).ok();
    let run = destroy(&service).ok();
    assert!(run.stderr.contains("the backups made before are kept"), "{}", run.stderr);
    let kept = kept(&service.name);
    assert_eq!(kept[0]["backups"], 1);
    forget(kept[0]["name"].as_str().unwrap());
    dokku(&["postgres:create", &service.name, "--image-version", "17"]).ok();
}

#[test]
fn a_service_that_was_never_backed_up_is_destroyed_as_always() {
    let _place = alone();
    let service = Service::new("never");
    let run = destroy(&service).ok();
    assert!(
        !run.stdout.contains("pgbackup") && !run.stderr.contains("acking up"),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert_eq!(kept(&service.name), Vec::<Value>::new());
    dokku(&["postgres:create", &service.name, "--image-version", "17"]).ok();
    service.create();
    dokku(&["pgbackup:set", &service.name, "final-backup", "off"]).ok();
    destroy(&service).ok();
    let kept = kept(&service.name);
    assert_eq!(kept[0]["backups"], 1, "without a last one");
    forget(kept[0]["name"].as_str().unwrap());
    dokku(&["postgres:create", &service.name, "--image-version", "17"]).ok();
}

#[test]
fn the_backups_are_back_when_another_plugin_stops_the_destroy() {
    let _place = alone();
    let service = Service::new("vetoed");
    service.fill();
    let (damaged, id) = (service.create(), service.create());
    fs::remove_file(service.backup(&damaged).join("manifest.toml")).unwrap();
    let twice = service.create();
    service.pgbackup("set", &["jobs", "3"]).ok();
    service.pgbackup("remote-set", &["s3://before"]).ok();
    let remote = service.root().join("pgbackup/remote.toml");
    let aside = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("--archive")
        .args([service.backup(&twice), service.backup(&id)])
        .arg(aside.path())
        .status();
    assert!(copied.unwrap().success());
    let veto = Hook::veto(&service);
    destroy(&service).fails_with("");
    drop(veto);
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    // As if one had been copied back already, and the other's removal here had been cut off.
    let script = "install -d -m 700 -o dokku -g dokku \"${1%/*}\" \"$1\" && rm \"$3\"/dump/*.zst && mv \"$2\" \"$3\" \"$1/\"";
    let moved = Command::new("bash")
        .args(["-c", script, "-"])
        .arg(service.backups())
        .args([aside.path().join(&twice), aside.path().join(&id)])
        .status();
    assert!(moved.unwrap().success());
    let run = service.pgbackup("create", &[]).ok();
    assert!(run.stderr.contains("was not destroyed after all: its backups are back"), "{}", run.stderr);
    assert!(fs::read_to_string(&remote).unwrap().contains("s3://before"));
    assert_eq!(mode(&remote), 0o600);
    let ids: Vec<String> =
        backups(&service).iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect();
    let made = fs::read_to_string(service.backup(&ids[0]).join("manifest.toml")).unwrap();
    assert!(made.contains("jobs = 3\n"), "made without the settings that came back: {made}");
    assert!(ids.len() == 5 && ids.contains(&twice) && ids.contains(&id) && ids.contains(&damaged), "{ids:?}");
    assert!(service.backup(&damaged).join("dump/toc.dat").exists(), "what is left of a damaged one");
    assert_eq!(kept(&service.name), Vec::<Value>::new());
    service.pgbackup("verify", &[&id, "--level", "archive"]).ok();
}

#[test]
fn the_backups_come_back_only_when_the_destroy_is_over_and_the_service_is_there() {
    let _place = alone();
    let service = Service::new("halfway");
    let id = service.create();
    dokku(&["pgbackup:set", &service.name, "keep-daily", "9"]).ok();
    service.pgbackup("remote-set", &["s3://before"]).ok();
    let veto = Hook::veto(&service);
    destroy(&service).fails_with("");
    drop(veto);
    let folder = PathBuf::from(kept(&service.name)[0]["path"].as_str().unwrap());
    let note = folder.with_file_name("service-root");
    let known = fs::read_to_string(&note).unwrap();
    let (identity, process) = known.split_once('\n').unwrap();
    assert!(process.contains(' '), "the process that destroys: {known}");
    // Nobody knows who destroys: it may be at work.
    fs::write(&note, format!("{identity}\n\n")).unwrap();
    service.pgbackup("prune", &[]).ok();
    assert_eq!((backups(&service).len(), kept(&service.name).len()), (0, 1));
    // rm came half-way, after the container was gone.
    Command::new("touch").args(["--date", "2 hours ago"]).arg(&note).status().unwrap();
    let password = service.root().join("PASSWORD");
    let beside = service.root().join("PASSWORD.gone");
    fs::rename(&password, &beside).unwrap();
    let hidden = format!("{}.hidden", service.container());
    crate::bench::docker(&["rename", &service.container(), &hidden]).ok();
    service.pgbackup("prune", &[]).ok();
    assert_eq!((backups(&service).len(), kept(&service.name).len()), (0, 1));
    fs::rename(&beside, &password).unwrap();
    crate::bench::docker(&["rename", &hidden, &service.container()]).ok();
    // Somebody wrote new settings, and the runs above have a history.
    let settings = service.root().join("pgbackup/settings.toml");
    fs::write(&settings, "keep-daily = 3\n").unwrap();
    let owned = Command::new("chown").arg("dokku:dokku").arg(&settings).status();
    assert!(owned.unwrap().success());
    service.pgbackup("remote-set", &["s3://after"]).ok();
    let run = dokku(&["pgbackup:set", &service.name, "keep-weekly", "1"]).ok();
    assert!(run.stderr.contains("settings.toml.before-destroy-"), "{}", run.stderr);
    assert_eq!((backups(&service).len(), kept(&service.name).len()), (2, 0));
    assert_eq!(fs::read_to_string(&settings).unwrap(), "keep-daily = 3\nkeep-weekly = 1\n");
    assert!(run.stderr.contains("remote.toml.before-destroy-"), "{}", run.stderr);
    let remote = settings.with_file_name("remote.toml");
    assert!(fs::read_to_string(&remote).unwrap().contains("s3://after"));
    let own = fs::read_dir(settings.parent().unwrap()).unwrap().flatten().map(|entry| entry.path());
    let mut old: Vec<PathBuf> =
        own.filter(|path| path.display().to_string().contains("before-destroy")).collect();
    old.sort();
    assert!(fs::read_to_string(&old[0]).unwrap().contains("s3://before"));
    assert_eq!(mode(&old[0]), 0o600);
    assert_eq!(fs::read_to_string(&old[1]).unwrap(), "keep-daily = 9\n");
    let events = service.pgbackup("history", &["--format", "json"]).ok().json();
    let commands: Vec<&str> =
        events.as_array().unwrap().iter().map(|event| event["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["prune", "prune", "destroy", "create", "create"]);
    service.pgbackup("verify", &[&id, "--level", "quick"]).ok();
}

#[test]
fn another_file_system_gets_a_whole_copy() {
    let _place = alone();
    let service = Service::new("across");
    service.fill();
    let (first, second) = (service.create(), service.create());
    let disk = OtherDisk::mount();
    let run = destroy(&service);
    let kept = kept(&service.name);
    let folder = kept.first().map(|one| PathBuf::from(one["path"].as_str().unwrap()));
    let shared = folder.map(|folder| {
        let found = Command::new("find").arg(folder).args(["-type", "f", "-links", "+1"]).output().unwrap();
        String::from_utf8_lossy(&found.stdout).into_owned()
    });
    dokku(&["postgres:create", &service.name, "--image-version", "17"]).ok();
    let restored = service.pgbackup("restore", &["--from-destroyed", &service.name, "--force"]);
    drop(disk);
    run.ok();
    restored.ok();
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    let shared = shared.unwrap();
    assert!(shared.contains(&first) && shared.contains(&second), "files that were one are one: {shared}");
}
