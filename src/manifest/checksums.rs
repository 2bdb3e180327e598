//! `SHA256SUMS` of a backup.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use super::MAX_LISTING;
use crate::digest::FileDigest;
use crate::files;
use crate::layout;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
