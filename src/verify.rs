//! Verifying a backup: its files, then what is in them, then what a real restore gives.

mod claims;
mod compare;
mod drill;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::Result;

use crate::aftermath::{self, Run};
use crate::catalog::Backup;
use crate::checksum::sha256_hex;
use crate::digest::{Content, Depth, Digester, FileDigest, Treatment};
use crate::dokku::Service;
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::host::Host;
use crate::layout;
use crate::lock::BackupLock;
use crate::manifest::{self, Level, Verified, read_manifest_bytes};
use crate::pace::Pace;
use crate::process;
use crate::toc::Toc;
use crate::units::plural;
use compare::compare;
pub use report::{CheckResult, Problem, TableResult, VerifyReport, are_exposures, refusal};

/// Verifies `backup` at `level` and keeps the result beside it.
pub fn verify(
    host: &Host<'_>,
    service: &Service,
    backup: &Backup,
    level: Level,
    pace: Pace,
) -> Result<VerifyReport> {
    let run = Run { backup: Some(&backup.id), ..Run::of("verify", Instant::now()) };
    let ended = look(host, service, backup, level, pace);
    let problem = ended.as_ref().ok().and_then(|report| report.problems.first()).map(ToString::to_string);
    aftermath::follow(host, service, Run { problem: problem.as_deref(), ..run }, &ended);
    ended
}

fn look(
    host: &Host<'_>,
    service: &Service,
    backup: &Backup,
    level: Level,
    pace: Pace,
) -> Result<VerifyReport> {
    let started = Instant::now();
    if pace.gentle {
        process::step_back();
    }
    let _reading: BackupLock = backup.held_for_reading()?;
    let name = backup.id.to_string();
    let mut report = VerifyReport::new(&name);
    host.progress.step(&format!("Verifying {name} of {} ({})", service.name, level.as_str()));
    let depth = if level == Level::Quick { Depth::Checksum } else { Depth::Content };
    let digests = check_against_checksums(host, backup, depth, &mut report)?;
    if level >= Level::Archive && report.is_good() {
        report.level = Level::Archive;
        report.problems.extend(claims::problems(backup, &sizes(&digests)));
        if backup.manifest.service != service.name {
            let what = format!("it is that of service {}", backup.manifest.service);
            report.problems.push(Problem::new("manifest", what));
        }
        if let Some((toc, expected)) = check_archive(backup, &digests, &mut report) {
            if level == Level::Drill && report.is_good() {
                report.level = Level::Drill;
                drill::drill(host, service, backup, (&toc, &expected), pace, &mut report)?;
            }
        }
    }
    host.progress.done();
    report.duration = started.elapsed();
    if let Err(error) = remember(host, backup, &report) {
        // On a disk that is full or can only be read, what was found is worth as much.
        host.progress.warn(&format!("the result is not kept: {error:#}"));
    }
    Ok(report)
}

/// The files of a backup against its `SHA256SUMS`, and the manifest against the files: what a restore checks first.
pub fn check_files(host: &Host<'_>, backup: &Backup) -> Result<Vec<Problem>> {
    let _reading = backup.held_for_reading()?;
    let mut report = VerifyReport::new(backup.id.as_str());
    let digests = check_against_checksums(host, backup, Depth::Checksum, &mut report)?;
    host.progress.done();
    if report.is_good() {
        report.problems = claims::problems(backup, &sizes(&digests));
    }
    Ok(report.problems)
}

fn sizes(digests: &[FileDigest]) -> Vec<(String, u64)> {
    digests.iter().map(|digest| (digest.name.clone(), digest.size)).collect()
}

