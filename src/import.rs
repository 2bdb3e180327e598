//! Making a backup of what others made: unwrap, recognise, load into a throwaway server, dump again as any backup.

mod complaints;
mod load;
mod prepare;
pub mod recognise;
mod roles;
mod script;
mod unwrap;

use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::aftermath::{self, Run};
use crate::catalog::{self, Backup};
use crate::dokku::Service;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::leftovers;
use crate::manifest::{ImportRecord, Pool};
use crate::obstacles;
use crate::pace::Pace;
use crate::pending::{self, Draft, Made, Outline};
use crate::postgres::ServerFacts;
use crate::push;
use crate::restore;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::throwaway::{Likeness, Throwaway};
use crate::units;
use complaints::Complaints;
use load::Load;
use prepare::Prepared;
pub use unwrap::Passphrase;
use unwrap::Unwrapped;

/// What its lock says.
const IMPORT: &str = "pgbackup:import";
/// How long another run is waited for once all is loaded.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Errors that are shown; the others are counted.
const SHOWN: usize = 20;
/// Errors that the manifest keeps.
const KEPT: usize = 10;

/// What the user asked for.
#[derive(Clone, Copy)]
pub struct ImportOptions<'a> {
    pub note: Option<&'a str>,
    /// Of a dump with several.
    pub database: Option<&'a str>,
    pub allow_errors: bool,
    /// `None` for the setting.
    pub jobs: Option<usize>,
    pub passphrase: Passphrase<'a>,
}

/// What was made.
#[derive(Debug)]
pub struct ImportReport {
    pub backup: Backup,
    pub duration: Duration,
    /// Bytes of the dump that it shares with the backup before it.
    pub shared_bytes: u64,
    /// What could not be loaded, the first of it.
    pub errors: Vec<String>,
}

/// Makes a backup of `service` from the dump that comes by `input`.
pub fn import_backup(
    host: &Host<'_>,
    service: &Service,
    input: impl Read,
    options: ImportOptions<'_>,
) -> Result<ImportReport> {
    let run = Run { pool: Some(Pool::Imported), ..Run::of("import", Instant::now()) };
    let ended = carry_out(host, service, input, options);
    let backup = ended.as_ref().ok().map(|report| &report.backup.id);
    aftermath::follow(host, service, Run { backup, ..run }, &ended);
    ended
}

fn carry_out(
    host: &Host<'_>,
    service: &Service,
    input: impl Read,
    options: ImportOptions<'_>,
) -> Result<ImportReport> {
    let started = Instant::now();
    files::create_private_folders_in(service.layout.root(), &service.layout.backups())?;
    let lock = host.lock(service, IMPORT, Duration::ZERO)?;
    leftovers::clear(host, service, &lock)?;
    // What follows may take hours, and deploys and schedules need it.
    drop(lock);
    // Only now: they may just have come back, after a destroy that was stopped.
    let settings = host.settings(service)?;
    let server = Server::of(host, service)?;
    // Of a service whose database was dropped, a backup may be all the more welcome.
    let facts = restore::facts_of_target(&server, &service.database)?;
    let id = host.new_id()?;
    let scratch = Scratch::begin(host, service, &id)?;

    host.progress.step(&format!("Reading a dump for {}", service.name));
    let unwrapped = unwrap::unwrap(host, input, &scratch.folder, settings.min_free, options.passphrase)?;
    let Unwrapped { dump, wrapped, size } = unwrapped;
    // Somebody waits for it, and the service has no part in it.
    let pace = Pace { jobs: options.jobs.unwrap_or(settings.jobs), gentle: false, processors: None };
    let prepared = Prepared::of(host, dump, options.database, pace.jobs, &scratch.folder)?;
    refuse_newer(&prepared, &facts, service)?;
    let what = described(&prepared);
    host.progress.step(&format!("Loading {what} of {} into a throwaway server", units::bytes(size)));
    let throwaway = start_like(host, service, &scratch, (&server, &facts), (&prepared, pace))?;
    let lc_monetary = match &prepared.backup {
        Some((_, manifest)) => manifest.server.lc_monetary.as_str(),
        None => &facts.lc_monetary,
    };
    let loading = Load {
        throwaway: &throwaway,
        scratch: &scratch,
        prepared: &prepared,
        database: &service.database,
        like: &facts,
        lc_monetary,
    };
    let complaints = load::load(host, &loading)?;
    judge(host, &complaints, options.allow_errors)?;

    let loaded = throwaway.server.facts(&service.database)?;
    host.progress.step(&format!("Making a backup of it (Postgres {})", loaded.version_num));
    let outline = Outline { id: &id, container_id: &scratch.name, pace, lock_timeout: None };
    let draft = Draft {
        pool: Pool::Imported,
        note: Some(options.note.map_or_else(|| format!("imported: {what}"), str::to_owned)),
        apps: prepared.backup.as_ref().map_or_else(Vec::new, |(_, manifest)| manifest.apps.clone()),
        import: Some(record(&prepared, wrapped, size, &complaints)),
        facts: &ServerFacts { lc_monetary: lc_monetary.to_owned(), ..loaded },
        began: host.time_of(started),
        started,
        expected: None,
        min_free: settings.min_free,
        pushed: push::mark(host, service, &settings),
    };
    let _lock = host.lock(service, IMPORT, PATIENCE)?;
    let earlier = catalog::whole(catalog::list(&service.layout)?);
    let begun = pending::begin(host, service, &throwaway.server, outline)?;
    let made = pending::make(host, service, &throwaway.server, begun, draft, earlier.first())?;
    let Made { backup, shared_bytes } = made;
    let errors = complaints.first.into_iter().take(SHOWN).collect();
    Ok(ImportReport { backup, duration: started.elapsed(), shared_bytes, errors })
}

