//! Files and folders of ours: modes, atomic writes, durability, removal, free space.

#![expect(clippy::disallowed_methods, reason = "this file owns changes to the file system")]

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};

use crate::process;

const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
const READABLE_FILE: u32 = 0o644;

/// Makes `path` and the folders above it that are missing, each 0700.
pub fn create_private_folders(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Makes `path`, which must not exist, 0700.
pub fn create_private_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(PRIVATE_FOLDER)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Writes a new file, 0600. Durable only after `make_durable` or [`write_atomic`]'s steps.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(PRIVATE_FILE).open(path);
    opened
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// From now on, whatever this process makes by other hands (a library's) is for its user alone.
pub fn write_for_us_alone() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// A new file, 0600, to be written bit by bit; one that is there already is an error. Durable as [`write_private`].
pub fn create_private_file(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces `path` by `bytes` in one step: after a crash there is the old content or the new.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, true)
}

/// The same for what need not survive a crash of the machine: readers see the old content or the new.
pub fn write_atomic_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], durably: bool) -> Result<()> {
    let beside = beside(path);
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&beside)?;
        file.write_all(bytes)?;
        if durably {
            file.sync_all()?;
        }
        fs::rename(&beside, path)
    };
    let written = write().and_then(|()| if durably { sync_parent(path) } else { Ok(()) });
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        anyhow::Error::from(error).context(format!("cannot write {}", path.display()))
    })
}

/// Of this process alone: two runs may write the same file at once.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Renames within one folder and makes that durable: the only way in which a backup appears or disappears.
pub fn rename_durably(from: &Path, to: &Path) -> Result<()> {
    let renamed = fs::rename(from, to).and_then(|()| sync_parent(to));
    renamed.with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
}

/// Moves a file or a folder: by a rename, or to another file system by a copy that appears whole, and only then the
/// original goes.
pub fn move_folder(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Ok(()) => {}
        // What something is mounted on is busy.
        Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::ResourceBusy) => {
            return copy_away(from, to);
        }
        Err(error) => return Err(error).with_context(|| moving(from, to)),
    }
    sync_parent(to).and_then(|()| sync_parent(from)).with_context(|| moving(from, to))
}

fn copy_away(from: &Path, to: &Path) -> Result<()> {
    let beside = beside(to);
    remove_tree(&beside)?;
    let copied = copy(from, &beside)
        .and_then(|()| sync_folder_tree(&beside))
        .and_then(|()| rename_durably(&beside, to).with_context(|| moving(from, to)));
    if let Err(error) = copied {
        // What cannot be removed now only takes room.
        let _ = remove_tree(&beside);
        return Err(error);
    }
    remove_at_once(from)
}

/// Removes what must not be found half-removed, for that might look whole: its name goes first, by one rename.
fn remove_at_once(path: &Path) -> Result<()> {
    let doomed = beside(path);
    match fs::rename(path, &doomed) {
        // What something is mounted on can be emptied, and no more.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let entries = entries.with_context(|| format!("cannot remove {}", path.display()))?;
            entries.iter().try_for_each(|entry| remove_at_once(&entry.path()))
        }
        renamed => {
            let gone = renamed.and_then(|()| sync_parent(path));
            gone.with_context(|| format!("cannot remove {}", path.display()))?;
            remove_tree(&doomed)
        }
    }
}

/// What dead processes have left in `folder` of what they wrote, copied or removed there.
pub fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let is_left = |path: &PathBuf| writer(path).is_some_and(|pid| process::start_time(pid).is_none());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_left).collect()
}

/// The process whose work this is, if it has a name by [`beside`].
fn writer(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(".new")?;
    name.rsplit_once('.')?.1.parse().ok()
}

fn moving(from: &Path, to: &Path) -> String {
    format!("cannot move {} to {}", from.display(), to.display())
}

/// Files that are one file with several names stay that. What is neither a file nor a folder is an error: it would be
/// lost.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut copies: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut open = vec![(from.to_owned(), to.to_owned())];
    while let Some((source, target)) = open.pop() {
        let context = || moving(&source, &target);
        let metadata = fs::symlink_metadata(&source).with_context(context)?;
        let inode = (metadata.dev(), metadata.ino());
        if metadata.is_dir() {
            create_private_folder(&target)?;
            for entry in fs::read_dir(&source).with_context(context)? {
                let name = entry.with_context(context)?.file_name();
                open.push((source.join(&name), target.join(&name)));
            }
        } else if !metadata.is_file() {
            bail!("{}: it is neither a file nor a folder", moving(&source, &target));
        } else if let Some(copy) = copies.get(&inode) {
            fs::hard_link(copy, &target).with_context(context)?;
        } else {
            fs::copy(&source, &target).with_context(context)?;
            copies.insert(inode, target);
        }
    }
    Ok(())
}

