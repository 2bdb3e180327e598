//! A service under load, what is known of its backups and its data, and what must hold of both after every try.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::disk::Disk;
use super::leftovers;
use super::load::{INVARIANT, Load};
use super::orders::Order;
use crate::bench::{Run, Service, dokku, world};
use crate::plugins::Hook;
use crate::session::Session;
use crate::started::until;

/// More than this many only make each look at all of them longer.
const KEPT: usize = 3;

/// Its parts go in this order.
pub struct Scene {
    load: Load,
    _veto: Hook,
    /// Under the backups, where its power is going to be cut.
    pub disk: Option<Disk>,
    asked: RefCell<Option<Session>>,
    pub service: Service,
    /// Backups that were whole: none of them may be lost.
    pub good: BTreeSet<String>,
    /// Something to import.
    pub dump: PathBuf,
    remote: PathBuf,
    /// A backup that is at the remote.
    pub pushed: Option<String>,
    /// Acknowledged writes before this one may have been swapped away.
    since: usize,
    _files: tempfile::TempDir,
}

/// What was so before a try.
pub struct Before {
    databases: Vec<(u64, String)>,
    live: u64,
}

impl Scene {
    pub fn new(label: &str) -> Self {
        let service = Service::new(label);
        Self::of(service, None)
    }

    /// `None` where that cannot be had.
    pub fn on_a_disk(label: &str) -> Option<Self> {
        let service = Service::new(label);
        let disk = Disk::mount(&service)?;
        Some(Self::of(service, Some(disk)))
    }

    fn of(service: Service, disk: Option<Disk>) -> Self {
        service.fill();
        let files = tempfile::tempdir_in(world()).unwrap();
        let (dump, remote) = (files.path().join("dump"), files.path().join("remote"));
        fs::write(&dump, crate::import::pg_dump(&service, &["--format=custom"])).unwrap();
        fs::create_dir(&remote).unwrap();
        let owned = Command::new("chown").arg("-R").arg("dokku:dokku").arg(files.path()).status();
        assert!(owned.unwrap().success());
        dokku(&["pgbackup:remote-set", &service.name, &format!("file://{}", remote.display())]).ok();
        for (key, value) in [
            ("keep-last", "1"),
            ("keep-daily", "0"),
            ("keep-weekly", "0"),
            ("keep-monthly", "0"),
            ("min-free", "off"),
        ] {
            dokku(&["pgbackup:set", &service.name, key, value]).ok();
        }
        let veto = Hook::veto(&service);
        let load = Load::on(&service);
        let mut scene = Scene {
            load,
            service,
            asked: RefCell::default(),
            good: BTreeSet::new(),
            dump,
            remote,
            pushed: None,
            since: 0,
            disk,
            _files: files,
            _veto: veto,
        };
        scene.create();
        scene
    }

    /// Makes a backup that must not be lost from now on.
    pub fn create(&mut self) -> String {
        let id = self.service.create();
        self.good.insert(id.clone());
        id
    }

    /// From now on, the journal of the live database is another one.
    pub fn swapped(&mut self) {
        self.since = self.load.count();
    }

    /// Asks the server by one session for all questions, and by a new one when that was ended.
    fn ask(&self, script: &str) -> Vec<String> {
        let mut asked = self.asked.borrow_mut();
        let mut answer = None;
        until("the server answers", || {
            answer = asked.as_mut().and_then(|session| session.ask(script));
            if answer.is_none() {
                *asked = Some(Session::of(&self.service.container(), "postgres"));
            }
            answer.is_some()
        });
        answer.unwrap()
    }

    /// The service's databases with their identities.
    pub fn databases(&self) -> Vec<(u64, String)> {
        let question =
            "select oid || ' ' || datname from pg_database where not datistemplate and datname <> 'postgres'";
        let answer = self.ask(&format!("{question};"));
        let pair =
            |line: &str| line.split_once(' ').map(|(oid, name)| (oid.parse().unwrap(), name.to_owned()));
        answer.iter().map(|line| pair(line).unwrap()).collect()
    }

    fn names_of_databases(&self) -> Vec<String> {
        self.databases().into_iter().map(|(_, name)| name).collect()
    }

    pub fn look(&self) -> Before {
        let databases = self.databases();
        let live = identity(&databases, &self.service.database());
        Before { databases, live }
    }

    /// After a try: the live database is the right one, takes writes and has lost none. True when it was swapped.
    #[track_caller]
    pub fn assert_database(&mut self, before: &Before, may_swap: bool) -> bool {
        self.load.await_write();
        let now = self.databases();
        let live = identity(&now, &self.service.database());
        let swapped = live != before.live;
        let written = self.load.written(self.since);
        let mut found = self.journal(&self.service.database());
        if swapped {
            assert!(may_swap, "the live database is another one: {:?} {now:?}", before.databases);
            let previous = now.iter().find(|(oid, _)| *oid == before.live);
            let (_, name) = previous.unwrap_or_else(|| panic!("the old live database is gone: {now:?}"));
            assert!(name.contains("_previous_"), "{now:?}");
            found.extend(self.journal(name));
            self.swapped();
        }
        let lost: Vec<&u64> = written.iter().filter(|number| !found.contains(number)).collect();
        assert!(lost.is_empty(), "acknowledged writes are lost: {lost:?}, swapped: {swapped}");
        swapped
    }

