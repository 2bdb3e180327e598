//! Containers of ours that run: fed, heard, waited for, and removed whatever happens.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Docker;
use crate::process::{Output, Running};

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
    pub(super) fn new(running: Running, guard: ContainerGuard) -> Self {
        RunningJob { running, guard }
    }

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

/// A container whose command waits for its input. Dropped before that, it ends.
#[derive(Debug)]
pub struct WaitingJob(Option<RunningJob>);

impl WaitingJob {
    pub(super) fn new(job: RunningJob) -> Self {
        WaitingJob(Some(job))
    }

    /// Gives the command its whole input.
    pub fn tell(mut self, input: Vec<u8>) -> RunningJob {
        let mut job = self.0.take().expect("it is told once");
        job.running.tell(input);
        job
    }
}

impl Drop for WaitingJob {
    fn drop(&mut self) {
        let Some(mut job) = self.0.take() else { return };
        // It reads the end and ends itself. Killed while docker makes it, it might be there afterwards.
        job.running.tell(Vec::new());
        let since = Instant::now();
        let _ = job.wait(|| if since.elapsed() > STOP_LIMIT { bail!("it does not end") } else { Ok(()) });
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
    pub(super) fn new(docker: Docker, name: String) -> Self {
        ContainerGuard { docker, name }
    }

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
    pub(super) fn watch(&self, running: Running, mut tick: impl FnMut() -> Result<()>) -> Result<Output> {
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