/// What tells a folder from another one that has its path later: device, inode and time of birth.
pub fn identity(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    // Inodes are given anew. Without the time, two folders cannot be told apart.
    let born = metadata.created().with_context(|| format!("the time of birth of {}", path.display()))?;
    let born = born.duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    Ok(format!("{}:{}:{born}", metadata.dev(), metadata.ino()))
}

/// Replaces a file that others may read: metrics.
pub fn write_atomic_readable(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = beside(path);
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(READABLE_FILE).open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(READABLE_FILE))?;
        file.write_all(bytes)?;
        fs::rename(&beside, path)
    };
    write()
        .inspect_err(|_| _ = fs::remove_file(&beside))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file and makes that durable; none there is fine.
pub fn remove_durably(path: &Path) -> Result<()> {
    remove_tree(path)?;
    sync_parent(path).with_context(|| format!("cannot make the removal of {} durable", path.display()))
}

/// Appends a line to a file, 0600. One write, so that lines of two runs do not mix.
pub fn append_line(path: &Path, line: &str) -> Result<()> {
    let open = wary().append(true).create(true).mode(PRIVATE_FILE).open(path).and_then(plain);
    let write = |mut file: File| file.write_all(format!("{line}\n").as_bytes());
    open.and_then(write).with_context(|| format!("cannot write {}", path.display()))
}

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

/// Makes everything written below `folder` durable, however long that takes; durable.rs does it for what may be stopped.
fn sync_folder_tree(folder: &Path) -> Result<()> {
    let opened = File::open(folder)?;
    rustix::fs::syncfs(&opened)
        .with_context(|| format!("cannot make {} durable (is the disk full or failing?)", folder.display()))
}

/// Removes a file or a folder with all in it; nothing there is fine.
pub fn remove_tree(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// Removes a folder that was made for something that then did not come.
pub fn remove_if_empty(folder: &Path) {
    let _ = fs::remove_dir(folder);
}

/// Whether something is there. Not to be allowed to look is an error, and no sign of absence.
pub fn exists(path: &Path) -> Result<bool> {
    path.try_exists().with_context(|| format!("cannot look at {}", path.display()))
}

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

/// What in `folder`, or itself, belongs to another user, or others may read or write.
pub fn exposed(folder: &Path) -> Result<Vec<Exposure>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata =
            fs::symlink_metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
                open.push(entry?.path());
            }
        }
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
        // A link has no mode of its own.
        if owner != own_user() || (mode & 0o077 != 0 && !metadata.is_symlink()) {
            found.push(Exposure { path, owner, mode });
        }
    }
    Ok(found)
}

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

    #[test]
    fn what_is_written_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/file");
        create_private_folders(file.parent().unwrap()).unwrap();
        write_atomic(&file, b"1").unwrap();
        write_atomic(&file, b"2").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"2");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(folder.path().join("a")).unwrap().mode() & 0o777, 0o700);
        assert_eq!(plain_files(folder.path()).unwrap(), [("a/b/file".to_owned(), 1)]);
    }

    #[test]
    fn what_dead_processes_left_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join(format!(".settings.toml.{}.new", u32::MAX));
        let living = beside(&folder.path().join("settings.toml"));
        for path in [&dead, &living, &folder.path().join(".new"), &folder.path().join("x.1.new")] {
            write_private(path, b"").unwrap();
        }
        assert_eq!(unfinished(folder.path()), [dead]);
        remove_at_once(&living).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_cannot_be_copied_is_not_lost_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        create_private_folders(&from.join("a")).unwrap();
        write_private(&from.join("a/file"), b"1").unwrap();
        link(&from.join("a/file"), &from.join("same")).unwrap();
        std::os::unix::fs::symlink("/etc", from.join("link")).unwrap();
        let error = copy_away(&from, &to).unwrap_err().to_string();
        assert!(error.contains("from/link") && error.contains("neither a file nor a folder"), "{error}");
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().flatten().map(|one| one.file_name()).collect();
        assert!(from.join("a/file").exists() && left == ["from"], "{left:?}");
        fs::remove_file(from.join("link")).unwrap();
        copy_away(&from, &to).unwrap();
        assert!(!from.exists());
        let inode = |name: &str| fs::metadata(to.join(name)).unwrap().ino();
        assert_eq!(inode("a/file"), inode("same"));
        copy_away(&to.join("same"), &to.join("b")).unwrap();
        assert_eq!(fs::read(to.join("b")).unwrap(), b"1");
    }

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
