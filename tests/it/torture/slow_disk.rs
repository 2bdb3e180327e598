//! The backups' disk is slow: a run says what it waits for and comes to its end, and one that is asked to stop meanwhile
//! is gone at once.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::assert_sound;
use super::full_disk::owned_by_dokku;
use super::small_disk::run;
use super::tally::{Tally, is_campaign, tries};
use crate::bench::{Service, dokku};
use crate::started::Started;

/// What the kernel lets each block device have in a second, where control groups are of the first version.
const LIMITS: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device";
const MEGABYTES: u32 = 64;
/// Of a backup, in that many files.
const TABLES: u64 = 8;
const SPEED: u64 = 1_500_000;
/// On a machine that has other things to do.
const AT_THE_LATEST: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::from_secs(3);
/// What a run says that waits for the disk.
const WAITS: &str = "waiting for the disk";

/// A disk in a file with a short queue, as real ones have, on one that can be made slow.
struct Disk {
    image: tempfile::TempPath,
    loops: Vec<String>,
    folder: std::path::PathBuf,
}

impl Disk {
    /// `None` where none can be made slow.
    fn mount(folder: &Path) -> Option<Self> {
        if !super::small_disk::has_loop_devices() || !Path::new(LIMITS).exists() {
            eprintln!("SKIPPED: no disk can be made slow here (no control groups of the first version)");
            return None;
        }
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(u64::from(MEGABYTES) << 20).unwrap();
        let mut disk = Disk { image: image.into_temp_path(), loops: Vec::new(), folder: folder.to_owned() };
        let file = disk.image.to_str().unwrap().to_owned();
        let slow = disk.attach(&file);
        let upper = disk.attach(&slow);
        for (setting, value) in [("nr_requests", "4"), ("max_sectors_kb", "64")] {
            let queue = Path::new("/sys/block").join(upper.trim_start_matches("/dev/")).join("queue");
            fs::write(queue.join(setting), value).unwrap();
        }
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0", &upper]);
        run("mount", &[&upper, folder.to_str().unwrap()]);
        fs::remove_dir(folder.join("lost+found")).unwrap();
        owned_by_dokku(folder);
        Some(disk)
    }

    fn attach(&mut self, file: &str) -> String {
        let attached =
            Command::new("losetup").args(["--find", "--show", "--direct-io=on", file]).output().unwrap();
        let name = String::from_utf8(attached.stdout).unwrap().trim().to_owned();
        assert!(name.starts_with("/dev/"), "{}", String::from_utf8_lossy(&attached.stderr));
        self.loops.push(name.clone());
        name
    }

    /// Slow until what is returned is dropped.
    fn slow(&self, speed: u64) -> Slow {
        let numbers = fs::read_to_string(
            Path::new("/sys/block").join(self.loops[0].trim_start_matches("/dev/")).join("dev"),
        );
        let slow = Slow(numbers.unwrap().trim().to_owned());
        slow.set(speed);
        slow
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        for name in self.loops.iter().rev() {
            let _ = Command::new("losetup").args(["--detach", name]).status();
        }
    }
}

struct Slow(String);

impl Slow {
    /// Bytes a second; 0 is as many as there may be.
    fn set(&self, speed: u64) {
        fs::write(LIMITS, format!("{} {speed}", self.0)).unwrap();
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Each time other content, for what has not changed is not written again.
fn fill_with_noise(service: &Service) {
    let table = |number| {
        format!(
            "drop table if exists noise_{number}; create table noise_{number} as
select n, (select string_agg(uuid_send(gen_random_uuid()), '') from generate_series(1, 64) where n > 0) as bytes
  from generate_series(1, 1000) n;\n"
        )
    };
    service.sql(&(0..TABLES).map(table).collect::<String>());
}

/// A service whose backups are on a disk of their own, with one of them, and what that disk is to be slow for.
fn prepared() -> Option<(Service, Disk)> {
    let service = Service::new("slow");
    service.fill();
    let folder = service.root().join("pgbackup");
    fs::create_dir_all(&folder).unwrap();
    let disk = Disk::mount(&folder)?;
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    dokku(&["pgbackup:set", &service.name, "min-free", "off"]).ok();
    service.create();
    fill_with_noise(&service);
    Some((service, disk))
}

/// A backup that is at the remote and not here.
fn away(service: &Service) -> (String, tempfile::TempDir) {
    let remote = tempfile::tempdir().unwrap();
    owned_by_dokku(remote.path());
    dokku(&["pgbackup:remote-set", &service.name, &format!("file://{}", remote.path().display())]).ok();
    let id = service.create();
    service.pgbackup("push", &[&id]).ok();
    service.pgbackup("delete", &[&id, "--force"]).ok();
    (id, remote)
}

#[test]
fn on_a_slow_disk_a_run_tells_what_it_waits_for_and_stops_when_it_is_asked_to() {
    let Some((service, disk)) = prepared() else { return };
    let mut stopped = Tally::new("Slow disk", "SIGTERM while `create` waits for a disk of 1.5 MB a second");
    for _ in 0..tries(1) {
        fill_with_noise(&service);
        let _slow = disk.slow(SPEED);
        stopped.saw(stop(&service, Started::pgbackup(&service, "create", &[])));
    }
    drop(stopped);
    if is_campaign() {
        pulls_and_ends(&service, &disk);
    }
    assert_sound(&service);
}

/// The rest, which takes as long as the disk does.
fn pulls_and_ends(service: &Service, disk: &Disk) {
    let mut stopped = Tally::new("Slow disk", "SIGTERM while `pull` waits for a disk of 1.5 MB a second");
    let mut done = Tally::new("Slow disk", "`create` and `pull` on a disk of 1.5 MB a second");
    for _ in 0..tries(1) {
        let (id, _remote) = away(service);
        let slow = disk.slow(SPEED);
        stopped.saw(stop(service, Started::pgbackup(service, "pull", &[&id])));
        assert!(!service.backup(&id).exists());
        service.pgbackup("pull", &[&id]).ok();
        done.saw("done");
        drop(slow);
        fill_with_noise(service);
        let slow = disk.slow(SPEED);
        let run = service.pgbackup("create", &[]).ok();
        drop(slow);
        assert!(run.stderr.contains(WAITS), "{}", run.stderr);
        done.saw("told, then done");
        let made = newest(service);
        service.pgbackup("verify", &["--all", "--level", "archive"]).ok();
        service.pgbackup("delete", &[&id, &made, "--force"]).ok();
    }
}

fn newest(service: &Service) -> String {
    let listed = service.pgbackup("list", &["--format", "json"]).ok().json();
    listed[0]["id"].as_str().unwrap().to_owned()
}

/// Asks a run to stop that waits for the disk; what it came to.
#[track_caller]
fn stop(service: &Service, mut run: Started) -> &'static str {
    run.until_it_says(WAITS);
    let asked = Instant::now();
    assert!(run.signal(Signal::TERM));
    let ended = run.end();
    let took = asked.elapsed();
    assert_eq!(ended.code, 143, "{}", ended.stderr);
    assert!(took < AT_THE_LATEST, "it took {took:?}: {}", ended.stderr);
    service.assert_nothing_left();
    if took < AT_ONCE { "all gone within 3 s" } else { "all gone, but later than 3 s" }
}
