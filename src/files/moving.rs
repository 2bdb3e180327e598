//! Moving, also to another file system: whole at one end or at the other.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{beside, create_private_folder, remove_tree, rename_durably, sync_folder_tree, sync_parent};

/// Moves a file or a folder: by a rename, or to another file system by a copy that appears whole, and only then the
/// original goes.
pub fn move_folder(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Ok(()) => {}
        // What something is mounted on is busy.
        Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::ResourceBusy) => {
            return copy_away(from, to);
        }
        Err(error) => return Err(error).with_context(|| moving(from, to)),
    }
    sync_parent(to).and_then(|()| sync_parent(from)).with_context(|| moving(from, to))
}

fn copy_away(from: &Path, to: &Path) -> Result<()> {
    let beside = beside(to);
    remove_tree(&beside)?;
    let copied = copy(from, &beside)
        .and_then(|()| sync_folder_tree(&beside))
        .and_then(|()| rename_durably(&beside, to).with_context(|| moving(from, to)));
    if let Err(error) = copied {
        // What cannot be removed now only takes room.
        let _ = remove_tree(&beside);
        return Err(error);
    }
    remove_at_once(from)
}

/// Removes what must not be found half-removed, for that might look whole: its name goes first, by one rename.
fn remove_at_once(path: &Path) -> Result<()> {
    let doomed = beside(path);
    match fs::rename(path, &doomed) {
        // What something is mounted on can be emptied, and no more.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let entries = entries.with_context(|| format!("cannot remove {}", path.display()))?;
            entries.iter().try_for_each(|entry| remove_at_once(&entry.path()))
        }
        renamed => {
            let gone = renamed.and_then(|()| sync_parent(path));
            gone.with_context(|| format!("cannot remove {}", path.display()))?;
            remove_tree(&doomed)
        }
    }
}

fn moving(from: &Path, to: &Path) -> String {
    format!("cannot move {} to {}", from.display(), to.display())
}

/// Files that are one file with several names stay that. What is neither a file nor a folder is an error: it would be
/// lost.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut copies: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut open = vec![(from.to_owned(), to.to_owned())];
    while let Some((source, target)) = open.pop() {
        let context = || moving(&source, &target);
        let metadata = fs::symlink_metadata(&source).with_context(context)?;
        let inode = (metadata.dev(), metadata.ino());
        if metadata.is_dir() {
            create_private_folder(&target)?;
            for entry in fs::read_dir(&source).with_context(context)? {
                let name = entry.with_context(context)?.file_name();
                open.push((source.join(&name), target.join(&name)));
            }
        } else if !metadata.is_file() {
            bail!("{}: it is neither a file nor a folder", moving(&source, &target));
        } else if let Some(copy) = copies.get(&inode) {
            fs::hard_link(copy, &target).with_context(context)?;
        } else {
            fs::copy(&source, &target).with_context(context)?;
            copies.insert(inode, target);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::*;

    #[test]
    fn what_cannot_be_copied_is_not_lost_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        create_private_folders(&from.join("a")).unwrap();
        write_private(&from.join("a/file"), b"1").unwrap();
        link(&from.join("a/file"), &from.join("same")).unwrap();
        std::os::unix::fs::symlink("/etc", from.join("link")).unwrap();
        let error = copy_away(&from, &to).unwrap_err().to_string();
        assert!(error.contains("from/link") && error.contains("neither a file nor a folder"), "{error}");
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().flatten().map(|one| one.file_name()).collect();
        assert!(from.join("a/file").exists() && left == ["from"], "{left:?}");
        fs::remove_file(from.join("link")).unwrap();
        copy_away(&from, &to).unwrap();
        assert!(!from.exists());
        let inode = |name: &str| fs::metadata(to.join(name)).unwrap().ino();
        assert_eq!(inode("a/file"), inode("same"));
        copy_away(&to.join("same"), &to.join("b")).unwrap();
        assert_eq!(fs::read(to.join("b")).unwrap(), b"1");
    }

    #[test]
    fn what_dead_processes_left_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join(format!(".settings.toml.{}.new", u32::MAX));
        let living = beside(&folder.path().join("settings.toml"));
        for path in [&dead, &living, &folder.path().join(".new"), &folder.path().join("x.1.new")] {
            write_private(path, b"").unwrap();
        }
        assert_eq!(unfinished(folder.path()), [dead]);
        remove_at_once(&living).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
