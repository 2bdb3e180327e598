//! A running Postgres server in a container, and the sidecar containers that work on it.

use std::path::Path;
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use serde::de::DeserializeOwned;

use crate::docker::{ContainerInfo, Docker, JobContainer};
use crate::dokku::Service;
use crate::error::Failure;
use crate::host::Host;
use crate::pace::Pace;
use crate::pg_version::PgVersion;
use crate::postgres::{self, ServerFacts};
use crate::process::Output;

/// How long a server that is being restarted is waited for, by those who clean up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds until a connection attempt is given up.
const CONNECT_TIMEOUT: &str = "20";
/// What our sessions are called in `pg_stat_activity`.
const APPLICATION: &str = "pgbackup";
/// Below this, parallel index builds run out of `/dev/shm`.
const ENOUGH_SHM: u64 = 256 * 1024 * 1024;

/// A server that answers questions: a service's, or the throwaway one of a drill.
#[derive(Debug)]
pub struct Server<'a> {
    docker: &'a Docker,
    pub container: ContainerInfo,
    pub container_name: String,
    /// For labels and messages.
    service: String,
    password: String,
    /// Of its sidecars.
    gentle: bool,
    /// Once it was asked for facts.
    version: OnceLock<PgVersion>,
}

impl<'a> Server<'a> {
    /// The server of `service`, which must be running.
    pub fn of(host: &Host<'a>, service: &Service) -> Result<Self> {
        let name = service.container();
        let stopped = |state: &str| {
            Failure::refused(format!("service {} is {state}", service.name))
                .hint(format!("start it with: dokku postgres:start {}", service.name))
        };
        let container =
            host.docker.container(&name)?.ok_or_else(|| stopped("not running (it has no container)"))?;
        if container.paused {
            return Err(stopped("paused").into());
        }
        if !container.running {
            return Err(stopped("not running").into());
        }
        let password = service.password()?;
        Ok(Server {
            docker: host.docker,
            container,
            container_name: name,
            service: service.name.to_string(),
            password,
            gentle: false,
            version: OnceLock::new(),
        })
    }

    /// A server of our own, that lets everybody in.
    pub fn throwaway(
        docker: &'a Docker,
        container: ContainerInfo,
        container_name: &str,
        service: &Service,
    ) -> Self {
        let container_name = container_name.to_owned();
        Server {
            docker,
            container,
            container_name,
            service: service.name.to_string(),
            password: String::new(),
            gentle: false,
            version: OnceLock::new(),
        }
    }

    /// The same, with sidecars that work at that pace.
    #[must_use]
    pub fn with_sidecars(self, pace: Pace) -> Self {
        Server { gentle: pace.gentle, ..self }
    }

