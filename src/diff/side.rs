//! One side of a comparison: a backup as it lies there, or a service's database as it is now.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};

use crate::bookkeeping::{self, Accounts};
use crate::catalog::Backup;
use crate::deployed::{self, AppRecord};
use crate::dokku::Service;
use crate::dump::{DumpJob, Extent, Manner, dump};
use crate::fingerprint::{self, Fingerprint, LargeObjects, SequenceValue, TableSum};
use crate::host::Host;
use crate::leftovers;
use crate::manifest;
use crate::postgres;
use crate::restore;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::toc::{Entry, Toc};

/// A database at one moment.
#[derive(Debug)]
pub struct Side {
    /// `None` for the live database.
    pub backup: Option<Backup>,
    pub at: DateTime<Utc>,
    pub toc: Toc,
    pub tables: BTreeMap<(String, String), TableState>,
    /// Empty where the content was not looked at.
    pub sequences: Vec<SequenceValue>,
    pub large_objects: Option<LargeObjects>,
    pub migrations: Accounts,
    pub apps: Vec<AppRecord>,
    /// How `hash` was made; hashes of different methods cannot be compared.
    pub method: u32,
}

/// What is known of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    pub rows: Option<u64>,
    pub hash: Option<String>,
}

impl Side {
    /// A backup. Nothing but its own files is needed.
    pub fn of_backup(backup: Backup) -> Result<Self> {
        let of = |what: &'static str| format!("{what} of backup {}", backup.id);
        let toc = manifest::read_toc(&backup.folder).with_context(|| of("the table of contents"))?;
        let fingerprint =
            manifest::read_fingerprint(&backup.folder).with_context(|| of("the fingerprint"))?;
        Ok(Side {
            at: backup.manifest.started_at,
            migrations: bookkeeping::read_dump(&toc, &backup.folder),
            apps: backup.manifest.apps.clone(),
            ..Self::of_dump(toc, fingerprint, Some(backup))
        })
    }

    fn of_dump(toc: Toc, fingerprint: Fingerprint, backup: Option<Backup>) -> Self {
        let state = |table: TableSum| {
            let state = TableState { rows: Some(table.rows), hash: Some(table.hash) };
            ((table.schema, table.name), state)
        };
        Side {
            backup,
            at: DateTime::UNIX_EPOCH,
            toc,
            tables: fingerprint.tables.into_iter().map(state).collect(),
            sequences: fingerprint.sequences,
            large_objects: Some(fingerprint.large_objects),
            migrations: Accounts::default(),
            apps: Vec::new(),
            method: fingerprint.method,
        }
    }

    /// A service's database now, to be compared with `base`. It is dumped as a backup is, and only the sums are kept;
    /// `fast` leaves out the content: the rows are counted.
    pub fn of_live(host: &Host<'_>, service: &Service, base: &Side, fast: bool) -> Result<Self> {
        let server = Server::of(host, service)?;
        let facts = server.facts_of(service)?;
        leftovers::clear_drills(host, service)?;
        let id = base.backup.as_ref().context("a live database is compared with a backup")?.id.clone();
        let scratch = Scratch::begin(host, service, &id)?;
        let settings = host.settings(service)?;
        let job = DumpJob {
            database: &service.database,
            id: &scratch.name,
            folder: &scratch.folder,
            jobs: settings.jobs,
            processors: None,
            throw_away: true,
            extent: if fast { Extent::Definitions } else { Extent::Whole },
            lock_timeout: Some(settings.lock_timeout),
        };
        let compression = postgres::fast_compression(facts.version_num);
        let dumped = dump(host, &server, &job, &Manner::unbounded(compression, &facts.lc_monetary))?;
        host.progress.done();
        let mut side = if fast {
            let fingerprint = Fingerprint { method: base.method, ..Fingerprint::default() };
            let mut side = Self::of_dump(dumped.toc, fingerprint, None);
            side.tables = count(&server, service, &side.toc, base)?;
            side.large_objects = None;
            side
        } else {
            let fingerprint = Fingerprint::assemble(&dumped.toc, &dumped.digests)?;
            Self::of_dump(dumped.toc, fingerprint, None)
        };
        side.at = host.now;
        let books = bookkeeping::find(&side.toc);
        side.migrations = bookkeeping::read_server(&server, &service.database, books);
        side.apps = running_apps(host, service)?;
        Ok(side)
    }
}

/// What the linked apps run now.
pub fn running_apps(host: &Host<'_>, service: &Service) -> Result<Vec<AppRecord>> {
    service.links()?.iter().map(|app| deployed::running(host.dokku, app)).collect()
}

/// Counts the rows of every table that has some of its own. Those of an extension's tables are not known: a backup has
/// only the ones that the extension does not bring along.
fn count(
    server: &Server<'_>,
    service: &Service,
    toc: &Toc,
    base: &Side,
) -> Result<BTreeMap<(String, String), TableState>> {
    let holds_rows = |entry: &&Entry| entry.kind == "TABLE" && !entry.definition.contains("\nPARTITION BY ");
    let roots = fingerprint::partition_roots(&base.toc);
    let (own, own_then) = (own_tables(toc), own_tables(&base.toc));
    let is_below_root = |name: &(String, String)| !base.tables.contains_key(name) && own_then.contains(name);
    let mut names: Vec<(String, String)> = toc
        .entries
        .iter()
        .filter(holds_rows)
        .map(|entry| (entry.schema.clone(), entry.name.clone()))
        .filter(|name| !is_below_root(name))
        .collect();
    names.extend(roots.iter().filter(|root| own.contains(*root)).cloned());
    let tables: Vec<TableSum> = names
        .iter()
        .map(|(schema, name)| TableSum {
            schema: schema.clone(),
            name: name.clone(),
            rows: 0,
            hash: String::new(),
        })
        .collect();
    let rows = restore::count_rows(server, &service.database, &tables, &roots)?;
    let mut states: BTreeMap<_, _> = names
        .into_iter()
        .zip(rows)
        .map(|(name, rows)| (name, TableState { rows: Some(rows), hash: None }))
        .collect();
    for (name, state) in &base.tables {
        // An extension's table: taken as it was, as long as the extension is there.
        if !own_then.contains(name) {
            states.entry(name.clone()).or_insert_with(|| state.clone());
        }
    }
    Ok(states)
}

fn own_tables(toc: &Toc) -> BTreeSet<(String, String)> {
    let tables = toc.entries.iter().filter(|entry| entry.kind == "TABLE");
    tables.map(|entry| (entry.schema.clone(), entry.name.clone())).collect()
}
