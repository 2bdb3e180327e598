//! Child processes: start, feed, read, wait, stop. Knows nothing of what the tools are.

#![expect(clippy::disallowed_methods, reason = "this file owns child processes")]

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::interrupt::Interrupt;
use crate::plain_text::shell_word;

/// Characters of a line of stderr that are worth showing.
const LONGEST_LINE: usize = 300;
/// The exit status of a shell and of docker for a program that got a SIGKILL.
const KILLED: i32 = 137;
/// How much of a tool's stderr is kept for the error message.
const STDERR_TAIL: usize = 64 * 1024;
/// How long output is waited for that a program's own end did not end.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// More output than any of our questions has: a limit so that a broken tool cannot fill the memory.
const STDOUT_LIMIT: usize = 256 * 1024 * 1024;
/// What is read at once of an output that is handed on: as much as a pipe holds.
const PIECE: usize = 64 * 1024;
/// How long a child may print nothing until whoever takes its output is asked whether to go on.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Of a line of stderr, what those get who listen.
const LONGEST_HEARD: usize = 8 * 1024;

/// The lowest priority there is.
const LAST: i32 = 19;

/// Lets everything else on the machine go before this process and what it starts from now on.
pub fn step_back() {
    // That it stays as it was costs some time of others.
    let _ = rustix::process::nice(LAST);
}

/// Is told each line of a child's stderr while it comes.
pub type Listener = Box<dyn FnMut(&str) + Send>;

/// A command line, its extra environment and what is fed to it.
#[derive(Debug, Clone)]
pub struct Tool {
    program: OsString,
    args: Vec<OsString>,
    secrets: Vec<(String, String)>,
    removed: Vec<&'static str>,
    input: Vec<u8>,
}

/// How a tool ended.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The last 64 KiB, as text.
    pub stderr: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// "exit status 3", "signal: 9 (SIGKILL)", or what the latter is when docker tells of it.
    pub fn ending(&self) -> String {
        match self.status.code() {
            Some(KILLED) => "it was killed (did the server run out of memory?)".to_owned(),
            _ => self.status.to_string(),
        }
    }

    /// The last lines of stderr that are not empty, oldest first.
    pub fn last_words(&self, lines: usize) -> Vec<String> {
        let words: Vec<&str> =
            self.stderr.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        words[words.len().saturating_sub(lines)..].iter().map(|line| shortened(line)).collect()
    }
}

