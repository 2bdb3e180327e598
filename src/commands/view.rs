//! One shape of a backup for all JSON (docs/commands.md), and the words in which its parts are told.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::{Backup, Entry};
use crate::deployed::AppRecord;
use crate::diff::MigrationChange;
use crate::manifest::{ImportRecord, Pinned, Pushed, Verified};
use crate::plain_text::shell_word;
use crate::status::Status;
use crate::ui::Ui;
use crate::ui::table::{self, Align};
use crate::units;

/// A backup as JSON. Times are RFC 3339, sizes bytes.
#[derive(Debug, Serialize)]
pub struct BackupView<'a> {
    pub id: &'a str,
    pub service: &'a str,
    pub status: &'static str,
    pub pool: &'a str,
    pub note: Option<&'a str>,
    pub created_at: DateTime<Utc>,
    pub size_bytes: u64,
    pub database: &'a str,
    pub database_size_bytes: u64,
    pub tables: usize,
    pub rows: u64,
    pub large_objects: u64,
    pub postgres_version: &'a str,
    pub image: &'a str,
    pub apps: &'a [AppRecord],
    pub verified: Option<VerifiedView<'a>>,
    pub pinned: Option<&'a Pinned>,
    pub pushed: Option<PushedView<'a>>,
    pub import: Option<&'a ImportRecord>,
    pub path: String,
}

#[derive(Debug, Serialize)]
pub struct VerifiedView<'a> {
    pub at: DateTime<Utc>,
    pub level: &'static str,
    pub good: bool,
    pub duration_seconds: u64,
    pub problems: &'a [String],
}

#[derive(Debug, Serialize)]
pub struct PushedView<'a> {
    pub at: DateTime<Utc>,
    pub remote: &'a str,
    pub good: bool,
    pub problem: Option<&'a str>,
}

impl<'a> PushedView<'a> {
    fn of(pushed: &'a Pushed) -> Self {
        PushedView {
            at: pushed.at,
            remote: &pushed.remote,
            good: pushed.good,
            problem: pushed.problem.as_deref(),
        }
    }
}

/// Something among the backups that is not one.
#[derive(Debug, Serialize)]
pub struct NotWholeView<'a> {
    pub id: &'a str,
    pub service: &'a str,
    pub status: &'static str,
    pub problem: String,
}

impl<'a> BackupView<'a> {
    pub fn of(backup: &'a Backup) -> Self {
        let manifest = &backup.manifest;
        BackupView {
            id: backup.id.as_str(),
            service: manifest.service.as_str(),
            status: if backup.is_good() { "good" } else { "bad" },
            pool: manifest.pool.as_str(),
            note: manifest.note.as_deref(),
            created_at: manifest.started_at,
            size_bytes: manifest.dump.size_bytes,
            database: &manifest.database.name,
            database_size_bytes: manifest.database.size_bytes,
            tables: manifest.contents.tables,
            rows: manifest.contents.rows,
            large_objects: manifest.contents.large_objects,
            postgres_version: &manifest.server.version,
            image: &manifest.server.image,
            apps: &manifest.apps,
            verified: backup.verified.as_ref().map(VerifiedView::of),
            pinned: backup.pinned.as_ref(),
            pushed: backup.pushed.as_ref().map(PushedView::of),
            import: manifest.import.as_ref(),
            path: backup.folder.display().to_string(),
        }
    }
}

impl<'a> VerifiedView<'a> {
    fn of(verified: &'a Verified) -> Self {
        VerifiedView {
            at: verified.at,
            level: verified.level.as_str(),
            good: verified.good,
            duration_seconds: verified.duration_seconds,
            problems: &verified.problems,
        }
    }
}

