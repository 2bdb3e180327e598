//! Undoing a restore: the previous database and the live one swap names.

use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};

use crate::aftermath::{self, Run};
use crate::dokku::Service;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::leftovers;
use crate::lock::ServiceLock;
use crate::postgres::identifier;
use crate::server::Server;
use crate::swap::{self, Previous, WayBack};
use crate::units;

/// Who undoes a restore that is longer ago than this may have forgotten what was written since.
const LONG_AGO: TimeDelta = TimeDelta::hours(1);

/// What is going to be live again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoPlan {
    pub previous: Previous,
    /// When the last restore or undo put it aside.
    pub live_until: Option<DateTime<Utc>>,
}

impl UndoPlan {
    /// `what was live until 2026-11-23 12:05:01 UTC (3 hours ago, 12.4 MB)`.
    pub fn describe(&self, now: DateTime<Utc>) -> String {
        described(&self.previous, now)
    }

    /// Whether nobody should do it by the way.
    fn is_long_ago(&self, now: DateTime<Utc>) -> bool {
        self.live_until.is_none_or(|time| now - time > LONG_AGO)
    }
}

fn described(previous: &Previous, now: DateTime<Utc>) -> String {
    let size = units::bytes(previous.size);
    match previous.live_until() {
        Some(time) => {
            format!("what was live until {} ({}, {size})", units::time(time), units::ago(time, now))
        }
        None => format!("what was live before ({size})"),
    }
}

/// What an undo did.
#[derive(Debug)]
pub struct UndoReport {
    pub plan: UndoPlan,
    /// The name under which the one that was live is kept now; `None` when there was none.
    pub kept: Option<String>,
    /// Apps whose code the restore may have brought back.
    pub apps: Vec<String>,
    pub swap_duration: Duration,
}

/// Swaps back in what the last restore put aside; what was live becomes the previous one. `agree` is asked when that is
/// long ago, and may refuse.
pub fn undo(
    host: &Host<'_>,
    service: &Service,
    agree: impl FnOnce(&UndoPlan) -> Result<()>,
) -> Result<UndoReport> {
    let run = Run::of("undo", Instant::now());
    let ended = swap_back(host, service, agree);
    aftermath::follow(host, service, run, &ended);
    ended
}

fn swap_back(
    host: &Host<'_>,
    service: &Service,
    agree: impl FnOnce(&UndoPlan) -> Result<()>,
) -> Result<UndoReport> {
    let mut lock = hold(host, service)?;
    let server = Server::of(host, service)?;
    let mut found = WayBack::look(&server, &service.database)?;
    let plan = plan(host, service, &found)?;
    if plan.is_long_ago(host.now) {
        // A backup that is due must not wait for somebody's answer.
        drop(lock);
        agree(&plan)?;
        lock = hold(host, service)?;
        found = WayBack::look(&server, &service.database)?;
        if self::plan(host, service, &found)?.previous != plan.previous {
            return Err(Failure::busy(format!("the databases of {} were swapped meanwhile", service.name))
                .hint(format!("see what was done: dokku pgbackup:history {}", service.name))
                .into());
        }
    }
    let apps = host.dokku.visible_apps(&service.links()?)?;
    let (live, restored) = (&service.database, &plan.previous.name);
    let (kept, swap_duration) = if found.live.is_some() {
        let kept = swap::previous_name(live, host.now, &found.databases);
        let took = swap::swap(&server, live, restored, &kept, "")?;
        (Some(kept), took)
    } else {
        let swapping = Instant::now();
        swap::rename(&server, restored, live, &[])?;
        (None, swapping.elapsed())
    };
    drop(lock);
    Ok(UndoReport { plan, kept, apps, swap_duration })
}

fn hold(host: &Host<'_>, service: &Service) -> Result<ServiceLock> {
    files::create_private_folders_in(service.layout.root(), &service.layout.own())?;
    let lock = ServiceLock::take(&service.layout.lock(), &service.name, "pgbackup:undo")?;
    leftovers::clear(host, service, &lock)?;
    Ok(lock)
}

fn plan(host: &Host<'_>, service: &Service, found: &WayBack) -> Result<UndoPlan> {
    let back = found.previous.iter().find(|previous| previous.leads_back_from(found.live));
    if let Some(previous) = back {
        return Ok(UndoPlan { previous: previous.clone(), live_until: previous.live_until() });
    }
    let name = &service.name;
    let Some(older) = found.previous.first() else {
        return Err(Failure::not_found(format!("there is nothing to undo: {name} has no previous database"))
            .hint(format!("a restore keeps one; the backups are listed by: dokku pgbackup:list {name}"))
            .into());
    };
    let told = format!(
        "there is nothing to undo: the last restore of {name} put no database aside, and {} is from before",
        older.name
    );
    let connect = format!("\\c {}", identifier(&older.name));
    Err(Failure::not_found(told)
        .hint(format!(
            "it is {}\nto look into it: dokku postgres:connect {name}, then {connect}",
            described(older, host.now)
        ))
        .into())
}
