//! A throwaway server: of a service's image, in a container without network, gone when it is dropped.
//!
//! What is loaded into it may be hostile, also as SQL of a superuser. It can reach neither the network nor a file of the
//! host, and has no capabilities; whatever it breaks is removed with the container.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::docker::{ContainerGuard, JobContainer};
use crate::dokku::Service;
use crate::error::Failure;
use crate::host::Host;
use crate::pace::Pace;
use crate::postgres::{self, MAINTENANCE_DATABASE, ServerFacts};
use crate::scratch::Scratch;
use crate::server::Server;

/// `/dev/shm` of the throwaway server: docker's 64 MiB break parallel index builds.
const SHM_SIZE: u64 = 1 << 30;
/// initdb is never faster; to ask before it is done only costs processes.
const INITDB_AT_LEAST: Duration = Duration::from_millis(300);
/// initdb and the start of a server take a second or two; a loaded machine gets this long.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Makes a server in the container's own layer. The arguments are settings, given by us.
const SERVER_SCRIPT: &str = "\
set -e
initdb --pgdata=/tmp/pgbackup-server --username=postgres --auth=trust --no-sync >/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log; exit 1; }
exec postgres -D /tmp/pgbackup-server \"$@\"
";

/// What the server is to be like.
#[derive(Debug, Clone)]
pub struct Likeness<'a> {
    /// A word for the container's name: `drill`, `import`.
    pub purpose: &'static str,
    pub image: String,
    pub shared_preload_libraries: &'a str,
    pub pace: Pace,
    /// How many objects it is going to have.
    pub objects: usize,
}

/// One that answers. The scratch folder, whose lock says that its container is in use, must outlive it.
#[derive(Debug)]
pub struct Throwaway<'a> {
    pub server: Server<'a>,
    /// Before anything was loaded.
    pub facts: ServerFacts,
    _container: ContainerGuard,
}

impl<'a> Throwaway<'a> {
    pub fn start(
        host: &Host<'a>,
        service: &Service,
        scratch: &Scratch,
        likeness: Likeness<'_>,
    ) -> Result<Self> {
        let settings = settings(&likeness);
        let mut command =
            vec!["sh".to_owned(), "-c".to_owned(), SERVER_SCRIPT.to_owned(), "server".to_owned()];
        command.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), setting.clone()]));
        let container = host.docker.start_detached(&JobContainer {
            name: format!("pgbackup.{}.{}.{}", service.name, scratch.name, likeness.purpose),
            service: service.name.to_string(),
            backup: scratch.name.clone(),
            image: likeness.image,
            network: "none".to_owned(),
            user: postgres::SUPERUSER.to_owned(),
            mounts: Vec::new(),
            env: Vec::new(),
            shm_size: Some(SHM_SIZE),
            writable: true,
            gentle: likeness.pace.gentle,
            processors: None,
            command,
        })?;
        let info = host.docker.container(container.name())?.context("the throwaway server is gone")?;
        let server =
            Server::throwaway(host.docker, info, container.name(), service).with_sidecars(likeness.pace);
        let facts = await_facts(host, &server)?;
        Ok(Throwaway { server, facts, _container: container })
    }
}

/// A server that need not survive a crash and restores as fast as it can.
fn settings(likeness: &Likeness<'_>) -> Vec<String> {
    let mut settings: Vec<String> = [
        "listen_addresses=localhost",
        "unix_socket_directories=/tmp",
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
        "wal_level=minimal",
        "max_wal_senders=0",
        "autovacuum=off",
        "max_wal_size=8GB",
        "checkpoint_timeout=1h",
        "maintenance_work_mem=128MB",
        "jit=off",
    ]
    .map(str::to_owned)
    .to_vec();
    let connections = 2 * likeness.pace.jobs + 20;
    settings.push(format!("max_connections={connections}"));
    // pg_dump locks every table at once; there is room for this number times the connections.
    settings.push(format!("max_locks_per_transaction={}", 64 + 2 * likeness.objects / connections));
    if !likeness.shared_preload_libraries.is_empty() {
        settings.push(format!("shared_preload_libraries={}", likeness.shared_preload_libraries));
    }
    settings
}

/// Waits until the server answers. Asks it something useful rather than whether it is ready.
fn await_facts(host: &Host<'_>, server: &Server<'_>) -> Result<ServerFacts> {
    let started = Instant::now();
    // Every question costs a process in the container, and initdb takes its time.
    std::thread::sleep(INITDB_AT_LEAST);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        host.check()?;
        match server.facts(MAINTENANCE_DATABASE) {
            Ok(facts) => return Ok(facts),
            Err(error) if started.elapsed() > START_LIMIT => return Err(error),
            Err(_) => {}
        }
        let running = host.docker.container(&server.container_name)?.is_some_and(|info| info.running);
        if !running {
            let words = host.docker.logs(&server.container_name, 8).unwrap_or_default();
            return Err(Failure::tool("the throwaway server did not start")
                .details(words)
                .hint("its own words are above; is there room and memory? see: df -h, free -h")
                .into());
        }
    }
}
