//! Noticing that a file in a folder is complete, while others are still written: inotify's `IN_CLOSE_WRITE`.

use std::collections::HashSet;
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
    seen: HashSet<String>,
}

impl FolderWatch {
    pub fn start(folder: &Path) -> Result<Self> {
        let queue =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).context("cannot use inotify")?;
        inotify::add_watch(&queue, folder, WatchFlags::CLOSE_WRITE)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        Ok(FolderWatch { queue, seen: HashSet::new() })
    }

    /// The names of the files that became complete since the last call, each once.
    ///
    /// Events may get lost when there are very many at once; whoever needs all files lists the folder at the end.
    pub fn completed(&mut self) -> Result<Vec<String>> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        let mut names = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok()).map(str::to_owned);
                    if let Some(name) = name.filter(|_| event.events().contains(ReadFlags::CLOSE_WRITE)) {
                        if self.seen.insert(name.clone()) {
                            names.push(name);
                        }
                    }
                }
                Err(Errno::WOULDBLOCK) => return Ok(names),
                Err(error) => return Err(error).context("cannot read from inotify"),
            }
        }
    }

    /// Whether [`Self::completed`] has told of `name`.
    pub fn has_told(&self, name: &str) -> bool {
        self.seen.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_told_when_it_is_closed_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::start(folder.path()).unwrap();
        let mut file = tempfile::Builder::new().prefix("7").tempfile_in(folder.path()).unwrap();
        file.write_all(b"half").unwrap();
        assert!(watch.completed().unwrap().is_empty());
        let path = file.into_temp_path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(watch.completed().unwrap(), [name]);
        assert!(watch.completed().unwrap().is_empty());
    }
}
