//! The tables of a backup that somebody names, and what to do about a name that it does not have.

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::catalog::{self, Backup};
use crate::dependents;
use crate::dokku::Service;
use crate::error::Failure;
use crate::host::Host;
use crate::manifest;
use crate::nearest::nearest;
use crate::plain_text::shell_word;
use crate::toc::{Entry, Toc};
use crate::units;

/// What was typed, for the command that is going to be offered instead.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The words before the service's name: `dokku pgbackup:restore`.
    pub command: &'a str,
    pub service: &'a Service,
    /// Flags before the tables, each with a space in front.
    pub flags: &'a str,
    /// `schema.table` or, in the schema public, `table`.
    pub tables: &'a [String],
}

impl Asked<'_> {
    fn with<'t>(&self, backup: &Backup, tables: impl Iterator<Item = &'t str>) -> String {
        command_line(self.command, self.service, backup, self.flags, tables)
    }
}

/// `dokku pgbackup:restore happycows-db 20261122T235901Z-k3f9 --table cows`.
pub fn command_line<'t>(
    command: &str,
    service: &Service,
    backup: &Backup,
    flags: &str,
    tables: impl Iterator<Item = &'t str>,
) -> String {
    let mut words = format!("{command} {} {}{flags}", service.name, backup.id);
    tables.for_each(|table| words.push_str(&format!(" --table {}", shell_word(table))));
    words
}

/// As it is typed.
pub fn full_name(entry: &Entry) -> String {
    format!("{}.{}", entry.schema, entry.name)
}

/// Finds what is asked for, each table once, those first that others point at.
pub fn choose<'t>(
    host: &Host<'_>,
    backup: &Backup,
    toc: &'t Toc,
    asked: Asked<'_>,
) -> Result<Vec<&'t Entry>> {
    let mut chosen: Vec<&Entry> = Vec::new();
    for name in asked.tables {
        let entry = find(toc, name).ok_or_else(|| unknown(host.now, backup, toc, name, asked))?;
        if !chosen.iter().any(|other| other.dump_id == entry.dump_id) {
            chosen.push(entry);
        }
    }
    dependents::sort_by_foreign_keys(toc, &mut chosen);
    Ok(chosen)
}

fn tables(toc: &Toc) -> impl Iterator<Item = &Entry> {
    toc.entries.iter().filter(|entry| entry.kind == "TABLE")
}

fn find<'t>(toc: &'t Toc, name: &str) -> Option<&'t Entry> {
    let is_it = |entry: &&Entry| full_name(entry) == name || (entry.schema == "public" && entry.name == name);
    tables(toc).find(is_it)
}

/// It may have been there before: an older backup has it. Or it is another name.
fn unknown(now: DateTime<Utc>, backup: &Backup, toc: &Toc, name: &str, asked: Asked<'_>) -> Failure {
    let failure = Failure::not_found(format!("backup {} has no table {name}", backup.id));
    if let Some((other, rows)) = newest_with(asked.service, backup, name) {
        let (age, rows) = (units::ago(other.manifest.started_at, now), units::plural(rows, "row"));
        let command = asked.with(&other, asked.tables.iter().map(String::as_str));
        return failure
            .hint(format!("the newest backup that has it was made {age}, with {rows}:\n{command}"));
    }
    if let Some(meant) = meant(toc, name) {
        let instead = |table: &str| if table == name { meant.clone() } else { table.to_owned() };
        let tables: Vec<String> = asked.tables.iter().map(|table| instead(table)).collect();
        let command = asked.with(backup, tables.iter().map(String::as_str));
        return failure.hint(format!("did you mean {meant}?\n{command}"));
    }
    let service = &asked.service.name;
    failure.hint(format!("see its tables with: dokku pgbackup:info {service} {} --format json", backup.id))
}

/// The table whose name is nearest, with or without its schema.
fn meant(toc: &Toc, name: &str) -> Option<String> {
    let names: Vec<(String, &Entry)> =
        tables(toc).flat_map(|entry| [(entry.name.clone(), entry), (full_name(entry), entry)]).collect();
    let near = nearest(name, names.iter().map(|(name, _)| name.as_str()))?;
    names.iter().find(|(name, _)| name == near).map(|(_, entry)| full_name(entry))
}

/// Of the other good backups, the newest one that has the table, and its rows there.
fn newest_with(service: &Service, than: &Backup, name: &str) -> Option<(Backup, u64)> {
    let backups = catalog::whole(catalog::list(&service.layout).ok()?);
    backups.into_iter().filter(|backup| backup.id != than.id && backup.is_good()).find_map(|backup| {
        // What cannot be read is no help; this is an error's hint.
        let toc = manifest::read_toc(&backup.folder).ok()?;
        let rows = rows(&backup, &toc, find(&toc, name)?);
        Some((backup, rows))
    })
}

/// Of a table with its partitions and heirs.
fn rows(backup: &Backup, toc: &Toc, table: &Entry) -> u64 {
    let family = dependents::family(toc, &[table]);
    let Ok(fingerprint) = manifest::read_fingerprint(&backup.folder) else { return 0 };
    let is_of = |schema: &str, name: &str| {
        tables(toc)
            .any(|entry| family.contains(&entry.dump_id) && entry.schema == schema && entry.name == name)
    };
    let sums = fingerprint.tables.iter().filter(|sum| is_of(&sum.schema, &sum.name));
    sums.map(|sum| sum.rows).fold(0, u64::saturating_add)
}
