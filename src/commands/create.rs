//! `pgbackup:create`.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::view::{BackupView, commits_text};
use super::{App, hide_foreign_apps_for_sure};
use crate::cli::{CreateArgs, Format};
use crate::create::{CreateOptions, CreateReport, create_backup};
use crate::manifest::{Manifest, Pool, Pushed};
use crate::overdue;
use crate::push::{self, PushReport};
use crate::ui::table;
use crate::units;

/// How long a scheduled run waits for another one that has the service.
const SCHEDULED_PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Serialize)]
struct Created<'a> {
    backup: BackupView<'a>,
    duration_seconds: f64,
    shared_bytes: u64,
}

pub fn run(app: &App<'_>, args: CreateArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let options = CreateOptions {
        pool: if args.scheduled { Pool::Scheduled } else { Pool::Manual },
        note: args.note,
        jobs: args.jobs,
        gentle: args.gentle,
        coming: None,
        patience: if args.scheduled { SCHEDULED_PATIENCE } else { Duration::ZERO },
    };
    let made = create_backup(&app.host(), &service, &options);
    if args.scheduled {
        overdue::tell(&app.host());
    }
    // What an earlier run could not take to the remote goes there, too.
    let pushed = push::push_marked(&app.host(), &service, None);
    let mut report = made?;
    report.backup.pushed = Pushed::read(&report.backup.folder);
    hide_foreign_apps_for_sure(app, &mut report.backup.manifest);
    tell(app, args.format, &report, &pushed)?;
    super::push::say_if_interrupted(app, &report.backup)
}

fn tell(app: &App<'_>, format: Format, report: &CreateReport, pushed: &[PushReport]) -> Result<()> {
    if format == Format::Json {
        let duration_seconds = report.duration.as_secs_f64();
        let backup = BackupView::of(&report.backup);
        return app.ui.json(&Created { backup, duration_seconds, shared_bytes: report.shared_bytes });
    }
    if app.ui.is_quiet() {
        app.ui.result(report.backup.id.as_str());
        return Ok(());
    }
    show(app, report);
    pushed.iter().for_each(|report| super::push::show(app, report));
    Ok(())
}

fn show(app: &App<'_>, report: &CreateReport) {
    let manifest = &report.backup.manifest;
    let mut rows = report_rows(manifest, report.duration, report.shared_bytes);
    if !manifest.apps.is_empty() {
        rows.push(("Commit", commits_text(&manifest.apps, 10)));
    }
    app.ui.heading(&format!("Backup {} of {} made", report.backup.id, manifest.service));
    app.ui.details(&table::report(&rows));
    app.ui.detail(&format!("Prove it with: dokku pgbackup:verify {} {}", manifest.service, report.backup.id));
}

/// What is said of a backup that was just made.
pub(super) fn report_rows(
    manifest: &Manifest,
    duration: Duration,
    shared_bytes: u64,
) -> Vec<(&'static str, String)> {
    let (size, database) = (manifest.dump.size_bytes, manifest.database.size_bytes);
    let mut rows = vec![
        ("Size", format!("{}, of a database of {}", units::bytes(size), units::bytes(database))),
        ("Tables", units::count(manifest.contents.tables as u64)),
        ("Rows", units::count(manifest.contents.rows)),
        ("Duration", units::duration(duration)),
    ];
    if manifest.contents.large_objects > 0 {
        rows.push(("Large objects", units::count(manifest.contents.large_objects)));
    }
    if shared_bytes > 0 {
        rows.push(("Shared", format!("{} with the backup before", units::bytes(shared_bytes))));
    }
    rows
}
