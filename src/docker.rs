//! The docker command line: the only caller of docker. What runs in the containers is postgres.rs's business.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::plain_text::shell_word;
use crate::process::{Listener, Output, Running, Tool};

/// Marks every container of ours; the value is the service's name.
const SERVICE_LABEL: &str = "com.dokku.pgbackup.service";
/// The backup (or drill) a container works for.
const BACKUP_LABEL: &str = "com.dokku.pgbackup.backup";

/// What a container says is kept as long as the container, but not without bound.
const KEEPING_LOGS: [&str; 4] = ["--log-driver", "json-file", "--log-opt", "max-size=1m"];

/// A sixteenth of what every other container has, and the least there is of the disk (`docker run` manual).
const LOW_WEIGHTS: [&str; 4] = ["--cpu-shares", "64", "--blkio-weight", "10"];

/// How to reach docker, and whom to tell about each call.
#[derive(Debug, Clone)]
pub struct Docker {
    program: PathBuf,
    interrupt: Interrupt,
    trace: Option<fn(&str)>,
}

/// What `docker container inspect` says of a container.
#[derive(Debug, Clone)]
pub struct ContainerInfo {
    pub id: String,
    pub running: bool,
    pub paused: bool,
    pub image_id: String,
    /// `postgres:17.6`, as it was given when the container was made.
    pub image_name: String,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
}

/// A container that does one job and goes away.
#[derive(Debug, Clone)]
pub struct JobContainer {
    pub name: String,
    pub service: String,
    pub backup: String,
    pub image: String,
    /// `container:<name>` to share a service's network, or `none`.
    pub network: String,
    /// `uid:gid` or a user of the image.
    pub user: String,
    /// (path as the daemon knows it, path inside, read-only)
    pub mounts: Vec<(PathBuf, &'static str, bool)>,
    pub env: Vec<(&'static str, String)>,
    /// Bytes; `None` for docker's default of 64 MiB.
    pub shm_size: Option<u64>,
    pub writable: bool,
    /// Gives way to other containers.
    pub gentle: bool,
    /// How many processors it may keep busy; `None` for all.
    pub processors: Option<f64>,
    /// The program inside, then its arguments.
    pub command: Vec<String>,
}

/// A container of ours that was found lying about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub name: String,
    pub backup: String,
}

impl Docker {
    pub fn new(program: PathBuf, interrupt: Interrupt, trace: Option<fn(&str)>) -> Self {
        Docker { program, interrupt, trace }
    }

    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    fn tool(&self) -> Tool {
        Tool::new(&self.program)
    }

    fn traced(&self, tool: Tool) -> Tool {
        if let Some(trace) = self.trace {
            trace(&tool.line());
        }
        tool
    }

    fn run(&self, tool: Tool) -> Result<Output> {
        self.traced(tool).run(&self.interrupt)
    }

    /// `None` when there is no such container.
    pub fn container(&self, name: &str) -> Result<Option<ContainerInfo>> {
        let output = self.run(self.tool().args(["container", "inspect", "--", name]))?;
        if !output.success() {
            if output.stderr.contains("No such container") {
                return Ok(None);
            }
            return Err(daemon_failure(&output));
        }
        let parsed: Value = serde_json::from_slice(&output.stdout).context("docker inspect's answer")?;
        let info = &parsed[0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Some(ContainerInfo {
            id: text(&info["Id"]),
            running: info["State"]["Running"].as_bool().unwrap_or(false),
            paused: info["State"]["Paused"].as_bool().unwrap_or(false),
            image_id: text(&info["Image"]),
            image_name: text(&info["Config"]["Image"]),
            shm_size: info["HostConfig"]["ShmSize"].as_u64().unwrap_or(0),
        }))
    }

    /// Where docker keeps containers' files, as its own host names it.
    pub fn root_folder(&self) -> Result<PathBuf> {
        let output = self.run(self.tool().args(["info", "--format", "{{.DockerRootDir}}"]))?;
        if !output.success() {
            return Err(daemon_failure(&output));
        }
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    }

