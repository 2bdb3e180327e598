//! Restoring: plan, restore into a new database, prove it, swap. The live database is never written to.

pub mod code;
mod fill;
mod proof;
pub mod tables;
mod target;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::aftermath::{self, Run};
use crate::backup_id::BackupId;
use crate::catalog::{self, Backup};
use crate::dokku::{Dokku, Service};
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::leftovers;
use crate::likeness;
use crate::lock::{BackupLock, ServiceLock};
use crate::manifest::{self, Manifest};
use crate::pg_version::PgVersion;
use crate::postgres::{self, MAINTENANCE_DATABASE, ServerFacts};
use crate::roles;
use crate::room::SERVER_NEEDS;
use crate::server::Server;
use crate::swap;
use crate::units;
use crate::verify;
use code::CodeReport;
use fill::NewDatabase;
pub use fill::{RestoreJob, create_roles, possible_jobs, run_pg_restore, without_deadlock};
pub use proof::count_rows;
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
    /// Roles that the backup knows and the server does not: they are made.
    pub missing_roles: Vec<String>,
    pub warnings: Vec<String>,
    /// How the code that runs now fits the backup.
    pub code: CodeReport,
}

impl RestorePlan {
    pub fn all_warnings(&self) -> Vec<&str> {
        self.warnings.iter().chain(&self.code.warnings).map(String::as_str).collect()
    }

    /// Apps that are stopped for the restore and not started afterwards: they would run other code than the data
    /// belongs to, beginning with its migrations.
    pub fn stay_stopped(&self) -> Vec<&str> {
        let is_unfit = |app: &&str| self.code.apps.iter().any(|mismatch| mismatch.change.name == **app);
        self.apps.iter().map(String::as_str).filter(|_| self.stop_apps).filter(is_unfit).collect()
    }
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
    /// Apps that ran before and do not now.
    pub left_stopped: Vec<String>,
}

/// Looks at everything that a restore needs, changes nothing, and says what it would do or why it cannot be.
pub fn plan_restore(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    let _reading = keep(&backup)?;
    refuse_unless_whole(host, &backup)?;
    let server = Server::of(host, target)?;
    let found = Target::look(&server, &target.database)?;
    let mut plan = decide(host, target, backup, options, &found)?;
    let live = found.exists.then_some(&server);
    plan.code = code::look(host, live, target, &plan.backup, &plan.apps)?;
    Ok(plan)
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
    let links = target.links()?;
    let apps = host.dokku.visible_apps(&links)?;
    if options.stop_apps && apps.len() != links.len() {
        let why = format!("service {} is linked to apps that you may not stop", target.name);
        return refuse(why, "restore without --stop-apps, or ask somebody who may".to_owned());
    }
    let script = files::read_bounded(&backup.folder.join(crate::layout::ROLES), fill::MAX_ROLES)?;
    let missing_roles = roles::plan(&String::from_utf8_lossy(&script), &facts.roles).missing;
    Ok(RestorePlan {
        missing_roles,
        target_version: facts.version_num,
        live_size: found.exists.then_some(facts.size),
        restoring: swap::restoring_name(&target.database, host.now, &facts.databases),
        previous: swap::previous_name(&target.database, host.now, &facts.databases),
        // Without a live database the previous one is the last copy on the server.
        dropped: if found.exists {
            swap::previous_databases(&target.database, &facts.databases)
        } else {
            Vec::new()
        },
        apps,
        stop_apps: options.stop_apps,
        warnings: if found.exists { warnings(manifest, facts) } else { Vec::new() },
        target: target.clone(),
        backup,
        code: CodeReport::default(),
    })
}

/// Where the server's data are; a service that keeps them elsewhere is taken to have them on its own disk.
fn server_disk(target: &Service) -> Result<PathBuf> {
    let data = target.layout.server_data();
    Ok(if files::exists(&data)? { data } else { target.layout.root().to_owned() })
}

/// Postgres writes everything to its log first, and keeps about this much of it (its default `max_wal_size`).
const LOG: u64 = 1_000_000_000;

/// Room for a second database beside the live one, on the disk that holds the server's data.
fn check_space(target: &Service, manifest: &Manifest) -> Result<()> {
    let space = files::space(&server_disk(target)?)?;
    let size = manifest.database.size_bytes;
    let (free, needed) =
        (space.free, size.saturating_add(size.min(LOG)).saturating_add(space.reserve().max(SERVER_NEEDS)));
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
    let (target, id) = (plan.target.clone(), plan.backup.id.clone());
    let run = Run { backup: Some(&id), ..Run::of("restore", Instant::now()) };
    let ended = carry_out(host, plan, options);
    aftermath::follow(host, &target, run, &ended);
    ended
}