    /// What the connection libraries of the tools are told by their environment. `PGSSLMODE=allow`: plain first (TLS
    /// inside one network namespace only costs time), TLS where the server insists.
    fn env(&self, options: &str, application: &str) -> Vec<(&'static str, String)> {
        let path = postgres::tools_first(&self.container.search_path).map(|path| ("PATH", path));
        let variables = [
            ("PGPASSWORD", self.password.clone()),
            ("PGSSLMODE", "allow".to_owned()),
            ("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT.to_owned()),
            ("PGAPPNAME", application.to_owned()),
            ("PGTZ", "UTC".to_owned()),
            ("PGOPTIONS", options.to_owned()),
            ("PGCLIENTENCODING", "UTF8".to_owned()),
        ];
        variables.into_iter().chain(path).collect()
    }

    /// Runs a tool of Postgres inside the server's own container.
    fn exec(&self, command: &[String], input: &str, always: bool) -> Result<Output> {
        let env = self.env(&self.session_options("", &[]), APPLICATION);
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if always {
            self.docker.exec_always(&self.container_name, &env, command, input.as_bytes())
        } else {
            self.docker.exec(&self.container_name, &env, command, input.as_bytes())
        }
    }

    /// Runs a script in `database`; the output is psql's, bare.
    pub fn execute(&self, database: &str, script: &str) -> Result<Vec<u8>> {
        self.checked("psql", self.exec(&postgres::psql_command(database), script, false)?)
    }

    /// The same for cleaning up: not stopped by an interrupt.
    pub fn execute_always(&self, database: &str, script: &str) -> Result<Vec<u8>> {
        self.checked("psql", self.exec(&postgres::psql_command(database), script, true)?)
    }

    /// Asks a question in a thread of its own, for those who cannot wait for the answer.
    pub fn ask_aside(&self, database: &str, question: String) -> JoinHandle<Result<Output>> {
        let (docker, container) = (self.docker.clone(), self.container_name.clone());
        let (env, command) =
            (self.env(&self.session_options("", &[]), APPLICATION), postgres::psql_command(database));
        std::thread::spawn(move || {
            let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
            docker.exec(&container, &env, &command, question.as_bytes())
        })
    }

    /// The name of its service, for messages.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Tries again for a while what only a server that is being restarted can make fail: for cleaning up.
    pub fn patiently<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            let result = attempt();
            if result.is_ok() || started.elapsed() > PATIENCE {
                return result;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Asks a question whose answer is one JSON value.
    pub fn query<T: DeserializeOwned>(&self, database: &str, question: &str) -> Result<T> {
        postgres::parse_answer(&self.execute(database, question)?)
    }

    pub fn facts(&self, database: &str) -> Result<ServerFacts> {
        let facts: ServerFacts = self.query(database, postgres::SERVER_FACTS)?;
        let _ = self.version.set(facts.version_num);
        Ok(facts)
    }

    /// The same of a service's database; one that was dropped comes with a hint.
    pub fn facts_of(&self, service: &Service) -> Result<ServerFacts> {
        self.facts(&service.database).map_err(|error| Self::with_way_back(error, service))
    }

    /// What a question to a service's database came to, with a hint when somebody dropped the database.
    pub fn with_way_back(error: Error, service: &Service) -> Error {
        match error.downcast::<Failure>() {
            Ok(failure) if failure.message.contains("does not exist") => {
                failure.hint(format!("bring it back with: dokku pgbackup:restore {}", service.name)).into()
            }
            Ok(failure) => failure.into(),
            Err(error) => error,
        }
    }

    /// All roles as SQL.
    pub fn dump_roles(&self) -> Result<Vec<u8>> {
        self.checked("pg_dumpall", self.exec(&postgres::roles_command(), "", false)?)
    }

    /// `output`'s stdout, or the plain sentence for what `tool` says went wrong.
    pub fn checked(&self, tool: &str, output: Output) -> Result<Vec<u8>> {
        if output.success() {
            return Ok(output.stdout);
        }
        if crate::docker::docker_itself_failed(&output) {
            return Err(crate::docker::start_failure(&output, &self.container.image_name));
        }
        let why = postgres::explain(&output.stderr).unwrap_or_else(|| output.ending());
        Err(Failure::tool(format!("{tool} failed on {}: {why}", self.service))
            .details(output.last_words(8))
            .blames_data(postgres::is_about_the_data(&output.stderr))
            .into())
    }

    /// A container of the server's own image beside it: `command` with `folder` mounted at `/backup`.
    pub fn sidecar(&self, job: Sidecar<'_>, host_folder: &Path) -> JobContainer {
        let command = if job.read_only { job.command } else { writing_for_us_alone(job.command) };
        self.beside(Sidecar { command, ..job }, host_folder)
    }

    /// The same for one that is started before all is known: the options of its sessions and its command's last word come
    /// with [`told`].
    pub fn waiting_sidecar(&self, job: Sidecar<'_>, host_folder: &Path) -> JobContainer {
        let command = waiting_to_be_told(job.command);
        self.beside(Sidecar { command, ..job }, host_folder)
    }

    fn beside(&self, job: Sidecar<'_>, host_folder: &Path) -> JobContainer {
        JobContainer {
            name: format!("pgbackup.{}.{}.{}", self.service, job.backup, job.purpose),
            service: self.service.clone(),
            backup: job.backup.to_owned(),
            image: self.container.image_id.clone(),
            network: format!("container:{}", self.container_name),
            user: own_identity(),
            mounts: vec![(host_folder.to_owned(), "/backup", job.read_only)],
            env: self.env(&job.options, &session_name(job.backup, job.purpose)),
            shm_size: None,
            writable: false,
            gentle: self.gentle,
            processors: None,
            command: job.command,
        }
    }

    /// What every session is told, whatever the database or the role is set to.
    pub fn session_options(&self, lc_monetary: &str, more: &[(&str, &str)]) -> String {
        postgres::session_options(self.version.get().copied(), lc_monetary, more)
    }

    /// Session options of a restore: within the container's shared memory, and without a word to the event triggers that
    /// it has made itself. They sleep in a replica's session; since 17 there is a setting for that.
    pub fn restore_options(&self) -> Vec<(&'static str, &'static str)> {
        let mut options = Vec::new();
        if self.container.shm_size < ENOUGH_SHM {
            options.extend([
                ("max_parallel_maintenance_workers", "0"),
                ("max_parallel_workers_per_gather", "0"),
            ]);
        }
        if self.version.get().is_some_and(|version| version.major() < 17) {
            options.push(("session_replication_role", "replica"));
        }
        options
    }
}

/// The same command, whose files are readable by nobody else from the moment on that they are there.
fn writing_for_us_alone(command: Vec<String>) -> Vec<String> {
    let shell = ["sh", "-c", "umask 077 && exec \"$@\"", "sh"].map(str::to_owned);
    shell.into_iter().chain(command).collect()
}

/// The same command, with what it reads first: the options of its sessions, and its last word.
fn waiting_to_be_told(command: Vec<String>) -> Vec<String> {
    let read = "umask 077 && IFS= read -r PGOPTIONS && IFS= read -r last && export PGOPTIONS && exec \"$@\" \"$last\"";
    ["sh", "-c", read, "sh"].map(str::to_owned).into_iter().chain(command).collect()
}

/// What a [`Server::waiting_sidecar`] waits for.
pub fn told(options: &str, last_word: &str) -> Vec<u8> {
    format!("{options}\n{last_word}\n").into_bytes()
}

/// The `application_name` of a sidecar's sessions. Postgres cuts names at 63 bytes.
pub fn session_name(backup: &str, purpose: &str) -> String {
    format!("{APPLICATION} {purpose} {backup}").chars().take(63).collect()
}

/// `uid:gid` of this process: a container of ours reads and writes backups as their owner.
pub fn own_identity() -> String {
    format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// What a sidecar is for.
#[derive(Debug, Clone)]
pub struct Sidecar<'a> {
    /// A word for its name: `dump`, `restore`.
    pub purpose: &'static str,
    pub backup: &'a str,
    pub read_only: bool,
    /// `PGOPTIONS`.
    pub options: String,
    pub command: Vec<String>,
}
