//! The docker command line: the only caller of docker. What runs in the containers is postgres.rs's business.

mod job;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::plain_text::shell_word;
use crate::process::{Listener, Output, Tool};
pub use job::{ContainerGuard, RunningJob, WaitingJob};

/// Marks every container of ours; the value is the service's name.
const SERVICE_LABEL: &str = "com.dokku.pgbackup.service";
/// The backup (or drill) a container works for.
const BACKUP_LABEL: &str = "com.dokku.pgbackup.backup";

/// What a container says is kept as long as the container, but not without bound.
const KEEPING_LOGS: [&str; 4] = ["--log-driver", "json-file", "--log-opt", "max-size=1m"];

/// A sixteenth of what every other container has, and the least there is of the disk (`docker run` manual).
const LOW_WEIGHTS: [&str; 4] = ["--cpu-shares", "64", "--blkio-weight", "10"];

/// More than the daemon takes to remove a container on a machine that does a lot else.
const LONGEST_REMOVAL: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

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
    /// Its `PATH`; empty without one.
    pub search_path: String,
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
        let env = info["Config"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let search_path = env.filter_map(|variable| variable.strip_prefix("PATH=")).next_back();
        Ok(Some(ContainerInfo {
            id: text(&info["Id"]),
            running: info["State"]["Running"].as_bool().unwrap_or(false),
            paused: info["State"]["Paused"].as_bool().unwrap_or(false),
            image_id: text(&info["Image"]),
            image_name: text(&info["Config"]["Image"]),
            shm_size: info["HostConfig"]["ShmSize"].as_u64().unwrap_or(0),
            search_path: search_path.unwrap_or_default().to_owned(),
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
        Ok(RunningJob::new(tool.start_heard(listener)?, self.guard(job)))
    }

    /// The same for a command that waits for what it reads, so that docker's work is done meanwhile.
    pub fn start_waiting_job(&self, job: &JobContainer) -> Result<WaitingJob> {
        let mode = [&["--rm", "--interactive"], &KEEPING_LOGS[..]].concat();
        let tool = self.traced(self.run_tool(job, &mode));
        let running = tool.start_waiting(Box::new(|_| {}))?;
        Ok(WaitingJob::new(RunningJob::new(running, self.guard(job))))
    }

    /// The same for a command whose output is the result, of whatever size: [`RunningJob::hand_on`] passes it on, and
    /// docker keeps none of it.
    pub fn start_printing_job(&self, job: &JobContainer) -> Result<RunningJob> {
        let tool = self.traced(self.run_tool(job, &["--rm", "--log-driver", "none"]));
        Ok(RunningJob::new(tool.start_handing_on()?, self.guard(job)))
    }

    /// Starts a container in the background; it is removed when the guard is dropped.
    pub fn start_detached(&self, job: &JobContainer) -> Result<ContainerGuard> {
        let guard = self.guard(job);
        let running =
            self.traced(self.run_tool(job, &[&["--detach"], &KEEPING_LOGS[..]].concat())).start()?;
        let output = guard.watch(running, || Ok(()))?;
        if output.success() { Ok(guard) } else { Err(start_failure(&output, &job.image)) }
    }

    fn guard(&self, job: &JobContainer) -> ContainerGuard {
        ContainerGuard::new(self.clone(), job.name.clone())
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
        let deadline = Instant::now() + LONGEST_REMOVAL;
        loop {
            let output =
                self.traced(self.tool().args(["rm", "--force", "--volumes", "--", name])).run_always()?;
            if output.success() || output.stderr.contains("No such container") {
                return Ok(());
            }
            // One that has just ended is removed by the daemon itself (`--rm`), which takes nobody's help.
            let is_going = output.stderr.contains("is already in progress");
            if !is_going || Instant::now() > deadline {
                return Err(daemon_failure(&output));
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
}

/// Whether a container was not started because the kernel has no quota of processors (docker's words).
pub fn cannot_limit_processors(error: &anyhow::Error) -> bool {
    format!("{error:?}").contains("NanoCPUs can not be set")
}

/// By name alone, so that no value is on a command line; but for `PATH`, of which docker's client has its own.
fn with_env<'a>(mut tool: Tool, env: impl Iterator<Item = (&'a str, &'a str)>) -> Tool {
    for (name, value) in env {
        tool = match name {
            "PATH" => tool.arg("--env").arg(format!("PATH={value}")),
            _ => tool.args(["--env", name]).secret_env(name, value),
        };
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A docker that is a script; the real daemon is in that state for some milliseconds only.
    fn docker(folder: &Path, script: &str) -> Docker {
        let program = folder.join("docker");
        // By another process: who is forked while this one has it open for writing would make it busy.
        let write = "printf '#!/bin/sh\\n%s' \"$1\" >\"$2\" && chmod 755 \"$2\"";
        let made = Tool::new("sh").args(["-c", write, "-", script]).arg(&program);
        assert!(made.run(&Interrupt::default()).unwrap().success());
        Docker::new(program, Interrupt::default(), None)
    }

    #[test]
    fn a_container_that_is_being_removed_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let script = format!(
            "echo >>{asked}; [ $(wc -l <{asked}) -gt 2 ] && exit 0\n\
             echo 'Error response from daemon: removal of container x is already in progress' >&2; exit 1",
            asked = asked.display()
        );
        docker(folder.path(), &script).remove("x").unwrap();
        assert_eq!(fs::read_to_string(asked).unwrap().lines().count(), 3);
    }

    #[test]
    fn any_other_failure_of_a_removal_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let docker =
            docker(folder.path(), "echo 'Error: driver failed to remove root filesystem' >&2; exit 1");
        assert!(docker.remove("x").unwrap_err().to_string().contains("driver failed"));
    }
}
