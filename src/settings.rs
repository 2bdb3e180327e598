//! The settings in force for a service, and where each comes from.

mod file;
mod keys;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::encryption::Recipients;
use crate::layout::{Layout, ServiceLayout};
use crate::retention::{Policies, Policy};
use crate::schedule::Schedule;
use crate::units;
use file::read;
pub use file::{own_value, set};
use keys::{DEFAULT_MAX_JOBS, OFF, room};
pub use keys::{KEYS, Key, Values};

/// What a deploy of a linked app does when its service cannot be backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDeploy {
    /// It stops.
    Required,
    /// It goes on with a warning.
    Warn,
    /// No backup is tried.
    Off,
}

/// What a `postgres:destroy` does before it destroys a service that was backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalBackup {
    On,
    /// It is refused when that fails.
    Required,
    Off,
}

/// What must stay free on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Bytes(u64),
    Percent(u64),
}

impl Room {
    /// Bytes, of a disk that has `total`.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Room::Bytes(bytes) => bytes,
            Room::Percent(percent) => total / 100 * percent,
        }
    }
}

/// Where events are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notify {
    pub command: Option<PathBuf>,
    pub url: Option<String>,
    pub failure_url: Option<String>,
    pub of_success: bool,
}

/// The settings in force for one service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Parallel jobs of `pg_dump` and `pg_restore`.
    pub jobs: usize,
    /// Whether backups and drills give way to the service.
    pub gentle: bool,
    pub on_deploy: OnDeploy,
    pub schedule: Option<Schedule>,
    pub verify_schedule: Option<Schedule>,
    pub policies: Policies,
    /// Bytes.
    pub max_size: Option<u64>,
    pub min_free: Room,
    /// How long to wait for a table that somebody else has locked.
    pub lock_timeout: Duration,
    pub final_backup: FinalBackup,
    pub notify: Notify,
    pub push_on_create: bool,
    /// Whom the remote's backups are encrypted for.
    pub recipients: Option<Recipients>,
    /// What is kept at the remote.
    pub remote_policies: Policies,
    /// All with their sources, in the order of [`KEYS`].
    pub explained: Vec<Explained>,
}

/// A setting in force and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub key: &'static str,
    pub value: String,
    pub source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Service,
    Global,
    Default,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Service => "service",
            Source::Global => "global",
            Source::Default => "default",
        }
    }
}

type Texts = BTreeMap<String, String>;

impl Settings {
    /// Reads both files; `cores` gives the default for `jobs`.
    pub fn load(layout: &Layout, service: &ServiceLayout, cores: usize) -> Result<Self> {
        Ok(Self::of(&read(&service.settings())?, &read(&layout.global_settings())?, cores))
    }

    /// Those of the service, as if there were none for all services.
    pub fn load_own(service: &ServiceLayout, cores: usize) -> Result<Self> {
        Ok(Self::of(&read(&service.settings())?, &Texts::new(), cores))
    }

    /// Those of no service in particular.
    pub fn load_global(layout: &Layout, cores: usize) -> Result<Self> {
        Ok(Self::of(&Texts::new(), &read(&layout.global_settings())?, cores))
    }

