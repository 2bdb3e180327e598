//! A folder for work in progress, locked so that nobody takes its owner for dead, and gone when that is done.

use std::path::PathBuf;

use anyhow::Result;

use crate::backup_id::BackupId;
use crate::dokku::Service;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::lock::BackupLock;

const TRIES: usize = 5;

/// Named after the backup that the work is about.
#[derive(Debug)]
pub struct Scratch {
    pub name: String,
    pub folder: PathBuf,
    _lock: BackupLock,
}

impl Scratch {
    pub fn begin(host: &Host<'_>, service: &Service, backup: &BackupId) -> Result<Self> {
        let place = service.layout.scratch();
        files::create_private_folders_in(service.layout.root(), &place)?;
        // Between its making and its locking, a folder may be taken for a dead run's: then the next one is tried.
        for _ in 0..TRIES {
            let id = host.new_id()?;
            let suffix = id.as_str().rsplit('-').next().unwrap_or_default();
            let name = format!("{backup}-{suffix}");
            let folder = place.join(&name);
            files::create_private_folder(&folder)?;
            if let Ok(Some(lock)) = BackupLock::exclusive(&folder) {
                if folder.is_dir() {
                    return Ok(Scratch { name, folder, _lock: lock });
                }
            }
        }
        Err(Failure::failed(format!("no scratch folder could be made in {}", place.display())).into())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is named and removed by the next run.
        let _ = files::remove_tree(&self.folder);
    }
}
