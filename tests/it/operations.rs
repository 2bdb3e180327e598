//! What runs by itself and what nobody looks at: schedules, retention, limits, destroyed services, messages, the doctor.

pub mod destroyed;
mod retention;
mod telling;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::json;

use crate::app::backups;
use crate::bench::{Run, Service, dokku, world};
use crate::started::until;

/// The crontab and the settings for all services are one for all tests.
static SERVER: Mutex<()> = Mutex::new(());

fn crontab() -> String {
    fs::read_to_string(world().join("crontab")).unwrap_or_default()
}

/// The crontab's lines about `service`.
fn lines(service: &Service) -> Vec<String> {
    crontab()
        .lines()
        .filter(|line| line.contains(&format!(" {} ", service.name)))
        .map(str::to_owned)
        .collect()
}

/// Lets cron come to that minute, with the lines of `service` alone.
fn let_it_be(service: &Service, time: &str) -> Run {
    let own = world().join(format!("crontab-{}", service.name));
    let head = "PATH=/usr/local/bin:/usr/bin:/bin\nSHELL=/bin/bash\n";
    fs::write(&own, format!("{head}{}\n", lines(service).join("\n"))).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/run-cron");
    let mut command = Command::new(script);
    command.arg(&own).arg(time).env("DOKKU_STANDIN_ROOT", world());
    Run::of(format!("cron at {time}"), &command.output().unwrap())
}

fn log() -> String {
    fs::read_to_string(world().join("logs/pgbackup.log")).unwrap_or_default()
}

#[test]
fn a_schedule_becomes_lines_of_dokkus_crontab_and_they_make_backups() {
    let _server = SERVER.lock();
    let service = Service::new("nightly");
    service.fill();
    let _ = fs::remove_file(world().join("logs/pgbackup.log"));
    let set = dokku(&["pgbackup:schedule", &service.name, "30 3 * * *", "0 12 * * mon"]).ok();
    let times =
        set.stdout.lines().filter(|line| line.contains(" 03:30 ") || line.contains(" 12:00 ")).count();
    assert_eq!(times, 3, "the next three times:\n{}", set.stdout);
    dokku(&["pgbackup:schedule", &service.name, "--verify", "0 5 * * sun"]).ok();
    let written = lines(&service);
    assert_eq!(written.len(), 3, "{written:?}");
    assert!(
        written[0].starts_with("30 3 * * * dokku pgbackup:create ")
            && written[0].ends_with("logs/pgbackup.log")
    );
    let_it_be(&service, "2026-11-23T03:29").ok();
    assert_eq!(backups(&service).len(), 0);
    let_it_be(&service, "2026-11-23T03:30").ok();
    let made = backups(&service);
    assert_eq!((made.len(), &made[0]["pool"]), (1, &json!("scheduled")));
    let_it_be(&service, "2026-11-29T05:00").ok();
    assert_eq!(backups(&service)[0]["verified"]["level"], "drill");
    let told = log();
    let own = told.lines().filter(|line| line.contains(&service.name));
    let stamp = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ").unwrap();
    assert!(own.clone().count() >= 3 && told.lines().all(|line| stamp.is_match(line)), "{told}");
    // Over ssh the quotes get lost.
    crate::bench::ssh(&format!("pgbackup:schedule {} 10 4 * * *", service.name)).ok();
    assert!(lines(&service)[0].starts_with("10 4 * * * "), "{:?}", lines(&service));
    // The setting is the same thing.
    dokku(&["pgbackup:set", &service.name, "schedule", "@daily"]).ok();
    assert!(lines(&service)[0].starts_with("@daily "), "{:?}", lines(&service));
    dokku(&["pgbackup:schedule", &service.name, "--off"]).ok();
    dokku(&["pgbackup:schedule", &service.name, "--verify", "--off"]).ok();
    assert_eq!(lines(&service), Vec::<String>::new());
}

