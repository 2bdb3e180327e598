//! Restoring: plan, restore into a new database, prove it, swap. The live database is never written to.

pub mod code;
mod copy_back;
pub mod doubts;
mod fill;
mod plan;
mod proof;
mod stopped_apps;
pub mod tables;
mod target;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::aftermath::{self, Run};
use crate::catalog::Backup;
use crate::dokku::Service;
use crate::files;
use crate::host::Host;
use crate::leftovers;
use crate::lock::{self, BackupLock, ServiceLock};
use crate::manifest;
use crate::pg_version::PgVersion;
use crate::postgres::{self, MAINTENANCE_DATABASE};
use crate::server::Server;
use crate::toc::Toc;
use fill::NewDatabase;
pub use fill::{RestoreJob, create_roles, possible_jobs, run_pg_restore, without_deadlock};
use plan::Look;
pub use plan::{RestoreOptions, RestorePlan, facts_of_target, plan_restore};
pub use proof::count_rows;
use stopped_apps::StoppedApps;
use target::Target;

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

/// Restores at once; `tell` gets the plan before anything is changed.
pub fn restore_at_once(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    options: &RestoreOptions,
    tell: impl FnOnce(&RestorePlan),
) -> Result<RestoreReport> {
    let (id, started) = (backup.id.clone(), Instant::now());
    let whole = plan::refuse_unless_whole(host, &backup);
    let ended = whole.and_then(|()| Held::take(host, target, &backup)).and_then(|_held| {
        let Look { server, found, plan } = plan::look(host, target, backup, options)?;
        leftovers::clear_databases(host, &server, target, &found.facts);
        tell(&plan);
        carry_out(host, (&server, &found), plan, options, started)
    });
    aftermath::follow(host, target, Run { backup: Some(&id), ..Run::of("restore", started) }, &ended);
    ended
}

/// Carries a plan out that somebody has agreed to. What it rests on is looked at again, now behind the lock.
pub fn run_restore(host: &Host<'_>, plan: RestorePlan, options: &RestoreOptions) -> Result<RestoreReport> {
    let (target, id, started) = (plan.target.clone(), plan.backup.id.clone(), Instant::now());
    let ended = Held::take(host, &target, &plan.backup).and_then(|_held| {
        let server = Server::of(host, &target)?;
        let found = Target::look(&server, &target.database)?;
        leftovers::clear_databases(host, &server, &target, &found.facts);
        let plan = plan::decide(host, &target, plan.backup, options, &found, plan.code)?;
        carry_out(host, (&server, &found), plan, options, started)
    });
    aftermath::follow(host, &target, Run { backup: Some(&id), ..Run::of("restore", started) }, &ended);
    ended
}

/// The service and the backup are ours for as long as this is there.
struct Held {
    _service: ServiceLock,
    _backup: BackupLock,
}

impl Held {
    fn take(host: &Host<'_>, target: &Service, backup: &Backup) -> Result<Self> {
        files::create_private_folders_in(target.layout.root(), &target.layout.own())?;
        let service = ServiceLock::take(&target.layout.lock(), &target.name, lock::RESTORE)?;
        let backup = backup.held_for_reading()?;
        leftovers::clear(host, target, &service)?;
        Ok(Held { _backup: backup, _service: service })
    }
}

fn carry_out(
    host: &Host<'_>,
    (server, found): (&Server<'_>, &Target),
    plan: RestorePlan,
    options: &RestoreOptions,
    started: Instant,
) -> Result<RestoreReport> {
    let toc = manifest::read_toc(&plan.backup.folder)?;
    let apps = if plan.stop_apps { plan.apps.as_slice() } else { &[] };
    let mut stopped = StoppedApps::stop(host, apps)?;
    let created_roles = create_roles(server, &plan.backup.folder, &found.facts)?;
    let jobs = possible_jobs(&toc, options.jobs.unwrap_or(host.settings(&plan.target)?.jobs));
    host.progress.step(&format!("Restoring into the new database {}", plan.restoring));
    let restored = fill(host, (server, found), &plan, &toc, jobs)?;
    host.progress.step("Comparing the rows of every table with the backup");
    let expected = manifest::read_fingerprint(&plan.backup.folder)?;
    proof::prove(server, &plan.restoring, &expected.tables, &toc)?;
    host.check()?;
    host.progress.step("Swapping the databases");
    let swap_duration = found.swap_in(server, &plan.target.database, &plan.restoring, &plan.previous)?;
    restored.keep();
    let left_stopped = stopped.leave(&plan.stay_stopped());
    if let Err(error) = found.finish(server, &plan.target.database, &plan.backup.manifest, &toc) {
        host.progress.warn(&format!("the data is back, but not all settings of the database: {error:#}"));
    }
    drop_older(host, server, &plan, found.facts.version_num);
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

/// Makes the new database, like the live one, with what is in the backup.
fn fill<'a>(
    host: &Host<'_>,
    (server, found): (&'a Server<'a>, &Target),
    plan: &RestorePlan,
    toc: &Toc,
    jobs: usize,
) -> Result<NewDatabase<'a>> {
    let manifest = &plan.backup.manifest;
    let creation = found.creation(&plan.restoring, toc);
    let disk = plan::server_disk(&plan.target)?;
    without_deadlock(host, jobs, |jobs| {
        let job = RestoreJob {
            id: manifest.id.as_str(),
            folder: &plan.backup.folder,
            lc_monetary: &manifest.server.lc_monetary,
            command: postgres::restore_command(&plan.restoring, jobs, "/backup/dump", &[]),
            into_live: false,
            growing: Some((&plan.restoring, manifest.database.size_bytes)),
            disk: Some(disk.clone()),
        };
        let waiting = fill::start_pg_restore(host, server, &job)?;
        let new = NewDatabase::create(server, &plan.restoring, found.facts.version_num, &creation)?;
        fill::finish_pg_restore(host, server, &job, waiting)?;
        Ok(new)
    })
}

/// The new database takes the live one's place already: that an old one could not be dropped is a warning.
fn drop_older(host: &Host<'_>, server: &Server<'_>, plan: &RestorePlan, version: PgVersion) {
    for name in &plan.dropped {
        match server.execute_always(MAINTENANCE_DATABASE, &postgres::drop_database(version, name)) {
            Ok(_) => host.progress.note(&format!("dropped {name}, kept from the restore before")),
            Err(error) => {
                host.progress.warn(&format!("the older database {name} could not be dropped: {error:#}"));
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
        host.progress.warn(&format!("the database {name} could not be dropped: {error:#}"));
    }
}
