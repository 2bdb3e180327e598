//! `pgbackup:list`.

use anyhow::Result;
use serde::Serialize;

use super::view::{BackupView, NotWholeView, commits_text, trouble, verified_text};
use super::{App, hide_foreign_apps};
use super::{destroyed, remote, report};
use crate::catalog::{self, Backup, Entry};
use crate::cli::{Format, ListArgs};
use crate::destroyed::find;
use crate::dokku::Service;
use crate::files;
use crate::status::Status;
use crate::ui::table::{self, Align};
use crate::units;

pub fn run(app: &App<'_>, args: &ListArgs) -> Result<()> {
    if args.remote {
        return remote::list(app, args.service.as_ref(), args.format);
    }
    let service = match &args.service {
        None if args.destroyed => return destroyed::list(app, args.format),
        None => return list_all(app, args.format),
        Some(name) if args.destroyed => find(&app.dokku, name.as_str())?.as_service(),
        Some(name) => app.service(name)?,
    };
    let mut entries = catalog::list(&service.layout)?;
    hide_foreign_apps(app, entries.iter_mut().filter_map(Entry::manifest_mut))?;
    if args.format == Format::Json {
        let all: Vec<EntryView<'_>> = entries.iter().map(|entry| EntryView::of(&service, entry)).collect();
        return app.ui.json(&all);
    }
    show(app, &service, &entries);
    Ok(())
}

/// A service at a glance. Times are RFC 3339, sizes bytes.
#[derive(Serialize)]
struct OverviewView<'a> {
    service: &'a str,
    health: &'static str,
    backups: usize,
    last_good: Option<BackupView<'a>>,
    last_drill_at: Option<chrono::DateTime<chrono::Utc>>,
    next_backup_at: Option<chrono::DateTime<chrono::Local>>,
    disk_bytes: u64,
}

impl<'a> OverviewView<'a> {
    fn of(status: &'a Status) -> Self {
        OverviewView {
            service: status.service.name.as_str(),
            health: status.health(),
            backups: status.count,
            last_good: status.last_good.as_ref().map(BackupView::of),
            last_drill_at: status.last_drill,
            next_backup_at: status.next_run,
            disk_bytes: status.disk_bytes,
        }
    }
}

fn list_all(app: &App<'_>, format: Format) -> Result<()> {
    let host = app.host();
    let services = app.dokku.services()?;
    let mut statuses: Vec<Status> = services.iter().map(|service| Status::of(&host, service)).collect();
    if format == Format::Json {
        let manifests = statuses.iter_mut().filter_map(|status| status.last_good.as_mut());
        hide_foreign_apps(app, manifests.map(|backup| &mut backup.manifest))?;
        return app.ui.json(&statuses.iter().map(OverviewView::of).collect::<Vec<_>>());
    }
    if statuses.is_empty() {
        app.ui.detail("There is no Postgres service; make one with: dokku postgres:create <service>");
        if !crate::destroyed::list(&app.dokku)?.is_empty() {
            app.ui.detail("Backups of destroyed ones: dokku pgbackup:list --destroyed");
        }
        return Ok(());
    }
    report::overview(app, &statuses);
    app.ui.detail("The backups of one: dokku pgbackup:list <service>");
    if statuses.iter().any(|status| status.health() != "ok") {
        app.ui.detail("What is wrong:      dokku pgbackup:doctor");
    }
    if !crate::destroyed::list(&app.dokku)?.is_empty() {
        app.ui.detail("Of destroyed ones:  dokku pgbackup:list --destroyed");
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
        app.ui.detail(&format!("none; {}", instead(app, service)));
        return;
    }
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| match entry {
        Entry::Whole(backup) => row(app, backup),
        _ => vec![entry.name().to_owned(), trouble(entry, "").map_or("", |(status, _)| status).to_owned()],
    }));
    app.ui.details(&table::lines(&ALIGN, &rows));
    if !app.ui.is_quiet() {
        let bytes = units::bytes(files::disk_use(&service.layout.backups()));
        app.ui.detail(&format!("On the disk they take {bytes}; what backups have in common is there once"));
        let backups = || entries.iter().filter_map(Entry::backup);
        let at_remote =
            backups().filter(|backup| backup.pushed.as_ref().is_some_and(|pushed| pushed.good)).count();
        if at_remote > 0 {
            app.ui.detail(&format!("At the remote are {at_remote} of these {}", backups().count()));
        }
        let name = &service.name;
        app.ui.detail(&format!("What has changed since one: dokku pgbackup:diff {name} <backup>"));
        app.ui.detail(&format!("Bring one back:             dokku pgbackup:restore {name} <backup>"));
    }
    for backup in entries.iter().filter_map(Entry::backup) {
        if let Some(problem) = backup.pushed.as_ref().and_then(|pushed| pushed.problem.as_ref()) {
            app.ui.problem(&format!("{} is not at the remote: {problem}", backup.id));
        }
    }
    for entry in entries {
        if let Some((status, problem)) = trouble(entry, service.name.as_str()) {
            app.ui.problem(&format!("{} is {status}: {problem}", entry.name()));
        }
    }
}

/// What to do where there is no backup: they may only be elsewhere.
fn instead(app: &App<'_>, service: &Service) -> String {
    let name = &service.name;
    if let Some(hint) = crate::destroyed::hint(&app.dokku, name) {
        return hint;
    }
    format!("make one with: dokku pgbackup:create {name}")
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
        note(backup),
    ]
}

fn note(backup: &Backup) -> String {
    let mut marks = Vec::new();
    if let Some(pinned) = &backup.pinned {
        let why = pinned.note.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        marks.push(format!("[pinned{why}]"));
    }
    if let Some(import) = backup.manifest.import.as_ref().filter(|import| import.errors > 0) {
        marks.push(format!("[{}]", units::plural(import.errors, "error")));
    }
    marks.extend(backup.manifest.note.clone());
    marks.join(" ")
}