#[test]
fn one_bad_service_does_not_spoil_the_crontab_of_the_others() {
    let _server = SERVER.lock();
    let (good, bad) = (Service::new("good"), Service::new("bad"));
    for service in [&good, &bad] {
        dokku(&["pgbackup:schedule", &service.name, "30 3 * * *"]).ok();
    }
    for wrong in
        ["5/15 * * * *", "30 3 * *", "30 3 * * ? ", "@reboot", "30 3 * * *;x", "* * * * *\n* * * * * reboot"]
    {
        dokku(&["pgbackup:schedule", &bad.name, wrong]).fails(2, "allowed: cron expressions");
    }
    assert_eq!(lines(&bad).len(), 1);
    fs::write(bad.root().join("pgbackup/settings.toml"), "schedule = \"5/15 * * * *\"\n").unwrap();
    let written = dokku(&["pgbackup:set", &good.name, "schedule", "40 3 * * *"]).ok();
    assert!(lines(&good)[0].starts_with("40 3 "), "{written:?}");
    assert_eq!(lines(&bad), Vec::<String>::new());
    bad.pgbackup("create", &[]).fails(1, "settings.toml cannot be used: line 1");
    let entries = dokku(&["plugin:trigger", "cron-entries", "docker-local"]).ok();
    assert!(entries.stderr.contains(&format!("no schedule for {}", bad.name)), "{}", entries.stderr);
    assert!(entries.stdout.lines().all(|line| line.split(';').count() == 3), "{}", entries.stdout);
    // Broken settings for all services: what the schedule runs fails, and that is told.
    let global = world().join("lib/config/pgbackup/settings.toml");
    let of_all = fs::read_to_string(&global).unwrap();
    fs::write(&global, format!("{of_all}jobs = 99\n")).unwrap();
    let entries = dokku(&["plugin:trigger", "cron-entries", "docker-local"]);
    let told = tempfile::tempdir().unwrap();
    let notify = telling::program(told.path(), &format!("cat >>{}/told", told.path().display()));
    fs::write(
        good.root().join("pgbackup/settings.toml"),
        format!("schedule = \"40 3 * * *\"\nnotify-command = {notify:?}\n"),
    )
    .unwrap();
    let failed = good.pgbackup("create", &["--scheduled"]);
    fs::write(&global, &of_all).unwrap();
    assert!(entries.ok().stdout.contains(&good.name));
    failed.fails(1, "settings.toml cannot be used");
    assert!(fs::read_to_string(told.path().join("told")).unwrap().contains("backup-failed"));
    // One whose files nobody can read is backed up in vain, which is told; the others never notice.
    Command::new("chmod").arg("000").arg(bad.root().join("DATABASE_NAME")).status().unwrap();
    let entries = dokku(&["plugin:trigger", "cron-entries", "docker-local"]).ok();
    assert!(entries.stdout.contains(&good.name), "{}", entries.stdout);
    assert!(dokku(&["pgbackup:list"]).ok().stdout.contains(&good.name));
    Command::new("chmod").arg("600").arg(bad.root().join("DATABASE_NAME")).status().unwrap();
    // Backups that cannot be read are not taken for none, and hide nobody else's.
    Command::new("chmod").arg("000").arg(bad.root().join("pgbackup")).status().unwrap();
    bad.pgbackup("list", &[]).fails(1, "cannot look at");
    let listed = dokku(&["pgbackup:list"]).ok().stdout;
    let health = |service: &Service| {
        let row = listed.lines().find(|line| line.contains(&service.name)).unwrap();
        row.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!((health(&bad).as_str(), health(&good).as_str()), ("UNREADABLE", "FAILED"));
    bad.pgbackup("doctor", &[]).fails(1, "found").says("must be dokku's");
    Command::new("chmod").arg("700").arg(bad.root().join("pgbackup")).status().unwrap();
    // A service's lines go with it.
    let name = good.name.clone();
    good.destroy();
    assert!(!crontab().contains(&name), "{}", crontab());
}

#[test]
fn the_doctor_finds_what_keeps_backups_from_being_made() {
    let _server = SERVER.lock();
    let service = Service::new("doctor");
    let doctor = || service.pgbackup("doctor", &[]);
    let finds = |words: &str| {
        let run = doctor().fails(1, "found");
        assert!(run.stdout.contains(words), "{words} is not in\n{}", run.stdout);
    };
    finds("it has no good backup");
    dokku(&["pgbackup:schedule", &service.name, "30 3 * * *"]).ok();
    service.create();
    finds("no backup of it was ever proven by a drill");
    service.pgbackup("verify", &[]).ok();
    // A process of that name is what there is to see of cron.
    let folder = tempfile::tempdir().unwrap();
    let cron = folder.path().join("cron");
    fs::copy("/bin/sleep", &cron).unwrap();
    let mut cron = Command::new(cron).arg("600").spawn().unwrap();
    doctor().ok().says("All is well");
    // A deploy of another test may write it anew at any time.
    until("the crontab is missed", || {
        let _ = fs::remove_file(world().join("crontab"));
        doctor().stdout.contains("dokku's crontab lacks 1 line of pgbackup")
    });
    dokku(&["plugin:trigger", "scheduler-cron-write"]).ok();
    let settings = service.root().join("pgbackup/settings.toml");
    let good = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, "jobs = 99\n").unwrap();
    finds("line 1: jobs must be a number from 1 to 64");
    fs::write(&settings, &good).unwrap();
    Command::new("chmod").arg("755").arg(service.backups()).status().unwrap();
    finds("not dokku's alone");
    Command::new("chmod").arg("700").arg(service.backups()).status().unwrap();
    dokku(&["postgres:stop", &service.name]).ok();
    finds(&format!("dokku postgres:start {}", service.name));
    service.pgbackup("create", &[]).fails(6, "is not running");
    dokku(&["postgres:start", &service.name]).ok();
    finds("the last create failed");
    service.create();
    doctor().ok();
    fs::create_dir(service.backups().join("20261122T235901Z-k3f9")).unwrap();
    finds("is not whole");
    cron.kill().unwrap();
    cron.wait().unwrap();
}

