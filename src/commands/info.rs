//! `pgbackup:info`.

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::view::{BackupView, commits_text, import_text, verified_text};
use super::{App, hide_foreign_apps};
use crate::catalog::Backup;
use crate::cli::{Format, INFO_KEYS, InfoArgs};
use crate::code::Code;
use crate::deployed::AppRecord;
use crate::error::Failure;
use crate::fingerprint::TableSum;
use crate::manifest::{self, Manifest, MigrationRecord};
use crate::ui::table;
use crate::units;

#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    backup: BackupView<'a>,
    extensions: &'a [String],
    migrations: &'a [MigrationRecord],
    table_rows: Vec<TableSum>,
}

pub fn run(app: &App<'_>, args: &InfoArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let mut backup = app.choose(&service, args.backup.as_deref())?;
    hide_foreign_apps(app, std::iter::once(&mut backup.manifest))?;
    if args.format == Some(Format::Json) {
        let table_rows = manifest::read_fingerprint(&backup.folder)?.tables;
        let extensions = &backup.manifest.database.extensions;
        return app.ui.json(&Info {
            backup: BackupView::of(&backup),
            extensions,
            migrations: &backup.manifest.migrations,
            table_rows,
        });
    }
    if let Some(key) = args.key {
        let value = value(app, &backup, key);
        let unknown = || Failure::failed(format!("the value {key} is not known"));
        app.ui.value(&value.ok_or_else(unknown)?);
        return Ok(());
    }
    app.ui.heading(&format!("{} backup {}", service.name, backup.id));
    let rows: Vec<(String, String)> = INFO_KEYS
        .iter()
        .filter_map(|key| Some((title(key), grouped(key, value(app, &backup, key)?))))
        .collect();
    let rows: Vec<(&str, String)> = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(title, value)| (title.as_str(), value.clone()))
        .collect();
    app.ui.details(&table::report(&rows));
    if let Some(pinned) = &backup.pinned {
        let note = pinned.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
        app.ui.detail(&format!("Pinned by {}, {}{note}", pinned.by, units::ago(pinned.at, app.now)));
    }
    for app_record in &backup.manifest.apps {
        app.ui.heading(&format!("{} when the backup was made", app_record.name));
        app.ui.details(&table::report(&app_rows(app_record, app.now)));
    }
    if let Some(import) = &backup.manifest.import {
        import.first_errors.iter().for_each(|error| app.ui.problem(&format!("Not loaded: {error}")));
    }
    for problem in backup.verified.iter().flat_map(|verified| &verified.problems) {
        app.ui.problem(problem);
    }
    let (name, id) = (&service.name, &backup.id);
    app.ui.detail(&format!("What has changed since: dokku pgbackup:diff {name} {id}"));
    app.ui.detail(&format!("Bring it back:          dokku pgbackup:restore {name} {id}"));
    Ok(())
}

/// A count as a person reads it. Scripts ask for one value and get its digits alone.
fn grouped(key: &str, value: String) -> String {
    let is_count = ["tables", "rows", "large-objects"].contains(&key);
    value.parse().ok().filter(|_| is_count).map_or(value, units::count)
}

/// `created-at` → `Created at:`, as dokku's reports name their keys.
fn title(key: &str) -> String {
    let text = key.replace('-', " ");
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain([':']).collect()
}

/// What an app was running, in the words of `git:report`.
fn app_rows(app: &AppRecord, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let code = &app.code;
    let time = |time: DateTime<Utc>| format!("{} ({})", units::time(time), units::ago(time, now));
    let doubt = if code.commit.is_some() && !app.commit_is_certain { " (not certain)" } else { "" };
    let source = [code.source.as_deref(), code.origin.as_deref()];
    let rows = [
        ("Git sha:", code.commit.as_ref().map(|commit| format!("{commit}{doubt}"))),
        ("Git deploy branch:", code.branch.clone()),
        ("Git subject:", code.subject.clone()),
        ("Git authored at:", code.authored_at.map(time)),
        ("Deployed at:", app.deployed_at.map(time)),
        (
            "Deploy source:",
            code.source.as_ref().map(|_| source.into_iter().flatten().collect::<Vec<_>>().join(" ")),
        ),
        ("Image tag:", app.image_tag.clone()),
        ("About to deploy:", app.coming.as_ref().and_then(Code::described)),
    ];
    let known: Vec<_> = rows.into_iter().filter_map(|(title, value)| Some((title, value?))).collect();
    if known.is_empty() { vec![("Git sha:", "unknown".to_owned())] } else { known }
}

fn migrations_text(manifest: &Manifest) -> String {
    let text = |record: &MigrationRecord| {
        let head = record.head.as_ref().map_or_else(String::new, |head| format!(", last {head}"));
        let count = if record.count > 0 { format!(" {} applied", record.count) } else { String::new() };
        format!("{}:{count}{head}", record.tool)
    };
    manifest.migrations.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// The value of one of [`INFO_KEYS`], as a person reads it.
fn value(app: &App<'_>, backup: &Backup, key: &str) -> Option<String> {
    let manifest = &backup.manifest;
    Some(match key {
        "id" => backup.id.to_string(),
        "created-at" => units::time(manifest.started_at),
        "age" => units::ago(manifest.started_at, app.now),
        "pool" => manifest.pool.as_str().to_owned(),
        "note" => manifest.note.clone().unwrap_or_default(),
        "commits" => commits_text(&manifest.apps, 40),
        "verified" => verified_text(backup.verified.as_ref(), app.now),
        "size" => units::bytes(manifest.dump.size_bytes),
        "database" => manifest.database.name.clone(),
        "database-size" => units::bytes(manifest.database.size_bytes),
        "migrations" => migrations_text(manifest),
        "tables" => manifest.contents.tables.to_string(),
        "rows" => manifest.contents.rows.to_string(),
        "large-objects" => manifest.contents.large_objects.to_string(),
        "postgres-version" => manifest.server.version.clone(),
        "import" => manifest.import.as_ref().map(import_text).unwrap_or_default(),
        "image" => manifest.server.image.clone(),
        "made-in" => {
            units::duration((manifest.finished_at - manifest.started_at).to_std().unwrap_or_default())
        }
        "path" => backup.folder.display().to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_dokkus() {
        assert_eq!(title("created-at"), "Created at:");
        assert_eq!(title("id"), "Id:");
    }
}
