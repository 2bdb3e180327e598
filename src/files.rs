//! Files and folders of ours: private from the first moment, replaced whole, made durable.

#![expect(clippy::disallowed_methods, reason = "this file owns changes to the file system")]

mod exposure;
mod measure;
mod moving;
mod sharing;
mod wary;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process;
pub use exposure::{Exposure, exposed, is_denied};
pub use measure::{Space, disk_use, disk_use_without, plain_files, space};
pub use moving::move_folder;
pub use sharing::{link, share_if_identical};
pub use wary::{
    append_line, open_folder, open_inside, open_lock_file, open_plain, open_private, read_bounded,
};

const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
const READABLE_FILE: u32 = 0o644;

/// Makes `path` and the folders above it that are missing, each 0700.
pub fn create_private_folders(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// The same below `root`, which must be there: what was removed meanwhile, as a service that was destroyed, must not come
/// back as an empty folder.
pub fn create_private_folders_in(root: &Path, path: &Path) -> Result<()> {
    let mut folder = root.to_owned();
    for name in path.strip_prefix(root).context("a folder outside")?.components() {
        folder.push(name);
        if !folder.is_dir() {
            create_private_folder(&folder)
                .or_else(|error| if folder.is_dir() { Ok(()) } else { Err(error) })?;
        }
    }
    Ok(())
}

/// Makes `path`, which must not exist, 0700.
pub fn create_private_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(PRIVATE_FOLDER)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Writes a new file, 0600. Durable only after `make_durable` or [`write_atomic`]'s steps.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(PRIVATE_FILE).open(path);
    opened
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// From now on, whatever this process makes by other hands (a library's) is for its user alone.
pub fn write_for_us_alone() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// A new file, 0600, to be written bit by bit; one that is there already is an error. Durable as [`write_private`].
pub fn create_private_file(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces `path` by `bytes` in one step: after a crash there is the old content or the new.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, true)
}

/// The same for what need not survive a crash of the machine: readers see the old content or the new.
pub fn write_atomic_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], durably: bool) -> Result<()> {
    let beside = beside(path);
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&beside)?;
        file.write_all(bytes)?;
        if durably {
            file.sync_all()?;
        }
        fs::rename(&beside, path)
    };
    let written = write().and_then(|()| if durably { sync_parent(path) } else { Ok(()) });
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        anyhow::Error::from(error).context(format!("cannot write {}", path.display()))
    })
}

/// Of this process alone: two runs may write the same file at once.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Renames within one folder and makes that durable: the only way in which a backup appears or disappears.
pub fn rename_durably(from: &Path, to: &Path) -> Result<()> {
    let renamed = fs::rename(from, to).and_then(|()| sync_parent(to));
    renamed.with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
}

/// What dead processes have left in `folder` of what they wrote, copied or removed there.
pub fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let is_left = |path: &PathBuf| writer(path).is_some_and(|pid| process::start_time(pid).is_none());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_left).collect()
}

/// The process whose work this is, if it has a name by [`beside`].
fn writer(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(".new")?;
    name.rsplit_once('.')?.1.parse().ok()
}

/// What tells a folder from another one that has its path later: device, inode and time of birth.
pub fn identity(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    // Inodes are given anew. Without the time, two folders cannot be told apart.
    let born = metadata.created().with_context(|| format!("the time of birth of {}", path.display()))?;
    let born = born.duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    Ok(format!("{}:{}:{born}", metadata.dev(), metadata.ino()))
}

/// Replaces a file that others may read: metrics.
pub fn write_atomic_readable(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = beside(path);
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(READABLE_FILE).open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(READABLE_FILE))?;
        file.write_all(bytes)?;
        fs::rename(&beside, path)
    };
    write()
        .inspect_err(|_| _ = fs::remove_file(&beside))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file and makes that durable; none there is fine.
pub fn remove_durably(path: &Path) -> Result<()> {
    remove_tree(path)?;
    sync_parent(path).with_context(|| format!("cannot make the removal of {} durable", path.display()))
}

/// Makes everything written below `folder` durable, however long that takes; durable.rs does it for what may be stopped.
fn sync_folder_tree(folder: &Path) -> Result<()> {
    let opened = File::open(folder)?;
    rustix::fs::syncfs(&opened)
        .with_context(|| format!("cannot make {} durable (is the disk full or failing?)", folder.display()))
}

/// Removes a file or a folder with all in it; nothing there is fine.
pub fn remove_tree(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// Removes a folder that was made for something that then did not come.
pub fn remove_if_empty(folder: &Path) {
    let _ = fs::remove_dir(folder);
}

/// Whether something is there. Not to be allowed to look is an error, and no sign of absence.
pub fn exists(path: &Path) -> Result<bool> {
    path.try_exists().with_context(|| format!("cannot look at {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_does_not_come_back_as_an_empty_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("service");
        let error = create_private_folders_in(&root, &root.join("a/b")).unwrap_err();
        assert!(crate::error::is_of_a_missing_file(&error) && !root.exists(), "{error:#}");
        create_private_folder(&root).unwrap();
        for _ in 0..2 {
            create_private_folders_in(&root, &root.join("a/b")).unwrap();
        }
        assert_eq!(fs::metadata(root.join("a/b")).unwrap().mode() & 0o777, 0o700);
        fs::write(root.join("file"), "").unwrap();
        assert!(create_private_folders_in(&root, &root.join("file/b")).is_err());
        assert!(create_private_folders_in(&root, folder.path()).is_err());
    }

    #[test]
    fn what_is_written_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/file");
        create_private_folders(file.parent().unwrap()).unwrap();
        write_atomic(&file, b"1").unwrap();
        write_atomic(&file, b"2").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"2");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(folder.path().join("a")).unwrap().mode() & 0o777, 0o700);
        assert_eq!(plain_files(folder.path()).unwrap(), [("a/b/file".to_owned(), 1)]);
    }
}
