//! What is known of a backup since it was made, each in a small file beside it: that it was verified, is pinned, was pushed.

use std::path::Path;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::MAX_MANIFEST;
use crate::checksum::sha256_hex;
use crate::files;
use crate::layout;

/// How closely a backup was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Quick,
    Archive,
    Drill,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Quick => "quick",
            Level::Archive => "archive",
            Level::Drill => "drill",
        }
    }
}

/// `verified.toml`: the last verification. The one file of a backup that changes after it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    pub at: DateTime<Utc>,
    pub level: Level,
    pub good: bool,
    pub duration_seconds: u64,
    /// What was found wrong, at most a few lines.
    #[serde(default)]
    pub problems: Vec<String>,
    /// SHA-256 of the manifest beside it: the record counts for that backup only.
    pub manifest_sha256: String,
}

impl Verified {
    /// The record in `folder`, if it is about the backup whose manifest holds `manifest`. One that cannot be read may have
    /// said that the backup is bad, so it counts as such; one that says so counts whatever the manifest: a verification
    /// tells.
    pub fn read(folder: &Path, manifest: &[u8]) -> Option<Self> {
        let path = folder.join(layout::VERIFIED);
        let metadata = path.symlink_metadata().ok()?;
        let parsed = || -> Option<Self> {
            let bytes = files::read_bounded(&path, MAX_MANIFEST).ok()?;
            toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()
        };
        let unreadable = || Verified {
            at: metadata.modified().map_or(DateTime::UNIX_EPOCH, DateTime::from),
            level: Level::Quick,
            good: false,
            duration_seconds: 0,
            problems: vec![format!("{}: it cannot be read; verify the backup again", layout::VERIFIED)],
            manifest_sha256: String::new(),
        };
        let verified = parsed().unwrap_or_else(unreadable);
        (!verified.good || verified.manifest_sha256 == sha256_hex(manifest)).then_some(verified)
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        files::write_atomic(&folder.join(layout::VERIFIED), toml::to_string(self)?.as_bytes())
    }
}

/// `pinned.toml`: somebody wants this backup kept, whatever the retention says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    pub at: DateTime<Utc>,
    /// The ssh key's name, or the user at the server's shell.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Pinned {
    /// The mark in `folder`. One that cannot be read keeps the backup all the same.
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(layout::PINNED);
        path.symlink_metadata().ok()?;
        let parsed = || {
            toml::from_str(std::str::from_utf8(&files::read_bounded(&path, MAX_MANIFEST).ok()?).ok()?).ok()
        };
        let unreadable = || Pinned { at: DateTime::UNIX_EPOCH, by: "unknown".to_owned(), note: None };
        Some(parsed().unwrap_or_else(unreadable))
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        files::write_atomic(&folder.join(layout::PINNED), toml::to_string(self)?.as_bytes())
    }

    pub fn remove(folder: &Path) -> Result<()> {
        files::remove_durably(&folder.join(layout::PINNED))
    }
}

/// `pushed.toml`: whether the backup is at the remote, or is to be taken there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    pub at: DateTime<Utc>,
    /// The remote's address.
    pub remote: String,
    /// Every part was read back there.
    pub good: bool,
    /// Why it is not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Pushed {
    /// The record in `folder`. One that cannot be read only costs another push.
    pub fn read(folder: &Path) -> Option<Self> {
        let bytes = files::read_bounded(&folder.join(layout::PUSHED), MAX_MANIFEST).ok()?;
        toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        files::write_atomic(&folder.join(layout::PUSHED), toml::to_string(self)?.as_bytes())
    }

    /// The backup in `folder`, if there is one, is at no remote any more.
    pub fn forget(folder: &Path) -> Result<()> {
        if folder.is_dir() { files::remove_durably(&folder.join(layout::PUSHED)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(good: bool, manifest: &[u8]) -> Verified {
        Verified {
            at: DateTime::UNIX_EPOCH,
            level: Level::Drill,
            good,
            duration_seconds: 7,
            problems: vec![],
            manifest_sha256: sha256_hex(manifest),
        }
    }

    #[test]
    fn a_verification_counts_for_its_backup_unless_it_is_bad() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Verified::read(folder.path(), b"this one");
        assert_eq!(read(), None);
        for (good, manifest, counts) in
            [(true, b"this one", true), (true, b"that one", false), (false, b"that one", true)]
        {
            let written = verified(good, manifest);
            written.write(folder.path()).unwrap();
            assert_eq!(read(), Some(written).filter(|_| counts));
        }
        files::write_atomic(&folder.path().join(layout::VERIFIED), b"level = ").unwrap();
        let unreadable = read().unwrap();
        assert!(!unreadable.good && unreadable.problems[0].contains("verify the backup again"));
    }

    #[test]
    fn a_pin_keeps_until_it_is_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Pinned::read(folder.path());
        assert_eq!(read(), None);
        let note = Some("as long as somebody likes ".repeat(1_000));
        let pin = Pinned { at: DateTime::UNIX_EPOCH, by: "cow".into(), note };
        pin.write(folder.path()).unwrap();
        assert_eq!(read(), Some(pin));
        files::write_atomic(&folder.path().join(layout::PINNED), b"?").unwrap();
        assert_eq!(read().unwrap().by, "unknown");
        Pinned::remove(folder.path()).unwrap();
        assert_eq!(read(), None);
    }

    #[test]
    fn a_push_is_known_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Pushed::read(folder.path());
        let pushed = Pushed { at: DateTime::UNIX_EPOCH, remote: "/mnt".into(), good: true, problem: None };
        pushed.write(folder.path()).unwrap();
        assert_eq!(read(), Some(pushed));
        Pushed::forget(folder.path()).unwrap();
        assert_eq!(read(), None);
        Pushed::forget(&folder.path().join("gone")).unwrap();
    }
}
