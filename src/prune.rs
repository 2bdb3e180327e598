//! Removing what retention does not keep, and more where a service may only take so much.

use std::path::Path;

use anyhow::Result;
use chrono::Local;

use crate::backup_id::BackupId;
use crate::catalog::{self, Backup};
use crate::dokku::Service;
use crate::error::{self, Failure, Kind};
use crate::files;
use crate::host::Host;
use crate::lock::BackupLock;
use crate::manifest::{Level, Pool};
use crate::retention::{self, Candidate, Reason, Verdict};
use crate::settings::Settings;
use crate::units;
use crate::verify;

/// What happens to a backup, and why.
#[derive(Debug, Clone)]
pub struct Fate {
    pub backup: Backup,
    pub verdict: Verdict,
}

impl Fate {
    /// After the plan was carried out: what was not removed stays.
    pub fn settle(&mut self, removed: &[String]) {
        let is_there = !removed.iter().any(|id| id == self.backup.id.as_str());
        if self.verdict == Verdict::Remove && is_there {
            self.verdict = Verdict::Keep(vec![Reason::InUse]);
        }
    }
}

/// The fate of every whole backup, newest first. Nothing is removed.
pub fn plan(host: &Host<'_>, service: &Service) -> Result<Vec<Fate>> {
    plan_for(host, service, &catalog::whole(catalog::list(&service.layout)?))
}

/// The same, but what stays as the newest good one was read and is whole: `made` just now, or to its last byte here. One
/// that rotted unnoticed must not take the place of one that is good.
pub fn sound_plan(host: &Host<'_>, service: &Service, made: Option<&BackupId>) -> Result<Vec<Fate>> {
    let mut backups = catalog::whole(catalog::list(&service.layout)?);
    let plan = plan_for(host, service, &backups)?;
    if plan.iter().all(|fate| fate.verdict != Verdict::Remove) {
        return Ok(plan);
    }
    find_sound(host, &mut backups, made)?;
    plan_for(host, service, &backups)
}

/// Reads the newest good backup and, as long as they turn out bad, the ones before it; says so in their records.
fn find_sound(host: &Host<'_>, backups: &mut [Backup], made: Option<&BackupId>) -> Result<()> {
    for backup in backups.iter_mut().filter(|backup| backup.is_good()) {
        if made == Some(&backup.id) {
            return Ok(());
        }
        let problems = verify::check_files(host, backup)?;
        let Some(first) = problems.first() else { return Ok(()) };
        if verify::are_exposures(&problems) {
            host.progress.warn(&format!("backup {} is not dokku's alone: {first}", backup.id));
            return Ok(());
        }
        host.progress
            .warn(&format!("backup {} is damaged and counts as bad from now on: {first}", backup.id));
        verify::remember_damage(host, backup, &problems)?;
        backup.verified = catalog::read(&backup.folder, backup.id.as_str())?.verified;
    }
    Ok(())
}

fn plan_for(host: &Host<'_>, service: &Service, backups: &[Backup]) -> Result<Vec<Fate>> {
    let settings = host.settings(service)?;
    let now = host.time().with_timezone(&Local);
    let decisions = retention::decide(&candidates(backups), &settings.policies, &now);
    let fate = |decision: retention::Decision| {
        let backup = backups.iter().find(|backup| backup.id == decision.id)?.clone();
        Some(Fate { backup, verdict: decision.verdict })
    };
    Ok(decisions.into_iter().filter_map(fate).collect())
}

/// The backup for whose date nothing is removed any more.
pub fn misdated(plan: &[Fate]) -> Option<&BackupId> {
    plan.iter().find_map(|fate| fate.verdict.misdated())
}

fn candidates(backups: &[Backup]) -> Vec<Candidate> {
    backups.iter().map(candidate).collect()
}

/// What retention is to know of a backup.
pub fn candidate(backup: &Backup) -> Candidate {
    Candidate {
        id: backup.id.clone(),
        pool: backup.manifest.pool,
        at: backup.manifest.started_at,
        good: backup.is_good(),
        verified: backup
            .verified
            .as_ref()
            .is_some_and(|verified| verified.good && verified.level >= Level::Archive),
        pinned: backup.pinned.is_some(),
    }
}

/// Removes what the plan does not keep, of one pool or of all; the lock is the caller's. One that is being read stays for
/// the next time. `removed` gets the ids, also of those that went before an error.
pub fn carry_out(
    host: &Host<'_>,
    service: &Service,
    plan: &[Fate],
    only: Option<Pool>,
    removed: &mut Vec<String>,
) -> Result<()> {
    for fate in plan {
        let is_meant = only.is_none_or(|pool| fate.backup.manifest.pool == pool);
        if !is_meant || fate.verdict != Verdict::Remove {
            continue;
        }
        host.check()?;
        if remove(host, service, &fate.backup)? {
            removed.push(fate.backup.id.to_string());
        }
    }
    Ok(())
}

fn remove(host: &Host<'_>, service: &Service, backup: &Backup) -> Result<bool> {
    match catalog::remove_unchanged(&service.layout, backup) {
        Ok(true) => Ok(true),
        Ok(false) => {
            host.progress.note(&format!("backup {} was pinned or verified just now; it stays", backup.id));
            Ok(false)
        }
        Err(error) if error::kind_of(&error) == Kind::Busy => {
            host.progress.note(&format!("{error}; it goes the next time"));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Makes room for a new backup of about `expected` bytes within the service's `max-size`, at the cost of the oldest
/// backups of the automatic pools; refuses when that is not enough.
pub fn make_room(
    host: &Host<'_>,
    service: &Service,
    settings: &Settings,
    expected: u64,
    removed: &mut Vec<String>,
) -> Result<()> {
    let Some(most) = settings.max_size else { return Ok(()) };
    let fits = || files::disk_use(&service.layout.backups()).saturating_add(expected) <= most;
    if fits() {
        return Ok(());
    }
    let mut backups = catalog::whole(catalog::list(&service.layout)?);
    find_sound(host, &mut backups, None)?;
    let may_go = retention::shrink(&candidates(&backups), &host.time().with_timezone(&Local));
    let backup = |id: BackupId| backups.iter().find(|backup| backup.id == id);
    // One that is being read does not go now, and must not be counted on.
    let may_go: Vec<&Backup> =
        may_go.into_iter().filter_map(backup).filter(|backup| !is_being_read(backup)).collect();
    // All that stays counts, also what is no whole backup.
    let going: Vec<&Path> = may_go.iter().map(|backup| backup.folder.as_path()).collect();
    let least = files::disk_use_without(&service.layout.backups(), &going);
    if least.saturating_add(expected) > most {
        return Err(too_large(service, least, most));
    }
    for backup in may_go {
        if remove(host, service, backup)? {
            let most = units::bytes(most);
            host.progress.note(&format!("removed {}: the backups may take {most}", backup.id));
            removed.push(backup.id.to_string());
        }
        if fits() {
            return Ok(());
        }
    }
    Err(too_large(service, files::disk_use(&service.layout.backups()), most))
}

fn is_being_read(backup: &Backup) -> bool {
    BackupLock::exclusive(&backup.folder).is_ok_and(|lock| lock.is_none())
}

fn too_large(service: &Service, used: u64, most: u64) -> anyhow::Error {
    Failure::refused(format!(
        "what must be kept of {} takes {}, and with another backup more than max-size allows ({})",
        service.name,
        units::bytes(used),
        units::bytes(most)
    ))
    .hint(format!("delete some, or allow more: dokku pgbackup:set {} max-size <size>", service.name))
    .into()
}