/// Why an entry is no good backup, and what to do about it; `None` for a whole one.
pub fn trouble(entry: &Entry, service: &str) -> Option<(&'static str, String)> {
    let name = entry.name();
    match entry {
        Entry::Whole(_) => None,
        Entry::Broken { why, .. } => Some((
            "broken",
            format!("{why}; remove it with: dokku pgbackup:delete {service} {}", shell_word(name)),
        )),
        Entry::Pending { .. } => Some((
            "unfinished",
            "being made now, or left by a killed run; the next create removes it".to_owned(),
        )),
        Entry::Deleted { .. } => Some((
            "half-removed",
            "being removed now, or left by a killed run; the next create removes it".to_owned(),
        )),
    }
}

/// `drill 2 hours ago`, `archive FAILED 3 days ago`, `never`.
pub fn verified_text(verified: Option<&Verified>, now: DateTime<Utc>) -> String {
    verified.map_or_else(
        || "never".to_owned(),
        |verified| {
            let failed = if verified.good { "" } else { " FAILED" };
            format!("{}{failed} {}", verified.level.as_str(), units::ago(verified.at, now))
        },
    )
}

/// `custom (gzip, tar), 12.3 MB, of Postgres 16.4, 3 errors`.
pub fn import_text(import: &ImportRecord) -> String {
    let wrapped =
        if import.wrapped.is_empty() { String::new() } else { format!(" ({})", import.wrapped.join(", ")) };
    let version =
        import.server_version.as_ref().map_or_else(String::new, |text| format!(", of Postgres {text}"));
    let errors = units::plural(import.errors, "error");
    format!("{}{wrapped}, {}{version}, {errors}", import.kind, units::bytes(import.size_bytes))
}

/// The services below one another, a line each.
pub fn overview_rows(ui: &Ui, statuses: &[Status], now: DateTime<Utc>) -> Vec<String> {
    const HEADINGS: [&str; 7] = ["SERVICE", "LAST GOOD", "DRILL", "NEXT", "BACKUPS", "DISK", "HEALTH"];
    const ALIGN: [Align; 7] =
        [Align::Left, Align::Left, Align::Left, Align::Left, Align::Right, Align::Right, Align::Left];
    let age = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".to_owned(), |at| units::ago(at, now));
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(statuses.iter().map(|status| {
        let health = status.health();
        vec![
            status.service.name.to_string(),
            age(status.last_good.as_ref().map(|backup| backup.manifest.started_at)),
            age(status.last_drill),
            status.next_run.map_or_else(|| "-".to_owned(), |next| next.format("%a %H:%M").to_string()),
            status.count.to_string(),
            units::bytes(status.disk_bytes),
            if health == "ok" { health.to_owned() } else { ui.mark(false, health) },
        ]
    }));
    table::lines(&ALIGN, &rows)
}

/// Migrations that are listed; the rest is counted.
const MIGRATIONS: usize = 20;

/// What one tool's books say that happened.
pub fn change_lines(changed: &MigrationChange) -> Vec<String> {
    let change = &changed.change;
    let table = format!("{}.{}", changed.schema, changed.table);
    let mut lines = Vec::new();
    if let Some(moved) = &change.moved {
        let text = |head: &Option<String>| head.clone().unwrap_or_else(|| "none".to_owned());
        lines.push(format!(
            "{} migrations ({table}): {} → {}",
            changed.tool,
            text(&moved.from),
            text(&moved.to)
        ));
    }
    for (names, what) in [
        (&change.applied, "applied since then"),
        (&change.undone, "applied then and not now"),
        (&change.failed, "failed since then"),
    ] {
        if names.is_empty() {
            continue;
        }
        let count = units::plural(names.len() as u64, "migration");
        lines.push(format!("{} ({table}): {count} {what}", changed.tool));
        lines.extend(names.iter().take(MIGRATIONS).map(|name| format!("  {name}")));
        if names.len() > MIGRATIONS {
            lines.push(format!("  and {} more", units::count((names.len() - MIGRATIONS) as u64)));
        }
    }
    lines
}

/// `82eeec6 (happycows)`, with a question mark where nobody is certain.
pub fn commits_text(apps: &[AppRecord], length: usize) -> String {
    let text = |app: &AppRecord| format!("{} ({})", app.short_commit(length), app.name);
    apps.iter().map(text).collect::<Vec<_>>().join(", ")
}