    fn of(own: &Texts, global: &Texts, cores: usize) -> Self {
        let explained: Vec<Explained> = KEYS.iter().map(|key| explain(key, own, global, cores)).collect();
        // Every text was checked when it was read, and the defaults are right.
        let text = |name: &str| {
            let found = explained.iter().find(|one| one.key == name);
            found.map(|one| one.value.as_str()).filter(|text| *text != OFF)
        };
        let owned = |name: &str| text(name).map(str::to_owned);
        let number = |name: &str| text(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let policies = |prefix: &str| {
            let number = |name: &str| number(&format!("{prefix}{name}"));
            let scheduled = Policy {
                last: number("keep-last"),
                daily: number("keep-daily"),
                weekly: number("keep-weekly"),
                monthly: number("keep-monthly"),
            };
            Policies { scheduled, deploy: Policy { last: number("deploy-keep-last"), ..Policy::default() } }
        };
        Settings {
            jobs: text("jobs").and_then(|jobs| jobs.parse().ok()).unwrap_or(1),
            gentle: text("gentle").is_some(),
            on_deploy: match text("on-deploy") {
                Some("warn") => OnDeploy::Warn,
                Some(_) => OnDeploy::Required,
                None => OnDeploy::Off,
            },
            schedule: text("schedule").and_then(|text| text.parse().ok()),
            verify_schedule: text("verify-schedule").and_then(|text| text.parse().ok()),
            policies: policies(""),
            push_on_create: text("push-on-create").is_some(),
            recipients: text("age-recipient").and_then(|text| text.parse().ok()),
            remote_policies: policies("remote-"),
            max_size: text("max-size").and_then(units::parse_bytes),
            min_free: text("min-free").and_then(room).unwrap_or(Room::Bytes(0)),
            lock_timeout: Duration::from_secs(number("lock-timeout").into()),
            final_backup: match text("final-backup") {
                Some("required") => FinalBackup::Required,
                Some(_) => FinalBackup::On,
                None => FinalBackup::Off,
            },
            notify: Notify {
                command: text("notify-command").map(PathBuf::from),
                url: owned("notify-url"),
                failure_url: owned("notify-failure-url"),
                of_success: text("notify-success").is_some(),
            },
            explained,
        }
    }

    /// Where all services' metrics are written.
    pub fn textfile(&self) -> Option<PathBuf> {
        let found = self.explained.iter().find(|one| one.key == "prometheus-textfile")?;
        Some(PathBuf::from(&found.value)).filter(|path| path.is_absolute())
    }
}

fn explain(key: &Key, own: &Texts, global: &Texts, cores: usize) -> Explained {
    let found = own
        .get(key.name)
        .map(|text| (text.clone(), Source::Service))
        .or_else(|| global.get(key.name).map(|text| (text.clone(), Source::Global)));
    let default = || match key.name {
        "jobs" => cores.clamp(1, DEFAULT_MAX_JOBS).to_string(),
        _ => key.default.to_owned(),
    };
    let (value, source) = found.unwrap_or_else(|| (default(), Source::Default));
    Explained { key: key.name, value, source }
}

#[cfg(test)]
mod tests {
    use super::file::{parse, read_text};
    use super::keys::MAX_TEXT;
    use super::*;
    use crate::files;
    use std::path::Path;

    fn load(own: &str) -> Result<Settings> {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let service = layout.service(&"db".parse().unwrap());
        files::create_private_folders(&service.own()).unwrap();
        files::write_private(&service.settings(), own.as_bytes()).unwrap();
        Settings::load(&layout, &service, 8)
    }

    #[test]
    fn the_service_goes_before_the_default() {
        let default = load("").unwrap();
        assert_eq!((default.jobs, default.on_deploy), (4, OnDeploy::Required));
        assert_eq!(default.min_free.of(1000), 100);
        assert_eq!(default.policies.scheduled, Policy { last: 3, daily: 7, weekly: 4, monthly: 6 });
        let own = load("jobs = 7\non-deploy = \"off\"\nmin-free = \"5 GB\"\nkeep-daily = 2").unwrap();
        assert_eq!((own.jobs, own.on_deploy, own.min_free), (7, OnDeploy::Off, Room::Bytes(5_000_000_000)));
        assert_eq!(own.policies.scheduled.daily, 2);
        let source = |key: &str| own.explained.iter().find(|one| one.key == key).map(|one| one.source);
        assert_eq!(source("on-deploy"), Some(Source::Service));
        assert_eq!(source("schedule"), Some(Source::Default));
    }

