//! What retention and the limits on the disk keep and remove. Days pass by copies with other dates.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::copy_to;
use crate::app::backups;
use crate::bench::{Service, dokku};

/// The id of a backup that many days ago at three in the night.
fn days_ago(days: u32) -> String {
    let date =
        Command::new("date").args(["--utc", &format!("--date={days} days ago"), "+%Y%m%d"]).output().unwrap();
    format!("{}T030000Z-aa{days:02}", String::from_utf8_lossy(&date.stdout).trim())
}

fn ids(service: &Service) -> Vec<String> {
    backups(service).iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn reasons(plan: &Value, id: &str) -> Vec<String> {
    let found = plan["backups"].as_array().unwrap().iter().find(|backup| backup["id"] == id);
    let found = found.unwrap_or_else(|| panic!("{id} is not in {plan:#}"));
    assert_eq!(found["keep"].as_bool().unwrap(), !found["reasons"].as_array().unwrap().is_empty());
    found["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_pool_keeps_its_slots_and_nothing_else_goes() {
    let service = Service::new("slots");
    service.sql("create table t (a int)");
    let manual = service.create();
    for days in 1..=60 {
        copy_to(&service, &manual, &days_ago(days), "scheduled");
    }
    let deploys: Vec<String> = (70..78).map(days_ago).collect();
    deploys.iter().for_each(|id| drop(copy_to(&service, &manual, id, "deploy")));
    // An old one that was proven, and an old one that somebody wants.
    let (proven, wanted) = (days_ago(45), days_ago(46));
    service.pgbackup("verify", &[&proven, "--level", "archive"]).ok();
    dokku(&["pgbackup:pin", &service.name, &wanted, "--note", "the audit"]).ok().says("is kept until");
    let plan = service.pgbackup("prune", &["--dry-run", "--format", "json"]).ok().json();
    assert_eq!(ids(&service).len(), 69, "nothing was removed");
    assert!(reasons(&plan, &manual).contains(&"pool manual is kept until deleted".to_owned()));
    assert!(reasons(&plan, &proven).contains(&"newest verified one".to_owned()));
    assert_eq!(reasons(&plan, &wanted), ["pinned"]);
    assert!(reasons(&plan, &days_ago(1)).iter().any(|reason| reason.starts_with("day ")));
    let kept = |pool: &str| {
        let of_pool = |backup: &&Value| backup["pool"] == pool && backup["keep"] == true;
        plan["backups"].as_array().unwrap().iter().filter(of_pool).count()
    };
    // Seven days, the first of four weeks and of two or three months, the proven and the pinned one; some are two of these.
    assert!((10..=16).contains(&kept("scheduled")), "{plan:#}");
    assert_eq!(kept("deploy"), 5);
    let text = service.pgbackup("prune", &[]).ok().stdout;
    assert!(text.contains("keep: pinned") && text.contains("goes: no rule keeps it"), "{text}");
    let left = ids(&service);
    assert!(left.contains(&proven) && left.contains(&wanted) && left.contains(&manual));
    assert_eq!(left.len(), kept("scheduled") + 5 + 1);
    assert_eq!(
        service.pgbackup("prune", &[]).ok().stdout.matches("goes:").count(),
        0,
        "a second time nothing goes"
    );
    dokku(&["pgbackup:unpin", &service.name, &wanted]).ok();
    service.pgbackup("prune", &[]).ok();
    assert!(!ids(&service).contains(&wanted));
    for id in ids(&service) {
        service.pgbackup("verify", &[&id, "--level", "quick"]).ok();
    }
    service.assert_nothing_left();
}

#[test]
fn a_new_backup_prunes_its_own_pool_and_only_after_it_was_made() {
    let service = Service::new("own-pool");
    service.sql("create table t (a int)");
    let manual = service.create();
    for (key, value) in [("keep-last", "2"), ("keep-daily", "0"), ("keep-weekly", "0"), ("keep-monthly", "0")]
    {
        dokku(&["pgbackup:set", &service.name, key, value]).ok();
    }
    dokku(&["pgbackup:set", &service.name, "deploy-keep-last", "1"]).ok();
    let old: Vec<String> = (3..7).map(days_ago).collect();
    old.iter().for_each(|id| drop(copy_to(&service, &manual, id, "scheduled")));
    let deploys: Vec<String> = (10..13).map(days_ago).collect();
    deploys.iter().for_each(|id| drop(copy_to(&service, &manual, id, "deploy")));
    dokku(&["postgres:stop", &service.name]).ok();
    service.pgbackup("create", &["--scheduled"]).fails(6, "is not running");
    assert_eq!(ids(&service).len(), 8, "a backup that failed removes nothing");
    dokku(&["postgres:start", &service.name]).ok();
    service.pgbackup("create", &["--scheduled"]).ok();
    let left = ids(&service);
    assert!(left.contains(&old[0]) && !left.contains(&old[1]), "the new one and the one before: {left:?}");
    assert!(deploys.iter().all(|id| left.contains(id)), "another pool");
    let events = service.pgbackup("history", &["--format", "json"]).ok().json();
    assert_eq!((&events[0]["command"], &events[1]["command"]), (&"create".into(), &"prune".into()));
    assert_eq!(events[1]["ids"].as_array().unwrap().len(), 3);
    // One that is being read is not said to be removed.
    let reader = fs::File::open(service.backup(&deploys[2])).unwrap();
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).unwrap();
    let run = service.pgbackup("prune", &[]).ok().says("1 of 6 backups removed").says("keep: in use");
    drop(reader);
    assert!(ids(&service).contains(&deploys[2]), "{}", run.stdout);
}

#[test]
fn a_backup_from_the_future_keeps_everything() {
    let service = Service::new("future");
    service.sql("create table t (a int)");
    let manual = service.create();
    (1..15).for_each(|days| drop(copy_to(&service, &manual, &days_ago(days), "deploy")));
    copy_to(&service, &manual, "20990101T000000Z-aaaa", "scheduled");
    let run = service.pgbackup("prune", &[]).ok();
    assert!(run.stdout.contains("0 of 16 backups removed"), "{}", run.stdout);
    assert!(
        run.stdout.contains("20990101T000000Z-aaaa or the clock is wrong: nothing is removed"),
        "{}",
        run.stdout
    );
    let run = service.pgbackup("create", &[]).ok();
    assert!(run.stderr.contains("no backup is removed any more"), "{}", run.stderr);
    let found = service.pgbackup("doctor", &[]).fails(1, "found").says("no backup is removed any more");
    assert!(found.stdout.contains("20990101T000000Z-aaaa"), "{}", found.stdout);
    fs::remove_dir_all(service.backup("20990101T000000Z-aaaa")).unwrap();
    service.pgbackup("prune", &[]).ok();
    assert_eq!(ids(&service).len(), 7);
}

#[test]
fn a_service_takes_no_more_than_it_may() {
    let service = Service::new("limits");
    service.sql("create table t as select md5(n::text) as a from generate_series(1, 60000) n");
    let manual = service.create();
    // Real copies, that take room.
    for days in 1..=3 {
        let folder = copy_to(&service, &manual, &days_ago(days), "scheduled");
        let apart = "for f in dump/*; do cp -p \"$f\" x && mv x \"$f\"; done";
        assert!(Command::new("bash").args(["-c", apart]).current_dir(folder).status().unwrap().success());
    }
    let size = backups(&service)[0]["size_bytes"].as_u64().unwrap();
    let allow = |half_sizes: u64| {
        dokku(&["pgbackup:set", &service.name, "max-size", &(size * half_sizes / 2).to_string()]).ok();
    };
    allow(9);
    service.sql("update t set a = md5(a)");
    let all = ids(&service);
    // What is no backup takes room, too; and one that is being read cannot go.
    let junk = service.backups().join("20200101T000000Z-junk");
    fs::create_dir(&junk).unwrap();
    fs::write(junk.join("x"), vec![1; usize::try_from(size * 4).unwrap()]).unwrap();
    service.pgbackup("create", &[]).fails(6, "more than max-size allows");
    fs::remove_dir_all(&junk).unwrap();
    let oldest = days_ago(3);
    let readers: Vec<fs::File> =
        (1..=3).map(|days| fs::File::open(service.backup(&days_ago(days))).unwrap()).collect();
    for reader in &readers {
        rustix::fs::flock(reader, rustix::fs::FlockOperation::LockShared).unwrap();
    }
    service.pgbackup("create", &[]).fails(6, "more than max-size allows");
    drop(readers);
    assert_eq!(ids(&service), all, "nothing is removed when that cannot be enough");
    let run = service.pgbackup("create", &[]).ok();
    assert!(run.stderr.contains(&format!("removed {oldest}")), "{}", run.stderr);
    let left = ids(&service);
    assert!(left.contains(&manual) && !left.contains(&oldest), "the oldest of an automatic pool: {left:?}");
    allow(4);
    service.pgbackup("create", &[]).fails(6, "more than max-size allows");
    assert_eq!(ids(&service), left, "nothing is removed when that cannot be enough");
    dokku(&["pgbackup:set", &service.name, "max-size", "off"]).ok();
    dokku(&["pgbackup:set", &service.name, "min-free", "90%"]).ok();
    service.pgbackup("create", &[]).fails(6, "are to stay free (min-free)");
    dokku(&["pgbackup:set", &service.name, "min-free", "off"]).ok();
    service.pgbackup("create", &[]).ok();
    // What several backups share is counted once.
    let listed = service.pgbackup("report", &["--disk-use"]).ok().stdout;
    let found =
        Command::new("du").args(["--summarize", "--block-size=1"]).arg(service.backups()).output().unwrap();
    let bytes: u64 =
        String::from_utf8_lossy(&found.stdout).split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(listed.trim(), pgbackup::units::bytes(bytes));
}
