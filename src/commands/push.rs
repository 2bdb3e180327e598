//! `pgbackup:push`.

use anyhow::Result;
use serde::Serialize;

use super::App;
use crate::backup_id::BackupId;
use crate::catalog::{self, Backup};
use crate::cli::{Format, PushArgs};
use crate::dokku::Service;
use crate::offsite;
use crate::push::{PushReport, push};
use crate::remote::Patience;
use crate::ui::table;
use crate::units;

#[derive(Serialize)]
struct View<'a> {
    id: &'a str,
    service: &'a str,
    remote: &'a str,
    parts: usize,
    resumed_parts: usize,
    stored_bytes: u64,
    encrypted: bool,
    removed: Vec<&'a str>,
    duration_seconds: f64,
}

impl<'a> View<'a> {
    fn of(report: &'a PushReport) -> Self {
        View {
            id: report.backup.id.as_str(),
            service: report.backup.manifest.service.as_str(),
            remote: &report.remote,
            parts: report.parts,
            resumed_parts: report.resumed,
            stored_bytes: report.bytes,
            encrypted: report.encrypted,
            removed: report.removed.iter().map(BackupId::as_str).collect(),
            duration_seconds: report.duration.as_secs_f64(),
        }
    }
}

/// The backup is made and told of; that its push was interrupted remains to be said.
pub fn say_if_interrupted(app: &App<'_>, backup: &Backup) -> Result<()> {
    let is_missing_there = backup.pushed.as_ref().is_some_and(|pushed| !pushed.good);
    if is_missing_there { app.host().check() } else { Ok(()) }
}

pub fn run(app: &App<'_>, args: &PushArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let host = app.host();
    let backups = if args.all {
        missing_there(app, &service)?
    } else {
        vec![app.choose(&service, args.backup.as_deref())?]
    };
    let mut reports = Vec::new();
    for backup in &backups {
        let report = push(&host, &service, backup)?;
        if args.format == Format::Stdout {
            show(app, &report);
        }
        reports.push(report);
    }
    if args.format == Format::Json {
        return app.ui.json(&reports.iter().map(View::of).collect::<Vec<_>>());
    }
    if backups.is_empty() {
        app.ui.detail(&format!("Every good backup of {} is at the remote already", service.name));
    }
    Ok(())
}

/// Every good backup that the remote itself does not have whole, the oldest first: what its retention would remove is not
/// the last to come.
fn missing_there(app: &App<'_>, service: &Service) -> Result<Vec<Backup>> {
    let interrupt = app.docker.interrupt().clone();
    let remote = offsite::open(&app.dokku, Some(&service.layout), Patience::Work, interrupt)?;
    let there = offsite::list(&remote, Some(&service.name))?;
    let is_there = |backup: &Backup| there.iter().any(|one| one.id == backup.id && one.state.is_ok());
    let all = catalog::whole(catalog::list(&service.layout)?);
    Ok(all.into_iter().rev().filter(|backup| backup.is_good() && !is_there(backup)).collect())
}

/// Also behind a backup that went up by itself.
pub fn show(app: &App<'_>, report: &PushReport) {
    if app.ui.is_quiet() {
        return;
    }
    let parts = match report.resumed {
        0 => units::plural(report.parts as u64, "part"),
        resumed => format!("{}, {resumed} of them there already", units::plural(report.parts as u64, "part")),
    };
    let how = if report.encrypted { ", encrypted" } else { "" };
    app.ui.heading(&format!("Backup {} is at {}", report.backup.id, report.remote));
    let mut rows = vec![
        ("Stored", format!("{} in {parts}{how}, all checked there", units::bytes(report.bytes))),
        ("Duration", units::duration(report.duration)),
    ];
    if !report.removed.is_empty() {
        let removed: Vec<&str> = report.removed.iter().map(BackupId::as_str).collect();
        rows.push(("Removed", format!("{}, as the remote's retention says", removed.join(", "))));
    }
    app.ui.details(&table::report(&rows));
}
