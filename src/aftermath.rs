//! What follows every run on a service: a line in its history, a message to whom it may concern, fresh metrics. None of
//! it can make the run fail.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::backup_id::BackupId;
use crate::dokku::Service;
use crate::error::Kind;
use crate::history::{self, Event};
use crate::host::Host;
use crate::manifest::Pool;
use crate::metrics;
use crate::notify::{self, Happening, Message};

/// What was run, and what it was about.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    pub command: &'static str,
    pub started: Instant,
    pub pool: Option<Pool>,
    pub backup: Option<&'a BackupId>,
    /// The backups that it removed.
    pub ids: &'a [String],
    /// What a verification found wrong: the run ended well, the backup did not.
    pub problem: Option<&'a str>,
}

impl Run<'_> {
    pub fn of(command: &'static str, started: Instant) -> Self {
        Run { command, started, pool: None, backup: None, ids: &[], problem: None }
    }
}

/// Writes down and tells how a run ended.
pub fn follow<T>(host: &Host<'_>, service: &Service, run: Run<'_>, ended: &Result<T>) {
    let who = match run.pool {
        Some(Pool::Deploy) => "deploy",
        _ => host.who,
    };
    let mut event = Event::of(run.command, who, host.time_of(run.started), ended, run.started.elapsed());
    event.backup = run.backup.map(ToString::to_string);
    event.ids = run.ids.to_vec();
    event.pool = run.pool.map(|pool| pool.as_str().to_owned());
    if let Some(problem) = run.problem {
        event.good = false;
        event.code = Kind::Difference.exit_code();
        event.message = Some(problem.to_owned());
    }
    write_down(host, service, &event);
    // Nobody misses a backup of a service that was destroyed meanwhile.
    if event.is_telling() && service.layout.root().is_dir() {
        tell(host, service, &event);
    }
    metrics::refresh(host);
}

/// Writes down which backups a run removed that was about something else.
pub fn removed(host: &Host<'_>, service: &Service, pool: Pool, ids: &[String]) {
    if ids.is_empty() {
        return;
    }
    let who = if pool == Pool::Deploy { "deploy" } else { host.who };
    let mut event = Event::of("prune", who, host.time(), &Ok(()), Duration::ZERO);
    event.ids = ids.to_vec();
    write_down(host, service, &event);
}

fn write_down(host: &Host<'_>, service: &Service, event: &Event) {
    // A service that was just destroyed, or never was, has no place for it.
    if !service.layout.root().is_dir() {
        return;
    }
    if let Err(error) = history::append(&service.layout, event) {
        host.progress.warn(&format!("the history of {} could not be written: {error:#}", service.name));
    }
}

fn tell(host: &Host<'_>, service: &Service, event: &Event) {
    let happening = match (event.command.as_str(), event.good) {
        ("create", true) => Happening::BackupMade,
        ("create", false) => Happening::BackupFailed,
        ("verify", true) => Happening::VerificationGood,
        ("verify", false) => Happening::VerificationFailed,
        ("push", false) => Happening::PushFailed,
        _ => return,
    };
    let Some(settings) = host.settings_for_sure(service) else { return };
    let what = match happening {
        Happening::BackupMade => "a backup was made".to_owned(),
        Happening::VerificationGood => "the backup is good".to_owned(),
        _ => event.message.clone().unwrap_or_default(),
    };
    let message = Message {
        event: happening,
        service: service.name.to_string(),
        host: host.name(),
        at: event.at,
        backup: event.backup.clone(),
        pool: event.pool.clone(),
        message: what,
    };
    notify::tell(host, &settings.notify, &message);
}
