//! Eight runs at once on one service, four of one command and four of another, deploy hooks and schedules among them:
//! each ends in good time with a code that it documents, and what the service has is right and whole afterwards.

use std::collections::BTreeSet;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::LONGEST_RUN;
use super::assert_sound;
use super::tally::{Tally, is_campaign, is_wanted};
use crate::app::{App, backups};
use crate::bench::{Run, Service, dokku, dokku_command, world};
use crate::started::Started;

/// All that can be at work on a service at the same time.
const COMMANDS: [&str; 16] = [
    "create",
    "verify",
    "restore",
    "undo",
    "prune",
    "delete",
    "import",
    "export",
    "push",
    "pull",
    "diff",
    "list",
    "postgres:destroy",
    "post-build",
    "post-container-create",
    "--scheduled",
];

/// How many of each command of a pair.
const OF_EACH: usize = 4;

/// A service that has all that the commands need: an app, a remote, a previous database, a dump to import.
struct Ground {
    service: Service,
    app: App,
    _files: tempfile::TempDir,
    dump: std::path::PathBuf,
    /// At the remote and not here.
    away: String,
}

/// What a pair finds and must not lose.
struct Before {
    /// Good backups that nobody deletes.
    kept: BTreeSet<String>,
    /// Those that `delete` is for.
    doomed: Vec<String>,
}

impl Ground {
    fn new(label: &str) -> Self {
        let service = Service::new(label);
        service.fill();
        let app = App::linked(label, &[&service]);
        let files = tempfile::tempdir().unwrap();
        let owned = Command::new("chown").args(["-R", "dokku:dokku"]).arg(files.path()).status();
        assert!(owned.unwrap().success());
        let remote = format!("file://{}", files.path().display());
        dokku(&["pgbackup:remote-set", &service.name, &remote]).ok();
        dokku(&["pgbackup:set", &service.name, "keep-last", "2"]).ok();
        for policy in ["keep-daily", "keep-weekly", "keep-monthly"] {
            dokku(&["pgbackup:set", &service.name, policy, "0"]).ok();
        }
        let away = service.create();
        service.pgbackup("push", &[]).ok();
        let dump = files.path().join("dump.tar");
        let export = ["pgbackup:export", &service.name, "--quiet"];
        let exported = dokku_command(&export).stdout(File::create(&dump).unwrap()).status().unwrap();
        assert!(exported.success());
        service.create();
        service.pgbackup("restore", &["--force"]).ok();
        Ground { service, app, _files: files, dump, away }
    }

    fn before(&self, pair: [&str; 2]) -> Before {
        let service = &self.service;
        forget_old_backups(service);
        let doomed =
            if pair.contains(&"delete") { vec![service.create(), service.create()] } else { Vec::new() };
        if pair.contains(&"pull") && service.backup(&self.away).exists() {
            service.pgbackup("delete", &[&self.away, "--force"]).ok();
        }
        let kept = good(service).into_iter().filter(|id| !doomed.contains(id));
        Before { kept: kept.collect(), doomed }
    }

    fn start(&self, command: &str, number: usize, doomed: &[String]) -> Started {
        let name = self.service.name.as_str();
        match command {
            "delete" => {
                Started::pgbackup(&self.service, command, &[&doomed[number % doomed.len()], "--force"])
            }
            "create" | "export" => Started::pgbackup(&self.service, command, &["--quiet"]),
            "list" => Started::pgbackup(&self.service, command, &["--format", "json"]),
            "push" => Started::pgbackup(&self.service, command, &["--all"]),
            "pull" => Started::pgbackup(&self.service, command, &[&self.away]),
            "import" => {
                let mut import = dokku_command(&["pgbackup:import", name, "--quiet"]);
                import.stdin(File::open(&self.dump).unwrap());
                Started::spawn(format!("dokku pgbackup:import {name}"), &mut import)
            }
            "postgres:destroy" => Started::dokku(&["--force", command, name]),
            "post-build" => hook(command, &["dockerfile", &self.app.name, "/tmp"]),
            "post-container-create" => hook(command, &["app", "5741d", &self.app.name, "deploy", "web"]),
            "--scheduled" => {
                let command = if number.is_multiple_of(2) { "create" } else { "verify" };
                Started::pgbackup(&self.service, command, &["--scheduled"])
            }
            _ => Started::pgbackup(&self.service, command, &["--force"]),
        }
    }

