//! Noticing that a file in a folder is begun and that it is complete, while others are still written: inotify's
//! `IN_CREATE` and `IN_CLOSE_WRITE`.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Watches one folder.
#[derive(Debug)]
pub struct FolderWatch {
    queue: OwnedFd,
}

/// What became of a file, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    Begun(String),
    Complete(String),
}

impl FolderWatch {
    pub fn start(folder: &Path) -> Result<Self> {
        let queue =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).context("cannot use inotify")?;
        inotify::add_watch(&queue, folder, WatchFlags::CREATE | WatchFlags::CLOSE_WRITE)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        Ok(FolderWatch { queue })
    }

    /// What has happened since the last call.
    ///
    /// Events may get lost when there are very many at once; whoever needs all files lists the folder at the end.
    pub fn noticed(&mut self) -> Result<Vec<Noticed>> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        let mut noticed = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let Some(name) = event.file_name().and_then(|name| name.to_str().ok()) else { continue };
                    if event.events().contains(ReadFlags::CREATE) {
                        noticed.push(Noticed::Begun(name.to_owned()));
                    }
                    if event.events().contains(ReadFlags::CLOSE_WRITE) {
                        noticed.push(Noticed::Complete(name.to_owned()));
                    }
                }
                Err(Errno::WOULDBLOCK) => return Ok(noticed),
                Err(error) => return Err(error).context("cannot read from inotify"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_told_when_it_is_begun_and_when_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::start(folder.path()).unwrap();
        let mut file = tempfile::Builder::new().prefix("7").tempfile_in(folder.path()).unwrap();
        file.write_all(b"half").unwrap();
        let name = file.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(watch.noticed().unwrap(), [Noticed::Begun(name.clone())]);
        let _path = file.into_temp_path();
        assert_eq!(watch.noticed().unwrap(), [Noticed::Complete(name)]);
        assert!(watch.noticed().unwrap().is_empty());
    }
}
