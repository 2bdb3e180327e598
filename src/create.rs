//! Making a backup: check, dump, fingerprint, write down, seal, publish by one rename.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use chrono::TimeDelta;

use crate::aftermath::{self, Run};
use crate::backup_id::BackupId;
use crate::bookkeeping::{self, Account};
use crate::catalog::{self, Backup};
use crate::code::Code;
use crate::deployed::{self, AppRecord};
use crate::digest::{Depth, Digester, FileDigest, Treatment};
use crate::dokku::Service;
use crate::dump::{DumpJob, Dumped, Extent, dump_leaving};
use crate::error::Failure;
use crate::files::{self, Space};
use crate::fingerprint::Fingerprint;
use crate::host::Host;
use crate::layout;
use crate::leftovers;
use crate::manifest::{
    Checksum, Contents, DatabaseRecord, DumpRecord, FORMAT, Manifest, Pool, ServerRecord, format_checksums,
    write_fingerprint,
};
use crate::postgres::{self, ServerFacts};
use crate::prune;
use crate::push;
use crate::server::Server;
use crate::settings::Room;
use crate::units;

/// What the lock says while a backup is being made.
pub const PURPOSE: &str = "pgbackup:create";

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    pub pool: Pool,
    pub note: Option<String>,
    /// `None` for the setting.
    pub jobs: Option<usize>,
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
    if let Ok(report) = &ended {
        push::mark(host, service, &report.backup);
    }
    let backup = ended.as_ref().ok().map(|report| &report.backup.id);
    aftermath::follow(host, service, Run { backup, ..run }, &ended);
    ended
}

fn make(host: &Host<'_>, service: &Service, options: &CreateOptions) -> Result<CreateReport> {
    files::create_private_folders(&service.layout.backups())?;
    let lock = host.lock(service, PURPOSE, options.patience)?;
    // The data is as old as the dump, however long another run was waited for.
    let started = Instant::now();
    let began = host.time_of(started);
    let settings = host.settings(service)?;
    leftovers::clear(host, service, &lock)?;
    let server = Server::of(host, service)?;
    let facts = server.facts_of(service)?;
    leftovers::clear_databases(host, &server, service, &facts);
    let earlier = catalog::whole(catalog::list(&service.layout)?);
    let expected = earlier.first().map(|backup| backup.manifest.dump.size_bytes);
    check_space(service, &facts, expected, settings.min_free)?;
    let mut removed = Vec::new();
    let room = prune::make_room(host, service, &settings, expected.unwrap_or(facts.size / 10), &mut removed);
    aftermath::removed(host, service, options.pool, &removed);
    room?;

    // Before the dump: a deploy that ends meanwhile is not what the data belongs to.
    let apps = linked_apps(host, service, options.coming.as_ref())?;
    let id = Host::new_id_at(began)?;
    let pending = Pending::begin(service, &id)?;
    host.progress.step(&format!(
        "Backing up {} (Postgres {}, database {}, {})",
        service.name,
        facts.version_num,
        service.database,
        units::bytes(facts.size)
    ));
    let job = DumpJob {
        database: &service.database,
        id: id.as_str(),
        folder: &pending.folder,
        jobs: options.jobs.unwrap_or(settings.jobs),
        compression: postgres::compression(facts.version_num),
        lc_monetary: &facts.lc_monetary,
        expected,
        throw_away: false,
        extent: Extent::Whole,
    };
    let (dumped, roles) = dump_all(host, &server, &job, settings.min_free)?;
    host.progress.done();
    let fingerprint = Fingerprint::assemble(&dumped.toc, &dumped.digests)?;
    files::write_private(&pending.folder.join(layout::ROLES), &roles)?;
    write_fingerprint(&pending.folder, &fingerprint)?;
    let mut digests = dumped.digests;
    digests.extend(digest_now(&pending.folder, &[layout::ROLES, layout::FINGERPRINT])?);
    let shared_bytes = earlier.first().map_or(0, |previous| share_with(previous, &pending.folder, &digests));

    let mut manifest = describe(host, service, &server, &facts, options, &job)?;
    manifest.contents = contents(&fingerprint);
    manifest.migrations =
        bookkeeping::read_dump(&dumped.toc, &pending.folder).read.iter().map(Account::record).collect();
    manifest.apps = apps;
    manifest.dump.files = digests.len();
    manifest.dump.size_bytes = digests.iter().map(|digest| digest.size).sum();
    manifest.started_at = began;
    manifest.finished_at = began + TimeDelta::from_std(started.elapsed())?;
    let backup = pending.publish(service, manifest, &digests)?;
    prune_own_pool(host, service, options.pool);
    drop(lock);
    Ok(CreateReport { backup, duration: started.elapsed(), shared_bytes })
}

/// The database and, meanwhile, the roles of its server.
fn dump_all(
    host: &Host<'_>,
    server: &Server<'_>,
    job: &DumpJob<'_>,
    min_free: Room,
) -> Result<(Dumped, Vec<u8>)> {
    std::thread::scope(|scope| {
        let roles = scope.spawn(|| server.dump_roles());
        let dumped = dump_leaving(host, server, job, min_free)?;
        let roles = roles.join().map_err(|_| anyhow!("the thread that dumps the roles panicked"))??;
        Ok((dumped, roles))
    })
}

