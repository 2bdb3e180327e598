//! Small disks of our own: a file with ext4 on a loop device, mounted where a test wants it to be full, to run out of
//! inodes, to be read-only or to lose what is on it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted until it is dropped.
pub struct Disk {
    image: tempfile::TempPath,
    pub folder: PathBuf,
    /// A small tmpfs that the image is on.
    beneath: Option<tempfile::TempDir>,
}

const MEGABYTE: u64 = 1024 * 1024;

/// Takes room until it is dropped.
pub struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether this machine mounts files as disks; a container without loop devices does not.
pub fn has_loop_devices() -> bool {
    let found = Command::new("losetup").arg("--find").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: there are no loop devices to mount a small disk with");
    }
    found
}

#[track_caller]
pub fn run(program: &str, args: &[&str]) {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {told}");
}

impl Disk {
    /// What is in `folder` is on it afterwards, with its owners.
    pub fn mount(folder: &Path, megabytes: u64) -> Self {
        Self::with_inodes(folder, megabytes, megabytes * 64)
    }

    pub fn with_inodes(folder: &Path, megabytes: u64, inodes: u64) -> Self {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(megabytes * MEGABYTE).unwrap();
        Self::mount_image(image.into_temp_path(), folder, inodes)
    }

    /// A disk that says it has `megabytes`, and has room for what is on it and `room` bytes more: the image is on a tmpfs
    /// that is too small for it.
    pub fn promised(folder: &Path, megabytes: u64, room: u64) -> Self {
        let beneath = tempfile::tempdir().unwrap();
        let path = beneath.path().to_str().unwrap();
        run("mount", &["-t", "tmpfs", "tmpfs", path]);
        let image = tempfile::NamedTempFile::new_in(beneath.path()).unwrap();
        image.as_file().set_len(megabytes * MEGABYTE).unwrap();
        let mut disk = Self::mount_image(image.into_temp_path(), folder, megabytes * 64);
        run("sync", &["--file-system", folder.to_str().unwrap()]);
        let taken = 512 * fs::metadata(&disk.image).unwrap().blocks();
        run("mount", &["-o", &format!("remount,size={}", taken + room), path]);
        disk.beneath = Some(beneath);
        disk
    }

    fn mount_image(image: tempfile::TempPath, folder: &Path, inodes: u64) -> Self {
        let path = image.to_str().unwrap();
        let features =
            ["-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=0", "-N", &inodes.to_string(), path];
        run("mkfs.ext4", &features);
        let aside = tempfile::tempdir().unwrap();
        let (here, there) = (folder.to_str().unwrap(), aside.path().to_str().unwrap());
        run("mount", &["-o", "loop,errors=remount-ro", path, there]);
        fs::remove_dir(aside.path().join("lost+found")).unwrap();
        run("cp", &["--archive", "--no-target-directory", here, there]);
        run("umount", &[there]);
        let disk = Disk { image, folder: folder.to_owned(), beneath: None };
        disk.mount_again("rw");
        disk
    }

    /// `option`: `rw` or `ro`.
    pub fn mount_again(&self, option: &str) {
        let options = format!("loop,errors=remount-ro,{option}");
        run("mount", &["-o", &options, self.image.to_str().unwrap(), self.folder.to_str().unwrap()]);
    }

    pub fn remount(&self, option: &str) {
        run("mount", &["-o", &format!("remount,{option}"), self.folder.to_str().unwrap()]);
    }

    pub fn unmount(&self) {
        run("umount", &[self.folder.to_str().unwrap()]);
    }

    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.folder).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Fills it until `free` bytes are left, a block more or less.
    pub fn leave(&self, free: u64) -> Ballast {
        let path = self.folder.join("ballast");
        let file = File::create(&path).unwrap();
        let missing = self.free().saturating_sub(free);
        // Takes blocks for itself, too.
        for less in (0..64).map(|number| number * 4096) {
            let Some(length) = missing.checked_sub(less).filter(|length| *length > 0) else { break };
            if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length).is_ok() {
                break;
            }
        }
        Ballast(path)
    }

    /// From now on, everything behind the first `bytes` of the disk cannot be read. It is not mounted meanwhile, so
    /// that nothing is remembered.
    pub fn break_behind(&self, bytes: u64) {
        let image = OpenOptions::new().write(true).open(&self.image).unwrap();
        image.set_len(bytes).unwrap();
    }
}

impl Disk {
    pub fn unmount_lazily(&self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).output();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount_lazily();
        if let Some(beneath) = &self.beneath {
            let _ = Command::new("umount").arg("--lazy").arg(beneath.path()).status();
        }
    }
}
