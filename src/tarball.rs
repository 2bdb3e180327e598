//! A backup as one tar stream: the same to the byte each time it is written, and read back with suspicion.
//!
//! The stream holds one folder, named by the backup's id: `SHA256SUMS` and `manifest.toml` first, then what they seal.
//! Records that are made later (`verified.toml`, `pinned.toml`) stay at home.

mod unpack;

use std::io::{self, Read, Write};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::catalog::Backup;
use crate::checksum::hex;
use crate::error::Failure;
use crate::files;
use crate::layout;
use crate::manifest;
pub use unpack::{Limits, check, unpack};

/// tar(5): headers and contents are in blocks of this size, and two empty ones end the stream.
const BLOCK: u64 = 512;

/// A backup's files in the order of the stream, with what each must hold. Nothing seals the checksums themselves.
fn parts(backup: &Backup) -> Result<Vec<Part>> {
    let sums = manifest::read_checksums(&backup.folder);
    let mut sealed: Vec<Part> = sums
        .map_err(|error| damaged(backup, &format!("{error:#}")))?
        .into_iter()
        .map(|sum| Part { name: sum.name, sha256: Some(sum.sha256) })
        .collect();
    sealed.sort_by(|a, b| (a.name != layout::MANIFEST, &a.name).cmp(&(b.name != layout::MANIFEST, &b.name)));
    sealed.insert(0, Part { name: layout::CHECKSUMS.to_owned(), sha256: None });
    Ok(sealed)
}

/// One file of the stream.
struct Part {
    /// Its path below the backup's folder.
    name: String,
    sha256: Option<String>,
}

/// Writes the backup, with the two empty blocks at its end. A stream without them was cut off, or a file was not as its
/// checksum says.
pub fn write<W: Write>(backup: &Backup, out: W) -> Result<W> {
    let mut tar = Builder::new(Fused { out, blown: false });
    tar.mode(tar::HeaderMode::Deterministic);
    let written = append_all(&mut tar, backup);
    // Whatever becomes of it, the builder writes an end.
    tar.get_mut().blown = written.is_err();
    written?;
    Ok(tar.into_inner()?.out)
}

fn append_all<W: Write>(tar: &mut Builder<W>, backup: &Backup) -> Result<()> {
    let id = backup.id.as_str();
    let mtime = u64::try_from(backup.manifest.started_at.timestamp()).unwrap_or(0);
    for folder in [format!("{id}/"), format!("{id}/{}/", layout::DUMP)] {
        tar.append_data(&mut header(EntryType::Directory, 0o700, 0, mtime), folder, io::empty())?;
    }
    for part in parts(backup)? {
        append(tar, backup, &part, mtime)?;
    }
    Ok(())
}

fn append<W: Write>(tar: &mut Builder<W>, backup: &Backup, part: &Part, mtime: u64) -> Result<()> {
    let Part { name, sha256 } = part;
    let of = || format!("{name} of backup {}", backup.id);
    let file = present(backup, name, files::open_inside(&backup.folder, name))?;
    let metadata = file.metadata().with_context(of)?;
    let mut exactly =
        Exactly { input: file, left: metadata.len(), hasher: Sha256::new(), sha256: sha256.as_deref() };
    let mut header = header(EntryType::Regular, 0o600, metadata.len(), mtime);
    let appended = tar.append_data(&mut header, format!("{}/{name}", backup.id), &mut exactly);
    // Also of an empty file, of which nothing was read.
    if exactly.left == 0 && exactly.differs() {
        return Err(damaged(backup, &format!("{name}: its content changed (the SHA-256 differs)")));
    }
    appended.with_context(of)
}

/// What was found where a file must be.
fn present<T>(backup: &Backup, name: &str, found: io::Result<T>) -> Result<T> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(damaged(backup, &format!("{name}: is missing")))
        }
        found => found.map_err(|error| damaged(backup, &format!("{name}: it cannot be read: {error}"))),
    }
}

fn damaged(backup: &Backup, what: &str) -> anyhow::Error {
    Failure::refused(format!("backup {} is damaged: {what}", backup.id))
        .hint(format!("choose another one: dokku pgbackup:list {}", backup.manifest.service))
        .blames_data(true)
        .into()
}

/// Swallows everything once it is blown.
struct Fused<W> {
    out: W,
    blown: bool,
}

impl<W: Write> Write for Fused<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.blown { Ok(bytes.len()) } else { self.out.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.blown { Ok(()) } else { self.out.flush() }
    }
}

/// Bytes of the whole stream.
pub fn size(backup: &Backup) -> Result<u64> {
    let mut total = 2 * BLOCK + 2 * BLOCK;
    for Part { name, .. } in parts(backup)? {
        let found = files::open_inside(&backup.folder, &name).and_then(|file| file.metadata());
        let metadata = present(backup, &name, found)?;
        total += BLOCK + metadata.len().div_ceil(BLOCK) * BLOCK;
    }
    Ok(total)
}

fn header(kind: EntryType, mode: u32, size: u64, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A file that must have as many bytes as it had when its header was written, and those that its checksum is of. The last
/// of them are only given out when it is: so whoever unpacks the stream notices a damaged file by its being cut off.
struct Exactly<'a, R> {
    input: R,
    left: u64,
    hasher: Sha256,
    sha256: Option<&'a str>,
}

impl<R> Exactly<'_, R> {
    fn differs(&self) -> bool {
        self.sha256.is_some_and(|expected| hex(&self.hasher.clone().finalize()) != expected)
    }
}

impl<R: Read> Read for Exactly<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        self.left -= count as u64;
        self.hasher.update(&buffer[..count]);
        if count > 0 && self.left == 0 && self.differs() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
        }
        Ok(count)
    }
}
