//! Restoring: plan, restore into a new database, prove it, swap. The live database is never written to.

pub mod tables;
mod target;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::catalog::{self, Backup};
use crate::dokku::{Dokku, Service};
use crate::error::Failure;
use crate::files;
use crate::fingerprint::TableSum;
use crate::host::Host;
use crate::leftovers;
use crate::likeness;
use crate::lock::{BackupLock, ServiceLock};
use crate::manifest::{self, Manifest};
use crate::pg_version::PgVersion;
use crate::postgres::{self, MAINTENANCE_DATABASE, ServerFacts, identifier};
use crate::roles;
use crate::server::{Server, Sidecar};
use crate::swap;
use crate::units;
use crate::verify;
use target::Target;

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    pub jobs: Option<usize>,
    pub stop_apps: bool,
}

/// Everything that a restore is going to do; `--dry-run` prints it and nothing else happens.
#[derive(Debug, Clone)]
pub struct RestorePlan {
    pub backup: Backup,
    pub target: Service,
    pub target_version: PgVersion,
    /// Bytes, of the live database now; `None` when there is none any more.
    pub live_size: Option<u64>,
    /// The database it is restored into first.
    pub restoring: String,
    /// The name under which the live database is kept.
    pub previous: String,
    /// Kept by an earlier restore, dropped after this one succeeded.
    pub dropped: Vec<String>,
    /// Linked apps: they lose their connections in the swap.
    pub apps: Vec<String>,
    pub stop_apps: bool,
    pub warnings: Vec<String>,
}

/// What was done.
#[derive(Debug)]
pub struct RestoreReport {
    pub plan: RestorePlan,
    pub tables: usize,
    pub rows: u64,
    pub created_roles: Vec<String>,
    pub duration: Duration,
    pub swap_duration: Duration,
}

/// Looks at everything that a restore needs, changes nothing, and says what it would do or why it cannot be.
pub fn plan_restore(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    refuse_unless_whole(host, &backup)?;
    let server = Server::of(host, target)?;
    let found = Target::look(&server, &target.database)?;
    decide(host, target, backup, options, &found)
}

fn refuse_unless_whole(host: &Host<'_>, backup: &Backup) -> Result<()> {
    let problems = verify::check_files(host, backup)?;
    if problems.is_empty() {
        return Ok(());
    }
    let lines = problems.iter().take(8).map(ToString::to_string).collect();
    let service = &backup.manifest.service;
    Err(Failure::refused(format!("backup {} is damaged and is not restored", backup.id))
        .details(lines)
        .hint(format!("choose another one: dokku pgbackup:list {service}"))
        .into())
}

fn decide(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    options: &RestoreOptions,
    found: &Target,
) -> Result<RestorePlan> {
    let manifest = &backup.manifest;
    let facts = &found.facts;
    let refuse = |why: String, hint: String| Err(Failure::refused(why).hint(hint).into());
    if let Some(why) = likeness::version_obstacle(manifest.server.version_num, facts.version_num) {
        return refuse(
            why,
            "restore into a service of the same or a newer major version, with --to".to_owned(),
        );
    }
    if facts.prepared_transactions > 0 {
        let why =
            format!("database {} has prepared transactions, which would block the swap", target.database);
        return refuse(why, "end them first; see them with: select * from pg_prepared_xacts".to_owned());
    }
    let missing = likeness::missing_extensions(&manifest.database.extensions, facts);
    if !missing.is_empty() {
        let why = format!(
            "the image of service {} lacks what the backup needs: extension {}",
            target.name,
            missing.join(", ")
        );
        return refuse(why, format!("the backup was made with the image {}", manifest.server.image));
    }
    check_space(target, manifest)?;
    Ok(RestorePlan {
        target_version: facts.version_num,
        live_size: found.exists.then_some(facts.size),
        restoring: swap::restoring_name(&target.database, host.now, &facts.databases),
        previous: swap::previous_name(&target.database, host.now, &facts.databases),
        dropped: swap::previous_databases(&target.database, &facts.databases),
        apps: target.links()?,
        stop_apps: options.stop_apps,
        warnings: if found.exists { warnings(manifest, facts) } else { Vec::new() },
        target: target.clone(),
        backup,
    })
}

/// Room for a second database beside the live one, on the disk that holds the server's data.
fn check_space(target: &Service, manifest: &Manifest) -> Result<()> {
    let (free, needed) = (files::free_space(target.layout.root())?, manifest.database.size_bytes);
    if free >= needed {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "there is too little space to restore beside the live database: {} are free, {} are needed",
        units::bytes(free),
        units::bytes(needed)
    ))
    .hint("make room on the disk that holds the services; the live database was not touched")
    .into())
}

fn warnings(manifest: &Manifest, facts: &ServerFacts) -> Vec<String> {
    let mut warnings = Vec::new();
    for (what, old, key) in [
        ("encoding", &manifest.database.encoding, "encoding_name"),
        ("collation", &manifest.database.collate, "datcollate"),
    ] {
        let new = facts.database[key].as_str().unwrap_or_default();
        if old != new {
            warnings.push(format!(
                "the {what} of the backup is {old}, that of the database it replaces is {new}"
            ));
        }
    }
    warnings
}