    #[test]
    fn each_text_becomes_what_it_means() {
        let all = load(
            "jobs = 7\ngentle = \"on\"\non-deploy = \"warn\"\nschedule = \"30 3 * * *\"\n\
             verify-schedule = \"0 5 * * mon\"\nmax-size = \"20 GB\"\nmin-free = \"90 %\"\nlock-timeout = 9\n\
             final-backup = \"required\"\npush-on-create = \"on\"\nnotify-command = \"/bin/tell\"\n\
             notify-url = \"https://example.com/a\"\nnotify-failure-url = \"http://example.com/b\"\n\
             notify-success = \"on\"\nremote-keep-monthly = 2\nremote-deploy-keep-last = 1\n",
        )
        .unwrap();
        assert!(all.gentle && all.push_on_create);
        assert_eq!((all.on_deploy, all.final_backup), (OnDeploy::Warn, FinalBackup::Required));
        assert_eq!(all.schedule.unwrap().to_string(), "30 3 * * *");
        assert_eq!(all.verify_schedule.unwrap().to_string(), "0 5 * * mon");
        assert_eq!((all.max_size, all.min_free.of(1_000)), (Some(20_000_000_000), 900));
        assert_eq!(all.lock_timeout, Duration::from_secs(9));
        assert_eq!((all.remote_policies.scheduled.monthly, all.remote_policies.deploy.last), (2, 1));
        assert_eq!((all.policies.scheduled.monthly, all.policies.deploy.last), (6, 5));
        let told = Notify {
            command: Some("/bin/tell".into()),
            url: Some("https://example.com/a".into()),
            failure_url: Some("http://example.com/b".into()),
            of_success: true,
        };
        assert_eq!(all.notify, told);
    }

    #[test]
    fn a_long_comment_is_read() {
        let commented = format!("# {}\njobs = 2\n", "why ".repeat(10_000));
        assert_eq!(load(&commented).unwrap().jobs, 2);
    }

    #[test]
    fn off_is_nothing() {
        let off = load("final-backup = \"off\"\nmin-free = \"off\"\nmax-size = \"off\"").unwrap();
        assert!(!off.gentle && !off.push_on_create);
        assert_eq!((off.final_backup, off.max_size, off.min_free), (FinalBackup::Off, None, Room::Bytes(0)));
        assert_eq!((off.textfile(), off.notify), (None, Notify::default()));
        assert!(off.schedule.is_none() && off.verify_schedule.is_none() && off.recipients.is_none());
        assert_eq!(load("").unwrap().final_backup, FinalBackup::On);
    }

    #[test]
    fn those_for_all_services_stand_behind_those_of_one() {
        let texts = |text: &str| parse(Path::new("settings.toml"), text).unwrap();
        let own = texts("jobs = 2");
        let global = texts("jobs = 3\nkeep-last = 9\nprometheus-textfile = \"/metrics/a.prom\"");
        let both = Settings::of(&own, &global, 8);
        assert_eq!((both.jobs, both.policies.scheduled.last), (2, 9));
        assert_eq!(both.textfile(), Some("/metrics/a.prom".into()));
        let source = |key: &str| both.explained.iter().find(|one| one.key == key).unwrap().source.as_str();
        assert_eq!(["jobs", "keep-last", "keep-daily"].map(source), ["service", "global", "default"]);
    }

    #[test]
    fn a_file_is_asked_for_alone() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let service = layout.service(&"db".parse().unwrap());
        let jobs = Key::find("jobs").unwrap();
        set(&service.settings(), jobs, Some("2")).unwrap();
        set(&layout.global_settings(), jobs, Some("3")).unwrap();
        assert_eq!(own_value(&service.settings(), jobs).unwrap().as_deref(), Some("2"));
        assert_eq!(own_value(&service.settings(), Key::find("gentle").unwrap()).unwrap(), None);
        assert_eq!(Settings::load(&layout, &service, 8).unwrap().jobs, 2);
        assert_eq!(Settings::load_global(&layout, 8).unwrap().jobs, 3);
        set(&service.settings(), jobs, None).unwrap();
        assert_eq!(Settings::load_own(&service, 1).unwrap().jobs, 1);
    }