    /// Whether an image is on this machine; never asks a registry.
    pub fn has_image(&self, image: &str) -> Result<bool> {
        Ok(self.run(self.tool().args(["image", "inspect", "--format", "{{.Id}}", "--", image]))?.success())
    }

    /// Runs a command in a running container. `env` reaches it by name, never by value on a command line.
    pub fn exec(
        &self,
        container: &str,
        env: &[(&str, &str)],
        command: &[String],
        input: &[u8],
    ) -> Result<Output> {
        self.run(self.exec_tool(container, env, command).input(input))
    }

    /// The same for cleaning up: not stopped by an interrupt.
    pub fn exec_always(
        &self,
        container: &str,
        env: &[(&str, &str)],
        command: &[String],
        input: &[u8],
    ) -> Result<Output> {
        self.traced(self.exec_tool(container, env, command).input(input)).run_always()
    }

    fn exec_tool(&self, container: &str, env: &[(&str, &str)], command: &[String]) -> Tool {
        let tool = self.tool().args(["exec", "--interactive"]);
        with_env(tool, env.iter().map(|(name, value)| (*name, *value))).arg(container).args(command)
    }

    /// Starts a container attached: its end is the command's end.
    pub fn start_job(&self, job: &JobContainer) -> Result<RunningJob> {
        self.start_heard_job(job, Box::new(|_| {}))
    }

    /// The same, with somebody who is told each line of its standard error.
    pub fn start_heard_job(&self, job: &JobContainer, listener: Listener) -> Result<RunningJob> {
        let tool = self.traced(self.run_tool(job, &[&["--rm"], &KEEPING_LOGS[..]].concat()));
        let guard = ContainerGuard { docker: self.clone(), name: job.name.clone() };
        Ok(RunningJob { running: tool.start_heard(listener)?, guard })
    }

    /// The same for a command whose output is the result, of whatever size: [`RunningJob::hand_on`] passes it on, and
    /// docker keeps none of it.
    pub fn start_printing_job(&self, job: &JobContainer) -> Result<RunningJob> {
        let tool = self.traced(self.run_tool(job, &["--rm", "--log-driver", "none"]));
        let guard = ContainerGuard { docker: self.clone(), name: job.name.clone() };
        Ok(RunningJob { running: tool.start_handing_on()?, guard })
    }

    /// Starts a container in the background; it is removed when the guard is dropped.
    pub fn start_detached(&self, job: &JobContainer) -> Result<ContainerGuard> {
        let guard = ContainerGuard { docker: self.clone(), name: job.name.clone() };
        let running =
            self.traced(self.run_tool(job, &[&["--detach"], &KEEPING_LOGS[..]].concat())).start()?;
        let output = guard.watch(running, || Ok(()))?;
        if output.success() { Ok(guard) } else { Err(start_failure(&output, &job.image)) }
    }

    fn run_tool(&self, job: &JobContainer, mode: &[&str]) -> Tool {
        let mut tool = self.tool().arg("run").args(mode).args(["--pull", "never"]);
        tool = tool.args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        tool = tool.args(["--name", &job.name, "--network", &job.network, "--user", &job.user]);
        for (label, value) in [(SERVICE_LABEL, &job.service), (BACKUP_LABEL, &job.backup)] {
            tool = tool.arg("--label").arg(format!("{label}={value}"));
        }
        if !job.writable {
            tool = tool.arg("--read-only");
        }
        if job.gentle {
            tool = tool.args(LOW_WEIGHTS);
        }
        if let Some(processors) = job.processors {
            tool = tool.arg("--cpus").arg(format!("{processors:.3}"));
        }
        for (host, inside, read_only) in &job.mounts {
            tool = tool.arg("--mount").arg(mount_argument(host, inside, *read_only));
        }
        if let Some(bytes) = job.shm_size {
            tool = tool.arg("--shm-size").arg(bytes.to_string());
        }
        tool = with_env(tool, job.env.iter().map(|(name, value)| (*name, value.as_str())));
        let (program, args) =
            job.command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        tool.args(["--entrypoint", program]).arg(&job.image).args(args)
    }