#[test]
fn an_overdue_backup_is_told_of() {
    let _server = SERVER.lock();
    let service = Service::new("overdue");
    dokku(&["pgbackup:schedule", &service.name, "* * * * *"]).ok();
    let health = || service.pgbackup("report", &["--health"]).ok().stdout.trim().to_owned();
    assert_eq!(health(), "NO BACKUP");
    // As if it had been set long ago.
    let set = service.root().join("pgbackup/schedule-since");
    let name = service.root().join("DATABASE_NAME");
    let global = world().join("lib/config/pgbackup/schedule-since");
    Command::new("touch").args(["--date", "2020-01-01"]).args([&set, &name, &global]).status().unwrap();
    assert_eq!(health(), "OVERDUE");
    service.pgbackup("set", &["gentle", "off"]).ok();
    assert_eq!(health(), "OVERDUE", "another setting does not make it good");
    service.pgbackup("doctor", &[]).fails(1, "found").says("was not made");
    // One that is being made is not overdue.
    let lock = service.root().join("pgbackup/lock");
    fs::write(&lock, "pgbackup:create (process 1)\n").unwrap();
    Command::new("chown").arg("dokku:dokku").arg(&lock).status().unwrap();
    let held = fs::File::open(&lock).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(health(), "NO BACKUP");
    drop(held);
    let made = service.create();
    assert_eq!(health(), "OVERDUE", "one by hand does not say that the schedule works");
    let future = copy_to(&service, &made, "20990101T000000Z-aaaa", "scheduled");
    assert_eq!(health(), "OVERDUE", "nor does one from the future");
    fs::remove_dir_all(future).unwrap();
    service.pgbackup("create", &["--scheduled"]).ok();
    assert_eq!(health(), "ok");
    let listed = dokku(&["pgbackup:list"]).ok().stdout;
    let row = listed.lines().find(|line| line.contains(&service.name)).unwrap().to_owned();
    assert!(row.contains("just now") && row.ends_with("ok"), "{row}");
}

#[test]
fn what_was_done_is_written_down_with_who_did_it() {
    let service = Service::new("history");
    service.fill();
    let id = service.create();
    crate::bench::ssh(&format!("pgbackup:verify {} --level quick", service.name)).ok();
    service.pgbackup("restore", &["--force"]).ok();
    service.pgbackup("undo", &[]).ok();
    dokku(&["postgres:stop", &service.name]).ok();
    service.pgbackup("create", &[]).fails(6, "is not running");
    service.pgbackup("restore", &["--force"]).fails(6, "is not running");
    service.pgbackup("restore", &["--dry-run"]).fails(6, "is not running");
    dokku(&["postgres:start", &service.name]).ok();
    service.pgbackup("restore", &["--table", "cows"]).ok();
    service.pgbackup("delete", &[&id, "--force"]).ok();
    let events = service.pgbackup("history", &["--format", "json"]).ok().json();
    let told: Vec<(&str, &str, bool)> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            (
                event["command"].as_str().unwrap(),
                event["who"].as_str().unwrap(),
                event["good"].as_bool().unwrap(),
            )
        })
        .collect();
    let wanted = [
        ("delete", "root", true),
        ("restore-table", "root", true),
        ("restore", "root", false),
        ("create", "root", false),
        ("undo", "root", true),
        ("restore", "root", true),
        ("verify", "admin", true),
        ("create", "root", true),
    ];
    assert_eq!(told, wanted);
    assert_eq!((&events[3]["code"], &events[7]["backup"]), (&json!(6), &json!(id)));
    assert_eq!((&events[0]["ids"], &events[7]["ids"]), (&json!([id]), &json!(null)));
    service.pgbackup("history", &[]).ok().says("FAILED service").says("admin");
    assert_eq!(crate::bench::mode(&service.root().join("pgbackup/history.jsonl")), 0o600);
}

