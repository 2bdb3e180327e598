//! Making a backup of a service: check, dump and publish, remove what it replaces.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::aftermath::{self, Run};
use crate::backup_id::BackupId;
use crate::catalog::{self, Backup};
use crate::code::Code;
use crate::deployed::{self, AppRecord};
use crate::dokku::Service;
use crate::error::Failure;
use crate::files::{self, Space};
use crate::host::Host;
use crate::leftovers;
use crate::lock;
use crate::manifest::Pool;
use crate::pace::Pace;
use crate::pending::{self, Draft, Made, Outline};
use crate::process;
use crate::prune;
use crate::push;
use crate::server::Server;
use crate::settings::Room;
use crate::units;

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    pub pool: Pool,
    pub note: Option<String>,
    /// `None` for the setting.
    pub jobs: Option<usize>,
    /// Even if the setting is off.
    pub gentle: bool,
    /// The app that is being deployed, and its new code.
    pub coming: Option<(String, Code)>,
    /// How long to wait for another run that has the service.
    pub patience: Duration,
}

/// What was made.
#[derive(Debug)]
pub struct CreateReport {
    pub backup: Backup,
    pub duration: Duration,
    /// Bytes of the dump that it shares with the backup before it.
    pub shared_bytes: u64,
}

/// Backs up the database of `service`.
pub fn create_backup(host: &Host<'_>, service: &Service, options: &CreateOptions) -> Result<CreateReport> {
    let run = Run { pool: Some(options.pool), ..Run::of("create", Instant::now()) };
    let ended = make(host, service, options);
    let backup = ended.as_ref().ok().map(|report| &report.backup.id);
    aftermath::follow(host, service, Run { backup, ..run }, &ended);
    ended
}

fn make(host: &Host<'_>, service: &Service, options: &CreateOptions) -> Result<CreateReport> {
    files::create_private_folders_in(service.layout.root(), &service.layout.backups())?;
    let lock = host.lock(service, lock::CREATE, options.patience)?;
    // The data is as old as the dump, however long another run was waited for.
    let started = Instant::now();
    let began = host.time_of(started);
    leftovers::clear(host, service, &lock)?;
    // Only now: they may just have come back, after a destroy that was stopped.
    let settings = host.settings(service)?;
    let pace = Pace::of(&settings, options.jobs, options.gentle);
    // Somebody waits for a deploy, and for a destroy.
    let is_awaited = matches!(options.pool, Pool::Deploy | Pool::Final);
    let pace = if is_awaited { pace } else { pace.unhurried(host.dokku.environment().cores) };
    if pace.gentle {
        process::step_back();
    }
    let earlier = catalog::whole(catalog::list(&service.layout)?);
    // Whatever a manifest says, its dump is no larger than what is there.
    let size = |backup: &Backup| backup.manifest.dump.size_bytes.min(files::disk_use(&backup.folder));
    let last_dump = earlier.first().map(size);
    check_space(service, last_dump.unwrap_or(0), "the last backup took", settings.min_free)?;
    let server = Server::of(host, service)?.with_sidecars(pace);
    let id = Host::new_id_at(began)?;
    let outline =
        Outline { id: &id, container_id: id.as_str(), pace, lock_timeout: Some(settings.lock_timeout) };
    // Docker makes the container while the server answers.
    let opened = pending::begin(host, service, &server, outline)?;
    let facts = server.facts_of(service)?;
    leftovers::clear_databases(host, &server, service, &facts);
    let expected = last_dump.unwrap_or(facts.size / 10);
    if last_dump.is_none() {
        check_space(service, expected, "it may take, a tenth of the database", settings.min_free)?;
    }
    let mut removed = Vec::new();
    let room = prune::make_room(host, service, &settings, expected, &mut removed);
    aftermath::removed(host, service, options.pool, &removed);
    room?;

    // Before the dump: a deploy that ends meanwhile is not what the data belongs to.
    let apps = linked_apps(host, service, options.coming.as_ref())?;
    host.progress.step(&format!(
        "Backing up {} (Postgres {}, database {}, {})",
        service.name,
        facts.version_num,
        service.database,
        units::bytes(facts.size)
    ));
    let draft = Draft {
        pool: options.pool,
        note: options.note.clone(),
        apps,
        import: None,
        facts: &facts,
        began,
        started,
        expected: last_dump,
        min_free: settings.min_free,
        pushed: push::mark(host, service, &settings),
    };
    let Made { backup, shared_bytes } =
        pending::make(host, service, &server, opened, draft, earlier.first())?;
    prune_own_pool(host, service, options.pool, &backup.id);
    drop(lock);
    Ok(CreateReport { backup, duration: started.elapsed(), shared_bytes })
}

/// A new good backup may replace older ones of its pool. That they cannot be removed does not make it a bad one.
fn prune_own_pool(host: &Host<'_>, service: &Service, pool: Pool, made: &BackupId) {
    let mut removed = Vec::new();
    let pruned = prune::sound_plan(host, service, Some(made)).and_then(|plan| {
        if let Some(wrong) = prune::misdated(&plan) {
            host.progress
                .warn(&format!("the date of {wrong} or the clock is wrong: no backup is removed any more"));
        }
        prune::carry_out(host, service, &plan, Some(pool), &mut removed)
    });
    for id in &removed {
        host.progress.note(&format!("removed {id}, as retention says"));
    }
    aftermath::removed(host, service, pool, &removed);
    if let Err(error) = pruned {
        host.progress.warn(&format!("older backups could not be removed: {error:#}"));
    }
}

/// Refuses when not even twice the expected dump fits, or less stays free than is to: a Postgres server on the same disk
/// must be able to write. `why`: what the expectation comes from.
fn check_space(service: &Service, expected: u64, why: &str, min_free: Room) -> Result<()> {
    let Space { free, total } = files::space(&service.layout.backups())?;
    let stays = min_free.of(total);
    if free < stays.saturating_add(expected) {
        let name = &service.name;
        return Err(Failure::refused(format!(
            "there is too little space for a backup of {name}: {} are free in {}, and {} are to stay free (min-free)",
            units::bytes(free),
            service.layout.backups().display(),
            units::bytes(stays),
        ))
        .hint(format!("make room, or allow less: dokku pgbackup:set {name} min-free <size or percent>"))
        .into());
    }
    let needed = expected.saturating_mul(2);
    if free >= needed {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "there is too little space for a backup of {}: {} are free in {}, and {} are wanted (twice the {} that {why})",
        service.name,
        units::bytes(free),
        service.layout.backups().display(),
        units::bytes(needed),
        units::bytes(expected),
    ))
    .hint(format!("make room, for example with: dokku pgbackup:delete {} <backup>", service.name))
    .into())
}

fn linked_apps(
    host: &Host<'_>,
    service: &Service,
    coming: Option<&(String, Code)>,
) -> Result<Vec<AppRecord>> {
    let mut apps = Vec::new();
    for name in service.links()? {
        let mut app = deployed::running_as_known(host, &name);
        app.coming = coming.filter(|(deployed, _)| *deployed == name).map(|(_, code)| code.clone());
        apps.push(app);
    }
    Ok(apps)
}
