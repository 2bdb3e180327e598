//! A docker daemon of our own, which may be killed: the machine's has other work. The test runs once more in a process
//! whose docker is this one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::docker;
use crate::started::{children, command_line, until};

/// Where it keeps everything; set in the process whose docker it is.
const FOLDER: &str = "PGBACKUP_TORTURE_DOCKERD";

/// By then a daemon has written its pid down, which it removes when it gives up.
const SLOW_START: Duration = Duration::from_secs(10);

pub fn is_ours() -> bool {
    std::env::var_os(FOLDER).is_some()
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).map(PathBuf::from).unwrap()
}

/// Where it is asked.
fn host(folder: &Path) -> String {
    format!("unix://{}", folder.join("socket").display())
}

fn answers(folder: &Path) -> bool {
    Command::new("docker").args(["--host", &host(folder), "version"]).output().unwrap().status.success()
}

/// On a busy machine one gives up when its containerd takes long; an init starts the next one then.
fn start(folder: &Path) {
    launch(folder);
    let mut launched = Instant::now();
    until("our docker daemon answers", || {
        if launched.elapsed() > SLOW_START && !folder.join("pid").exists() {
            launch(folder);
            launched = Instant::now();
        }
        answers(folder)
    });
}

/// Without a bridge: the services and the sidecars meet at the loopback of their namespace. In a network namespace of its
/// own, because a daemon that has no bridge removes the one that it finds: that of the machine's daemon.
fn launch(folder: &Path) {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    Command::new("setsid")
        .args([
            "--fork",
            "unshare",
            "--net",
            "dockerd",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--group=docker",
        ])
        .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
        .args(["--host", &host(folder)])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
}

fn pid(folder: &Path) -> Pid {
    let pid = fs::read_to_string(folder.join("pid")).unwrap();
    Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
}

/// kill -9, and what an init would do then.
pub fn restart() {
    let folder = folder();
    let process = pid(&folder);
    kill_process(process, Signal::KILL).unwrap();
    until("it is dead", || rustix::process::test_kill_process(process).is_err());
    let _ = fs::remove_file(folder.join("pid"));
    start(&folder);
}

/// Ends it with all its containers when dropped.
struct Daemon(PathBuf);

impl Daemon {
    /// A daemon that is killed while it makes a container forgets the process that watches it, whose copies of all
    /// mounts would keep disks busy.
    fn kill_shims(&self) {
        let socket = self.0.join("exec/containerd/containerd.sock").display().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for shim in pids.filter(|pid| command_line(*pid).contains(&socket)).filter_map(process) {
            let watched: Vec<Pid> = children(shim).into_iter().filter_map(|(pid, _)| process(pid)).collect();
            for pid in watched.into_iter().chain([shim]) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn process(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let process = pid(&self.0);
        let _ = kill_process(process, Signal::TERM);
        until("our docker daemon has ended", || rustix::process::test_kill_process(process).is_err());
        self.kill_shims();
        // A daemon mounts its folder upon itself.
        let _ = Command::new("umount").arg("--recursive").arg(self.0.join("data")).status();
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the test of that name in a process whose docker is a new daemon with the image that it needs.
pub fn run_with_it(test: &str) {
    let folder = PathBuf::from(format!("/var/tmp/pgbackup-dockerd-{}", std::process::id()));
    let world = folder.with_extension("world");
    fs::create_dir_all(&folder).unwrap();
    start(&folder);
    let daemon = Daemon(folder);
    let host = host(&daemon.0);
    let copy = format!("docker save postgres:17 | docker --host {host} load");
    assert!(Command::new("bash").args(["-o", "pipefail", "-c", &copy]).status().unwrap().success());
    let ended = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("DOCKER_HOST", &host)
        .env(FOLDER, &daemon.0)
        .env("PGBACKUP_TEST_WORLD", &world)
        .status()
        .unwrap();
    assert!(ended.success(), "see above");
    drop(daemon);
    fs::remove_dir_all(world).unwrap();
    // The machine's own was left alone.
    docker(&["version"]).ok();
}
