//! What a backup says of itself: `manifest.toml`, `verified.toml`, `fingerprint.toml` and `SHA256SUMS`
//! (docs/format.md), read back with suspicion.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::BackupId;
use crate::checksum::sha256_hex;
use crate::deployed::AppRecord;
use crate::digest::FileDigest;
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::layout;
use crate::pg_version::PgVersion;
use crate::service_name::ServiceName;

/// The version of the format that this pgbackup writes, and the only one it reads.
pub const FORMAT: u32 = 1;

const MAX_MANIFEST: u64 = 1024 * 1024;
/// A line each for 100,000 tables and more.
const MAX_LISTING: u64 = 256 * 1024 * 1024;

/// Why a backup was made; retention keeps the pools apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    Manual,
    Scheduled,
    Deploy,
    Final,
    Imported,
}

impl Pool {
    pub fn as_str(self) -> &'static str {
        match self {
            Pool::Manual => "manual",
            Pool::Scheduled => "scheduled",
            Pool::Deploy => "deploy",
            Pool::Final => "final",
            Pool::Imported => "imported",
        }
    }
}

/// `manifest.toml`. Keys that a later pgbackup adds within format 1 are ignored by this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub id: BackupId,
    pub service: ServiceName,
    pub pool: Pool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    /// The version of pgbackup that made it.
    pub pgbackup: String,
    pub server: ServerRecord,
    pub database: DatabaseRecord,
    pub dump: DumpRecord,
    pub contents: Contents,
    /// Of what others made: what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportRecord>,
    #[serde(default)]
    pub apps: Vec<AppRecord>,
    #[serde(default)]
    pub migrations: Vec<MigrationRecord>,
}

/// The server that the database lived in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    pub version: String,
    pub version_num: PgVersion,
    pub image: String,
    pub image_id: String,
    /// What a server needs to be told to read and write the same text.
    pub lc_monetary: String,
    pub shared_preload_libraries: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseRecord {
    pub name: String,
    /// `pg_database_size` when the backup was started.
    pub size_bytes: u64,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `name version`, sorted.
    #[serde(default)]
    pub extensions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpRecord {
    pub compression: String,
    pub jobs: usize,
    /// Of all files of the backup but the manifest and the checksums.
    pub size_bytes: u64,
    pub files: usize,
}

/// The fingerprint in short, so that a list need not read the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub tables: usize,
    pub rows: u64,
    pub sequences: usize,
    pub large_objects: u64,
}

/// What a backup of the pool `imported` was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRecord {
    /// `pgbackup`, `custom`, `tar`, `directory`, `sql` or `cluster`.
    pub kind: String,
    /// What it was wrapped in, the outermost first: `gpg`, `gzip`, `tar`, …
    #[serde(default)]
    pub wrapped: Vec<String>,
    /// As it came.
    pub size_bytes: u64,
    /// Of the server that it was dumped from, and of the `pg_dump` that did it; where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump_version: Option<String>,
    /// How many errors there were when it was loaded, and the first of them.
    pub errors: u64,
    #[serde(default)]
    pub first_errors: Vec<String>,
}

/// How far the migrations of one tool were, as its bookkeeping table says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationRecord {
    pub tool: String,
    /// Its bookkeeping table.
    pub schema: String,
    pub table: String,
    /// How many are applied.
    pub count: usize,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

impl Manifest {
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).context("its manifest is not UTF-8")?;
        match toml::from_str::<Self>(text) {
            Ok(manifest) if manifest.format == FORMAT => Ok(manifest),
            Ok(manifest) => Err(newer_format(manifest.format)),
            Err(error) => Err(match format_of(text) {
                Some(format) if format > FORMAT => newer_format(format),
                _ => anyhow!("its manifest cannot be read: {}", error.message()),
            }),
        }
    }

    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }
}

fn newer_format(format: u32) -> anyhow::Error {
    anyhow!("it has format {format}, and this pgbackup reads format {FORMAT}")
}

/// The format that a manifest which cannot be read as a whole claims to have.
fn format_of(text: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    toml::from_str::<OnlyFormat>(text).ok().map(|only| only.format)
}

/// The bytes of a backup's `manifest.toml`.
pub fn read_manifest_bytes(folder: &Path) -> Result<Vec<u8>> {
    files::read_bounded(&folder.join(layout::MANIFEST), MAX_MANIFEST)
}

/// Writes `fingerprint.toml` into a pending backup.
pub fn write_fingerprint(folder: &Path, fingerprint: &Fingerprint) -> Result<()> {
    files::write_private(&folder.join(layout::FINGERPRINT), toml::to_string(fingerprint)?.as_bytes())
}

