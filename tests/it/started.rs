//! A run that goes on beside the test, and the process in it that tests send signals to.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Run, Service, dokku_command};

/// Far longer than anything that is waited for takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a state; a test that sleeps instead is slow here and flaky there.
#[track_caller]
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < PATIENCE, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A dokku command in the background.
pub struct Started {
    line: String,
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<()>,
    said: Arc<Mutex<String>>,
}

impl Started {
    /// The most memory that pgbackup itself took, bytes, once it has ended well.
    pub fn peak_memory(mut self) -> u64 {
        let mut peak = 0;
        while let Some(pid) = self.process() {
            let status =
                fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            peak = peak.max(kilobytes.unwrap_or(0) * 1024);
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end().ok();
        peak
    }

    /// `dokku pgbackup:<command> <service> <args>`.
    pub fn pgbackup(service: &Service, command: &str, args: &[&str]) -> Self {
        let command = format!("pgbackup:{command}");
        Self::dokku(&[&[command.as_str(), service.name.as_str()], args].concat())
    }

    pub fn dokku(args: &[&str]) -> Self {
        Self::spawn(format!("dokku {}", args.join(" ")), &mut dokku_command(args))
    }

    pub fn spawn(line: String, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = out.read_to_string(&mut text);
            text
        });
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let stderr = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = err.read(&mut buffer) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Started { line, child, stdout, stderr, said }
    }

    /// The pgbackup process, as soon as there is one; `None` when the run ended before that.
    pub fn process(&mut self) -> Option<Pid> {
        let started = Instant::now();
        while !self.has_ended() {
            if let Some(pid) = pgbackup_below(self.child.id()) {
                return Some(pid);
            }
            assert!(started.elapsed() < PATIENCE, "{} never came to pgbackup", self.line);
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Sends the pgbackup process a signal; false when it has ended.
    pub fn signal(&mut self, signal: Signal) -> bool {
        self.process().is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    pub fn line(&self) -> &str {
        &self.line
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has said `words` on stderr.
    #[track_caller]
    pub fn until_it_says(&mut self, words: &str) {
        until(&format!("{} says {words:?}", self.line), || {
            let said = self.said.lock().unwrap().contains(words);
            assert!(said || !self.has_ended(), "{} ended:\n{}", self.line, self.said.lock().unwrap());
            said
        });
    }

    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let stdout = self.stdout.join().unwrap();
        self.stderr.join().unwrap();
        let stderr = self.said.lock().unwrap().clone();
        Run { line: self.line, code, stdout, stderr }
    }
}

/// The processes that `pid` started and that have not ended (`proc_pid_task(5)`).
fn started_by(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The uppermost process below `root` that runs the plugin's binary.
pub fn pgbackup_below(root: u32) -> Option<Pid> {
    let mut level = vec![root];
    while !level.is_empty() {
        let is_pgbackup = |pid: &&u32| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("pgbackup/bin/pgbackup"))
        };
        if let Some(pid) = level.iter().find(is_pgbackup) {
            return Pid::from_raw(i32::try_from(*pid).unwrap());
        }
        level = level.into_iter().flat_map(started_by).collect();
    }
    None
}

/// The processes that `pid` started, with their command lines. Any of its threads may have started them.
pub fn children(pid: Pid) -> Vec<(u32, Vec<String>)> {
    let raw = pid.as_raw_nonzero().get().unsigned_abs();
    let threads = fs::read_dir(format!("/proc/{raw}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let listed: String = lists.collect();
    let own = listed.split_whitespace().filter_map(|pid| pid.parse().ok());
    own.map(|pid| (pid, command_line(pid))).collect()
}

/// Empty when there is no such process any more.
pub fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.filter(|word| !word.is_empty()).collect()
}
