//! Room on a disk, what a folder takes, the files in it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Bytes that everything below `folder` takes on the disk; what has several names there counts once.
pub fn disk_use(folder: &Path) -> u64 {
    disk_use_without(folder, &[])
}

/// The same as if the paths of `without` were not there.
pub fn disk_use_without(folder: &Path, without: &[&Path]) -> u64 {
    let mut total = 0;
    add_disk_use(folder, without, &mut HashSet::new(), &mut total);
    total
}

fn add_disk_use(path: &Path, without: &[&Path], seen: &mut HashSet<(u64, u64)>, total: &mut u64) {
    if without.contains(&path) {
        return;
    }
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if metadata.nlink() < 2 || metadata.is_dir() || seen.insert((metadata.dev(), metadata.ino())) {
        // st_blocks counts 512 bytes (stat(2)), whatever the file system's blocks are.
        *total += metadata.blocks() * 512;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            add_disk_use(&entry.path(), without, seen, total);
        }
    }
}

/// The room on a file system, bytes.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// For a process without privileges.
    pub free: u64,
    pub total: u64,
}

impl Space {
    /// What must stay free: a Postgres server that cannot write its log stops.
    pub fn reserve(self) -> u64 {
        (self.total / 20).min(MOST_RESERVED)
    }
}

const MOST_RESERVED: u64 = 1_000_000_000;

/// The room on the file system of `path`.
pub fn space(path: &Path) -> Result<Space> {
    let stat = rustix::fs::statvfs(path)
        .with_context(|| format!("cannot ask for the free space of {}", path.display()))?;
    Ok(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
}

/// Every plain file below `folder` as (path relative to it, size), sorted; anything else in there is an error.
pub fn plain_files(folder: &Path) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    collect_files(folder, "", &mut found).with_context(|| format!("cannot read {}", folder.display()))?;
    found.sort();
    Ok(found)
}

fn collect_files(folder: &Path, prefix: &str, found: &mut Vec<(String, u64)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { bail!("a file name that is not UTF-8: {}", name.display()) };
        let metadata = match entry.metadata() {
            // Gone again: another run's file that was being written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if metadata.is_dir() {
            collect_files(&entry.path(), &format!("{prefix}{name}/"), found)?;
        } else if metadata.is_file() {
            found.push((format!("{prefix}{name}"), metadata.len()));
        } else {
            bail!("{prefix}{name} is neither a file nor a folder");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::*;

    #[test]
    fn what_is_left_out_takes_no_room_and_what_it_shares_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["stays", "goes"] {
            create_private_folder(&path(name)).unwrap();
        }
        write_private(&path("goes/own"), "x".repeat(100_000).as_bytes()).unwrap();
        write_private(&path("goes/shared"), "x".repeat(50_000).as_bytes()).unwrap();
        link(&path("goes/shared"), &path("stays/shared")).unwrap();
        let (all, less) = (disk_use(folder.path()), disk_use_without(folder.path(), &[&path("goes")]));
        assert!(all - less >= 100_000 && less >= 50_000, "{all} and {less}");
    }
}
