//! What speaks against a backup that nobody named: what it has lost against the one before it. After an accident, the
//! newest backup is often one of the damage.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::catalog::{self, Backup};
use crate::dokku::Service;
use crate::fingerprint::Fingerprint;
use crate::manifest;
use crate::units;

/// Tables that are named; the rest is counted.
const NAMED: usize = 3;

/// A sentence, if there is something. What cannot be read is said where it matters.
pub fn about(source: &Service, newest: &Backup, now: DateTime<Utc>) -> Vec<String> {
    let Ok(entries) = catalog::list(&source.layout) else { return Vec::new() };
    // The list knows which of two backups of one second is newer, their ids do not.
    let mut older = catalog::whole(entries).into_iter().skip_while(|backup| backup.id != newest.id).skip(1);
    let Some(before) = older.find(Backup::is_good) else { return Vec::new() };
    let (Ok(now_there), Ok(then_there)) =
        (manifest::read_fingerprint(&newest.folder), manifest::read_fingerprint(&before.folder))
    else {
        return Vec::new();
    };
    let lost = lost(&then_there, &now_there);
    if lost.is_empty() {
        return Vec::new();
    }
    let named = lost.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = lost.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let ago = units::ago(before.manifest.started_at, now);
    vec![format!("the backup before it, {} ({ago}), still has rows in {named}{more}", before.id)]
}

/// Tables that had rows and are gone or empty.
fn lost(then: &Fingerprint, now: &Fingerprint) -> Vec<String> {
    let rows: BTreeMap<(&str, &str), u64> =
        now.tables.iter().map(|table| ((table.schema.as_str(), table.name.as_str()), table.rows)).collect();
    let is_lost = |schema: &str, name: &str| rows.get(&(schema, name)).is_none_or(|rows| *rows == 0);
    then.tables
        .iter()
        .filter(|table| table.rows > 0 && is_lost(&table.schema, &table.name))
        .map(|table| format!("{}.{} ({})", table.schema, table.name, units::plural(table.rows, "row")))
        .collect()
}