    /// Runs four of each at once; how each of them ended.
    fn race(&self, pair: [&'static str; 2], doomed: &[String]) -> Vec<(&'static str, Run)> {
        let started = Instant::now();
        let mut runs: Vec<(&str, Started)> = Vec::new();
        for number in 0..OF_EACH {
            runs.extend(pair.map(|command| (command, self.start(command, number, doomed))));
        }
        for (command, run) in &mut runs {
            while !run.has_ended() {
                assert!(started.elapsed() < LONGEST_RUN, "{command} of {pair:?} does not end");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        runs.into_iter().map(|(command, run)| (command, run.end())).collect()
    }

    /// One try of a pair and a look at everything after it.
    fn try_out(&self, pair: [&'static str; 2], tally: &mut Tally) {
        let before = self.before(pair);
        let ended = self.race(pair, &before.doomed);
        let destroyed = !self.service.root().join("DATABASE_NAME").exists();
        for (command, run) in &ended {
            assert_documented(command, run, pair);
            tally.saw(&outcome(run.code));
        }
        let made = ended.iter().filter(|(command, run)| *command == "create" && run.code == 0);
        let must_be_there =
            before.kept.iter().cloned().chain(made.map(|(_, run)| run.stdout.trim().to_owned()));
        let there = if destroyed { self.saved() } else { good(&self.service) };
        for id in must_be_there {
            assert!(there.contains(&id), "{pair:?}: {id} is lost, there are {there:?}{}", told(&ended));
        }
        if !destroyed {
            for id in &before.doomed {
                let deleted = ended.iter().any(|(command, run)| {
                    *command == "delete" && run.code == 0 && run.line.contains(id.as_str())
                });
                assert_eq!(there.contains(id), !deleted, "{pair:?}: {id}{}", told(&ended));
            }
            self.service.assert_nothing_left();
            assert_sound(&self.service);
            assert!(self.service.databases().len() <= 2, "{pair:?}: {:?}", self.service.databases());
        }
    }

    /// The ids that the destroyed service has left, all of them whole.
    fn saved(&self) -> BTreeSet<String> {
        let listed = dokku(&["pgbackup:list", "--destroyed", "--format", "json"]).ok().json();
        let own =
            listed.as_array().unwrap().iter().filter(|one| one["service"] == self.service.name.as_str());
        let mut ids = BTreeSet::new();
        for left in own {
            let name = left["name"].as_str().unwrap();
            let backups = dokku(&["pgbackup:list", name, "--destroyed", "--format", "json"]).ok().json();
            for backup in backups.as_array().unwrap() {
                assert_eq!(backup["status"], "good", "{backup}");
                let id = backup["id"].as_str().unwrap();
                let folder = std::path::Path::new(left["path"].as_str().unwrap()).join(id);
                let sums = Command::new("sha256sum")
                    .args(["--quiet", "-c", "SHA256SUMS"])
                    .current_dir(folder)
                    .status();
                assert!(sums.unwrap().success(), "{id} is damaged");
                ids.insert(id.to_owned());
            }
        }
        ids
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.service.root().join("DATABASE_NAME").exists() {
            return;
        }
        let listed = dokku(&["pgbackup:list", "--destroyed", "--format", "json"]).ok().json();
        for left in
            listed.as_array().unwrap().iter().filter(|one| one["service"] == self.service.name.as_str())
        {
            dokku(&["--force", "pgbackup:delete", "--destroyed", left["name"].as_str().unwrap()]);
        }
    }
}

/// One of our triggers as dokku calls it in a deploy of its own.
fn hook(trigger: &str, words: &[&str]) -> Started {
    static DEPLOYS: AtomicU32 = AtomicU32::new(0);
    let deploy = DEPLOYS.fetch_add(1, Ordering::Relaxed);
    let mut command = Command::new("sudo");
    command.args(["-u", "dokku", "env", &format!("DOKKU_BUILD_ID=race-{deploy}")]);
    command.arg("DOKKU_BUILD_SOURCE=git-hook");
    for (variable, folder) in [
        ("DOKKU_LIB_ROOT", "lib"),
        ("DOKKU_ROOT", "home"),
        ("PLUGIN_ENABLED_PATH", "plugins/enabled"),
        ("DOKKU_LOGS_DIR", "logs"),
    ] {
        command.arg(format!("{variable}={}", world().join(folder).display()));
    }
    command.arg(world().join("plugins/enabled/pgbackup").join(trigger)).args(words);
    command.stdin(std::process::Stdio::null());
    Started::spawn(format!("{trigger} {}", words.join(" ")), &mut command)
}

fn good(service: &Service) -> BTreeSet<String> {
    let is_kept = |backup: &&serde_json::Value| backup["pool"] == "manual" && backup["status"] == "good";
    backups(service).iter().filter(is_kept).map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Or the checks of all would take longer each time.
fn forget_old_backups(service: &Service) {
    let there = backups(service);
    let ids: Vec<&str> = there.iter().skip(4).map(|backup| backup["id"].as_str().unwrap()).collect();
    if !ids.is_empty() {
        service.pgbackup("delete", &[&ids[..], &["--force"]].concat()).ok();
    }
}

/// The codes that a run may end with when others are at work on the service, and when it may be destroyed.
fn documented(command: &str, pair: [&str; 2]) -> Vec<i32> {
    let mut codes = vec![0, 4];
    match command {
        // Its backup may have been deleted meanwhile.
        "verify" | "--scheduled" | "delete" | "restore" | "export" | "diff" | "push" => codes.push(5),
        // Another one brought it first.
        "pull" => codes.push(6),
        // A deploy's build that fails.
        _ => {}
    }
    if pair.contains(&"postgres:destroy") {
        codes.extend([5, 6, 7]);
        if command == "postgres:destroy" {
            codes.push(1);
        }
    }
    codes
}

#[track_caller]
fn assert_documented(command: &str, run: &Run, pair: [&str; 2]) {
    let told = || {
        format!("{command} of {pair:?}: {} ended with {}\n{}{}", run.line, run.code, run.stdout, run.stderr)
    };
    assert!(documented(command, pair).contains(&run.code), "{}", told());
    assert!(!run.stderr.contains("panicked"), "{}", told());
    // What dokku-postgres itself says of a service that is gone meanwhile is its own affair.
    if run.code != 0 && command != "postgres:destroy" {
        // In a log, the time comes first.
        let says = |line: &str| line.split_once(" !     ").is_some_and(|(_, words)| words.len() > 10);
        assert!(run.stderr.lines().any(says), "without a sentence: {}", told());
    }
}

fn outcome(code: i32) -> String {
    match code {
        0 => "done".to_owned(),
        4 => "busy".to_owned(),
        5 => "not there any more".to_owned(),
        code => format!("refused ({code})"),
    }
}

fn told(ended: &[(&str, Run)]) -> String {
    let line =
        |(_, run): &(&str, Run)| format!("\n{} → {}\n{}{}", run.line, run.code, run.stdout, run.stderr);
    ended.iter().map(line).collect()
}

/// The tries of one command beside itself and those that come behind it. What one pair loses does not end the campaign.
fn race_beside(command: &'static str, others: &[&'static str]) {
    let mut tally = Tally::new("Races", &format!("8 at once: 4 × `{command}` and 4 × each other command"));
    let (mut kept, mut lost) = (None, Vec::new());
    for other in others {
        let pair = [command, *other];
        let ground = kept.take().unwrap_or_else(|| Ground::new("race"));
        if pair.contains(&"postgres:destroy") && !pair.iter().any(|one| one.starts_with("post-")) {
            dokku(&["postgres:unlink", &ground.service.name, &ground.app.name, "--no-restart"]).ok();
        }
        let tried = std::panic::catch_unwind(AssertUnwindSafe(|| ground.try_out(pair, &mut tally)));
        if tried.is_err() {
            lost.push(pair);
        }
        if !pair.contains(&"postgres:destroy") && tried.is_ok() {
            kept = Some(ground);
        }
    }
    assert_eq!(lost, Vec::<[&str; 2]>::new(), "these pairs did not do well together");
}

/// Where there is no campaign, pairs that have a lot to do with each other.
#[test]
fn eight_runs_at_once_of_every_pair_of_commands_end_well_or_say_why_not() {
    if !is_campaign() {
        return race_beside("create", &["restore", "postgres:destroy"]);
    }
    let commands: Vec<&str> = COMMANDS.into_iter().filter(|command| is_wanted(command)).collect();
    let fails = |at: usize| std::panic::catch_unwind(|| race_beside(commands[at], &commands[at..])).is_err();
    let lost: Vec<&str> = (0..commands.len()).filter(|at| fails(*at)).map(|at| commands[at]).collect();
    assert_eq!(lost, Vec::<&str>::new());
}
