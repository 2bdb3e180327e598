//! Opening what others may have put there: no link is followed, no pipe waited for, nothing read beyond a limit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};

use super::PRIVATE_FILE;

/// Nothing is followed and nobody is waited for: opening a pipe would wait for its other end.
const WARY: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

fn wary() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(WARY.bits().cast_signed());
    options
}

fn plain(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a plain file")) }
}

/// Opens a plain file (not a link, a pipe or a device) for reading.
pub fn open_plain(path: &Path) -> io::Result<File> {
    wary().read(true).open(path).and_then(plain)
}

/// Opens the plain file `name` below `folder`, for reading. No folder on the way may be a link either.
pub fn open_inside(folder: &Path, name: &str) -> io::Result<File> {
    let mut at = File::open(folder)?;
    let mut parts = Path::new(name).components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(part) = part else {
            return Err(io::Error::other("it leads out of its folder"));
        };
        let more = if parts.peek().is_some() { OFlags::DIRECTORY } else { OFlags::empty() };
        at = File::from(rustix::fs::openat(&at, part, WARY | OFlags::RDONLY | more, Mode::empty())?);
    }
    plain(at)
}

/// Opens a folder, to hold a lock on it.
pub fn open_folder(path: &Path) -> io::Result<File> {
    let flags = WARY | OFlags::DIRECTORY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Reads a file of at most `limit` bytes that is a plain file.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let shown = || path.display().to_string();
    let mut file = open_plain(path).with_context(shown)?;
    let metadata = file.metadata().with_context(shown)?;
    if metadata.len() > limit {
        bail!("{} is larger than it can be ({} bytes)", path.display(), metadata.len());
    }
    let mut bytes = vec![0; usize::try_from(metadata.len())?];
    file.read_exact(&mut bytes).with_context(shown)?;
    Ok(bytes)
}

/// As [`open_inside`]; group's and others' rights are taken away.
pub fn open_private(folder: &Path, name: &str) -> io::Result<File> {
    let file = open_inside(folder, name)?;
    if file.metadata()?.permissions().mode() & 0o777 != PRIVATE_FILE {
        file.set_permissions(fs::Permissions::from_mode(PRIVATE_FILE))?;
    }
    Ok(file)
}

/// Opens (or makes) a file to hold a lock on. On a disk that can only be read it is locked all the same: a restore needs
/// no more of it.
pub fn open_lock_file(path: &Path) -> Result<File> {
    wary()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(path)
        .or_else(|error| {
            let can_be_read = error.kind() == io::ErrorKind::ReadOnlyFilesystem;
            if can_be_read { wary().read(true).open(path) } else { Err(error) }
        })
        .and_then(plain)
        .with_context(|| format!("cannot open the lock {}", path.display()))
}

/// Appends a line to a file, 0600. One write, so that lines of two runs do not mix.
pub fn append_line(path: &Path, line: &str) -> Result<()> {
    let open = wary().append(true).create(true).mode(PRIVATE_FILE).open(path).and_then(plain);
    let write = |mut file: File| file.write_all(format!("{line}\n").as_bytes());
    open.and_then(write).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::*;

    #[test]
    fn nothing_but_plain_files_is_opened_and_nobody_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let (folder, path) = (root.path().join("folder"), |name: &str| root.path().join("folder").join(name));
        create_private_folders(&path("real")).unwrap();
        write_private(&path("real/file"), b"x").unwrap();
        write_private(&root.path().join("outside"), b"x").unwrap();
        std::os::unix::fs::symlink("real", path("way")).unwrap();
        std::os::unix::fs::symlink("real/file", path("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert!(open_inside(&folder, "real/file").is_ok() && open_plain(&path("real/file")).is_ok());
        assert!(open_folder(&path("real")).is_ok());
        for name in
            ["real", "way/file", "link", "zero", "pipe", "socket", "../outside", "real/../real/file", "", "."]
        {
            assert!(open_inside(&folder, name).is_err(), "{name}");
        }
        for name in ["link", "zero", "pipe", "socket"] {
            assert!(open_plain(&path(name)).is_err(), "{name}");
            assert!(open_lock_file(&path(name)).is_err(), "{name}");
            assert!(append_line(&path(name), "x").is_err(), "{name}");
            assert!(open_folder(&path(name)).is_err(), "{name}");
        }
        assert!(open_folder(&path("way")).is_err() && open_folder(&path("real/file")).is_err());
        assert!(open_private(&folder, "link").is_err());
        assert_eq!(fs::read(path("real/file")).unwrap(), b"x");
    }

    #[test]
    fn links_and_giants_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        write_private(&file, b"12345").unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
        assert!(read_bounded(&file, 4).is_err());
        assert!(read_bounded(&folder.path().join("link"), 9).is_err());
        assert_eq!(read_bounded(&file, 5).unwrap(), b"12345");
        assert!(plain_files(folder.path()).is_err());
    }
}
