//! A disk whose power can be cut: ext4 in a file, shut down as the file system's own tests do it (`EXT4_IOC_SHUTDOWN`,
//! without a last write of its journal). What was not made durable is gone when it is mounted again.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Service, docker};
use crate::started::until;

use super::containers;

/// As mean as ext4 can be: data is not written before what names it, a rename does not write what it renames, and names
/// are written soon.
const OPTIONS: &str = "loop,data=writeback,noauto_da_alloc,commit=1";

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`; perl is on every Debian.
const CUT: &str =
    "my $how = pack('L', 2); open(my $disk, '<', $ARGV[0]) or die; ioctl($disk, 0x8004587d, $how) or die $!";

pub struct Disk {
    file: PathBuf,
    place: PathBuf,
}

impl Disk {
    /// Where a service's backups are going to be; `None` where there are no loop devices.
    pub fn mount(service: &Service) -> Option<Self> {
        let place = service.root().join("pgbackup");
        let file = service.root().with_file_name(format!(".{}.disk", service.name));
        let script = "truncate -s 96M \"$1\" && mkfs.ext4 -q -F -m 0 \"$1\" && install -d -m 700 -o dokku -g dokku \"$2\"";
        run("bash", &["-c", script, "-", text(&file), text(&place)]);
        let disk = Disk { file, place };
        if !disk.attach() {
            eprintln!("SKIPPED: no file can be mounted here, so no power can be cut");
            return None;
        }
        run("chown", &["dokku:dokku", text(&disk.place)]);
        run("chmod", &["700", text(&disk.place)]);
        run("sync", &["-f", text(&disk.place)]);
        Some(disk)
    }

    fn attach(&self) -> bool {
        let mounted = Command::new("mount").args(["-o", OPTIONS]).args([&self.file, &self.place]).output();
        // Root's, made by mkfs and again by each check.
        let _ = std::fs::remove_dir(self.place.join("lost+found"));
        mounted.unwrap().status.success()
    }

    /// Nothing is written from now on.
    pub fn cut(&self) {
        run("perl", &["-e", CUT, text(&self.place)]);
    }

    /// The machine starts again: nothing runs, and the disk has what it had.
    pub fn power_up(&self, service: &Service) {
        // Their mounts would keep the dead file system.
        let running = containers(service);
        running.iter().for_each(|name| drop(docker(&["rm", "--force", "--volumes", name])));
        until("the dead disk is let go", || {
            Command::new("umount").arg(&self.place).output().unwrap().status.success()
        });
        // A container that is just being made has a copy of all mounts for a moment.
        until("nobody has the dead disk any more", || {
            let attached = Command::new("losetup").arg("--associated").arg(&self.file).output().unwrap();
            attached.status.success() && attached.stdout.is_empty()
        });
        let check = Command::new("e2fsck").args(["-f", "-y"]).arg(&self.file).output().unwrap();
        assert!(
            check.status.code().is_some_and(|code| code < 4),
            "{}",
            String::from_utf8_lossy(&check.stdout)
        );
        assert!(self.attach(), "the disk cannot be mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
        let _ = std::fs::remove_file(&self.file);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
