//! `pgbackup:undo`.

use anyhow::Result;
use serde::Serialize;

use super::App;
use crate::cli::{Format, UndoArgs};
use crate::undo::undo;

#[derive(Serialize)]
struct Undone<'a> {
    service: &'a str,
    database: &'a str,
    restored_database: &'a str,
    previous_database: Option<&'a str>,
    swap_seconds: f64,
}

pub fn run(app: &App<'_>, args: &UndoArgs) -> Result<()> {
    let service = app.dokku.service(&args.service)?;
    let report = undo(&app.host(), &service)?;
    if args.format == Format::Json {
        return app.ui.json(&Undone {
            service: service.name.as_str(),
            database: &service.database,
            restored_database: &report.restored,
            previous_database: report.kept.as_deref(),
            swap_seconds: report.swap_duration.as_secs_f64(),
        });
    }
    app.ui.heading(&format!("{} has its previous database back", service.name));
    if let Some(kept) = report.kept.filter(|_| !app.ui.is_quiet()) {
        app.ui.detail(&format!("What was live until now is kept as {kept}"));
        app.ui.detail(&format!("Swap them again with: dokku pgbackup:undo {}", service.name));
    }
    Ok(())
}