impl Tool {
    pub fn new(program: impl Into<OsString>) -> Self {
        Tool {
            program: program.into(),
            args: Vec::new(),
            secrets: Vec::new(),
            removed: Vec::new(),
            input: Vec::new(),
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable of the child. Values stay out of argv and of `--trace`.
    #[must_use]
    pub fn secret_env(mut self, name: &str, value: &str) -> Self {
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn without_env(mut self, names: &[&'static str]) -> Self {
        self.removed.extend(names);
        self
    }

    /// What the child reads on stdin (default: nothing; our own stdin is never handed on).
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// The command line for `--trace`: words that need it are quoted.
    pub fn line(&self) -> String {
        let quoted = |word: &OsString| {
            let word = word.to_string_lossy();
            let bare = word.trim_start_matches('-');
            if shell_word(bare) == bare { word.into_owned() } else { shell_word(&word) }
        };
        let words: Vec<String> = std::iter::once(&self.program).chain(&self.args).map(quoted).collect();
        words.join(" ")
    }

    /// Starts the child in a process group of its own, so that a Ctrl-C reaches only us and we clean up in order.
    pub fn start(&self) -> Result<Running> {
        self.start_heard(Box::new(|_| {}))
    }

    /// The same, with somebody who listens.
    pub fn start_heard(&self, listener: Listener) -> Result<Running> {
        let mut running = self.start_waiting(listener)?;
        running.tell(self.input.clone());
        Ok(running)
    }

    /// The same for a child whose input is not known yet: [`Running::tell`] is what it waits for.
    pub fn start_waiting(&self, listener: Listener) -> Result<Running> {
        let mut running = self.spawn(listener)?;
        let pipe = running.pipe.take();
        running.stdout = Some(std::thread::spawn(move || read_all(pipe, STDOUT_LIMIT)));
        Ok(running)
    }

    /// The same for an output that is too large to be collected: [`Running::hand_on`] passes it on.
    pub fn start_handing_on(&self) -> Result<Running> {
        let mut running = self.spawn(Box::new(|_| {}))?;
        running.tell(self.input.clone());
        Ok(running)
    }

    fn spawn(&self, listener: Listener) -> Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.secrets.iter().map(|(name, value)| (name, value))).process_group(0);
        for name in &self.removed {
            command.env_remove(name);
        }
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", self.program.to_string_lossy()))?;
        let stdin = child.stdin.take();
        let pipe = child.stdout.take();
        let stderr = child.stderr.take();
        let stderr = Some(std::thread::spawn(move || read_tail(stderr, listener)));
        Ok(Running { child, stdin, pipe, stdout: None, stderr, is_left: false })
    }

    /// Runs to the end. Stops the child and fails when interrupted.
    pub fn run(&self, interrupt: &Interrupt) -> Result<Output> {
        self.start()?.wait(|| Ok(interrupt.check()?))
    }

    /// Runs to the end whatever happens: for cleaning up.
    pub fn run_always(&self) -> Result<Output> {
        self.start()?.wait(|| Ok(()))
    }
}

/// When a process was started, in clock ticks since the machine's (proc(5), `stat`, field 22); `None` when there is none.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold blanks and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// `pg_dump` repeats whole queries in its errors, which can name thousands of tables.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// A child that is running. Dropped before its end, it is killed with all that it has started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Until it is told what it is to read.
    stdin: Option<ChildStdin>,
    /// Until somebody reads it.
    pipe: Option<ChildStdout>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<String>>,
    /// Killed, but not waited for.
    is_left: bool,
}

impl Running {
    /// Gives the child its whole input.
    pub fn tell(&mut self, input: Vec<u8>) {
        let stdin = self.stdin.take();
        // A child that ends without reading is told apart by its exit status, not by our broken pipe.
        std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(&input)));
    }

    /// Waits for the end, calling `tick` now and then; an error of `tick` kills the child and is returned.
    pub fn wait(mut self, tick: impl FnMut() -> Result<()>) -> Result<Output> {
        let status = self.wait_for_end(tick)?;
        Ok(self.output(status))
    }

    /// The same for programs that are not ours. One may leave a child in the background that keeps our pipes open: that
    /// is waited for no longer than a moment, and what it says is not heard.
    pub fn wait_for_itself(mut self, tick: impl FnMut() -> Result<()>) -> Result<Output> {
        let status = self.wait_for_end(tick)?;
        let ended = Instant::now();
        let is_open = |running: &Self| {
            running.stdout.as_ref().is_some_and(|thread| !thread.is_finished())
                || running.stderr.as_ref().is_some_and(|thread| !thread.is_finished())
        };
        while is_open(&self) && ended.elapsed() < LAST_OUTPUT {
            std::thread::sleep(Duration::from_millis(2));
        }
        if is_open(&self) {
            (self.stdout, self.stderr) = (None, None);
        }
        Ok(self.output(status))
    }

    /// The same for a child that the kernel may keep beyond its SIGKILL, because it waits for a disk: after an error of
    /// `tick` it is left to its end.
    pub fn wait_or_leave(mut self, tick: impl FnMut() -> Result<()>) -> Result<Output> {
        let status = self.wait_for_end(tick).inspect_err(|_| self.is_left = true)?;
        Ok(self.output(status))
    }

    fn wait_for_end(&mut self, mut tick: impl FnMut() -> Result<()>) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tick()?;
            // Short at first: most of our commands take tens of milliseconds.
            let pause = if started.elapsed() < Duration::from_secs(2) { 2 } else { 20 };
            std::thread::sleep(Duration::from_millis(pause));
        }
    }

    fn output(&mut self, status: ExitStatus) -> Output {
        let stdout = self.stdout.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Output { status, stdout, stderr }
    }

    /// Hands on what the child prints, piece by piece, and waits for its end. Whoever takes it also gets an empty piece
    /// now and then while there is nothing; an error of theirs kills the child and is returned.
    pub fn hand_on(mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<Output> {
        if let Some(mut pipe) = self.pipe.take() {
            let mut buffer = vec![0; PIECE];
            loop {
                if !has_something(&pipe)? {
                    take(&[])?;
                    continue;
                }
                match pipe.read(&mut buffer)? {
                    0 => break,
                    count => take(&buffer[..count])?,
                }
            }
        }
        self.wait(|| take(&[]))
    }
}

/// Waits a moment for something to read, or for the end.
fn has_something(pipe: &ChildStdout) -> Result<bool> {
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&LOOK_EVERY)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // With whatever it has started: its group is its own.
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
            let _ = self.child.kill();
            if !self.is_left {
                let _ = self.child.wait();
            }
        }
    }
}

fn read_all(pipe: Option<impl Read>, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(limit as u64).read_to_end(&mut bytes);
    }
    bytes
}