    /// The last lines a container wrote, both streams.
    pub fn logs(&self, container: &str, lines: u32) -> Result<Vec<String>> {
        let output = self.run(self.tool().args(["logs", "--tail", &lines.to_string(), container]))?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr);
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// All containers of ours that work for `service`, running or not.
    pub fn leftovers(&self, service: &str) -> Result<Vec<Leftover>> {
        let format = format!("{{{{.Names}}}}\t{{{{.Label \"{BACKUP_LABEL}\"}}}}");
        let filter = format!("label={SERVICE_LABEL}={service}");
        let output = self.run(self.tool().args(["ps", "--all", "--filter", &filter, "--format", &format]))?;
        if !output.success() {
            return Err(daemon_failure(&output));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let rows = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(rows.map(|(name, backup)| Leftover { name: name.to_owned(), backup: backup.to_owned() }).collect())
    }

    /// Lets the dumps of a service that is going on have as many processors as they can use.
    pub fn hurry(&self, service: &str, processors: usize) -> Result<()> {
        let is_dump = |found: &&Leftover| found.name.rsplit('.').next() == Some("dump");
        for dump in self.leftovers(service)?.iter().filter(is_dump) {
            let update = ["update", "--cpus", &processors.to_string(), "--", &dump.name];
            let output = self.run(self.tool().args(update))?;
            if !output.success() {
                return Err(daemon_failure(&output));
            }
        }
        Ok(())
    }

    /// Stops and removes a container with its volumes, whatever it does; none of that name is fine.
    pub fn remove(&self, name: &str) -> Result<()> {
        let output =
            self.traced(self.tool().args(["rm", "--force", "--volumes", "--", name])).run_always()?;
        if output.success() || output.stderr.contains("No such container") {
            return Ok(());
        }
        Err(daemon_failure(&output))
    }
}

/// Whether a container was not started because the kernel has no quota of processors (docker's words).
pub fn cannot_limit_processors(error: &anyhow::Error) -> bool {
    format!("{error:?}").contains("NanoCPUs can not be set")
}

fn with_env<'a>(mut tool: Tool, env: impl Iterator<Item = (&'a str, &'a str)>) -> Tool {
    for (name, value) in env {
        tool = tool.args(["--env", name]).secret_env(name, value);
    }
    tool
}

/// A folder that is not there must be an error: `--volume` would make it, as root. The argument is read as a line of CSV.
fn mount_argument(host: &Path, inside: &str, read_only: bool) -> String {
    let mode = if read_only { ",readonly" } else { "" };
    let source = host.display().to_string().replace('"', "\"\"");
    format!("type=bind,\"source={source}\",target={inside}{mode}")
}

/// docker's own failure, as opposed to that of what it runs.
fn daemon_failure(output: &Output) -> anyhow::Error {
    let words = output.last_words(3).join(" ");
    let failure = Failure::tool(format!("docker failed: {words}"));
    let hint = if words.contains("permission denied") {
        "add dokku's user to the group docker: usermod -aG docker dokku"
    } else {
        "see whether docker works: docker ps"
    };
    failure.hint(hint).into()
}

/// Why a container did not start.
pub fn start_failure(output: &Output, image: &str) -> anyhow::Error {
    if output.stderr.contains("No such image") {
        return Failure::refused(format!("the image {image} is not on this server any more"))
            .hint(format!("fetch it with: docker pull {}", shell_word(image)))
            .into();
    }
    daemon_failure(output)
}

/// Whether `docker run` itself failed (125), rather than the program inside (`docker run` manual, "Exit status").
pub fn docker_itself_failed(output: &Output) -> bool {
    output.status.code() == Some(125)
}

/// Without what docker says of a kernel that knows no weights of disks: it is nothing that the tool said.
fn without_remarks(stderr: &str) -> String {
    let lines = stderr.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("WARNING: Your kernel does not support Block I/O weight")).collect()
}