fn carry_out(host: &Host<'_>, plan: RestorePlan, options: &RestoreOptions) -> Result<RestoreReport> {
    let started = Instant::now();
    let service = &plan.target.clone();
    files::create_private_folders(&service.layout.own())?;
    let lock = ServiceLock::take(&service.layout.lock(), &service.name, "pgbackup:restore")?;
    let _reading = keep(&plan.backup)?;
    leftovers::clear(host, service, &lock)?;
    let server = Server::of(host, service)?;
    let found = Target::look(&server, &service.database)?;
    leftovers::clear_databases(host, &server, service, &found.facts);
    let code = plan.code;
    let plan = RestorePlan { code, ..decide(host, service, plan.backup, options, &found)? };
    let toc = manifest::read_toc(&plan.backup.folder)?;
    let apps = if plan.stop_apps { plan.apps.as_slice() } else { &[] };
    let mut stopped = StoppedApps::stop(host, apps)?;

    let created_roles = create_roles(&server, &plan.backup.folder, &found.facts)?;
    let version = found.facts.version_num;
    let jobs = possible_jobs(&toc, options.jobs.unwrap_or(host.settings(service)?.jobs));
    host.progress.step(&format!("Restoring into the new database {}", plan.restoring));
    let creation = found.creation(&plan.restoring, &toc);
    let manifest = &plan.backup.manifest;
    let disk = server_disk(service)?;
    let scratch = without_deadlock(host, jobs, |jobs| {
        let scratch = NewDatabase::create(&server, &plan.restoring, version, &creation)?;
        let job = RestoreJob {
            id: manifest.id.as_str(),
            folder: &plan.backup.folder,
            lc_monetary: &manifest.server.lc_monetary,
            command: postgres::restore_command(&plan.restoring, jobs, "/backup/dump", &[]),
            growing: Some((&plan.restoring, manifest.database.size_bytes)),
            disk: Some(disk.clone()),
        };
        run_pg_restore(host, &server, job)?;
        Ok(scratch)
    })?;
    host.progress.step("Comparing the rows of every table with the backup");
    let expected = manifest::read_fingerprint(&plan.backup.folder)?;
    proof::prove(&server, &plan.restoring, &expected.tables, &toc)?;
    server.execute(MAINTENANCE_DATABASE, &found.dress(&plan.restoring))?;
    host.check()?;
    host.progress.step("Swapping the databases");
    let swapping = Instant::now();
    found.swap_in(&server, &service.database, &plan.restoring, &plan.previous)?;
    let swap_duration = swapping.elapsed();
    scratch.keep();
    let left_stopped = stopped.leave(&plan.stay_stopped());
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
        left_stopped,
        plan,
    })
}

/// Keeps a backup from being deleted while it is read.
pub fn keep(backup: &Backup) -> Result<BackupLock> {
    keep_folder(&backup.folder, &backup.id)
}

/// A folder that can still be opened may have been deleted before it was locked.
fn keep_folder(folder: &Path, id: &BackupId) -> Result<BackupLock> {
    let locked = BackupLock::shared(folder);
    if !files::exists(folder)? {
        return Err(Failure::not_found(format!("backup {id} has been deleted meanwhile"))
            .hint("see what there is: dokku pgbackup:list")
            .into());
    }
    locked?.ok_or_else(|| Failure::busy(format!("backup {id} is being deleted")).into())
}

/// The new database takes the live one's place already: that an old one could not be dropped is a warning.
fn drop_older(host: &Host<'_>, server: &Server<'_>, plan: &RestorePlan, version: PgVersion) {
    for name in &plan.dropped {
        match server.execute_always(MAINTENANCE_DATABASE, &postgres::drop_database(version, name)) {
            Ok(_) => host.progress.note(&format!("dropped {name}, kept from the restore before")),
            Err(error) => {
                host.progress.warn(&format!("the older database {name} could not be dropped: {error}"));
            }
        }
    }
}

/// Drops what a restore put aside, where nobody is going to want it back.
pub fn drop_previous(host: &Host<'_>, target: &Service, name: &str) {
    let dropped = Server::of(host, target).and_then(|server| {
        let facts = server.facts_of(target)?;
        server.execute_always(MAINTENANCE_DATABASE, &postgres::drop_database(facts.version_num, name))
    });
    if let Err(error) = dropped {
        host.progress.warn(&format!("the database {name} could not be dropped: {error}"));
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
            if !Dokku::is_running(app)? {
                host.progress.note(&format!("{app} does not run, and is not started afterwards"));
                continue;
            }
            host.progress.step(&format!("Stopping {app}"));
            stopped.names.push(app.clone());
            Dokku::stop_app(app)?;
        }
        Ok(stopped)
    }

    /// Does not start these; the names of those that were stopped here.
    fn leave(&mut self, apps: &[&str]) -> Vec<String> {
        let names = std::mem::take(&mut self.names);
        let (left, started) = names.into_iter().partition(|name| apps.contains(&name.as_str()));
        self.names = started;
        left
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

/// What is known of a service's database or, where somebody dropped it, of its server.
pub fn facts_of_target(server: &Server<'_>, database: &str) -> Result<ServerFacts> {
    Ok(Target::look(server, database)?.facts)
}

/// The backup of `source` that `wanted` names.
pub fn choose(source: &Service, wanted: Option<&str>) -> Result<Backup> {
    let backup = catalog::find(&source.name, catalog::list(&source.layout)?, wanted)?;
    if backup.manifest.service == source.name {
        return Ok(backup);
    }
    let whose = &backup.manifest.service;
    Err(Failure::refused(format!("backup {} of {} is one of service {whose}", backup.id, source.name))
        .hint(format!("choose another one: dokku pgbackup:list {}", source.name))
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn a_backup_that_is_deleted_while_a_run_begins_is_said_to_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, id) = (folder.path().join("one"), "20261122T235901Z-k3f9".parse().unwrap());
        files::create_private_folder(&path).unwrap();
        let deleting = BackupLock::exclusive(&path).unwrap();
        assert_eq!(exit_code(&keep_folder(&path, &id).unwrap_err()), 4);
        files::remove_tree(&path).unwrap();
        for _ in 0..2 {
            let gone = keep_folder(&path, &id).unwrap_err();
            assert_eq!((exit_code(&gone), gone.to_string().contains("deleted meanwhile")), (5, true));
        }
        drop(deleting);
    }
}
