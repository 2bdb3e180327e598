//! A backup in the making: dumped, fingerprinted, written down, sealed, and published by one rename.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use chrono::{DateTime, TimeDelta, Utc};

use crate::backup_id::BackupId;
use crate::bookkeeping::{self, Account};
use crate::catalog::Backup;
use crate::deployed::AppRecord;
use crate::digest::{Depth, Digester, FileDigest, Treatment};
use crate::docker::WaitingJob;
use crate::dokku::Service;
use crate::dump::{self, DumpJob, Extent, Manner};
use crate::durable::make_durable;
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::host::Host;
use crate::layout;
use crate::manifest::{
    self, Checksum, Contents, DatabaseRecord, DumpRecord, FORMAT, ImportRecord, Manifest, Pool, Pushed,
    ServerRecord, format_checksums, write_fingerprint,
};
use crate::pace::Pace;
use crate::postgres::{self, ServerFacts};
use crate::server::Server;
use crate::settings::Room;

/// What is known of a backup before the server is asked.
#[derive(Debug, Clone, Copy)]
pub struct Outline<'a> {
    pub id: &'a BackupId,
    /// For names and labels of containers.
    pub container_id: &'a str,
    pub pace: Pace,
    /// How long to wait for what somebody else has locked; `None` where nobody else is.
    pub lock_timeout: Option<Duration>,
}

/// What is known of it before its dump begins.
#[derive(Debug)]
pub struct Draft<'a> {
    pub pool: Pool,
    pub note: Option<String>,
    pub apps: Vec<AppRecord>,
    pub import: Option<ImportRecord>,
    /// Of the server and the database that is dumped, which is the service's or stands for it.
    pub facts: &'a ServerFacts,
    /// When the run began that makes it, by the clock and for what passes since.
    pub began: DateTime<Utc>,
    pub started: Instant,
    /// Bytes it will be, as far as can be guessed.
    pub expected: Option<u64>,
    /// What must stay free on the disk.
    pub min_free: Room,
    /// That it is to be taken to the remote, where that is wanted.
    pub pushed: Option<Pushed>,
}

/// A backup whose folder is there and whose `pg_dump` waits to begin. Dropped, both go away.
#[derive(Debug)]
pub struct Begun<'a> {
    outline: Outline<'a>,
    waiting: WaitingJob,
    pending: Pending,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    pub backup: Backup,
    /// Bytes of the dump that it shares with the backup before it.
    pub shared_bytes: u64,
}

/// Begins a backup of the service's database on `server`.
pub fn begin<'a>(
    host: &Host<'_>,
    service: &Service,
    server: &Server<'_>,
    outline: Outline<'a>,
) -> Result<Begun<'a>> {
    let pending = Pending::begin(service, outline.id)?;
    let waiting = dump::start(host, server, &job(service, outline, &pending.folder))?;
    Ok(Begun { outline, waiting, pending })
}

fn job<'a>(service: &'a Service, outline: Outline<'a>, folder: &'a Path) -> DumpJob<'a> {
    DumpJob {
        database: &service.database,
        id: outline.container_id,
        folder,
        jobs: outline.pace.jobs,
        processors: outline.pace.processors,
        throw_away: false,
        extent: Extent::Whole,
        lock_timeout: outline.lock_timeout,
    }
}

