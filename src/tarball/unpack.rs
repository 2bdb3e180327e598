//! A tar stream from elsewhere: nothing leaves its folder, nothing is more than allowed, the end is there.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::EntryType;

use crate::files;

use super::BLOCK;

/// Other tools fill the end up to their own blocks.
const MOST_PADDING: u64 = 1024 * 1024;
/// Names that are too long for a header come before it as contents, which are held in memory whole.
const MOST_HEADERS: u64 = 1024 * 1024;
/// Deeper than any backup or dump.
const DEEPEST: usize = 16;

/// What an archive may hold at the most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all files together, with a block more for each file and each folder.
    pub bytes: u64,
    /// Files and folders.
    pub files: usize,
}

/// Unpacks a stream of plain files and folders into `folder`, which is there and empty. Whatever leads out of it, is a
/// link or a device, comes twice, or goes beyond the limits is refused, and so is a stream without an end.
///
/// Returns the paths of the files below `folder`.
pub fn unpack(input: impl Read, folder: &Path, limits: Limits) -> Result<BTreeSet<String>> {
    let headers = Headers::default();
    let mut counted = Counted { input, count: 0, headers: &headers };
    let mut archive = tar::Archive::new(&mut counted);
    let mut taken = Taken::default();
    let mut end_of_last = 0u64;
    for entry in archive.entries()? {
        let mut entry = entry.context("the archive is damaged or cut off")?;
        headers.begin();
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = inner_path(&raw)?;
        end_of_last = end_of(&entry);
        match entry.header().entry_type() {
            EntryType::Directory => {
                taken.folders(&path, limits)?;
                files::create_private_folders_in(folder, &folder.join(&path))?;
                continue;
            }
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::XGlobalHeader => continue,
            _ => bail!("{raw:?} in the archive is neither a file nor a folder"),
        }
        taken.file(&path, entry.size(), limits)?;
        let target = folder.join(&path);
        if let Some(parent) = target.parent() {
            files::create_private_folders_in(folder, parent)?;
        }
        let mut file = files::create_private_file(&target)
            .with_context(|| format!("{raw:?} in the archive cannot be unpacked"))?;
        let copied = headers.contents(|| io::copy(&mut entry, &mut file));
        if copied.context("the archive is damaged or cut off")? != entry.size() {
            bail!("the archive is cut off in {raw:?}");
        }
    }
    counted.await_end(end_of_last)?;
    Ok(taken.files)
}

/// Reads a stream to its end and fails when that is missing.
pub fn check(input: impl Read) -> Result<()> {
    let headers = Headers::default();
    let mut counted = Counted { input, count: 0, headers: &headers };
    let mut archive = tar::Archive::new(&mut counted);
    let mut end_of_last = 0u64;
    for entry in archive.entries()? {
        let mut entry = entry.context("the archive is damaged or cut off")?;
        headers.begin();
        end_of_last = end_of(&entry);
        let copied = headers.contents(|| io::copy(&mut entry, &mut io::sink()));
        if copied.context("the archive is damaged or cut off")? != entry.size() {
            bail!("the archive is cut off");
        }
    }
    counted.await_end(end_of_last)
}

/// Where in the stream the blocks of an entry end.
fn end_of(entry: &tar::Entry<'_, impl Read>) -> u64 {
    let blocks = entry.size().div_ceil(BLOCK).saturating_mul(BLOCK);
    entry.raw_file_position().saturating_add(blocks)
}

/// What was taken out of a stream so far.
#[derive(Default)]
struct Taken {
    files: BTreeSet<String>,
    /// Also those that no entry names, but a path leads through.
    folders: BTreeSet<PathBuf>,
    bytes: u64,
}