    /// The numbers in a database's journal. Its other tables must agree with each other.
    fn journal(&self, database: &str) -> BTreeSet<u64> {
        let there =
            format!("\\connect {database}\nselect {INVARIANT};\nselect n from journal;\n\\connect postgres");
        let answer = self.ask(&there);
        let mut lines = answer.iter();
        assert_eq!(lines.next().map(String::as_str), Some("t"), "the invariant is broken in {database}");
        lines.map(|line| line.parse().unwrap()).collect()
    }

    /// Names of the folders that look like whole backups.
    fn folders(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.service.backups()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// `list` calls good what is whole, and nothing else; whole is what sha256sum and the fingerprint say.
    #[track_caller]
    pub fn assert_list(&self) -> Run {
        let listed = self.service.pgbackup("list", &["--format", "json"]).ok();
        let entries = listed.json();
        let is_good = |entry: &&Value| entry["status"] == "good";
        let ids = entries.as_array().unwrap().iter().filter(is_good);
        let ids: BTreeSet<String> = ids.map(|entry| entry["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, self.folders(), "{entries}");
        listed
    }

    /// After the next run: nothing is left, every good backup is there and whole, new ones are good, too.
    #[track_caller]
    pub fn assert_backups(&mut self, order: &Order) {
        self.service.assert_nothing_left_beside(&self.names_of_databases());
        let moved = fs::read_dir(world().join("lib/data/pgbackup/destroyed")).into_iter().flatten().flatten();
        let mut moved = moved.map(|entry| entry.file_name().to_string_lossy().into_owned());
        assert_eq!(
            moved.find(|name| name.contains(&self.service.name)),
            None,
            "a folder of a destroy is left"
        );
        let there = self.folders();
        let lost: Vec<&String> = self.good.iter().filter(|id| !there.contains(*id)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        let check = "cd \"$1\" && for id in */; do (cd \"$id\" && sha256sum --check --quiet SHA256SUMS) || exit 1; done";
        let checked =
            Command::new("bash").args(["-c", check, "-"]).arg(self.service.backups()).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        for id in there.difference(&self.good.clone()).filter(|id| !order.may_go.contains(id)) {
            self.service.pgbackup("verify", &[id, "--level", "archive"]).ok();
            self.good.insert(id.clone());
        }
        self.forget();
    }

    fn forget(&mut self) {
        let newest: BTreeSet<String> = self.good.iter().rev().take(KEPT).cloned().collect();
        for id in self.folders().difference(&newest) {
            fs::remove_dir_all(self.service.backup(id)).unwrap();
        }
        self.good = newest;
    }

    /// A push after the one that was struck makes it whole: what lies there is what `tar` and sha256sum take.
    #[track_caller]
    pub fn assert_remote(&self, order: &Order) {
        let id = &order.args[2];
        self.service.pgbackup("push", &[id]).ok();
        let there = self.remote.join(&self.service.name).join(id);
        let script = "cd \"$(mktemp -d)\" && cat \"$1\"/part-* | tar -x && cd \"$2\" && \
            sha256sum --check --quiet SHA256SUMS && rm -r \"$PWD\"";
        let checked = Command::new("bash").args(["-c", script, "-"]).arg(there).arg(id).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        let listed = self.service.pgbackup("list", &["--remote", "--format", "json"]).ok().json();
        assert!(listed.as_array().unwrap().iter().all(|one| one["status"] == "whole"), "{listed}");
    }

    /// A copy of a table is whole or not there. It goes.
    #[track_caller]
    pub fn assert_copies(&self) {
        for schema in
            self.service.sql("select nspname from pg_namespace where nspname like 'pgbackup\\_%'").lines()
        {
            assert_eq!(self.service.sql(&format!("select count(*) from {schema}.cows")), "5000");
            self.service.sql(&format!("drop schema {schema} cascade"));
        }
    }

    /// What the next run must name.
    pub fn leftovers(&self) -> Vec<String> {
        leftovers(&self.service, self.names_of_databases())
    }

    /// A backup whose making was told as done is there, come what may.
    #[track_caller]
    pub fn assert_told(&mut self, told: &Run) {
        let id = told.stdout.trim();
        assert!(self.folders().contains(id), "{id} was told of and is gone: {:?}", self.folders());
    }
}

fn identity(databases: &[(u64, String)], name: &str) -> u64 {
    let found = databases.iter().find(|(_, other)| other == name);
    found.unwrap_or_else(|| panic!("there is no {name}: {databases:?}")).0
}
