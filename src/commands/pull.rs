//! `pgbackup:pull`.

use anyhow::Result;
use serde::Serialize;

use super::remote::identities;
use super::view::BackupView;
use super::{App, hide_foreign_apps_for_sure};
use crate::cli::{Format, PullArgs};
use crate::manifest::Pool;
use crate::offsite;
use crate::pull::pull;
use crate::remote::Patience;
use crate::ui::table;
use crate::units;

#[derive(Serialize)]
struct View<'a> {
    backup: BackupView<'a>,
    remote: &'a str,
    duration_seconds: f64,
}

pub fn run(app: &App<'_>, args: &PullArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let identities = identities(args.identity.as_deref(), app.docker.interrupt())?;
    let interrupt = app.docker.interrupt().clone();
    let remote = offsite::open(&app.dokku, Some(&service.layout), Patience::Work, interrupt)?;
    let (found, index) = offsite::find_whole(&remote, &service.name, args.backup.as_deref())?;
    let mut report = pull(&app.host(), &service, &remote, (&found, &index), identities.as_ref())?;
    hide_foreign_apps_for_sure(app, &mut report.backup.manifest);
    if args.format == Format::Json {
        let duration_seconds = report.duration.as_secs_f64();
        return app.ui.json(&View {
            backup: BackupView::of(&report.backup),
            remote: &remote.shown,
            duration_seconds,
        });
    }
    if app.ui.is_quiet() {
        app.ui.result(report.backup.id.as_str());
        return Ok(());
    }
    app.ui.heading(&format!("Backup {} of {} is here", report.backup.id, service.name));
    app.ui.details(&table::report(&[
        ("From", remote.shown.clone()),
        ("Fetched", format!("{}, every file compared with its checksum", units::bytes(report.bytes))),
        ("Duration", units::duration(report.duration)),
    ]));
    if matches!(report.backup.manifest.pool, Pool::Scheduled | Pool::Deploy) {
        app.ui.detail(&format!(
            "Retention may remove it with the next backup; to keep it: dokku pgbackup:pin {} {}",
            service.name, report.backup.id
        ));
    }
    app.ui.detail(&format!("Prove it with: dokku pgbackup:verify {} {}", service.name, report.backup.id));
    Ok(())
}