/// Makes a whole backup of what was begun. `previous` is the backup before it.
pub fn make(
    host: &Host<'_>,
    service: &Service,
    server: &Server<'_>,
    begun: Begun<'_>,
    draft: Draft<'_>,
    previous: Option<&Backup>,
) -> Result<Made> {
    let Begun { outline, waiting, pending } = begun;
    let manner = Manner {
        compression: postgres::compression(draft.facts.version_num),
        lc_monetary: &draft.facts.lc_monetary,
        expected: draft.expected,
        min_free: draft.min_free,
    };
    let job = job(service, outline, &pending.folder);
    let (dumped, roles) = std::thread::scope(|scope| {
        let roles = scope.spawn(|| server.dump_roles());
        let dumped = dump::finish(host, server, &job, &manner, waiting)?;
        let roles = roles.join().map_err(|_| anyhow!("the thread that dumps the roles panicked"))??;
        anyhow::Ok((dumped, roles))
    })?;
    host.progress.done();
    let fingerprint = Fingerprint::assemble(&dumped.toc, &dumped.digests)?;
    files::write_private(&pending.folder.join(layout::ROLES), &roles)?;
    write_fingerprint(&pending.folder, &fingerprint)?;
    let mut digests = dumped.digests;
    digests.extend(digest_now(&pending.folder, &[layout::ROLES, layout::FINGERPRINT])?);
    let shared_bytes = previous.map_or(0, |previous| share_with(previous, &pending.folder, &digests));

    let pushed = draft.pushed.clone();
    let mut manifest = describe(service, server, outline, draft, manner.compression)?;
    manifest.contents = contents(&fingerprint);
    manifest.migrations =
        bookkeeping::read_dump(&dumped.toc, &pending.folder).read.iter().map(Account::record).collect();
    manifest.dump.files = digests.len();
    manifest.dump.size_bytes = digests.iter().map(|digest| digest.size).sum();
    let backup = pending.publish(host, service, manifest, &digests, pushed)?;
    Ok(Made { backup, shared_bytes })
}

/// Digests small files that were just written.
fn digest_now(folder: &Path, names: &[&str]) -> Result<Vec<FileDigest>> {
    let mut digester = Digester::start(folder, Treatment::reading(Depth::Checksum, 1));
    names.iter().for_each(|name| digester.complete(name));
    digester.finish(|_| Ok(()))
}

/// Lets files that did not change since `previous` share its bytes on the disk; how many they are.
///
/// Matched by hash, not by name: the files are named after dump ids, which shift when objects are added.
fn share_with(previous: &Backup, folder: &Path, digests: &[FileDigest]) -> u64 {
    // A previous backup that is damaged only costs the sharing.
    let Ok(old_sums) = manifest::read_checksums(&previous.folder) else { return 0 };
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

/// The manifest, but for what the dump tells.
fn describe(
    service: &Service,
    server: &Server<'_>,
    outline: Outline<'_>,
    draft: Draft<'_>,
    compression: &str,
) -> Result<Manifest> {
    let facts = draft.facts;
    let text = |key: &str| facts.database[key].as_str().unwrap_or_default().to_owned();
    let extensions =
        facts.extensions.iter().flatten().map(|(name, version)| format!("{name} {version}")).collect();
    Ok(Manifest {
        format: FORMAT,
        id: outline.id.clone(),
        service: service.name.clone(),
        pool: draft.pool,
        note: draft.note,
        started_at: draft.began,
        finished_at: draft.began + TimeDelta::from_std(draft.started.elapsed())?,
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
        dump: DumpRecord {
            compression: compression.to_owned(),
            jobs: outline.pace.jobs,
            size_bytes: 0,
            files: 0,
        },
        contents: Contents { tables: 0, rows: 0, sequences: 0, large_objects: 0 },
        import: draft.import,
        apps: draft.apps,
        migrations: Vec::new(),
    })
}

/// A backup in the making. Dropped before it is published, its folder is removed.
#[derive(Debug)]
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
    fn publish(
        mut self,
        host: &Host<'_>,
        service: &Service,
        manifest: Manifest,
        digests: &[FileDigest],
        pushed: Option<Pushed>,
    ) -> Result<Backup> {
        files::write_private(&self.folder.join(layout::MANIFEST), manifest.to_toml()?.as_bytes())?;
        let sealed = digest_now(&self.folder, &[layout::MANIFEST])?;
        let mut sums: Vec<Checksum> = sealed.iter().chain(digests).map(Checksum::from).collect();
        sums.sort_by(|a, b| a.name.cmp(&b.name));
        files::write_private(&self.folder.join(layout::CHECKSUMS), format_checksums(&sums).as_bytes())?;
        if let Some(pushed) = &pushed {
            pushed.write(&self.folder)?;
        }
        make_durable(host, &self.folder)?;
        let folder = service.layout.backup(&manifest.id);
        files::rename_durably(&self.folder, &folder)?;
        self.published = true;
        Ok(Backup { id: manifest.id.clone(), folder, manifest, verified: None, pinned: None, pushed })
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
