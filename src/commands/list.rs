//! `pgbackup:list`.

use anyhow::Result;
use serde::Serialize;

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
    let lists: Vec<(&Service, Vec<Entry>)> = services
        .iter()
        .map(|service| Ok((service, catalog::list(&service.layout)?)))
        .collect::<Result<_>>()?;
    if args.format == Format::Json {
        let all: Vec<EntryView<'_>> = lists
            .iter()
            .flat_map(|(service, entries)| entries.iter().map(|entry| EntryView::of(service, entry)))
            .collect();
        return app.ui.json(&all);
    }
    for (service, entries) in &lists {
        if !entries.is_empty() || args.service.is_some() {
            show(app, service, entries);
        }
    }
    if args.service.is_none() && lists.iter().all(|(_, entries)| entries.is_empty()) {
        app.ui.detail("No service has a backup yet; make one with: dokku pgbackup:create <service>");
    }
    Ok(())
}

/// Not a `serde_json::Value`, which would sort the keys.
#[derive(Serialize)]
#[serde(untagged)]
enum EntryView<'a> {
    Whole(Box<BackupView<'a>>),
    NotWhole(NotWholeView<'a>),
}

impl<'a> EntryView<'a> {
    fn of(service: &'a Service, entry: &'a Entry) -> Self {
        if let Entry::Whole(backup) = entry {
            return EntryView::Whole(Box::new(BackupView::of(backup)));
        }
        let service = service.name.as_str();
        let (status, problem) = trouble(entry, service).unwrap_or_default();
        EntryView::NotWhole(NotWholeView { id: entry.name(), service, status, problem })
    }
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
            app.ui.problem(&format!("{} is {status}: {problem}", entry.name()));
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