/// An attached container that is running.
#[derive(Debug)]
pub struct RunningJob {
    running: Running,
    guard: ContainerGuard,
}

impl RunningJob {
    /// Waits for the command's end. When `tick` fails, the container is removed before this returns.
    pub fn wait(self, tick: impl FnMut() -> Result<()>) -> Result<Output> {
        let RunningJob { running, guard } = self;
        let mut output = guard.watch(running, tick)?;
        guard.disarm_after(&output);
        output.stderr = without_remarks(&output.stderr);
        Ok(output)
    }

    /// Hands on what a printing command prints and waits for its end. When `take` fails, which also gets empty pieces,
    /// the container is removed before this returns.
    pub fn hand_on(self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<Output> {
        let RunningJob { running, guard } = self;
        let mut watch = Watch::of(&guard);
        // Once nobody takes it any more, the rest is read all the same: docker would not end before.
        let ended = running.hand_on(|piece| watch.go_on(|| take(piece)));
        let output = watch.result(ended)?;
        guard.disarm_after(&output);
        Ok(output)
    }
}

/// How long docker may take to make a container that is not wanted any more.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Removes its container when dropped: on failure, on interrupt, on panic.
#[derive(Debug)]
pub struct ContainerGuard {
    docker: Docker,
    name: String,
}

impl ContainerGuard {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `--rm` has removed it; but docker may have died on the way.
    fn disarm_after(mut self, output: &Output) {
        if output.status.code().is_some_and(|code| code != 125) {
            self.name.clear();
        }
    }

    /// Waits for the end of the docker command that started the container. When `tick` fails or the run is interrupted,
    /// the container is removed.
    fn watch(&self, running: Running, mut tick: impl FnMut() -> Result<()>) -> Result<Output> {
        let mut watch = Watch::of(self);
        let ended = running.wait(|| watch.go_on(&mut tick));
        watch.result(ended)
    }
}

/// Somebody waits for the end of a docker command and may want to stop it.
///
/// docker's command is then left to come to its end: killed while it makes the container, it would leave one that was
/// not there yet to be removed.
struct Watch<'a> {
    guard: &'a ContainerGuard,
    /// Why it is stopped, and since when.
    stopping: Option<(anyhow::Error, Instant)>,
    /// docker removes no container whose output is not taken, so that must go on meanwhile.
    removing: Option<JoinHandle<()>>,
}

impl<'a> Watch<'a> {
    fn of(guard: &'a ContainerGuard) -> Self {
        Watch { guard, stopping: None, removing: None }
    }

    fn go_on(&mut self, tick: impl FnOnce() -> Result<()>) -> Result<()> {
        let docker = &self.guard.docker;
        if let Some((_, since)) = &self.stopping {
            if since.elapsed() > STOP_LIMIT {
                bail!("docker does not come to an end");
            }
        } else if let Err(error) = docker.interrupt.check().map_err(Into::into).and_then(|()| tick()) {
            self.stopping = Some((error, Instant::now()));
        }
        if self.stopping.is_some() && self.removing.as_ref().is_none_or(JoinHandle::is_finished) {
            let (docker, name) = (docker.clone(), self.guard.name.clone());
            self.removing = Some(std::thread::spawn(move || drop(docker.remove(&name))));
        }
        Ok(())
    }

    fn result(self, ended: Result<Output>) -> Result<Output> {
        if let (Ok(_), Some(removing)) = (&ended, self.removing) {
            let _ = removing.join();
        }
        match self.stopping {
            Some((error, _)) => Err(error),
            None => ended,
        }
    }
}

impl Drop for ContainerGuard {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // A container that cannot be removed now is a leftover that the next run names and removes.
            let _ = self.docker.remove(&self.name);
        }
    }
}