    #[test]
    fn values_have_their_limits() {
        let (long, longest) =
            (format!("/{}", "x".repeat(MAX_TEXT)), format!("/{}", "x".repeat(MAX_TEXT - 1)));
        for (name, right, wrong) in [
            ("jobs", vec!["1", "64"], vec!["0", "65", "off", "1.5"]),
            ("gentle", vec!["on", "off"], vec!["yes", ""]),
            ("min-free", vec!["off", "0%", "90%", "5 GB"], vec!["91%", "-1%", "%", "much"]),
            ("notify-command", vec!["off", "/bin/a", &longest], vec!["a", "/a\u{1b}", &long]),
            ("notify-url", vec!["http://a", "https://a"], vec!["ftp://a", "https://a b", "https://a\n"]),
            ("prometheus-textfile", vec!["off", "/a.prom"], vec!["a.prom", "/a.txt", "/a\u{1b}.prom"]),
            ("age-recipient", vec!["off"], vec!["age1"]),
        ] {
            let key = Key::find(name).unwrap();
            right.iter().for_each(|text| assert_eq!(key.complaint(text), None, "{name} {text}"));
            wrong.iter().for_each(|text| assert!(key.complaint(text).is_some(), "{name} {text}"));
        }
    }

    #[test]
    fn addresses_are_secret_and_the_textfile_is_for_all_services() {
        let names = |of: fn(&Key) -> bool| -> Vec<&str> {
            KEYS.iter().filter(|key| of(key)).map(|key| key.name).collect()
        };
        assert_eq!(names(Key::is_secret), ["notify-url", "notify-failure-url"]);
        assert_eq!(names(Key::is_global), ["prometheus-textfile"]);
    }

    #[test]
    fn every_default_is_a_value_of_its_key() {
        for key in KEYS.iter().filter(|key| key.name != "jobs") {
            assert_eq!(key.complaint(key.default), None, "{}", key.name);
        }
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        for text in [
            "jobs = 0",
            "jobs = \"x\"",
            "job = 3",
            "jobs =",
            "on-deploy = \"maybe\"",
            "[jobs]",
            "schedule = \"never\"",
            "max-size = 5",
            "notify-url = \"ftp://x\"",
            "keep-daily = \"7\"",
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains("settings.toml") && error.contains("line 1"), "{text}: {error}");
        }
        assert!(load("\njobs =").unwrap_err().to_string().contains("line 2"));
        assert!(load("jobs = 2\n\non-deploy = 1").unwrap_err().to_string().contains("line 3"));
    }

    #[test]
    fn setting_a_key_leaves_the_rest_of_the_file_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/settings.toml");
        let key = |name| Key::find(name).unwrap();
        set(&path, key("on-deploy"), Some("warn")).unwrap();
        let text = "# why: slow disk\njobs = 2 # for now\non-deploy = \"warn\"\n";
        files::write_atomic(&path, text.as_bytes()).unwrap();
        set(&path, key("on-deploy"), Some("off")).unwrap();
        assert_eq!(read_text(&path).unwrap(), text.replace("warn", "off"));
        set(&path, key("on-deploy"), None).unwrap();
        assert_eq!(read_text(&path).unwrap(), "# why: slow disk\njobs = 2 # for now\n");
        set(&path, key("jobs"), Some("3")).unwrap();
        assert_eq!(read_text(&path).unwrap(), "# why: slow disk\njobs = 3 # for now\n");
        set(&path, key("keep-last"), Some("4")).unwrap();
        set(&path, key("jobs"), None).unwrap();
        assert_eq!(read_text(&path).unwrap(), "# why: slow disk\nkeep-last = 4\n");
        set(&path, key("keep-last"), None).unwrap();
        assert_eq!(read_text(&path).unwrap(), "# why: slow disk\n");
        let latin = b"jobs = 2\n# caf\xe9\n";
        files::write_atomic(&path, latin).unwrap();
        let error = set(&path, key("jobs"), Some("3")).unwrap_err().to_string();
        assert!(error.contains("line 2: it is not UTF-8"), "{error}");
        assert_eq!(files::read_bounded(&path, 100).unwrap(), latin);
        assert_eq!(
            crate::error::exit_code(&set(&path, key("prometheus-textfile"), Some("/x")).unwrap_err()),
            2
        );
        assert_eq!(crate::error::exit_code(&set(&path, key("jobs"), Some("65")).unwrap_err()), 2);
        assert_eq!(crate::error::exit_code(&Key::find("x").unwrap_err()), 2);
    }
}