/// Reads every file once. Missing, additional and changed files are problems; so is what cannot be read.
fn check_against_checksums(
    host: &Host<'_>,
    backup: &Backup,
    depth: Depth,
    report: &mut VerifyReport,
) -> Result<Vec<FileDigest>> {
    let mut problems = Vec::new();
    let sums = manifest::read_checksums(&backup.folder);
    let present = files::plain_files(&backup.folder);
    let (sums, mut present) = match (sums, present) {
        (Ok(sums), Ok(present)) => (sums, present),
        (sums, present) => {
            problems.extend(exposed(backup));
            // What is somebody else's cannot be read for that reason alone.
            let is_told = |error: &anyhow::Error| !problems.is_empty() && files::is_denied(error);
            let reasons = [sums.err(), present.err()].into_iter().flatten().filter(|error| !is_told(error));
            let reasons: Vec<Problem> =
                reasons.map(|error| Problem::new("files", format!("{error:#}"))).collect();
            problems.extend(reasons);
            report.check("files", "not readable", problems);
            return Ok(Vec::new());
        }
    };
    problems.extend(exposed(backup));
    present.retain(|(name, _)| name != layout::CHECKSUMS && !layout::is_later_record(name));
    let names: BTreeSet<&str> = present.iter().map(|(name, _)| name.as_str()).collect();
    let expected: BTreeMap<&str, &str> =
        sums.iter().map(|sum| (sum.name.as_str(), sum.sha256.as_str())).collect();
    problems.extend(
        expected.keys().filter(|name| !names.contains(*name)).map(|name| Problem::new(*name, "is missing")),
    );
    problems.extend(
        names
            .iter()
            .filter(|name| !expected.contains_key(*name))
            .map(|name| Problem::new(*name, "is not one of the backup's files")),
    );
    let total: u64 = present.iter().map(|(_, size)| size).sum();
    present.retain(|(name, _)| expected.contains_key(name.as_str()));
    // The longest first, so that no thread is left alone with one at the end.
    present.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut digester =
        Digester::start(&backup.folder, Treatment::reading(depth, host.dokku.environment().cores));
    present.iter().for_each(|(name, _)| digester.complete(name));
    let digests = digester.finish(|done| {
        host.progress.bytes(done, Some(total));
        host.check()
    })?;
    for digest in &digests {
        if expected.get(digest.name.as_str()) != Some(&digest.sha256.as_str()) {
            problems.push(Problem::new(&digest.name, "its content changed (the SHA-256 differs)"));
        }
        if let Content::Damaged(why) = &digest.content {
            problems.push(Problem::new(&digest.name, format!("it is damaged: {why}")));
        }
    }
    report.check(
        "files",
        format!("{}, size and SHA-256 of each", plural(expected.len() as u64, "file")),
        problems,
    );
    Ok(digests)
}

/// What others could have read or changed, or the next run could not read.
fn exposed(backup: &Backup) -> Vec<Problem> {
    let found = files::exposed(&backup.folder).unwrap_or_default();
    let problem = |exposure: files::Exposure| {
        let name = exposure.path.strip_prefix(&backup.folder).unwrap_or(&exposure.path).to_string_lossy();
        let subject = if name.is_empty() { "the folder".to_owned() } else { name.into_owned() };
        Problem { is_exposure: true, ..Problem::new(subject, exposure.to_string()) }
    };
    found.into_iter().map(problem).collect()
}

/// What the files hold against what the backup says they hold.
fn check_archive(
    backup: &Backup,
    digests: &[FileDigest],
    report: &mut VerifyReport,
) -> Option<(Toc, Fingerprint)> {
    let read = || -> Result<(Toc, Fingerprint, Fingerprint)> {
        let toc = manifest::read_toc(&backup.folder)?;
        let found = Fingerprint::assemble(&toc, digests)?;
        Ok((toc, manifest::read_fingerprint(&backup.folder)?, found))
    };
    match read() {
        Err(error) => {
            report.check("archive", "not readable", vec![Problem::new("archive", format!("{error:#}"))]);
            None
        }
        Ok((toc, expected, found)) => {
            if expected.method == found.method {
                compare(&expected, &found, "archive", report);
                if expected.schema != found.schema {
                    let what = "its definitions are not the ones that were fingerprinted";
                    report.problems.push(Problem::new("schema", what));
                }
            } else {
                report.check("archive", "readable to its end (fingerprinted by another method)", Vec::new());
            }
            let stated = &backup.manifest.contents;
            let counts = (stated.tables, stated.rows, stated.sequences, stated.large_objects);
            let held = (found.tables.len(), found.rows(), found.sequences.len(), found.large_objects.count);
            if counts != held {
                report.problems.push(Problem::new("manifest", "its counts are not those of the archive"));
            }
            Some((toc, found))
        }
    }
}

/// Problems kept in `verified.toml`: enough to know what is wrong.
const REMEMBERED: usize = 10;

/// Keeps what [`check_files`] found wrong.
pub fn remember_damage(host: &Host<'_>, backup: &Backup, problems: &[Problem]) -> Result<()> {
    let report = VerifyReport { problems: problems.to_vec(), ..VerifyReport::new(backup.id.as_str()) };
    remember(host, backup, &report)
}

/// Keeps the result, unless it is good and a closer look is on record already: that one was good, too, or knows better.
fn remember(host: &Host<'_>, backup: &Backup, report: &VerifyReport) -> Result<()> {
    let Ok(manifest) = read_manifest_bytes(&backup.folder) else { return Ok(()) };
    let closer = backup.verified.as_ref().is_some_and(|last| last.level > report.level);
    if report.is_good() && closer {
        return Ok(());
    }
    let record = Verified {
        at: host.now,
        level: report.level,
        good: report.is_good(),
        duration_seconds: report.duration.as_secs(),
        problems: report.problems.iter().take(REMEMBERED).map(ToString::to_string).collect(),
        manifest_sha256: sha256_hex(&manifest),
    };
    record.write(&backup.folder)
}
