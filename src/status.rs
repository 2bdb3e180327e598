//! How a service stands: its last good backup, the last proof, the next run, what its backups take.

use std::path::Path;

use anyhow::Result;
use chrono::{DateTime, Local, TimeDelta, Utc};

use crate::catalog::{self, Backup, Entry};
use crate::dokku::Service;
use crate::files;
use crate::history::{self, Event};
use crate::host::Host;
use crate::layout;
use crate::lock;
use crate::manifest::{Level, Pool};
use crate::retention::CLOCK_TOLERANCE;
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::timeline::{Point, Timeline};

/// A scheduled run may take its time before it is called overdue.
const GRACE: TimeDelta = TimeDelta::hours(2);

/// A service at a glance.
#[derive(Debug)]
pub struct Status {
    pub service: Service,
    /// Why the settings cannot be read.
    pub settings: Result<Settings>,
    /// Why its backups or its history cannot be read; then the rest says little.
    pub unreadable: Option<String>,
    /// Whole backups.
    pub count: usize,
    pub last_good: Option<Backup>,
    /// When some backup of it was last proven by a drill.
    pub last_drill: Option<DateTime<Utc>>,
    /// Whether the newest backup was found bad.
    pub newest_is_bad: bool,
    pub next_run: Option<DateTime<Local>>,
    /// When a scheduled backup should have been made and none was.
    pub overdue_since: Option<DateTime<Local>>,
    /// Bytes that the backups take, shared files counted once.
    pub disk_bytes: u64,
    /// The last run of `create`, of `verify` and of `push`, when it failed.
    pub failures: Vec<Event>,
    pub timeline: Timeline,
}

impl Status {
    /// One service that cannot be looked at does not hide the others, so this is never an error.
    pub fn of(host: &Host<'_>, service: &Service) -> Self {
        let settings = host.settings(service);
        let mut unreadable = None;
        let mut keep = |error: anyhow::Error| {
            unreadable.get_or_insert_with(|| format!("{error:#}"));
        };
        let entries = catalog::list(&service.layout).map_err(&mut keep).unwrap_or_default();
        let events = history::read(&service.layout).map_err(&mut keep).unwrap_or_default();
        let newest_is_broken = match entries
            .iter()
            .find(|entry| !matches!(entry, Entry::Pending { .. } | Entry::Deleted { .. }))
        {
            Some(Entry::Broken { .. }) => true,
            Some(Entry::Whole(newest)) => !newest.is_good(),
            _ => false,
        };
        let backups = catalog::whole(entries);
        let last = |command: &str| events.iter().find(|event| event.command == command && event.is_telling());
        let failures = history::WATCHED.into_iter().filter_map(last).filter(|event| !event.good);
        let drills = backups.iter().filter_map(|backup| backup.verified.as_ref());
        let now = host.now.with_timezone(&Local);
        let schedule = settings.as_ref().ok().and_then(|settings| settings.schedule.clone());
        let points: Vec<Point<'_>> = backups.iter().map(Point::from).collect();
        let timeline = Timeline::of(&points, &events, &now);
        Status {
            count: backups.len(),
            last_good: backups.iter().find(|backup| backup.is_good()).cloned(),
            last_drill: drills
                .filter(|verified| verified.good && verified.level == Level::Drill)
                .map(|verified| verified.at)
                .max(),
            newest_is_bad: newest_is_broken,
            next_run: schedule.as_ref().and_then(|schedule| schedule.next(&now, 1).into_iter().next()),
            overdue_since: schedule.and_then(|schedule| overdue(host, service, &schedule, &backups)),
            disk_bytes: files::disk_use(&service.layout.backups()),
            failures: failures.cloned().collect(),
            timeline,
            settings,
            unreadable,
            service: service.clone(),
        }
    }

    /// In a word: `ok`, or what is wrong.
    pub fn health(&self) -> &'static str {
        if self.unreadable.is_some() {
            "UNREADABLE"
        } else if self.settings.is_err() {
            "SETTINGS"
        } else if self.newest_is_bad {
            "BAD BACKUP"
        } else if self.overdue_since.is_some() {
            "OVERDUE"
        } else if !self.failures.is_empty() {
            "FAILED"
        } else if self.last_good.is_none() {
            "NO BACKUP"
        } else {
            "ok"
        }
    }
}

/// The time at which a scheduled backup should have been made and none was.
fn overdue(
    host: &Host<'_>,
    service: &Service,
    schedule: &Schedule,
    backups: &[Backup],
) -> Option<DateTime<Local>> {
    let due = schedule.last(&(host.now.with_timezone(&Local) - GRACE))?;
    // One that a deploy or somebody made does not say that the schedule works, nor does one from the future.
    let says = |backup: &&Backup| {
        backup.manifest.pool == Pool::Scheduled && backup.manifest.started_at <= host.time() + CLOCK_TOLERANCE
    };
    let newest = backups.iter().find(says);
    let is_missing = newest.is_none_or(|newest| newest.manifest.started_at < due);
    // Nothing is missed that was due before the schedule was set, or the service made.
    let made = |path: &Path| {
        path.metadata().and_then(|metadata| metadata.modified()).ok().map(DateTime::<Utc>::from)
    };
    let schedules = [service.layout.settings(), host.dokku.layout().global_settings()];
    let marks = schedules.iter().map(|settings| layout::schedule_since(settings));
    let since = marks.chain([service.layout.database_name()]).filter_map(|path| made(&path)).max();
    // One that takes hours is not there yet, and is being made.
    let is_being_made =
        || lock::holder(&service.layout.lock()).is_some_and(|note| note.starts_with(lock::CREATE));
    (is_missing && since.is_none_or(|since| since < due) && !is_being_made()).then_some(due)
}
