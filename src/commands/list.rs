//! `pgbackup:list`.

use anyhow::Result;
use serde_json::{Value, json};

use super::App;
use super::view::{BackupView, NotWholeView, commits_text, trouble, verified_text};
use crate::catalog::{self, Backup, Entry};
use crate::cli::{Format, ListArgs};
use crate::dokku::Service;
use crate::ui::table::{self, Align};
use crate::units;

pub fn run(app: &App<'_>, args: &ListArgs) -> Result<()> {
    let services = match &args.service {
        Some(name) => vec![app.dokku.service(name)?],
        None => app.dokku.services()?,
    };
    let mut all = Vec::new();
    for service in &services {
        let entries = catalog::list(&service.layout)?;
        if args.format == Format::Json {
            for entry in &entries {
                all.push(as_json(service, entry)?);
            }
        } else if !entries.is_empty() || args.service.is_some() {
            show(app, service, &entries);
        }
    }
    match args.format {
        Format::Json => app.ui.json(&all),
        Format::Stdout => Ok(()),
    }
}

fn as_json(service: &Service, entry: &Entry) -> Result<Value> {
    Ok(match (entry, trouble(entry, service.name.as_str())) {
        (Entry::Whole(backup), _) => serde_json::to_value(BackupView::of(backup))?,
        (_, Some((status, problem))) => serde_json::to_value(NotWholeView {
            id: entry.name(),
            service: service.name.as_str(),
            status,
            problem,
        })?,
        _ => json!(null),
    })
}

const HEADINGS: [&str; 8] = ["ID", "AGE", "SIZE", "DATABASE", "POOL", "VERIFIED", "COMMIT", "NOTE"];
const ALIGN: [Align; 8] = [
    Align::Left,
    Align::Left,
    Align::Right,
    Align::Right,
    Align::Left,
    Align::Left,
    Align::Left,
    Align::Left,
];

fn show(app: &App<'_>, service: &Service, entries: &[Entry]) {
    if !app.ui.is_quiet() {
        app.ui.heading(&format!("{} backups", service.name));
    }
    if entries.is_empty() {
        app.ui.detail(&format!("none yet; make one with: dokku pgbackup:create {}", service.name));
        return;
    }
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| match entry {
        Entry::Whole(backup) => row(app, backup),
        _ => vec![entry.name().to_owned(), trouble(entry, "").map_or("", |(status, _)| status).to_owned()],
    }));
    app.ui.details(&table::lines(&ALIGN, &rows));
    for entry in entries {
        if let Some((status, problem)) = trouble(entry, service.name.as_str()) {
            app.ui.result(&format!(" !     {} is {status}: {problem}", entry.name()));
        }
    }
}

fn row(app: &App<'_>, backup: &Backup) -> Vec<String> {
    let manifest = &backup.manifest;
    let verified = verified_text(backup.verified.as_ref(), app.now);
    vec![
        backup.id.to_string(),
        units::ago(manifest.started_at, app.now),
        units::bytes(manifest.dump.size_bytes),
        units::bytes(manifest.database.size_bytes),
        manifest.pool.as_str().to_owned(),
        if backup.is_good() { verified } else { app.ui.mark(false, &verified) },
        commits_text(&manifest.apps, 7),
        manifest.note.clone().unwrap_or_default(),
    ]
}
