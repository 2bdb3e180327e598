//! Reading a dump's files once each: SHA-256 of the stored bytes and, on the same pass, the sum of what is inside.
//!
//! A file may be handed in while it is still written, so that `create` is done soon after `pg_dump`, also when there is one
//! table that is larger than all others.

mod content;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::checksum::hex;
use crate::files;
pub use content::Content;
use content::{Sink, holds_data};

/// How long to wait for more of a file that is still written.
const FOLLOW_EVERY: Duration = Duration::from_millis(4);

/// How closely to look at each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The stored bytes only.
    Checksum,
    /// Also decompress table and large object files to their end and sum up what is in them.
    Content,
}

/// What one file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest {
    /// Relative to the folder: `dump/3345.dat.zst`.
    pub name: String,
    pub size: u64,
    /// Lower-case hex, as `sha256sum` prints it.
    pub sha256: String,
    pub content: Content,
}

/// A pool of threads that digests the files it is given. Dropped before it is finished, it stops.
#[derive(Debug)]
pub struct Digester {
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<io::Result<Vec<FileDigest>>>>,
    shared: Arc<Shared>,
    /// Whether each file that was handed in is complete.
    handed_in: HashMap<String, Arc<AtomicBool>>,
}

#[derive(Debug)]
struct Job {
    name: String,
    complete: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    treatment: Treatment,
    waiting: Mutex<Receiver<Job>>,
    done_bytes: AtomicU64,
    stopped: AtomicBool,
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// How a [`Digester`] treats its files.
#[derive(Debug, Clone, Copy)]
pub struct Treatment {
    pub depth: Depth,
    pub threads: usize,
    /// Take group's and others' rights away: `pg_dump` writes with its container's umask.
    pub make_private: bool,
    /// Remove each data file once it is digested, so that a drill's dump needs no room on the disk.
    pub throw_away: bool,
}

impl Treatment {
    /// Only reads.
    pub fn reading(depth: Depth, threads: usize) -> Self {
        Treatment { depth, threads, make_private: false, throw_away: false }
    }
}

impl Digester {
    /// Threads for the files below `folder`.
    pub fn start(folder: &Path, treatment: Treatment) -> Self {
        let (queue, waiting) = channel();
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            treatment,
            waiting: Mutex::new(waiting),
            done_bytes: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let threads = (0..treatment.threads.max(1))
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || work(&shared))
            })
            .collect();
        Digester { queue: Some(queue), threads, shared, handed_in: HashMap::new() }
    }

    /// Hands in a file that is still written, by its name relative to the folder. It is read as it grows, until it is said
    /// to be complete. One that holds no data is waited for: what stands in it may be written last.
    pub fn follow(&mut self, name: &str) {
        if holds_data(name) {
            self.hand_in(name, false);
        }
    }

    /// Hands in a complete file, or says that a followed one is complete.
    pub fn complete(&mut self, name: &str) {
        match self.handed_in.get(name) {
            Some(complete) => complete.store(true, Ordering::Release),
            None => self.hand_in(name, true),
        }
    }

    fn hand_in(&mut self, name: &str, complete: bool) {
        let complete = Arc::new(AtomicBool::new(complete));
        self.handed_in.insert(name.to_owned(), Arc::clone(&complete));
        if let Some(queue) = &self.queue {
            // The threads only end before the queue is dropped when they failed; `finish` tells of that.
            let _ = queue.send(Job { name: name.to_owned(), complete });
        }
    }

    /// Stored bytes read so far.
    pub fn done_bytes(&self) -> u64 {
        self.shared.done_bytes.load(Ordering::Relaxed)
    }

    /// Waits for all files handed in, sorted by name; `tick` is called now and then and may end it with an error.
    pub fn finish(
        mut self,
        mut tick: impl FnMut(u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<FileDigest>> {
        self.queue = None;
        while !self.threads.iter().all(JoinHandle::is_finished) {
            tick(self.done_bytes())?;
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut digests = Vec::new();
        for thread in self.threads.drain(..) {
            let mut found = thread.join().map_err(|_| anyhow::anyhow!("a digesting thread panicked"))??;
            digests.append(&mut found);
        }
        digests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(digests)
    }
}

impl Drop for Digester {
    /// Nobody reads in the folder any more when this is over.
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared) -> io::Result<Vec<FileDigest>> {
    let mut digests = Vec::new();
    loop {
        let next = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { name, complete }) = next else { return Ok(digests) };
        if shared.is_stopped() {
            return Ok(digests);
        }
        let path = shared.folder.join(&name);
        let digest = match digest_file(shared, name.clone(), &complete) {
            Ok(digest) => digest,
            // Of a backup that is only read, a file that cannot be is a damaged one.
            Err(error) if !shared.treatment.make_private => FileDigest {
                name,
                size: 0,
                sha256: String::new(),
                content: Content::Damaged(format!("it cannot be read: {error}")),
            },
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        if shared.treatment.throw_away && !matches!(digest.content, Content::Other) {
            let _ = files::remove_tree(&path);
        }
        digests.push(digest);
    }
}

fn digest_file(shared: &Shared, name: String, complete: &AtomicBool) -> io::Result<FileDigest> {
    let open = if shared.treatment.make_private { files::open_private } else { files::open_inside };
    let mut file = open(&shared.folder, &name)?;
    let mut sink = match shared.treatment.depth {
        Depth::Content => Sink::for_file(&name)?,
        Depth::Checksum => Sink::Other,
    };
    let mut damage = None;
    let mut sha256 = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0u8; 128 * 1024];
    loop {
        // Asked before, since what comes between the end that was read and the answer would be missed.
        let is_complete = complete.load(Ordering::Acquire);
        let count = file.read(&mut buffer)?;
        if shared.is_stopped() || (count == 0 && is_complete) {
            break;
        }
        if count == 0 {
            std::thread::sleep(FOLLOW_EVERY);
            continue;
        }
        sha256.update(&buffer[..count]);
        size += count as u64;
        if damage.is_none() {
            damage = sink.write_all(&buffer[..count]).err();
        }
        shared.done_bytes.fetch_add(count as u64, Ordering::Relaxed);
    }
    let content = match damage {
        Some(error) => Err(error),
        None => sink.finish(size),
    };
    let content = content.unwrap_or_else(|error| Content::Damaged(error.to_string()));
    Ok(FileDigest { name, size, sha256: hex(&sha256.finalize()), content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy_rows::RowSum;
    use std::io::Write as _;

    fn digest(name: &str, bytes: &[u8]) -> FileDigest {
        let folder = tempfile::tempdir().unwrap();
        files::write_private(&folder.path().join(name), bytes).unwrap();
        let mut digester = Digester::start(folder.path(), Treatment::reading(Depth::Content, 2));
        digester.complete(name);
        digester.finish(|_| Ok(())).unwrap().remove(0)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn rows() -> Vec<u8> {
        let mut rows: Vec<u8> =
            (0..20_000).flat_map(|n| format!("{n}\tcow {}\n", n * 7919).into_bytes()).collect();
        rows.extend(b"\\.\n\n\n");
        rows
    }

    #[test]
    fn the_sum_is_of_the_rows_however_they_are_compressed() {
        let plain = digest("7.dat", &rows());
        let zstd = digest("7.dat.zst", &zstd::encode_all(&rows()[..], 3).unwrap());
        let gzip = digest("7.dat.gz", &gzip(&rows()));
        assert!(matches!(plain.content, Content::Rows(RowSum { rows: 20_000, .. })), "{plain:?}");
        assert_eq!(plain.content, zstd.content);
        assert_eq!(plain.content, gzip.content);
    }

    #[test]
    fn a_file_that_grows_is_read_to_its_end_and_nothing_else_is_held_up() {
        let folder = tempfile::tempdir().unwrap();
        let whole = zstd::encode_all(&rows()[..], 3).unwrap();
        let start = || Digester::start(folder.path(), Treatment::reading(Depth::Content, 1));
        let blank = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
        let mut growing = blank.persist(folder.path().join("7.dat.zst")).unwrap();
        let mut digester = start();
        digester.follow("blobs_1.toc");
        digester.follow("7.dat.zst");
        let mut written = 0;
        for part in whole.chunks(whole.len() / 7) {
            growing.write_all(part).unwrap();
            written += part.len() as u64;
            // For ever, if it waits for the end.
            while digester.done_bytes() < written {
                std::thread::sleep(FOLLOW_EVERY);
            }
        }
        files::write_private(&folder.path().join("blobs_1.toc"), b"5 blob_5.dat\n").unwrap();
        digester.complete("7.dat.zst");
        digester.complete("blobs_1.toc");
        let digests = digester.finish(|_| Ok(())).unwrap();
        assert_eq!(digests[0], digest("7.dat.zst", &whole));
        assert_eq!(digests[1].size, 13, "not before it was complete");
        // One that never is complete does not keep anybody who gives up.
        let mut given_up = start();
        given_up.follow("7.dat.zst");
        drop(given_up);
    }

    #[test]
    fn a_cut_or_flipped_file_is_damaged_and_its_checksum_still_told() {
        for (name, whole) in
            [("7.dat.zst", zstd::encode_all(&rows()[..], 3).unwrap()), ("7.dat.gz", gzip(&rows()))]
        {
            for length in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
                let cut = digest(name, &whole[..length]);
                assert!(matches!(cut.content, Content::Damaged(_)), "{name} at {length}: {cut:?}");
            }
        }
        let flipped = digest("blob_5.dat.gz", &[0x1f, 0x8b, 0, 0]);
        assert!(matches!(flipped.content, Content::Damaged(_)));
        assert_eq!(flipped.sha256.len(), 64);
    }

    #[test]
    fn large_objects_and_other_files_are_told_apart() {
        let object = digest("blob_16501.dat", b"abc");
        assert!(matches!(object.content, Content::LargeObject { oid: 16501, bytes: 3, .. }));
        let empty = digest("blob_5.dat.zst", b"");
        assert!(matches!(empty.content, Content::LargeObject { oid: 5, bytes: 0, .. }));
        assert_eq!(digest("toc.dat", b"PGDMP").content, Content::Other);
        assert_eq!(digest("blobs.toc", b"5 blob_5.dat\n").content, Content::Other);
    }
}
