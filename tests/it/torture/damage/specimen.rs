//! A backup that is damaged and healed again and again, beside a good one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::bench::{Run, Service, dokku};

/// A service with an older good backup and a newer one that things happen to.
pub struct Specimen {
    pub service: Service,
    /// The good one.
    pub other: String,
    pub id: String,
    pristine: tempfile::TempDir,
}

/// What commands other than `verify`, `restore` and `list` are given.
const SURVIVORS: [&[&str]; 6] =
    [&["info"], &["export", "--as", "custom"], &["push"], &["prune"], &["export"], &["restore", "--dry-run"]];

impl Specimen {
    pub fn new(label: &str) -> Self {
        Self::in_pool(label, &[])
    }

    /// `flags` are what the backups are made with.
    pub fn in_pool(label: &str, flags: &[&str]) -> Self {
        let service = Service::new(label);
        let args = [&["--quiet"], flags].concat();
        // A scheduled one is told with its time.
        let create = || {
            let made = service.pgbackup("create", &args).ok();
            made.stdout.split_whitespace().last().unwrap().to_owned()
        };
        service.fill().sql("select lo_from_bytea(4242, 'an egg')");
        let other = create();
        service.sql("create role farmhand; update cows set name = name || '!'; select nextval('cows_id_seq'); select lo_put(4242, 0, 'a nut')");
        let id = create();
        let remote = service.root().join("remote");
        fs::create_dir(&remote).unwrap();
        assert!(Command::new("chown").arg("dokku:").arg(&remote).status().unwrap().success());
        let pristine = tempfile::tempdir().unwrap();
        copy(&service.backup(&id), &pristine.path().join("backup"));
        service.pgbackup("remote-set", &[&format!("file://{}", remote.display())]).ok();
        let specimen = Specimen { service, other, id, pristine };
        // The files of the two are one on the disk.
        specimen.heal();
        specimen
    }

    pub fn folder(&self) -> PathBuf {
        self.service.backup(&self.id)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// All but what is written after a backup was made.
    pub fn sealed_files(&self) -> Vec<String> {
        let records = ["verified.toml", "pinned.toml", "pushed.toml"];
        self.service.files(&self.id).into_iter().filter(|name| !records.contains(&name.as_str())).collect()
    }

    /// The file of the other backup that has this one's place: names of data are ids, and the same.
    pub fn others_file(&self, name: &str) -> PathBuf {
        self.service.backup(&self.other).join(name)
    }

    pub fn differs(&self, name: &str) -> bool {
        fs::read(self.others_file(name)).is_ok_and(|other| other != fs::read(self.file(name)).unwrap())
    }

    /// Whether all that was sealed is there as it was, whoever may read it. What is there beside it leaves with nothing.
    fn is_intact(&self) -> bool {
        let mut diff = Command::new("diff");
        diff.args(["--recursive", "--brief", "--no-dereference"]);
        let found = diff.arg(self.pristine.path().join("backup")).arg(self.folder()).output().unwrap();
        assert!(found.status.code().is_some_and(|code| code < 2), "diff: {found:?}");
        let added = format!("Only in {}", self.folder().display());
        String::from_utf8_lossy(&found.stdout).lines().all(|line| line.starts_with(&added))
    }

    /// As it was when it was made, and nothing of it at the remote: what is there whole needs no push.
    pub fn heal(&self) {
        let _ = fs::remove_dir_all(self.service.root().join("remote").join(&self.service.name));
        fs::remove_dir_all(self.folder()).unwrap();
        copy(&self.pristine.path().join("backup"), &self.folder());
    }

    /// `dokku pgbackup:<command> <service> <id> <more>`, which must not fall over.
    #[track_caller]
    pub fn run(&self, command: &str, more: &[&str]) -> Run {
        let name = format!("pgbackup:{command}");
        let (flags, words): (Vec<&str>, Vec<&str>) =
            more.iter().partition(|word| word.starts_with("--force"));
        let backup: &[&str] = if command == "prune" { &[] } else { &[&self.id] };
        let args = [&flags[..], &[&name, &self.service.name], backup, &words].concat();
        let run = dokku(&args);
        let fell = run.stderr.contains("panicked") || ![0, 3, 6].contains(&run.code);
        assert!(!fell, "{} ended with {}:\n{}{}", run.line, run.code, run.stdout, run.stderr);
        run
    }

    /// What the list says of it.
    #[track_caller]
    pub fn status(&self) -> String {
        let listed = self.service.pgbackup("list", &["--format", "json"]).ok().json();
        let entries = listed.as_array().unwrap();
        let of = |id: &str| {
            entries.iter().find(|entry| entry["id"] == id).unwrap_or(&Value::Null)["status"].clone()
        };
        assert_eq!(of(&self.other), "good", "the other one: {listed}");
        of(&self.id).as_str().unwrap_or_default().to_owned()
    }

    /// `verify` finds it, `restore` refuses it, and of the other commands the one whose turn it is survives it.
    #[track_caller]
    pub fn assert_found(&self, fault: &str, turn: usize) {
        self.status();
        let found = self.run("verify", &["--level", "quick"]);
        assert_eq!(found.code, 3, "{fault} is not found: {}{}", found.stdout, found.stderr);
        assert!(found.stderr.contains(" is not good"), "{fault}: {}", found.stderr);
        assert_ne!(self.status(), "good", "{fault}");
        self.assert_refused(fault);
        self.assert_survived(fault, turn);
    }

    #[track_caller]
    pub fn assert_refused(&self, fault: &str) {
        let refused = self.run("restore", &["--force"]);
        assert_eq!(refused.code, 6, "{fault} is restored: {}{}", refused.stdout, refused.stderr);
    }

    #[track_caller]
    pub fn assert_survived(&self, fault: &str, turn: usize) {
        let (command, more) = SURVIVORS[turn % SURVIVORS.len()].split_first().unwrap();
        let run = self.run(command, more);
        match *command {
            // What only others could have read may leave the server.
            "push" | "export" if self.is_intact() => {}
            "info" => assert!(!run.stdout.contains("is good"), "{fault}: {}", run.stdout),
            "prune" => assert_eq!(run.code, 0, "{fault}: {}", run.stderr),
            _ => assert_eq!(run.code, 6, "{fault}: {command} takes it: {}{}", run.stdout, run.stderr),
        }
        assert!(self.folder().exists() && self.service.backup(&self.other).exists(), "{fault}: pruned");
    }

    /// Nothing came of all that was done: the live database has its rows, and the healed backup is good.
    #[track_caller]
    pub fn assert_good(&self) {
        self.service.pgbackup("verify", &["--all", "--level", "archive"]).ok();
        assert_eq!(self.service.sql("select count(*) from cows where name like '%!'"), "5000");
        assert_eq!(self.service.databases(), [self.service.database()]);
        self.service.assert_nothing_left();
    }
}

/// With modes and owners.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("--archive").arg("--no-target-directory").args([from, to]).status();
    assert!(copied.unwrap().success());
}
