//! Dumping a database into a folder while digesting what is already complete. Used by `create` and by drills.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::digest::{Depth, Digester, FileDigest, Treatment};
use crate::docker::{self, JobContainer, WaitingJob};
use crate::error;
use crate::files;
use crate::host::Host;
use crate::layout;
use crate::lock_wait::LockWatch;
use crate::manifest::read_toc;
use crate::postgres;
use crate::room::RoomWatch;
use crate::server::{Server, Sidecar, session_name, told};
use crate::settings::Room;
use crate::toc::Toc;
use crate::watch::{FolderWatch, Noticed};

/// Where the sidecar sees the folder.
const INSIDE: &str = "/backup/dump";

/// Bytes of a file that is still written, from which on it is read meanwhile. A smaller one is read at once when it is
/// complete; to wait for its end would only keep others.
const WORTH_FOLLOWING: u64 = 1024 * 1024;

/// What to dump, and where to, as far as it is known before the server is asked.
#[derive(Debug, Clone, Copy)]
pub struct DumpJob<'a> {
    pub database: &'a str,
    /// Of the backup or drill, for names and labels.
    pub id: &'a str,
    /// Gets a folder `dump/`.
    pub folder: &'a Path,
    pub jobs: usize,
    /// How many processors `pg_dump` may keep busy; `None` for as many as it can.
    pub processors: Option<f64>,
    /// Remove each file once it is digested.
    pub throw_away: bool,
    pub extent: Extent<'a>,
    /// How long to wait for what somebody else has locked; `None` where nobody else is.
    pub lock_timeout: Option<Duration>,
}

/// How to dump, which depends on the server.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    pub compression: &'a str,
    pub lc_monetary: &'a str,
    /// Bytes it will be, as far as can be guessed, for the progress.
    pub expected: Option<u64>,
    /// What must stay free on the disk.
    pub min_free: Room,
}

impl<'a> Manner<'a> {
    /// For a dump that goes on until the disk is full.
    pub fn unbounded(compression: &'a str, lc_monetary: &'a str) -> Self {
        Manner { compression, lc_monetary, expected: None, min_free: Room::Bytes(0) }
    }
}

/// How much of a database to dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent<'a> {
    Whole,
    /// One schema of it.
    Schema(&'a str),
    /// No rows.
    Definitions,
}

/// A dump that `pg_dump` ended well, with the digests of all its files.
#[derive(Debug)]
pub struct Dumped {
    pub toc: Toc,
    pub digests: Vec<FileDigest>,
}

/// Runs `pg_dump` in a sidecar of `server` to its end.
pub fn dump(host: &Host<'_>, server: &Server<'_>, job: &DumpJob<'_>, manner: &Manner<'_>) -> Result<Dumped> {
    finish(host, server, job, manner, start(host, server, job)?)
}

/// The same from where [`start`] has got to.
pub fn finish(
    host: &Host<'_>,
    server: &Server<'_>,
    job: &DumpJob<'_>,
    manner: &Manner<'_>,
    waiting: WaitingJob,
) -> Result<Dumped> {
    let ended = attempt(host, server, job, manner, waiting);
    let Err(error) = &ended else { return ended };
    let once_more = |why: &str, job: DumpJob<'_>| {
        host.check()?;
        host.progress.note(why);
        files::remove_tree(&job.folder.join(layout::DUMP))?;
        dump(host, server, &job, manner)
    };
    if let Some(why) = only_in_parallel(error).filter(|_| job.jobs > 1) {
        once_more(&format!("{why}; once more with one job"), DumpJob { jobs: 1, ..*job })
    } else if job.processors.is_some() && docker::cannot_limit_processors(error) {
        let why = "docker cannot limit the processors on this machine; pg_dump gets what it likes";
        once_more(why, DumpJob { processors: None, ..*job })
    } else {
        ended
    }
}

/// What a single job may get that several do not. Each of them locks its table anew: it does not wait behind somebody who
/// waits for the first lock's end, and thousands of tables are twice as many locks.
fn only_in_parallel(error: &anyhow::Error) -> Option<&'static str> {
    let failure = error::failure_in(error)?;
    if failure.message.contains(postgres::LOCKED_OUT) {
        return Some("somebody changes a table that is being dumped");
    }
    let is_full = |line: &String| line.contains(postgres::LOCK_TABLE_SIZE);
    let why = "the server has no room for the locks of several jobs (max_locks_per_transaction)";
    failure.details.iter().any(is_full).then_some(why)
}