impl Taken {
    /// `path` and the folders above it. An empty one takes room on the disk, too; a block is what it takes of a stream.
    fn folders(&mut self, path: &Path, limits: Limits) -> Result<()> {
        for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            if self.folders.insert(folder.to_owned()) {
                self.bytes = self.bytes.saturating_add(BLOCK);
            }
        }
        self.within(limits)
    }

    fn file(&mut self, path: &Path, size: u64, limits: Limits) -> Result<()> {
        self.bytes = self.bytes.saturating_add(size).saturating_add(BLOCK);
        self.files.insert(path.to_string_lossy().into_owned());
        self.folders(path.parent().unwrap_or(Path::new("")), limits)
    }

    fn within(&self, limits: Limits) -> Result<()> {
        if self.bytes > limits.bytes || self.files.len() + self.folders.len() > limits.files {
            bail!(
                "the archive holds more than it may ({} bytes, {} files and folders)",
                limits.bytes,
                limits.files
            );
        }
        Ok(())
    }
}

/// `./a/b` → `a/b`; anything that leads elsewhere is an error.
fn inner_path(raw: &str) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(raw).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => bail!("{raw:?} in the archive leads out of its folder"),
        }
    }
    if path.components().count() > DEEPEST || raw.chars().any(char::is_control) {
        bail!("{raw:?} in the archive is no path of a backup");
    }
    Ok(path)
}

/// How much may still be read before the contents of the next file begin.
struct Headers {
    left: Cell<u64>,
}

impl Default for Headers {
    fn default() -> Self {
        Headers { left: Cell::new(MOST_HEADERS) }
    }
}

impl Headers {
    fn begin(&self) {
        self.left.set(MOST_HEADERS);
    }

    /// Reads a file's contents, which no allowance limits.
    fn contents<T>(&self, read: impl FnOnce() -> T) -> T {
        self.left.set(u64::MAX);
        let read = read();
        self.begin();
        read
    }
}

/// Knows how long the stream was, and how much of it in a row was no file's contents.
struct Counted<'a, R> {
    input: R,
    count: u64,
    headers: &'a Headers,
}

