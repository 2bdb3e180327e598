//! Bringing a backup back from a remote: the parts in their order, each compared with the index, decrypted, unpacked, and
//! the whole compared with its own checksums.

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::aftermath::{self, Run};
use crate::catalog::{self, Backup};
use crate::checksum::sha256_hex;
use crate::dokku::Service;
use crate::durable::make_durable;
use crate::encryption::Identities;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::layout::{DUMP, ServiceLayout};
use crate::leftovers;
use crate::manifest::Pushed;
use crate::obstacles;
use crate::offsite::{self, Index, Offsite, Part};
use crate::pg_version::PgVersion;
use crate::postgres::MAINTENANCE_DATABASE;
use crate::remote::Remote;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::tarball::{self, Limits};
use crate::units;
use crate::verify;

/// A part and what age adds to it.
const MAX_PART: u64 = 256 * 1024 * 1024;
/// How long a pull that has everything waits for another run that has the service.
const PATIENCE: Duration = Duration::from_secs(3600);
/// A file for each of a million tables.
const MAX_FILES: usize = 2_000_000;

/// Of the server to restore into, alone: the database may be gone.
const SERVER_VERSION: &str = "select current_setting('server_version_num')";

/// What was brought back.
#[derive(Debug)]
pub struct PullReport {
    pub backup: Backup,
    pub bytes: u64,
    pub duration: Duration,
}

/// Brings a backup of `service` back among its backups.
pub fn pull(
    host: &Host<'_>,
    service: &Service,
    remote: &Remote,
    found: (&Offsite, &Index),
    identities: Option<&Identities>,
) -> Result<PullReport> {
    let run = Run { backup: Some(&found.0.id), ..Run::of("pull", Instant::now()) };
    let ended = bring_home(host, service, remote, found, identities);
    aftermath::follow(host, service, run, &ended);
    ended
}

fn bring_home(
    host: &Host<'_>,
    service: &Service,
    remote: &Remote,
    (offsite, index): (&Offsite, &Index),
    identities: Option<&Identities>,
) -> Result<PullReport> {
    let started = Instant::now();
    files::create_private_folders_in(service.layout.root(), &service.layout.backups())?;
    refuse_present(service, offsite)?;
    leftovers::clear_drills(host, service)?;
    // Not behind the service's lock: a download may take hours, and deploys and schedules need that.
    let scratch = Scratch::begin(host, service, &offsite.id)?;
    let fetched = fetch(host, service, remote, index, identities, &scratch.folder)?;
    let pushed = Pushed { at: host.time(), remote: remote.shown.clone(), good: true, problem: None };
    pushed.write(&fetched.folder)?;
    make_durable(host, &fetched.folder)?;
    let lock = host.lock(service, "pgbackup:pull", PATIENCE)?;
    leftovers::clear(host, service, &lock)?;
    refuse_present(service, offsite)?;
    let place = service.layout.backup(&offsite.id);
    files::rename_durably(&fetched.folder, &place)?;
    let backup = Backup { folder: place, pushed: Some(pushed), ..fetched };
    Ok(PullReport { backup, bytes: index.stored_bytes(), duration: started.elapsed() })
}

fn refuse_present(service: &Service, offsite: &Offsite) -> Result<()> {
    if !service.layout.backup(&offsite.id).exists() {
        return Ok(());
    }
    Err(Failure::refused(format!("backup {} of {} is here already", offsite.id, service.name))
        .hint(format!("verify it: dokku pgbackup:verify {} {}", service.name, offsite.id))
        .into())
}

/// A backup from a remote in a folder of its own, for as long as it is needed.
#[derive(Debug)]
pub struct Visitor {
    /// What it is a backup of, as a service to restore from.
    pub source: Service,
    _scratch: Scratch,
}

/// Brings a backup of a service that need not exist here beside `target`, to be restored from.
pub fn visit(
    host: &Host<'_>,
    target: &Service,
    remote: &Remote,
    index: &Index,
    identities: Option<&Identities>,
) -> Result<Visitor> {
    refuse_older_server(host, target, index)?;
    leftovers::clear_drills(host, target)?;
    let scratch = Scratch::begin(host, target, &index.id)?;
    let layout = ServiceLayout::at(scratch.folder.clone());
    files::create_private_folders_in(layout.root(), &layout.backups())?;
    fetch(host, target, remote, index, identities, &layout.backups())?;
    let database = index.service.as_str().replace(['-', '.'], "_");
    let source = Service { name: index.service.clone(), layout, database };
    Ok(Visitor { source, _scratch: scratch })
}

/// A download may take hours, and this is known before. An index that does not tell is one of an older pgbackup's: then the
/// plan of the restore finds it out.
fn refuse_older_server(host: &Host<'_>, target: &Service, index: &Index) -> Result<()> {
    let Some(version) = index.server_version_num else { return Ok(()) };
    let server = Server::of(host, target)?;
    let there: PgVersion = server.query(MAINTENANCE_DATABASE, SERVER_VERSION)?;
    obstacles::refuse_older_server(&target.name, version, there)
}