/// A new good backup may replace older ones of its pool. That they cannot be removed does not make it a bad one.
fn prune_own_pool(host: &Host<'_>, service: &Service, pool: Pool) {
    let mut removed = Vec::new();
    let pruned = prune::plan(host, service).and_then(|plan| {
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
/// must be able to write.
fn check_space(service: &Service, facts: &ServerFacts, last_dump: Option<u64>, min_free: Room) -> Result<()> {
    let expected = last_dump.unwrap_or(facts.size / 10);
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
        "there is too little space for a backup of {}: {} are free in {}, and {} are wanted (twice the {} that the {})",
        service.name,
        units::bytes(free),
        service.layout.backups().display(),
        units::bytes(needed),
        units::bytes(expected),
        if last_dump.is_some() { "last backup took" } else { "backup may take, a tenth of the database" },
    ))
    .hint(format!("make room, for example with: dokku pgbackup:delete {} <backup>", service.name))
    .into())
}

/// Digests small files that were just written.
fn digest_now(folder: &Path, names: &[&str]) -> Result<Vec<FileDigest>> {
    let digester = Digester::start(folder, Treatment::reading(Depth::Checksum, 1));
    names.iter().for_each(|name| digester.submit((*name).to_owned()));
    digester.finish(|_| Ok(()))
}

/// Lets files that did not change since `previous` share its bytes on the disk; how many they are.
///
/// Matched by hash, not by name: the files are named after dump ids, which shift when objects are added.
fn share_with(previous: &Backup, folder: &Path, digests: &[FileDigest]) -> u64 {
    // A previous backup that is damaged only costs the sharing.
    let Ok(old_sums) = crate::manifest::read_checksums(&previous.folder) else { return 0 };
    let by_hash: std::collections::HashMap<&str, &str> =
        old_sums.iter().map(|sum| (sum.sha256.as_str(), sum.name.as_str())).collect();
    let mut shared = 0;
    for digest in digests {
        let Some(old) = by_hash.get(digest.sha256.as_str()) else { continue };
        if files::share_if_identical(&previous.folder.join(old), &folder.join(&digest.name)).unwrap_or(false)
        {
            shared += digest.size;
        }
    }
    shared
}

fn contents(fingerprint: &Fingerprint) -> Contents {
    Contents {
        tables: fingerprint.tables.len(),
        rows: fingerprint.rows(),
        sequences: fingerprint.sequences.len(),
        large_objects: fingerprint.large_objects.count,
    }
}

/// The manifest, as far as it is known before the dump's end.
fn describe(
    host: &Host<'_>,
    service: &Service,
    server: &Server<'_>,
    facts: &ServerFacts,
    options: &CreateOptions,
    job: &DumpJob<'_>,
) -> Result<Manifest> {
    let text = |key: &str| facts.database[key].as_str().unwrap_or_default().to_owned();
    let extensions =
        facts.extensions.iter().flatten().map(|(name, version)| format!("{name} {version}")).collect();
    Ok(Manifest {
        format: FORMAT,
        id: job.id.parse().map_err(|error: String| anyhow!(error))?,
        service: service.name.clone(),
        pool: options.pool,
        note: options.note.clone(),
        started_at: host.now,
        finished_at: host.now,
        pgbackup: env!("CARGO_PKG_VERSION").to_owned(),
        server: ServerRecord {
            version: facts.version.clone(),
            version_num: facts.version_num,
            image: server.container.image_name.clone(),
            image_id: server.container.image_id.clone(),
            lc_monetary: facts.lc_monetary.clone(),
            shared_preload_libraries: facts.shared_preload_libraries.clone(),
        },
        database: DatabaseRecord {
            name: service.database.clone(),
            size_bytes: facts.size,
            encoding: text("encoding_name"),
            collate: text("datcollate"),
            ctype: text("datctype"),
            extensions,
        },
        dump: DumpRecord { compression: job.compression.to_owned(), jobs: job.jobs, size_bytes: 0, files: 0 },
        contents: Contents { tables: 0, rows: 0, sequences: 0, large_objects: 0 },
        apps: Vec::new(),
        migrations: Vec::new(),
    })
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

/// A backup in the making. Dropped before it is published, its folder is removed.
struct Pending {
    folder: PathBuf,
    published: bool,
}

impl Pending {
    fn begin(service: &Service, id: &BackupId) -> Result<Self> {
        let folder = service.layout.pending(id);
        files::create_private_folder(&folder)?;
        Ok(Pending { folder, published: false })
    }

    /// Writes the manifest, then the checksums of everything including it, makes all durable, and renames.
    fn publish(mut self, service: &Service, manifest: Manifest, digests: &[FileDigest]) -> Result<Backup> {
        files::write_private(&self.folder.join(layout::MANIFEST), manifest.to_toml()?.as_bytes())?;
        let sealed = digest_now(&self.folder, &[layout::MANIFEST])?;
        let mut sums: Vec<Checksum> = sealed.iter().chain(digests).map(Checksum::from).collect();
        sums.sort_by(|a, b| a.name.cmp(&b.name));
        files::write_private(&self.folder.join(layout::CHECKSUMS), format_checksums(&sums).as_bytes())?;
        files::sync_folder_tree(&self.folder)?;
        let folder = service.layout.backup(&manifest.id);
        files::rename_durably(&self.folder, &folder)?;
        self.published = true;
        Ok(Backup { id: manifest.id.clone(), folder, manifest, verified: None, pinned: None, pushed: None })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is named and removed by the next run.
            let _ = files::remove_tree(&self.folder);
        }
    }
}
