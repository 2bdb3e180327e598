//! Filling a database from a backup: its roles, `pg_restore` in a sidecar, a database that goes away unless it is kept.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::docker::WaitingJob;
use crate::error;
use crate::files;
use crate::host::Host;
use crate::layout;
use crate::pg_version::PgVersion;
use crate::postgres::{self, MAINTENANCE_DATABASE, ServerFacts, literal};
use crate::roles;
use crate::room::{RoomWatch, SERVER_NEEDS};
use crate::server::{Server, Sidecar, told};
use crate::settings::Room;
use crate::toc::{Entry, Toc};

/// Makes the roles that the backup knows and the server does not.
pub fn create_roles(server: &Server<'_>, backup: &Path, facts: &ServerFacts) -> Result<Vec<String>> {
    let script = files::read_bounded(&backup.join(layout::ROLES), MAX_ROLES)?;
    let plan = roles::plan(&String::from_utf8_lossy(&script), &facts.roles);
    if !plan.statements.is_empty() {
        let script = format!("begin;\n{};\ncommit;\n", plan.statements.join(";\n"));
        server.execute(MAINTENANCE_DATABASE, &script)?;
    }
    Ok(plan.missing)
}

/// More than any server's roles.
pub(super) const MAX_ROLES: u64 = 64 * 1024 * 1024;

/// How many jobs a restore of `toc` can have. Rights that others than the owner gave are given in their name, for which
/// they need their own rights on the schema; several jobs of `pg_restore` know no order between the two.
pub fn possible_jobs(toc: &Toc, jobs: usize) -> usize {
    let by_others =
        |entry: &Entry| entry.kind == "ACL" && entry.definition.contains("SET SESSION AUTHORIZATION");
    if toc.entries.iter().any(by_others) { 1 } else { jobs }
}

/// How often a long restore's size is asked for.
const SIZE_EVERY: Duration = Duration::from_secs(5);

/// One `pg_restore`.
#[derive(Debug, Clone)]
pub struct RestoreJob<'a> {
    /// Of the backup or drill, for names and labels.
    pub id: &'a str,
    /// Seen read-only at `/backup`.
    pub folder: &'a Path,
    pub lc_monetary: &'a str,
    /// Its last word is the folder to restore.
    pub command: Vec<String>,
    /// Into a database that is used already: what is done must be on the disk.
    pub into_live: bool,
    /// The database to watch growing, and the bytes it is going to have.
    pub growing: Option<(&'a str, u64)>,
    /// The disk that the server writes to, where it can be seen.
    pub disk: Option<PathBuf>,
}

/// Runs one `pg_restore` in a sidecar to its end.
pub fn run_pg_restore(host: &Host<'_>, server: &Server<'_>, job: &RestoreJob<'_>) -> Result<()> {
    let waiting = start_pg_restore(host, server, job)?;
    finish_pg_restore(host, server, job, waiting)
}

/// Starts the sidecar, which takes docker a while. What it restores into need not be there yet.
pub fn start_pg_restore(host: &Host<'_>, server: &Server<'_>, job: &RestoreJob<'_>) -> Result<WaitingJob> {
    let sidecar = Sidecar {
        purpose: "restore",
        backup: job.id,
        read_only: true,
        options: String::new(),
        command: job.command.split_last().map_or_else(Vec::new, |(_, words)| words.to_vec()),
    };
    let container = server.waiting_sidecar(sidecar, &host.dokku.environment().host_path(job.folder));
    host.docker.start_waiting_job(&container)
}

/// Lets it begin, and waits for its end.
pub fn finish_pg_restore(
    host: &Host<'_>,
    server: &Server<'_>,
    job: &RestoreJob<'_>,
    waiting: WaitingJob,
) -> Result<()> {
    let mut more = server.restore_options();
    if !job.into_live {
        // A new database is on the disk at the latest when the swap is, whose record comes behind all others in the log.
        more.push(("synchronous_commit", "off"));
    }
    let options = server.session_options(job.lc_monetary, &more);
    let running = waiting.tell(told(&options, job.command.last().map_or("", String::as_str)));
    let mut asked = Instant::now();
    let hint = "what was restored so far is removed, now or by the next run; make room on that disk first";
    let mut room = job.disk.as_deref().map(|disk| RoomWatch::new(disk, Room::Bytes(SERVER_NEEDS), hint));
    let output = running.wait(|| {
        if let Some((database, total)) = job.growing.filter(|_| asked.elapsed() > SIZE_EVERY) {
            let question = format!("select to_json(pg_database_size({}));\n", literal(database));
            // A drill's database is made by pg_restore itself and may not be there yet.
            if let Ok(size) = server.query::<u64>(MAINTENANCE_DATABASE, &question) {
                host.progress.bytes(size, Some(total));
            }
            asked = Instant::now();
        }
        room.as_mut().map_or(Ok(()), RoomWatch::look)
    })?;
    host.progress.done();
    server.checked("pg_restore", output)?;
    Ok(())
}

/// Runs `attempt` with `jobs` jobs, and once more with a single one when they have locked each other out: `pg_restore`
/// attaches the indexes of partitions while other jobs still read the partitioned table. `attempt` begins from nothing.
pub fn without_deadlock<T>(host: &Host<'_>, jobs: usize, attempt: impl Fn(usize) -> Result<T>) -> Result<T> {
    match attempt(jobs) {
        Err(error) if jobs > 1 && is_deadlock(&error) => {
            host.check()?;
            host.progress
                .note("pg_restore's parallel jobs have locked each other out; once more with one job");
            attempt(1)
        }
        ended => ended,
    }
}

fn is_deadlock(error: &anyhow::Error) -> bool {
    error::failure_in(error).is_some_and(|failure| failure.message.contains(postgres::DEADLOCK))
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
        let made = NewDatabase { server, name: name.to_owned(), version };
        // Not stopped half-way: the server would go on making what nobody drops then.
        server.execute_always(MAINTENANCE_DATABASE, statement)?;
        Ok(made)
    }

    pub fn keep(mut self) {
        self.name.clear();
    }
}

impl Drop for NewDatabase<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // What cannot be dropped now is named and dropped by the next run.
            let script = postgres::drop_database(self.version, &self.name);
            let _ = Server::patiently(|| self.server.execute_always(MAINTENANCE_DATABASE, &script));
        }
    }
}
