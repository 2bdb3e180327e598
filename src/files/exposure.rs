//! What of ours others could read or change.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Something of ours that is not ours alone.
#[derive(Debug)]
pub struct Exposure {
    pub path: PathBuf,
    owner: u32,
    mode: u32,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if self.owner == own_user() {
            return write!(f, "others may use it (mode {:o}): chmod go= {path}", self.mode);
        }
        write!(f, "it belongs to user {}: chown {} {path}", self.owner, own_user())
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether we were not allowed to look.
pub fn is_denied(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.into_iter().any(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
}

/// What in `folder`, or itself, belongs to another user, or others may read or write.
pub fn exposed(folder: &Path) -> Result<Vec<Exposure>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata =
            fs::symlink_metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
        // A link has no mode of its own.
        if owner != own_user() || (mode & 0o077 != 0 && !metadata.is_symlink()) {
            found.push(Exposure { path: path.clone(), owner, mode });
        }
        if metadata.is_dir() {
            match fs::read_dir(&path) {
                Ok(entries) => {
                    for entry in entries {
                        open.push(entry.with_context(|| format!("cannot read {}", path.display()))?.path());
                    }
                }
                // That it is somebody else's is said already.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && owner != own_user() => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
    }
    Ok(found)
}
