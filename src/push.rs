//! Taking a backup to its remote: the parts that are not there yet, then the index.

mod journal;
mod sending;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;

use crate::aftermath::{self, Run};
use crate::backup_id::BackupId;
use crate::catalog::{self, Backup};
use crate::checksum::sha256_hex;
use crate::dokku::Service;
use crate::encryption::Recipients;
use crate::error::{self, Failure, Kind};
use crate::files;
use crate::host::Host;
use crate::lock::ServiceLock;
use crate::manifest::{Pool, Pushed};
use crate::offsite::{self, FORMAT, INDEX, Index};
use crate::remote::{self, Patience, Remote};
use crate::settings::Settings;
use journal::{Journal, forget_journals};
use sending::send_all;

/// What was taken where.
#[derive(Debug)]
pub struct PushReport {
    pub backup: Backup,
    /// The remote's address.
    pub remote: String,
    pub parts: usize,
    /// Parts that an earlier run had taken there.
    pub resumed: usize,
    /// Bytes of all parts.
    pub bytes: u64,
    pub encrypted: bool,
    /// What the remote's policy did not keep any more.
    pub removed: Vec<BackupId>,
    pub duration: Duration,
}

/// Takes `backup` to the remote of `service`, and writes down beside it how that ended.
pub fn push(host: &Host<'_>, service: &Service, backup: &Backup) -> Result<PushReport> {
    let run = Run { backup: Some(&backup.id), ..Run::of("push", Instant::now()) };
    let ended = attempt(host, service, backup);
    if let Err(error) = &ended {
        note_failure(host, service, backup, error);
    }
    aftermath::follow(host, service, run, &ended);
    ended
}

fn attempt(host: &Host<'_>, service: &Service, backup: &Backup) -> Result<PushReport> {
    let started = Instant::now();
    let settings = host.settings(service)?;
    let remote =
        offsite::open(host.dokku, Some(&service.layout), Patience::Work, host.docker.interrupt().clone())?;
    files::create_private_folders_in(service.layout.root(), &service.layout.pushing())?;
    let _lock = ServiceLock::take(&service.layout.push_lock(), &service.name, "pgbackup:push")?;
    let _reading = backup.held_for_reading()?;
    host.progress.step(&format!("Taking {} of {} to {}", backup.id, service.name, remote.shown));
    let recipients = settings.recipients.as_ref();
    // What lies there whole is not written over: if that were interrupted, it would be neither the old nor the new one.
    let (index, resumed) = if let Some(index) = there_already(&remote, service, backup, recipients)? {
        let count = index.parts.len();
        (index, count)
    } else {
        refuse_plain_beside_encrypted(&remote, service, &settings)?;
        send(host, service, backup, &remote, &settings)?
    };
    offsite::remove_strays(&remote, &index)?;
    Pushed { at: host.time(), remote: remote.shown.clone(), good: true, problem: None }
        .write(&backup.folder)?;
    forget_journals(service, &backup.id)?;
    Ok(PushReport {
        removed: prune(host, service, &remote, &settings),
        backup: backup.clone(),
        parts: index.parts.len(),
        resumed,
        bytes: index.stored_bytes(),
        encrypted: index.encrypted,
        remote: remote.shown.clone(),
        duration: started.elapsed(),
    })
}

/// The index of this very backup, if it is there whole and for the same keys.
fn there_already(
    remote: &Remote,
    service: &Service,
    backup: &Backup,
    recipients: Option<&Recipients>,
) -> Result<Option<Index>> {
    let found = offsite::of_backup(remote, &service.name, &backup.id)?;
    let is_same = |index: &Index| {
        index.started_at == backup.manifest.started_at
            && index.encrypted == recipients.is_some()
            && index.recipients_sha256 == recipients.map(recipients_sha256)
    };
    Ok(found.and_then(|offsite| offsite.state.ok()).filter(is_same))
}

/// A key that was not set, perhaps not yet, is the only thing between somebody's data and whoever reads the bucket. Where the
/// newest backup there is encrypted, one that is not is taken for a mistake.
fn refuse_plain_beside_encrypted(remote: &Remote, service: &Service, settings: &Settings) -> Result<()> {
    if settings.recipients.is_some() || offsite::is_newest_encrypted(remote, &service.name)? != Some(true) {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "nothing goes unencrypted to {}, where the newest backup is encrypted",
        remote.shown
    ))
    .hint(format!(
        "set the public key: dokku pgbackup:set {0} age-recipient <key>\n\
         or another address for what is not encrypted: dokku pgbackup:remote-set {0} <address>",
        service.name
    ))
    .into())
}

fn recipients_sha256(recipients: &Recipients) -> String {
    sha256_hex(recipients.to_string().as_bytes())
}

