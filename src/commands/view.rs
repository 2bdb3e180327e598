//! One shape of a backup for all JSON (docs/commands.md), and the words in which its parts are told.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::{Backup, Entry};
use crate::manifest::{AppRecord, Verified};
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
        Entry::Broken { why, .. } => {
            Some(("broken", format!("{why}; remove it with: dokku pgbackup:delete {service} {name}")))
        }
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

/// `82eeec6 (happycows)`, with a question mark where only the repository's HEAD was known.
pub fn commits_text(apps: &[AppRecord], length: usize) -> String {
    let text = |app: &AppRecord| {
        let commit = app.commit.as_deref().map_or("unknown", |commit| &commit[..length.min(commit.len())]);
        let doubt = if app.commit.is_some() && !app.commit_is_certain { "?" } else { "" };
        format!("{commit}{doubt} ({})", app.name)
    };
    apps.iter().map(text).collect::<Vec<_>>().join(", ")
}