/// A throwaway server like the service's own.
fn start_like<'a>(
    host: &Host<'a>,
    service: &Service,
    scratch: &Scratch,
    (server, facts): (&Server<'_>, &ServerFacts),
    (prepared, pace): (&Prepared, Pace),
) -> Result<Throwaway<'a>> {
    let likeness = Likeness {
        purpose: "import",
        image: server.container.image_id.clone(),
        shared_preload_libraries: &facts.shared_preload_libraries,
        pace,
        objects: prepared.objects,
    };
    let mut throwaway = Throwaway::start(host, service, scratch, likeness)?;
    // The name by which it can be fetched, not the id that it was started with.
    throwaway.server.container.image_name.clone_from(&server.container.image_name);
    Ok(throwaway)
}

/// What a dump is, as a person calls it.
fn described(prepared: &Prepared) -> &'static str {
    match prepared.kind {
        "pgbackup" => "an export of pgbackup",
        "custom" => "an archive of pg_dump",
        "tar" => "a tar archive of pg_dump",
        "directory" => "a directory of pg_dump",
        "cluster" => "a script of pg_dumpall",
        _ => "a script",
    }
}

/// As a restore would.
fn refuse_newer(prepared: &Prepared, facts: &ServerFacts, service: &Service) -> Result<()> {
    let Some(version) = prepared.server_version() else { return Ok(()) };
    let Some(why) = obstacles::version_obstacle(version, facts.version_num) else { return Ok(()) };
    Err(Failure::refused(format!("this dump is too new for {}: {why}", service.name))
        .hint(format!("import it into a service of Postgres {} or later", version.major()))
        .into())
}

/// What was loaded with errors is no good backup, unless the user says so.
fn judge(host: &Host<'_>, complaints: &Complaints, allowed: bool) -> Result<()> {
    if complaints.count == 0 {
        return Ok(());
    }
    let shown = complaints.first.iter().take(SHOWN).enumerate();
    let mut lines: Vec<String> = shown.map(|(at, text)| format!("{}. {text}", at + 1)).collect();
    let left = complaints.count - lines.len() as u64;
    if left > 0 {
        lines.push(format!("and {left} more"));
    }
    let errors = units::plural(complaints.count, "error");
    if allowed {
        host.progress.warn(&format!("there were {errors} when the dump was loaded:"));
        lines.iter().for_each(|line| host.progress.warn(line));
        return Ok(());
    }
    Err(Failure::tool(format!("there were {errors} when the dump was loaded, and nothing was kept"))
        .details(lines)
        .hint("to keep what could be loaded, marked with its errors: --allow-errors")
        .blames_data(true)
        .into())
}

fn record(
    prepared: &Prepared,
    wrapped: Vec<&'static str>,
    size_bytes: u64,
    complaints: &Complaints,
) -> ImportRecord {
    ImportRecord {
        kind: prepared.kind.to_owned(),
        wrapped: wrapped.into_iter().map(str::to_owned).collect(),
        size_bytes,
        server_version: prepared.versions.server.clone(),
        dump_version: prepared.versions.dump.clone(),
        errors: complaints.count,
        first_errors: complaints.first.iter().take(KEPT).cloned().collect(),
    }
}
