//! The proof before a swap: the exact rows of every table, as the backup says.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};

use crate::error::{Failure, Kind};
use crate::fingerprint::{self, TableSum};
use crate::postgres::identifier;
use crate::server::Server;
use crate::toc::Toc;

/// Compares exact row counts, and collects statistics beside that: what is swapped in must be quick at once.
pub(super) fn prove(server: &Server<'_>, database: &str, expected: &[TableSum], toc: &Toc) -> Result<()> {
    let roots = fingerprint::partition_roots(toc);
    let counted = std::thread::scope(|scope| {
        let analyzing = scope.spawn(|| server.execute(database, "analyze;\n"));
        let counted = count_rows(server, database, expected, &roots)?;
        analyzing.join().map_err(|_| anyhow!("the analyzing thread panicked"))??;
        anyhow::Ok(counted)
    })?;
    let own: BTreeSet<(&str, &str)> = toc
        .entries
        .iter()
        .filter(|entry| entry.kind == "TABLE")
        .map(|entry| (entry.schema.as_str(), entry.name.as_str()))
        .collect();
    // A table that the dump does not define is an extension's: the dump has only the rows that the extension does not
    // bring along itself.
    let is_right = |table: &TableSum, rows: u64| {
        let is_own = own.contains(&(table.schema.as_str(), table.name.as_str()));
        if is_own { rows == table.rows } else { rows >= table.rows }
    };
    let wrong: Vec<String> = expected
        .iter()
        .zip(counted)
        .filter(|(table, rows)| !is_right(table, *rows))
        .map(|(table, rows)| {
            format!("{}.{}: {} rows expected, {rows} found", table.schema, table.name, table.rows)
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Difference, "the restored database is not what the backup says")
        .details(wrong)
        .hint("the live database was not touched; the restored one was dropped")
        .into())
}

/// Tables counted in one statement.
const COUNTED_AT_ONCE: usize = 100;

/// Exact rows of each table; those of tables that inherit from it only where `roots` says so.
pub fn count_rows(
    server: &Server<'_>,
    database: &str,
    tables: &[TableSum],
    roots: &BTreeSet<(String, String)>,
) -> Result<Vec<u64>> {
    let count = |table: &TableSum| {
        let only = if roots.contains(&(table.schema.clone(), table.name.clone())) { "" } else { "only " };
        format!("(select count(*) from {only}{}.{})", identifier(&table.schema), identifier(&table.name))
    };
    let statement = |chunk: &[TableSum]| {
        let counts: Vec<String> = chunk.iter().map(count).collect();
        format!("select unnest(array[{}]);\n", counts.join(", "))
    };
    let script: String = tables.chunks(COUNTED_AT_ONCE).map(statement).collect();
    let answer = server.execute(database, &script)?;
    let rows: Vec<u64> =
        String::from_utf8_lossy(&answer).lines().filter_map(|line| line.trim().parse().ok()).collect();
    if rows.len() == tables.len() {
        return Ok(rows);
    }
    Err(anyhow!("{} tables were counted, {} were expected", rows.len(), tables.len()))
}