#[test]
fn a_report_says_what_is_in_force_and_where_it_comes_from() {
    let service = Service::new("report");
    dokku(&["pgbackup:set", &service.name, "keep-daily", "9"]).ok();
    dokku(&["pgbackup:set", &service.name, "notify-url", "https://hc.example.com/ping/very-secret"]).ok();
    let report = service.pgbackup("report", &["--format", "json"]).ok().json();
    for (key, value) in [
        ("keep-daily", "9"),
        ("keep-daily-source", "service"),
        ("min-free", "100 MB"),
        ("min-free-source", "global"),
        ("keep-weekly", "4"),
        ("keep-weekly-source", "default"),
        ("notify-url", "https://hc.example.com/…"),
        ("health", "NO BACKUP"),
        ("backups", "0"),
    ] {
        assert_eq!(report[key], value, "{key}");
    }
    assert_eq!(service.pgbackup("report", &["--keep-daily"]).ok().stdout, "9\n");
    let text = service.pgbackup("report", &[]).ok().says("Pgbackup keep daily:           9 (service)");
    assert!(!text.stdout.contains("very-secret"), "{}", text.stdout);
    assert!(!text.stdout.contains("runs that failed"), "{}", text.stdout);
    service.create();
    service.pgbackup("verify", &[]).ok();
    service.pgbackup("delete", &[&service.create(), "--force"]).ok();
    let counts = |what: &str| {
        let text = service.pgbackup("report", &[]).ok().stdout;
        let line = text.lines().find(|line| line.trim_start().starts_with(what)).unwrap().to_owned();
        let days = line.split_whitespace().last().unwrap().to_owned();
        assert_eq!(days.len(), 30, "{text}");
        // A test that runs over midnight sees two days.
        days.chars().filter_map(|day| day.to_digit(10)).sum::<u32>()
    };
    let days = ["backups made", "still there", "proven by a drill"].map(counts);
    assert_eq!(days, [2, 1, 1]);
    let _server = SERVER.lock();
    dokku(&["pgbackup:set", "--global", "notify-url", "https://hc.example.com?key=very-secret"]).ok();
    let unset = dokku(&["pgbackup:set", &service.name, "notify-url"]);
    dokku(&["pgbackup:set", "--global", "notify-url"]).ok();
    assert!(!unset.stdout.contains("very-secret"), "{}", unset.stdout);
    unset.ok().says("in force is https://hc.example.com/… (global)");
    service.pgbackup("report", &["--nonsense"]).fails(2, "unexpected argument");
}

/// Copies a backup to another time, as if it had been made then, with the seal that belongs to it.
pub fn copy_to(service: &Service, id: &str, new: &str, pool: &str) -> PathBuf {
    let (from, to) = (service.backup(id), service.backup(new));
    Command::new("cp").args(["--archive", "--link"]).arg(&from).arg(&to).status().unwrap();
    let time = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &new[..4],
        &new[4..6],
        &new[6..8],
        &new[9..11],
        &new[11..13],
        &new[13..15]
    );
    let manifest: String = fs::read_to_string(from.join("manifest.toml"))
        .unwrap()
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("id", _)) => format!("id = \"{new}\"\n"),
            Some(("pool", _)) => format!("pool = \"{pool}\"\n"),
            Some((key @ ("started_at" | "finished_at"), _)) => format!("{key} = \"{time}\"\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    for name in ["manifest.toml", "SHA256SUMS", "verified.toml", "pinned.toml"] {
        let _ = fs::remove_file(to.join(name));
    }
    fs::write(to.join("manifest.toml"), manifest).unwrap();
    let seal = "find . -type f ! -name SHA256SUMS -printf '%P\\0' | sort -z | xargs -0 sha256sum > SHA256SUMS
chmod 600 manifest.toml SHA256SUMS; chown dokku:dokku manifest.toml SHA256SUMS";
    assert!(Command::new("bash").args(["-c", seal]).current_dir(&to).status().unwrap().success());
    to
}