/// Makes the folder and starts the sidecar, which takes docker longer than a small dump; `pg_dump` waits to be told how.
pub fn start(host: &Host<'_>, server: &Server<'_>, job: &DumpJob<'_>) -> Result<WaitingJob> {
    files::create_private_folder(&job.folder.join(layout::DUMP))?;
    let sidecar = Sidecar {
        purpose: "dump",
        backup: job.id,
        read_only: false,
        options: String::new(),
        command: command(job),
    };
    let container = server.waiting_sidecar(sidecar, &host.dokku.environment().host_path(job.folder));
    host.docker.start_waiting_job(&JobContainer { processors: job.processors, ..container })
}

fn attempt(
    host: &Host<'_>,
    server: &Server<'_>,
    job: &DumpJob<'_>,
    manner: &Manner<'_>,
    waiting: WaitingJob,
) -> Result<Dumped> {
    let target = job.folder.join(layout::DUMP);
    let mut watch = FolderWatch::start(&target)?;
    let treatment = Treatment {
        depth: Depth::Content,
        threads: job.jobs,
        make_private: true,
        throw_away: job.throw_away,
    };
    let mut digester = Digester::start(job.folder, treatment);
    let options = server.session_options(manner.lc_monetary, &[]);
    let running = waiting.tell(told(&options, &postgres::compression_argument(manner.compression)));
    let mut growing = BTreeSet::new();
    let session = session_name(job.id, "dump");
    let mut locks = job.lock_timeout.map(|limit| LockWatch::start(server, job.database, session, limit));
    // The servers' data is often on the same disk.
    let backups = job.folder.parent().unwrap_or(job.folder);
    let mut room =
        RoomWatch::new(backups, manner.min_free, "the dump was stopped and removed; make room first");
    let output = running.wait(|| {
        hand_in(&mut watch, &mut growing, &mut digester, &target)?;
        host.progress.bytes(digester.done_bytes(), manner.expected);
        if let Some(locks) = &mut locks {
            locks.look(digester.done_bytes(), host.progress)?;
        }
        room.look()
    })?;
    server.checked("pg_dump", output)?;
    for (name, _) in files::plain_files(&target)? {
        digester.complete(&in_dump(&name));
    }
    let digests = digester.finish(|done| {
        host.progress.bytes(done, manner.expected);
        host.check()
    })?;
    if !job.throw_away {
        check_sizes(job.folder, &digests)?;
    }
    Ok(Dumped { toc: read_toc(job.folder).context("pg_dump ended well, but")?, digests })
}

/// Gives the files that have become complete to the digester, and those that have become large. `growing` are the others
/// that are still written.
fn hand_in(
    watch: &mut FolderWatch,
    growing: &mut BTreeSet<String>,
    digester: &mut Digester,
    folder: &Path,
) -> Result<()> {
    for noticed in watch.noticed()? {
        match noticed {
            Noticed::Begun(name) => {
                growing.insert(name);
            }
            Noticed::Complete(name) => {
                growing.remove(&name);
                digester.complete(&in_dump(&name));
            }
        }
    }
    growing.retain(|name| {
        let size = folder.join(name).metadata().map_or(0, |metadata| metadata.len());
        if size >= WORTH_FOLLOWING {
            digester.follow(&in_dump(name));
        }
        size < WORTH_FOLLOWING
    });
    Ok(())
}

/// A file of the dump, relative to the backup's folder.
fn in_dump(name: &str) -> String {
    format!("{}/{name}", layout::DUMP)
}

fn command(job: &DumpJob<'_>) -> Vec<String> {
    let lock_timeout = job.lock_timeout.unwrap_or_default();
    let mut command = postgres::dump_command(job.database, job.jobs, lock_timeout, INSIDE);
    match job.extent {
        Extent::Whole => {}
        Extent::Schema(schema) => command.push(format!("--schema={}", postgres::identifier(schema))),
        Extent::Definitions => command.push("--schema-only".to_owned()),
    }
    command
}

/// A file that grew after it was digested would make a backup that never verifies.
fn check_sizes(folder: &Path, digests: &[FileDigest]) -> Result<()> {
    let mut on_disk = files::plain_files(&folder.join(layout::DUMP))?;
    for (name, _) in &mut on_disk {
        *name = in_dump(name);
    }
    let digested: Vec<(String, u64)> =
        digests.iter().map(|digest| (digest.name.clone(), digest.size)).collect();
    if on_disk != digested {
        bail!(
            "the dump's files changed while they were read; is somebody else writing to {}?",
            folder.display()
        );
    }
    Ok(())
}
