//! Locks: one writer for each service, one deploy and one practice run for each app, and readers of a backup that keep it
//! from being deleted.
//!
//! `flock(2)` on files that are never renamed or removed while held; the kernel frees them when the process dies.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{self, Failure, Kind};
use crate::files;
use crate::service_name::ServiceName;

/// What a service's lock says while a backup is being made.
pub const CREATE: &str = "pgbackup:create";
/// The same for a restore.
pub const RESTORE: &str = "pgbackup:restore";

/// Held by the one run that may change a service's backups or databases.
#[derive(Debug)]
pub struct ServiceLock {
    _file: File,
}

/// How often somebody who waits looks again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl ServiceLock {
    /// The same, but waits for the holder at most `patience`. `wait` hears the holder's name each time, and may end
    /// it with an error.
    pub fn await_turn(
        path: &Path,
        service: &ServiceName,
        purpose: &str,
        patience: Duration,
        wait: impl FnMut(&anyhow::Error) -> Result<()>,
    ) -> Result<Self> {
        patiently(patience, wait, || Self::take(path, service, purpose))
    }

    /// Takes the lock at once or fails with [`crate::error::Kind::Busy`], naming the holder. `purpose` is what the
    /// holder is doing, for the next one who asks.
    pub fn take(path: &Path, service: &ServiceName, purpose: &str) -> Result<Self> {
        Ok(ServiceLock { _file: take_file(path, service.as_str(), purpose)? })
    }
}

/// Held for an app: by the one hook of its deploys that backs up, or by the one practice run that makes or removes it.
#[derive(Debug)]
pub struct AppLock {
    _file: File,
}

impl AppLock {
    /// As [`ServiceLock::take`].
    pub fn take(path: &Path, app: &str, purpose: &str) -> Result<Self> {
        Ok(AppLock { _file: take_file(path, app, purpose)? })
    }

    /// As [`ServiceLock::await_turn`], however long it takes.
    pub fn await_turn(
        path: &Path,
        app: &str,
        purpose: &str,
        wait: impl FnMut(&anyhow::Error) -> Result<()>,
    ) -> Result<Self> {
        patiently(Duration::MAX, wait, || Self::take(path, app, purpose))
    }
}

fn take_file(path: &Path, name: &str, purpose: &str) -> Result<File> {
    let mut file = files::open_lock_file(path)?;
    if !lock_soon(&file, FlockOperation::NonBlockingLockExclusive)? {
        let mut holder = String::new();
        let _ = (&mut file).take(200).read_to_string(&mut holder);
        let holder = holder.trim();
        let holder = if holder.is_empty() { "another run" } else { holder };
        let hint = if holder.starts_with(RESTORE) {
            // Once more would put aside what that one has just brought back.
            format!("wait for its end and look before you restore again: dokku pgbackup:history {name}")
        } else {
            "wait for that run to end, then type the same command again".to_owned()
        };
        return Err(Failure::busy(format!("{name} is busy: {holder} has it")).hint(hint).into());
    }
    let note = format!("{purpose} (process {})\n", std::process::id());
    // On a full disk there is no room for the note. The lock is held all the same, and a delete makes room.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(note.as_bytes()));
    Ok(file)
}

fn patiently<T>(
    patience: Duration,
    mut wait: impl FnMut(&anyhow::Error) -> Result<()>,
    take: impl Fn() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match take() {
            Err(error) if started.elapsed() < patience && is_busy(&error) => wait(&error)?,
            ended => return ended,
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What the run that has the lock at `path` is doing; `None` when nobody has it.
pub fn holder(path: &Path) -> Option<String> {
    let mut file = files::open_plain(path).ok()?;
    if try_lock(&file, FlockOperation::NonBlockingLockShared).ok()? {
        return None;
    }
    let mut holder = String::new();
    let _ = (&mut file).take(200).read_to_string(&mut holder);
    Some(holder.trim().to_owned())
}

/// Tries for a moment: others take a lock for an instant to see whether somebody has it.
fn lock_soon(file: &File, operation: FlockOperation) -> Result<bool> {
    for _ in 0..5 {
        if try_lock(file, operation)? {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    try_lock(file, operation)
}

fn is_busy(error: &anyhow::Error) -> bool {
    error::kind_of(error) == Kind::Busy
}

/// Held on a backup's folder: shared by those who read it, exclusive by the one who deletes it.
#[derive(Debug)]
pub struct BackupLock {
    _folder: File,
}

impl BackupLock {
    /// `None` when it is being deleted.
    pub fn shared(folder: &Path) -> Result<Option<Self>> {
        let opened = Self::open(folder)?;
        Ok(lock_soon(&opened, FlockOperation::NonBlockingLockShared)?
            .then_some(BackupLock { _folder: opened }))
    }

    /// `None` when somebody reads it.
    pub fn exclusive(folder: &Path) -> Result<Option<Self>> {
        let opened = Self::open(folder)?;
        let taken = try_lock(&opened, FlockOperation::NonBlockingLockExclusive)?;
        Ok(taken.then_some(BackupLock { _folder: opened }))
    }

    fn open(folder: &Path) -> Result<File> {
        files::open_folder(folder).with_context(|| format!("cannot open {}", folder.display()))
    }
}

fn try_lock(file: &File, operation: FlockOperation) -> Result<bool> {
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error).context("cannot lock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let service = "db".parse().unwrap();
        let first = ServiceLock::take(&path, &service, "create").unwrap();
        let error = ServiceLock::take(&path, &service, "restore").unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 4);
        assert!(error.to_string().contains("create (process"), "{error}");
        assert!(holder(&path).is_some_and(|note| note.starts_with("create (process")));
        drop(first);
        assert_eq!(holder(&path), None);
        ServiceLock::take(&path, &service, "restore").unwrap();
    }

    #[test]
    fn readers_share_and_a_deleter_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let reader = BackupLock::shared(folder.path()).unwrap().unwrap();
        let second = BackupLock::shared(folder.path()).unwrap().unwrap();
        assert!(BackupLock::exclusive(folder.path()).unwrap().is_none());
        drop((reader, second));
        assert!(BackupLock::exclusive(folder.path()).unwrap().is_some());
    }
}
