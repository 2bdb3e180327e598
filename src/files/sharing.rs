//! Letting equal files share their bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{beside, open_plain};

/// A second name for the same file, on the same file system.
pub fn link(existing: &Path, new: &Path) -> io::Result<()> {
    fs::hard_link(existing, new)
}

/// Makes `new` a hard link to `old` when both hold the same bytes; true when they now share them.
///
/// The bytes are compared, not only their recorded hashes: `old` may have rotted since, and then `new` is the good one.
pub fn share_if_identical(old: &Path, new: &Path) -> io::Result<bool> {
    let (old_data, new_data) = (fs::symlink_metadata(old)?, fs::symlink_metadata(new)?);
    if !old_data.is_file() || old_data.len() != new_data.len() || old_data.dev() != new_data.dev() {
        return Ok(false);
    }
    if !same_bytes(&mut open_plain(old)?, &mut open_plain(new)?)? {
        return Ok(false);
    }
    let linked = beside(new);
    // Fails where the file system allows no more links to `old`: then the new file simply stays.
    if fs::hard_link(old, &linked).is_err() {
        return Ok(false);
    }
    fs::rename(&linked, new).inspect_err(|_| _ = fs::remove_file(&linked))?;
    Ok(true)
}

fn same_bytes(left: &mut File, right: &mut File) -> io::Result<bool> {
    let (mut a, mut b) = (vec![0u8; 128 * 1024], vec![0u8; 128 * 1024]);
    loop {
        let count = left.read(&mut a)?;
        if count == 0 {
            return Ok(right.read(&mut b)? == 0);
        }
        match right.read_exact(&mut b[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if a[..count] != b[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::*;

    #[test]
    fn only_identical_bytes_are_shared() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write_private(&path("old"), b"same").unwrap();
        write_private(&path("new"), b"same").unwrap();
        write_private(&path("rotten"), b"sane").unwrap();
        assert!(share_if_identical(&path("old"), &path("new")).unwrap());
        assert!(!share_if_identical(&path("rotten"), &path("new")).unwrap());
        let inode = |name: &str| fs::metadata(path(name)).unwrap().ino();
        assert_eq!(inode("old"), inode("new"));
        assert_ne!(inode("rotten"), inode("new"));
        assert_eq!(fs::read(path("new")).unwrap(), b"same");
    }
}