/// Carries a plan out. What the plan rests on is looked at again, now behind the lock.
pub fn run_restore(host: &Host<'_>, plan: RestorePlan, options: &RestoreOptions) -> Result<RestoreReport> {
    let started = Instant::now();
    let service = &plan.target.clone();
    files::create_private_folders(&service.layout.own())?;
    let lock = ServiceLock::take(&service.layout.lock(), &service.name, "pgbackup:restore")?;
    let _reading = keep(&plan.backup)?;
    leftovers::clear(host, service, &lock)?;
    let server = Server::of(host, service)?;
    let found = Target::look(&server, &service.database)?;
    leftovers::clear_databases(host, &server, service, &found.facts)?;
    let plan = decide(host, service, plan.backup, options, &found)?;
    let toc = manifest::read_toc(&plan.backup.folder)?;
    let _stopped = if plan.stop_apps { Some(StoppedApps::stop(host, &plan.apps)?) } else { None };

    let created_roles = create_roles(&server, &plan.backup.folder, &found.facts)?;
    let version = found.facts.version_num;
    let scratch =
        NewDatabase::create(&server, &plan.restoring, version, &found.creation(&plan.restoring, &toc))?;
    host.progress.step(&format!("Restoring into the new database {}", plan.restoring));
    let jobs = options.jobs.unwrap_or(host.settings(service)?.jobs);
    fill(host, &server, &plan.backup, &plan.restoring, jobs)?;
    host.progress.step("Comparing the rows of every table with the backup");
    let expected = manifest::read_fingerprint(&plan.backup.folder)?;
    prove(&server, &plan.restoring, &expected.tables)?;
    server.execute(MAINTENANCE_DATABASE, &found.dress(&plan.restoring))?;
    host.check()?;
    host.progress.step("Swapping the databases");
    let swapping = Instant::now();
    found.swap_in(&server, &service.database, &plan.restoring, &plan.previous)?;
    let swap_duration = swapping.elapsed();
    scratch.keep();
    if let Err(error) = found.finish(&server, &service.database, &plan.backup.manifest, &toc) {
        host.progress.warn(&format!("the data is back, but not all settings of the database: {error}"));
    }
    drop_older(host, &server, &plan, version);
    Ok(RestoreReport {
        tables: expected.tables.len(),
        rows: expected.rows(),
        created_roles,
        duration: started.elapsed(),
        swap_duration,
        plan,
    })
}

/// Keeps a backup from being deleted while it is read.
pub fn keep(backup: &Backup) -> Result<BackupLock> {
    BackupLock::shared(&backup.folder)?
        .ok_or_else(|| Failure::busy(format!("backup {} is being deleted", backup.id)).into())
}

/// The new database takes the live one's place already: that an old one could not be dropped is a warning.
fn drop_older(host: &Host<'_>, server: &Server<'_>, plan: &RestorePlan, version: PgVersion) {
    for name in &plan.dropped {
        match server.execute_always(MAINTENANCE_DATABASE, &postgres::drop_database(version, name)) {
            Ok(_) => host.progress.note(&format!("dropped {name}, kept from the restore before")),
            Err(error) => {
                host.progress.warn(&format!("the older database {name} could not be dropped: {error}"))
            }
        }
    }
}

/// Makes the roles that the backup knows and the server does not.
pub fn create_roles(server: &Server<'_>, backup: &Path, facts: &ServerFacts) -> Result<Vec<String>> {
    let script = files::read_bounded(&backup.join(crate::layout::ROLES), MAX_ROLES)?;
    let plan = roles::plan(&String::from_utf8_lossy(&script), &facts.roles);
    if !plan.statements.is_empty() {
        let script = format!("begin;\n{};\ncommit;\n", plan.statements.join(";\n"));
        server.execute(MAINTENANCE_DATABASE, &script)?;
    }
    Ok(plan.missing)
}

/// More than any server's roles.
const MAX_ROLES: u64 = 64 * 1024 * 1024;

/// Runs `pg_restore` of the whole backup into `database`.
fn fill(host: &Host<'_>, server: &Server<'_>, backup: &Backup, database: &str, jobs: usize) -> Result<()> {
    let command = postgres::restore_command(database, jobs, "/backup/dump", &[]);
    run_pg_restore(host, server, &backup.manifest, &backup.folder, command)?;
    host.progress.done();
    Ok(())
}

/// Runs one `pg_restore` in a sidecar that sees `folder` read-only at `/backup`.
pub fn run_pg_restore(
    host: &Host<'_>,
    server: &Server<'_>,
    manifest: &Manifest,
    folder: &Path,
    command: Vec<String>,
) -> Result<()> {
    let sidecar = Sidecar {
        purpose: "restore",
        backup: manifest.id.as_str(),
        read_only: true,
        options: postgres::session_options(&manifest.server.lc_monetary, &server.parallel_options()),
        command,
    };
    let container = server.sidecar(sidecar, &host.dokku.environment().host_path(folder));
    let running = host.docker.start_job(&container)?;
    let output = running.wait(|| Ok(()))?;
    server.checked("pg_restore", output)?;
    Ok(())
}