impl<R: Read> Counted<'_, R> {
    fn await_end(&mut self, end_of_last: u64) -> Result<()> {
        let headers = self.headers;
        headers.contents(|| io::copy(&mut self.take(MOST_PADDING), &mut io::sink()))?;
        if self.count < end_of_last.saturating_add(2 * BLOCK) {
            bail!("the archive is cut off: its end is missing");
        }
        Ok(())
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count += count as u64;
        let Some(left) = self.headers.left.get().checked_sub(count as u64) else {
            let why = "its headers are larger than they may be";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        };
        self.headers.left.set(left);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tarball::header;
    use tar::{Builder, Header};

    const LIMITS: Limits = Limits { bytes: 1_000_000, files: 10 };

    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = header(*kind, 0o644, content.len() as u64, 0);
            // The name as it is: the builder would refuse those that lead out.
            let gnu = header.as_gnu_mut().unwrap();
            gnu.name[..name.len()].copy_from_slice(name.as_bytes());
            if kind.is_symlink() {
                gnu.linkname[..4].copy_from_slice(b"/etc");
            }
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Result<BTreeSet<String>> {
        let folder = tempfile::tempdir().unwrap();
        unpack(bytes, folder.path(), LIMITS)
    }

    #[test]
    fn plain_files_come_out() {
        let bytes = archive(&[("./a/", EntryType::Directory, b""), ("./a/b", EntryType::Regular, b"x")]);
        assert_eq!(unpacked(&bytes).unwrap(), BTreeSet::from(["a/b".to_owned()]));
    }

    #[test]
    fn what_leads_out_or_is_no_file_is_refused() {
        for (name, kind) in [
            ("../x", EntryType::Regular),
            ("/x", EntryType::Regular),
            ("a/../../x", EntryType::Regular),
            ("x", EntryType::Symlink),
            ("x", EntryType::Fifo),
            ("x", EntryType::Char),
            ("x\u{1b}", EntryType::Regular),
        ] {
            assert!(unpacked(&archive(&[(name, kind, b"")])).is_err(), "{name:?} {kind:?}");
        }
        let twice = archive(&[("x", EntryType::Regular, b"1"), ("x", EntryType::Regular, b"2")]);
        assert!(unpacked(&twice).is_err());
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_is_refused() {
        let bytes = archive(&[("a", EntryType::Regular, &[7; 1500]), ("b", EntryType::Regular, &[0; 2048])]);
        assert!(unpacked(&bytes).is_ok());
        for cut in 0..bytes.len() {
            assert!(unpacked(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn no_archive_fills_the_disk() {
        let bytes = archive(&[("a", EntryType::Regular, &[0; 4096])]);
        let folder = tempfile::tempdir().unwrap();
        assert!(unpack(&bytes[..], folder.path(), Limits { bytes: 4095, files: 9 }).is_err());
    }

    #[test]
    fn folders_fill_no_disk_either() {
        let names: Vec<String> = (0..6).map(|number| format!("{number}/deep/")).collect();
        let entries: Vec<_> =
            names.iter().map(|name| (name.as_str(), EntryType::Directory, &b""[..])).collect();
        let bytes = archive(&entries);
        let unpacked = |limits| unpack(&bytes[..], tempfile::tempdir().unwrap().path(), limits);
        assert!(unpacked(Limits { bytes: 12 * BLOCK, files: 12 }).is_ok());
        assert!(unpacked(Limits { bytes: 12 * BLOCK, files: 11 }).is_err());
        assert!(unpacked(Limits { bytes: 12 * BLOCK - 1, files: 12 }).is_err());
        let hidden = archive(&[("a/b/c/d", EntryType::Regular, b"")]);
        let folder = tempfile::tempdir().unwrap();
        assert!(unpack(&hidden[..], folder.path(), Limits { bytes: 10_000, files: 3 }).is_err());
    }

    #[test]
    fn what_is_as_large_as_its_stream_comes_out() {
        let bytes = archive(&[("a/", EntryType::Directory, b""), ("a/b", EntryType::Regular, b"x")]);
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: bytes.len() as u64, files: 2 };
        assert!(unpack(&bytes[..], folder.path(), limits).is_ok());
    }

    #[test]
    fn headers_fill_no_memory() {
        for kind in
            [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader]
        {
            let header = header_of("x", kind, 1_000_000_000);
            let read = Cell::new(0);
            let zeros =
                |limit| Watched { input: header.as_bytes().chain(io::repeat(0)).take(limit), read: &read };
            let folder = tempfile::tempdir().unwrap();
            let error = unpack(zeros(1_100_000_000), folder.path(), LIMITS).unwrap_err();
            assert!(format!("{error:#}").contains("headers are larger"), "{kind:?}: {error:#}");
            assert!(read.get() < 2 * MOST_HEADERS, "{kind:?}: {} bytes were read", read.get());
            read.set(0);
            // Contents of a kind that is no header to the reader are passed over and never held.
            if kind != EntryType::XGlobalHeader {
                assert!(check(zeros(1_100_000_000)).is_err());
                assert!(read.get() < 2 * MOST_HEADERS, "{kind:?}: {} bytes were read", read.get());
            }
        }
        // A long name comes through, and so do contents behind it.
        let long = format!("{}/{}", "a".repeat(150), "b".repeat(150));
        let mut tar = Builder::new(Vec::new());
        let content = vec![7; 900_000];
        tar.append_data(&mut header(EntryType::Regular, 0o600, 900_000, 0), &long, &content[..]).unwrap();
        assert_eq!(unpacked(&tar.into_inner().unwrap()).unwrap(), BTreeSet::from([long]));
    }

    fn header_of(name: &str, kind: EntryType, size: u64) -> Header {
        let mut header = header(kind, 0o644, size, 0);
        header.set_path(name).unwrap();
        header.set_cksum();
        header
    }

    struct Watched<'a, R> {
        input: R,
        read: &'a Cell<u64>,
    }

    impl<R: Read> Read for Watched<'_, R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.input.read(buffer)?;
            self.read.set(self.read.get() + count as u64);
            Ok(count)
        }
    }
}