pub fn read_fingerprint(folder: &Path) -> Result<Fingerprint> {
    let bytes = files::read_bounded(&folder.join(layout::FINGERPRINT), MAX_LISTING)?;
    let text = std::str::from_utf8(&bytes).context("its fingerprint is not UTF-8")?;
    toml::from_str(text).map_err(|error| anyhow!("its fingerprint cannot be read: {}", error.message()))
}

/// Reads a dump's `toc.dat`.
pub fn read_toc(folder: &Path) -> Result<crate::toc::Toc> {
    let path = folder.join(layout::DUMP).join("toc.dat");
    Ok(crate::toc::parse(&files::read_bounded(&path, MAX_LISTING)?)?)
}

/// One line of `SHA256SUMS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    pub sha256: String,
    pub name: String,
}

/// `SHA256SUMS` as `sha256sum` writes and checks it: hash, two spaces, name.
pub fn format_checksums(sums: &[Checksum]) -> String {
    let lines: Vec<String> = sums.iter().map(|sum| format!("{}  {}\n", sum.sha256, sum.name)).collect();
    lines.concat()
}

impl From<&FileDigest> for Checksum {
    fn from(digest: &FileDigest) -> Self {
        Checksum { sha256: digest.sha256.clone(), name: digest.name.clone() }
    }
}

pub fn read_checksums(folder: &Path) -> Result<Vec<Checksum>> {
    let bytes = files::read_bounded(&folder.join(layout::CHECKSUMS), MAX_LISTING)?;
    parse_checksums(std::str::from_utf8(&bytes).context("its SHA256SUMS is not UTF-8")?)
}

/// Refuses names that lead out of the backup.
pub fn parse_checksums(text: &str) -> Result<Vec<Checksum>> {
    let mut sums = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = || anyhow!("line {} of its SHA256SUMS cannot be read", number + 1);
        let (sha256, name) = line.split_once("  ").ok_or_else(wrong)?;
        let is_hash =
            sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let stays_inside = !name.is_empty()
            && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
            && !name.chars().any(char::is_control);
        if !is_hash || !stays_inside {
            return Err(wrong());
        }
        sums.push(Checksum { sha256: sha256.to_owned(), name: name.to_owned() });
    }
    if !text.ends_with('\n') {
        bail!("its SHA256SUMS is cut off");
    }
    Ok(sums)
}

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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes: Vec<u8>, text in ".*") {
            let _ = Manifest::parse(&bytes);
            let _ = parse_checksums(&text);
        }
    }

    #[test]
    fn a_manifest_of_another_format_is_not_read_though_it_could_be() {
        let whole = include_str!("../fuzz/corpus/manifest/herd");
        assert_eq!(Manifest::parse(whole.as_bytes()).unwrap().format, FORMAT);
        let error = Manifest::parse(whole.replace("format = 1", "format = 0").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "it has format 0, and this pgbackup reads format 1");
    }

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

    #[test]
    fn words_are_those_of_the_format() {
        use Pool::{Deploy, Final, Imported, Manual, Scheduled};
        for pool in [Manual, Scheduled, Deploy, Final, Imported] {
            assert_eq!(serde_json::to_value(pool).unwrap(), pool.as_str());
        }
        for level in [Level::Quick, Level::Archive, Level::Drill] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
        }
    }

    #[test]
    fn checksums_read_back_and_stay_inside() {
        let sums = vec![Checksum { sha256: "0".repeat(64), name: "dump/7.dat.zst".into() }];
        assert_eq!(parse_checksums(&format_checksums(&sums)).unwrap(), sums);
        let zeros = "0".repeat(64);
        for name in ["../x", "/etc/passwd", "a//b", "", "a/./b", "a/../b", "a\u{1b}"] {
            assert!(parse_checksums(&format!("{zeros}  {name}\n")).is_err(), "{name:?}");
        }
        assert!(parse_checksums(&format!("{zeros}  a")).is_err());
        let second = parse_checksums(&format!("{zeros}  a\n{zeros} b\n")).unwrap_err().to_string();
        assert_eq!(second, "line 2 of its SHA256SUMS cannot be read");
        assert!(parse_checksums(&format!("{}  a\n", "g".repeat(64))).is_err());
    }

    #[test]
    fn a_manifest_from_the_future_is_told_from_a_broken_one() {
        let future = Manifest::parse(b"format = 2\nnew = 1\n").unwrap_err().to_string();
        assert!(future.contains("it has format 2"), "{future}");
        let broken = Manifest::parse(b"format = 1\n").unwrap_err().to_string();
        assert!(broken.contains("cannot be read"), "{broken}");
    }
}