/// Compares exact row counts, and collects statistics beside that: what is swapped in must be quick at once.
fn prove(server: &Server<'_>, database: &str, expected: &[TableSum]) -> Result<()> {
    let counted = std::thread::scope(|scope| {
        let analyzing = scope.spawn(|| server.execute(database, "analyze;\n"));
        let counted = count_rows(server, database, expected)?;
        analyzing.join().map_err(|_| anyhow!("the analyzing thread panicked"))??;
        anyhow::Ok(counted)
    })?;
    let wrong: Vec<String> = expected
        .iter()
        .zip(counted)
        .filter(|(table, rows)| table.rows != *rows)
        .map(|(table, rows)| {
            format!("{}.{}: {} rows expected, {rows} found", table.schema, table.name, table.rows)
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(crate::error::Kind::Difference, "the restored database is not what the backup says")
        .details(wrong)
        .hint("the live database was not touched; the restored one was dropped")
        .into())
}

/// Tables counted in one statement.
const COUNTED_AT_ONCE: usize = 100;

/// Exact rows of each table, without those of tables that inherit from it.
fn count_rows(server: &Server<'_>, database: &str, tables: &[TableSum]) -> Result<Vec<u64>> {
    let count = |table: &TableSum| {
        format!("(select count(*) from only {}.{})", identifier(&table.schema), identifier(&table.name))
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

/// A database that is dropped unless it is kept.
pub struct NewDatabase<'a> {
    server: &'a Server<'a>,
    name: String,
    version: PgVersion,
}

impl<'a> NewDatabase<'a> {
    /// Makes it by `statement`.
    pub fn create(server: &'a Server<'a>, name: &str, version: PgVersion, statement: &str) -> Result<Self> {
        server.execute(MAINTENANCE_DATABASE, statement)?;
        Ok(NewDatabase { server, name: name.to_owned(), version })
    }

    fn keep(mut self) {
        self.name.clear();
    }
}

impl Drop for NewDatabase<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // What cannot be dropped now is named and dropped by the next run.
            let script = postgres::drop_database(self.version, &self.name);
            let _ = self.server.execute_always(MAINTENANCE_DATABASE, &script);
        }
    }
}

/// Apps that are stopped for a while, and started again whatever happens.
struct StoppedApps<'a, 'b> {
    host: &'a Host<'b>,
    names: Vec<String>,
}

impl<'a, 'b> StoppedApps<'a, 'b> {
    fn stop(host: &'a Host<'b>, apps: &[String]) -> Result<Self> {
        let mut stopped = StoppedApps { host, names: Vec::new() };
        for app in apps {
            host.progress.step(&format!("Stopping {app}"));
            stopped.names.push(app.clone());
            Dokku::stop_app(app)?;
        }
        Ok(stopped)
    }
}

impl Drop for StoppedApps<'_, '_> {
    fn drop(&mut self) {
        for app in &self.names {
            self.host.progress.step(&format!("Starting {app}"));
            if let Err(error) = Dokku::start_app(app) {
                self.host.progress.warn(&format!("{error}; start it with: dokku ps:start {app}"));
            }
        }
    }
}

/// What an undo did.
#[derive(Debug)]
pub struct UndoReport {
    /// The database that is live again.
    pub restored: String,
    /// The name under which the one that was live is kept now.
    pub kept: String,
    pub swap_duration: Duration,
}

/// Swaps the previous database back in; what was live becomes the previous one.
pub fn undo(host: &Host<'_>, service: &Service) -> Result<UndoReport> {
    files::create_private_folders(&service.layout.own())?;
    let lock = ServiceLock::take(&service.layout.lock(), &service.name, "pgbackup:undo")?;
    leftovers::clear(host, service, &lock)?;
    let server = Server::of(host, service)?;
    let databases: Vec<String> =
        server.query(MAINTENANCE_DATABASE, "select json_agg(datname) from pg_database;\n")?;
    let Some(restored) = swap::previous_databases(&service.database, &databases).into_iter().next() else {
        return Err(Failure::not_found(format!(
            "there is nothing to undo: {} has no previous database",
            service.name
        ))
        .hint(format!("a restore keeps one; the backups are listed by: dokku pgbackup:list {}", service.name))
        .into());
    };
    let kept = swap::previous_name(&service.database, host.now, &databases);
    let swapping = Instant::now();
    swap::swap(&server, &service.database, &restored, &kept)?;
    Ok(UndoReport { restored, kept, swap_duration: swapping.elapsed() })
}

/// The backup of `source` that `wanted` names.
pub fn choose(source: &Service, wanted: Option<&str>) -> Result<Backup> {
    catalog::find(&source.name, catalog::list(&source.layout)?, wanted)
}