/// Unpacks the backup into `into` and looks at all of it.
fn fetch(
    host: &Host<'_>,
    target: &Service,
    remote: &Remote,
    index: &Index,
    identities: Option<&Identities>,
    into: &Path,
) -> Result<Backup> {
    if index.encrypted && identities.is_none() {
        return Err(Failure::refused(format!(
            "backup {} is encrypted, and this server has no key for it",
            index.id
        ))
        .hint("hand the private key over on standard input: --identity - --force < key.txt")
        .into());
    }
    check_space(host, target, index, into)?;
    host.progress.step(&format!("Fetching {} of {} from {}", index.id, index.service, remote.shown));
    let unpacked = unpack(host, remote, index, identities, into)?;
    host.progress.done();
    let damaged = |why: String| {
        Failure::refused(format!("what {} has as backup {} is damaged: {why}", remote.shown, index.id))
            .hint(format!("choose another one: dokku pgbackup:list {} --remote", index.service))
    };
    let prefix = format!("{}/", index.id);
    if let Some(strange) = unpacked.iter().find(|name| !name.starts_with(&prefix)) {
        return Err(damaged(format!("it holds {strange:?}")).into());
    }
    let folder = into.join(index.id.as_str());
    files::create_private_folders_in(&folder, &folder.join(DUMP))?;
    let backup = catalog::read(&folder, index.id.as_str()).map_err(|error| damaged(error.to_string()))?;
    if backup.manifest.service != index.service {
        return Err(damaged(format!("its manifest is that of {}", backup.manifest.service)).into());
    }
    let problems = verify::check_files(host, &backup)?;
    match problems.first() {
        None => Ok(backup),
        Some(first) => Err(damaged(first.to_string()).into()),
    }
}

fn check_space(host: &Host<'_>, target: &Service, index: &Index, into: &Path) -> Result<()> {
    let space = files::space(into)?;
    let stays = host.settings(target)?.min_free.of(space.total);
    if space.free >= stays.saturating_add(index.stored_bytes()) {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "there is too little space for backup {}: {} are free in {}, {} are to stay free (min-free), and it has {}",
        index.id,
        units::bytes(space.free),
        into.display(),
        units::bytes(stays),
        units::bytes(index.stored_bytes())
    ))
    .hint(format!(
        "make room, or allow less to stay free: dokku pgbackup:set {} min-free <size or percent>",
        target.name
    ))
    .into())
}

fn unpack(
    host: &Host<'_>,
    remote: &Remote,
    index: &Index,
    identities: Option<&Identities>,
    into: &Path,
) -> Result<BTreeSet<String>> {
    let limits = Limits { bytes: index.stored_bytes(), files: MAX_FILES };
    let identities = identities.filter(|_| index.encrypted);
    // One part is fetched while the one before is unpacked.
    let (parts, queue) = sync_channel::<Result<Fetched>>(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for part in &index.parts {
                let fetched = fetch_part(remote, index, part);
                let failed = fetched.is_err();
                if parts.send(fetched).is_err() || failed {
                    break;
                }
            }
        });
        let mut stream =
            Joined { host, queue, identities, current: None, done: 0, total: limits.bytes, failure: None };
        let unpacked = tarball::unpack(&mut stream, into, limits);
        // What went wrong with a part says more than what that did to the archive.
        match stream.failure.take() {
            Some(error) => Err(error),
            None => unpacked.with_context(|| format!("backup {} at {}", index.id, remote.shown)),
        }
    })
}

/// A part as it was sent.
struct Fetched {
    bytes: Bytes,
    /// What is said of it when it cannot be decrypted, and what to do then.
    name: String,
    hint: String,
}

impl Fetched {
    fn wrong(&self, what: &str) -> Failure {
        Failure::refused(format!("{} {what}", self.name)).hint(&self.hint)
    }
}

fn fetch_part(remote: &Remote, index: &Index, part: &Part) -> Result<Fetched> {
    let key = format!("{}/{}", offsite::folder(&index.service, &index.id), part.name);
    let bytes = remote.get(&key, MAX_PART)?;
    let fetched = Fetched {
        bytes: bytes.clone().unwrap_or_default(),
        name: format!("{key} at {}", remote.shown),
        hint: format!("choose another backup: dokku pgbackup:list {} --remote", index.service),
    };
    if bytes.is_none() {
        return Err(fetched.wrong("is gone").into());
    }
    if fetched.bytes.len() as u64 != part.size || sha256_hex(&fetched.bytes) != part.sha256 {
        return Err(fetched.wrong("is not what was sent: its content changed").into());
    }
    Ok(fetched)
}

/// The parts as one stream, decrypted while they are read: a second copy of each would only take memory.
struct Joined<'a, 'b> {
    host: &'a Host<'b>,
    queue: Receiver<Result<Fetched>>,
    /// For parts that are encrypted.
    identities: Option<&'a Identities>,
    current: Option<(Fetched, Box<dyn Read + 'a>)>,
    /// Bytes of the parts begun, as they are stored.
    done: u64,
    total: u64,
    failure: Option<anyhow::Error>,
}

impl Joined<'_, '_> {
    /// Begins the next part; false when there is none.
    fn begin_next(&mut self) -> Result<bool> {
        self.host.check()?;
        let Ok(next) = self.queue.recv() else { return Ok(false) };
        let part = next?;
        self.done += part.bytes.len() as u64;
        self.host.progress.bytes(self.done.min(self.total), Some(self.total));
        let stored = Cursor::new(part.bytes.clone());
        let plain: Box<dyn Read> = match self.identities {
            None => Box::new(stored),
            Some(identities) => Box::new(identities.decrypt(stored)?),
        };
        self.current = Some((part, plain));
        Ok(true)
    }

    fn read_on(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            if let Some((part, plain)) = &mut self.current {
                let count = plain
                    .read(buffer)
                    .map_err(|error| part.wrong(&format!("cannot be decrypted: {error}")))?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
                self.current = None;
            }
            if !self.begin_next()? {
                return Ok(0);
            }
        }
    }
}

impl Read for Joined<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_on(buffer).map_err(|error| {
            self.failure = Some(error);
            io::Error::other("a part could not be had")
        })
    }
}