/// Sends what is not there yet, then the index; that, and how many parts an earlier run had sent.
fn send(
    host: &Host<'_>,
    service: &Service,
    backup: &Backup,
    remote: &Remote,
    settings: &Settings,
) -> Result<(Index, usize)> {
    let recipients = settings.recipients.as_ref();
    let journal = Journal::open(service, backup, remote, recipients)?;
    let resumed = journal.done.len();
    let parts = send_all(host, service, backup, remote, settings, &journal)?;
    host.progress.done();
    let index = Index {
        format: FORMAT,
        service: service.name.clone(),
        id: backup.id.clone(),
        pool: backup.manifest.pool,
        started_at: backup.manifest.started_at,
        server_version_num: Some(backup.manifest.server.version_num),
        size_bytes: backup.manifest.dump.size_bytes,
        encrypted: recipients.is_some(),
        recipients_sha256: recipients.map(recipients_sha256),
        parts,
    };
    confirm(remote, &index)?;
    let key = format!("{}/{INDEX}", offsite::folder(&service.name, &backup.id));
    remote.put(&key, &Bytes::from(toml::to_string(&index)?))?;
    Ok((index, resumed))
}

/// That old ones could not be removed there does not make the new one less safe.
fn prune(host: &Host<'_>, service: &Service, remote: &Remote, settings: &Settings) -> Vec<BackupId> {
    let removed = offsite::prune(host, service, remote, &settings.remote_policies).unwrap_or_else(|error| {
        host.progress.warn(&format!("older backups at {} could not be removed: {error:#}", remote.shown));
        Vec::new()
    });
    for id in &removed {
        // It is not there any more, so nobody should say so.
        let _ = Pushed::forget(&service.layout.backup(id));
    }
    removed
}

/// Looks once more at everything that was sent, also by earlier runs.
fn confirm(remote: &Remote, index: &Index) -> Result<()> {
    let folder = offsite::folder(&index.service, &index.id);
    let there: HashMap<String, u64> =
        remote.list(&folder)?.into_iter().map(|object| (object.key, object.size)).collect();
    for part in &index.parts {
        if there.get(&format!("{folder}/{}", part.name)) != Some(&part.size) {
            return Err(Failure::tool(format!("{} is not at {} as it was sent", part.name, remote.shown))
                .hint("push it again")
                .into());
        }
    }
    Ok(())
}

/// A failure stays beside the backup, for the list, the doctor, and the next run.
fn note_failure(host: &Host<'_>, service: &Service, backup: &Backup, error: &anyhow::Error) {
    // Another run is at it, and knows better.
    if error::kind_of(error) == Kind::Busy || !backup.folder.is_dir() {
        return;
    }
    let remote = address(host, service);
    // A backup that is at this remote does not leave it by a push that fails.
    if Pushed::read(&backup.folder).is_some_and(|pushed| pushed.good && pushed.remote == remote) {
        return;
    }
    let pushed = Pushed { at: host.time(), remote, good: false, problem: Some(format!("{error:#}")) };
    if let Err(error) = pushed.write(&backup.folder) {
        host.progress.warn(&format!("{error:#}"));
    }
}

/// The address of the service's remote; empty without one.
pub fn address(host: &Host<'_>, service: &Service) -> String {
    let place = remote::place::of(host.dokku.layout(), Some(&service.layout)).ok().flatten();
    place.map_or_else(String::new, |place| place.address)
}

/// With `push-on-create`: what a new backup is published with, so that it is not forgotten whatever happens.
pub fn mark(host: &Host<'_>, service: &Service, settings: &Settings) -> Option<Pushed> {
    let problem = Some("not taken there yet".to_owned());
    let remote = address(host, service);
    settings.push_on_create.then(|| Pushed { at: host.time(), remote, good: false, problem })
}

/// Takes away what is marked and not there yet, of one pool or of all. What fails is told and stays for the next time; it
/// fails nothing else.
pub fn push_marked(host: &Host<'_>, service: &Service, only: Option<Pool>) -> Vec<PushReport> {
    let backups = match host.settings(service).and_then(|settings| {
        if settings.push_on_create {
            catalog::list(&service.layout).map(catalog::whole)
        } else {
            Ok(Vec::new())
        }
    }) {
        Ok(backups) => backups,
        Err(error) => {
            host.progress.warn(&format!("nothing of {} was taken to its remote: {error:#}", service.name));
            return Vec::new();
        }
    };
    let is_marked = |backup: &&Backup| {
        backup.pushed.as_ref().is_some_and(|pushed| !pushed.good)
            && backup.is_good()
            && only.is_none_or(|pool| backup.manifest.pool == pool)
    };
    let mut reports = Vec::new();
    // The oldest first: what the remote's retention removes is not the last to come.
    for backup in backups.iter().rev().filter(is_marked) {
        match push(host, service, backup) {
            Ok(report) => reports.push(report),
            Err(error) => {
                host.progress.done();
                host.progress.warn(&format!("backup {} is not at the remote yet: {error:#}", backup.id));
                let hint = error::failure_in(&error).and_then(|failure| failure.hint.as_ref());
                hint.into_iter().flat_map(|hint| hint.lines()).for_each(|line| host.progress.warn(line));
                host.progress.warn(&format!(
                    "the next run tries again, or: dokku pgbackup:push {} --all",
                    service.name
                ));
                // One that is damaged says nothing of the others; anything else keeps them back, too.
                if !error::failure_in(&error).is_some_and(|failure| failure.blames_data) {
                    break;
                }
            }
        }
    }
    reports
}
