//! What the manifest says of the rest of the backup: a manifest whose checksum fits may say wrong things all the same.

use anyhow::Result;

use super::Problem;
use crate::catalog::Backup;
use crate::layout;
use crate::manifest::{self, Manifest};
use crate::toc::Toc;

/// What can be compared without reading the data. `files`: all that is under a checksum, with their sizes.
pub(super) fn problems(backup: &Backup, files: &[(String, u64)]) -> Vec<Problem> {
    match compare(backup, files) {
        Ok(problems) => problems,
        Err(error) => vec![Problem::new("archive", format!("{error:#}"))],
    }
}

fn compare(backup: &Backup, files: &[(String, u64)]) -> Result<Vec<Problem>> {
    let manifest = &backup.manifest;
    let fingerprint = manifest::read_fingerprint(&backup.folder)?;
    let toc = manifest::read_toc(&backup.folder)?;
    let stated = &manifest.contents;
    let counts = (stated.tables, stated.rows, stated.sequences, stated.large_objects);
    let held = (
        fingerprint.tables.len(),
        fingerprint.rows(),
        fingerprint.sequences.len(),
        fingerprint.large_objects.count,
    );
    let sizes = || files.iter().filter(|(name, _)| name != layout::MANIFEST).map(|(_, size)| *size);
    let checks = [
        (counts == held, "its counts are not those of the fingerprint".to_owned()),
        (manifest.dump.files == sizes().count(), format!("it says {} files", manifest.dump.files)),
        (
            manifest.dump.size_bytes == sizes().sum::<u64>(),
            format!("it says {} bytes", manifest.dump.size_bytes),
        ),
        (
            manifest.database.name == toc.database,
            format!("it says database {:?}, and the dump {:?}", manifest.database.name, toc.database),
        ),
        (
            is_version_of(manifest, &toc),
            format!("it says Postgres {}, and the dump {}", manifest.server.version, toc.server_version),
        ),
    ];
    let wrong = checks.into_iter().filter(|(is_right, _)| !is_right);
    Ok(wrong.map(|(_, what)| Problem::new("manifest", what)).collect())
}

fn is_version_of(manifest: &Manifest, toc: &Toc) -> bool {
    let server = &manifest.server;
    let digits = server.version.find(|c: char| !c.is_ascii_digit()).unwrap_or(server.version.len());
    let major: Option<u32> = server.version[..digits].parse().ok();
    server.version == toc.server_version && major == Some(server.version_num.0 / 10_000)
}