/// Reads to the end, so that the child never blocks on a full pipe, and keeps the tail.
fn read_tail(pipe: Option<impl Read>, mut listener: Listener) -> String {
    let (mut tail, mut line) = (Vec::new(), Vec::new());
    let mut buffer = [0u8; 8192];
    if let Some(mut pipe) = pipe {
        while let Ok(count) = pipe.read(&mut buffer) {
            if count == 0 {
                break;
            }
            tail.extend_from_slice(&buffer[..count]);
            if tail.len() > 2 * STDERR_TAIL {
                tail.drain(..tail.len() - STDERR_TAIL);
            }
            for piece in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                let room = LONGEST_HEARD.saturating_sub(line.len()).min(piece.len());
                line.extend_from_slice(&piece[..room]);
                if piece.ends_with(b"\n") {
                    listener(String::from_utf8_lossy(&line).trim_end());
                    line.clear();
                }
            }
        }
    }
    if !line.is_empty() {
        listener(String::from_utf8_lossy(&line).trim_end());
    }
    String::from_utf8_lossy(&tail).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_tool_hands_over_its_status_and_its_last_words() {
        let tool = Tool::new("sh").args(["-c", "cat; echo one >&2; echo two >&2; exit 3"]).input("hello");
        let output = tool.run(&Interrupt::default()).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, b"hello");
        assert_eq!(output.last_words(1), ["two"]);
    }

    #[test]
    fn a_tool_that_floods_stderr_does_not_block() {
        let tool = Tool::new("sh").args(["-c", "yes no | head -c 999999 >&2; echo end >&2"]);
        assert_eq!(tool.run(&Interrupt::default()).unwrap().last_words(1), ["end"]);
    }

    #[test]
    fn a_listener_hears_every_line_and_of_long_ones_the_beginning() {
        let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let ears = std::sync::Arc::clone(&heard);
        let script = "echo one >&2; head -c 99999 /dev/zero | tr '\\0' x >&2; echo >&2; printf last >&2";
        let tool = Tool::new("sh").args(["-c", script]);
        let running = tool.start_heard(Box::new(move |line| ears.lock().unwrap().push(line.to_owned())));
        running.unwrap().wait(|| Ok(())).unwrap();
        let heard = heard.lock().unwrap();
        assert_eq!((heard.len(), heard[0].as_str(), heard[2].as_str()), (3, "one", "last"));
        assert_eq!(heard[1].len(), LONGEST_HEARD);
    }

    #[test]
    fn secrets_are_in_the_environment_and_not_in_the_printed_line() {
        let tool =
            Tool::new("sh").args(["-c", "printf %s \"$PGPASSWORD\""]).secret_env("PGPASSWORD", "s3cret");
        assert_eq!(tool.run(&Interrupt::default()).unwrap().stdout, b"s3cret");
        assert!(!tool.line().contains("s3cret"));
    }

    #[test]
    fn what_is_handed_on_comes_whole_and_whoever_takes_it_can_end_it() {
        let mut count = 0;
        let tool = Tool::new("sh").args(["-c", "head -c 3000000 /dev/zero; sleep 0.2; echo end; exit 4"]);
        let output = tool.start_handing_on().unwrap().hand_on(|piece| {
            count += piece.len();
            Ok(())
        });
        let output = output.unwrap();
        assert_eq!((count, output.status.code(), output.stdout.len()), (3_000_004, Some(4), 0));

        let started = Instant::now();
        for tool in [Tool::new("yes"), Tool::new("sleep").arg("60")] {
            let ended = tool.start_handing_on().unwrap().hand_on(|_| anyhow::bail!("enough"));
            assert_eq!(ended.unwrap_err().to_string(), "enough");
        }
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_process_has_a_time_of_its_start() {
        assert!(start_time(std::process::id()).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(u32::MAX), None);
    }

    #[test]
    fn what_a_program_leaves_in_the_background_is_not_waited_for() {
        let started = Instant::now();
        let tool = Tool::new("sh").args(["-c", "sleep 20 & exit 3"]);
        let output = tool.start().unwrap().wait_for_itself(|| Ok(())).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(started.elapsed() < Duration::from_secs(10));
        let tool = Tool::new("sh").args(["-c", "echo why >&2; exit 3"]);
        assert_eq!(tool.start().unwrap().wait_for_itself(|| Ok(())).unwrap().last_words(1), ["why"]);
    }

    #[test]
    fn a_child_that_is_ended_takes_its_own_children_along() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! >{0}.new; mv {0}.new {0}; wait", pid.display());
        let ended = Tool::new("sh")
            .args(["-c", &script])
            .start()
            .unwrap()
            .wait(|| if pid.exists() { anyhow::bail!("enough") } else { Ok(()) });
        assert!(ended.is_err());
        let pid: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let is_gone = || state().rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'));
        let started = Instant::now();
        while !is_gone() {
            assert!(started.elapsed() < Duration::from_secs(10), "{}", state());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_child_that_is_left_is_killed_and_not_waited_for() {
        let running = Tool::new("sleep").arg("60").start().unwrap();
        let pid = running.child.id();
        assert!(running.wait_or_leave(|| anyhow::bail!("enough")).is_err());
        // Killed, and nobody has taken its exit status.
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let started = Instant::now();
        while !state().contains(") Z ") {
            assert!(started.elapsed() < Duration::from_secs(10), "{}", state());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn an_error_of_the_tick_ends_the_child() {
        let started = Instant::now();
        let ended = Tool::new("sleep").arg("60").start().unwrap().wait(|| anyhow::bail!("enough"));
        assert!(ended.is_err());
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
