//! What a backup says of itself: `manifest.toml` and `fingerprint.toml` (docs/format.md), read back with suspicion.

mod checksums;
mod marks;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::BackupId;
use crate::deployed::AppRecord;
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::layout;
use crate::pg_version::PgVersion;
use crate::service_name::ServiceName;
pub use checksums::{Checksum, format_checksums, parse_checksums, read_checksums};
pub use marks::{Level, Pinned, Pushed, Verified};

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
    fn a_manifest_from_the_future_is_told_from_a_broken_one() {
        let future = Manifest::parse(b"format = 2\nnew = 1\n").unwrap_err().to_string();
        assert!(future.contains("it has format 2"), "{future}");
        let broken = Manifest::parse(b"format = 1\n").unwrap_err().to_string();
        assert!(broken.contains("cannot be read"), "{broken}");
    }
}
