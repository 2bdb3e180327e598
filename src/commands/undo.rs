//! `pgbackup:undo`.

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::App;
use crate::cli::{Format, UndoArgs};
use crate::undo::{UndoPlan, undo};

#[derive(Serialize)]
struct Undone<'a> {
    service: &'a str,
    database: &'a str,
    restored_database: &'a str,
    live_until: Option<DateTime<Utc>>,
    size_bytes: u64,
    previous_database: Option<&'a str>,
    swap_seconds: f64,
}

pub fn run(app: &App<'_>, args: &UndoArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let agree = |plan: &UndoPlan| {
        let warning = format!("{} is going to have {} again", service.name, plan.describe(app.now));
        app.ui.confirm(&warning, service.name.as_str(), app.docker.interrupt())
    };
    let report = undo(&app.host(), &service, agree)?;
    if args.format == Format::Json {
        return app.ui.json(&Undone {
            service: service.name.as_str(),
            database: &service.database,
            restored_database: &report.plan.previous.name,
            live_until: report.plan.live_until,
            size_bytes: report.plan.previous.size,
            previous_database: report.kept.as_deref(),
            swap_seconds: report.swap_duration.as_secs_f64(),
        });
    }
    app.ui.heading(&format!("{} has its previous database back", service.name));
    app.ui.detail(&format!("It is {}", report.plan.describe(app.now)));
    if app.ui.is_quiet() {
        return Ok(());
    }
    if let Some(kept) = &report.kept {
        app.ui.detail(&format!("What was live until now is kept as {kept}"));
        app.ui.detail(&format!("Swap them again with: dokku pgbackup:undo {}", service.name));
    }
    if !report.apps.is_empty() {
        let apps = report.apps.join(", ");
        app.ui.detail(&format!("The code of {apps} stays as it is: deploy what belongs to this data"));
    }
    Ok(())
}
