//! Taking a backup to its remote: the tar stream in parts, each read back, the index last.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aftermath::{self, Run};
use crate::backup_id::BackupId;
use crate::catalog::{self, Backup};
use crate::digest::sha256_hex;
use crate::dokku::Service;
use crate::encryption::Recipients;
use crate::error::{self, Failure, Kind};
use crate::files;
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::lock::ServiceLock;
use crate::manifest::{Pool, Pushed};
use crate::offsite::{self, FORMAT, INDEX, Index, Part};
use crate::remote::{self, Patience, Remote};
use crate::settings::Settings;
use crate::tarball;

/// Bytes of the tar stream in a part. A few of them are in memory at once.
const PART: usize = 4 * 1024 * 1024;
/// Parts on their way at once: one connection seldom fills a line.
const AT_ONCE: usize = 2;
/// Of a journal: a line for each part.
const MAX_JOURNAL: u64 = 64 * 1024 * 1024;

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
    files::create_private_folders(&service.layout.pushing())?;
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

/// The journal of this push, and those of backups that are not here any more.
fn forget_journals(service: &Service, id: &BackupId) -> Result<()> {
    files::remove_tree(&service.layout.push_journal(id))?;
    for entry in std::fs::read_dir(service.layout.pushing())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let other = name.strip_suffix(".jsonl").and_then(|id| id.parse::<BackupId>().ok());
        if other.is_some_and(|other| !service.layout.backup(&other).exists()) {
            files::remove_tree(&entry.path())?;
        }
    }
    Ok(())
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

/// A part as the journal knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sent {
    number: usize,
    #[serde(flatten)]
    part: Part,
}

/// What the parts in a journal were sent to, and for whom. They are of no use for anything else.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Purpose {
    remote: String,
    endpoint: Option<String>,
    recipients: Option<String>,
    part_bytes: usize,
    started_at: DateTime<Utc>,
}

/// The first line of a journal.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    purpose: Purpose,
    /// In the names of its parts, so that they never replace those of another push.
    series: String,
}

/// `pushing/<backup>.jsonl`: the header, then a line for each part that was sent and read back.
struct Journal {
    path: std::path::PathBuf,
    series: String,
    done: BTreeMap<usize, Part>,
}

impl Journal {
    fn open(
        service: &Service,
        backup: &Backup,
        remote: &Remote,
        recipients: Option<&Recipients>,
    ) -> Result<Self> {
        let path = service.layout.push_journal(&backup.id);
        let purpose = Purpose {
            remote: remote.shown.clone(),
            endpoint: remote.endpoint.clone(),
            recipients: recipients.map(ToString::to_string),
            part_bytes: PART,
            started_at: backup.manifest.started_at,
        };
        let folder = offsite::folder(&service.name, &backup.id);
        if let Some((series, sent)) = Self::read(&path, &purpose) {
            // That it cannot be asked now is no reason to begin anew.
            let there: HashMap<String, u64> =
                remote.list(&folder)?.into_iter().map(|object| (object.key, object.size)).collect();
            let is_there =
                |sent: &Sent| there.get(&format!("{folder}/{}", sent.part.name)) == Some(&sent.part.size);
            let done = sent.into_iter().filter(is_there).map(|sent| (sent.number, sent.part)).collect();
            return Ok(Journal { path, series, done });
        }
        let id = Host::new_id_at(backup.manifest.started_at)?;
        let series = id.as_str().rsplit('-').next().unwrap_or_default().to_owned();
        files::remove_tree(&path)?;
        files::append_line(&path, &serde_json::to_string(&Header { purpose, series: series.clone() })?)?;
        Ok(Journal { path, series, done: BTreeMap::new() })
    }

    /// `None` when there is none for this purpose.
    fn read(path: &std::path::Path, purpose: &Purpose) -> Option<(String, Vec<Sent>)> {
        let text = String::from_utf8(files::read_bounded(path, MAX_JOURNAL).ok()?).ok()?;
        let mut lines = text.lines();
        let header: Header = serde_json::from_str(lines.next()?).ok()?;
        // The last line may be half of one.
        let sent = lines.filter_map(|line| serde_json::from_str::<Sent>(line).ok()).collect();
        (header.purpose == *purpose).then_some((header.series, sent))
    }
}

/// A piece of the tar stream on its way to a sender.
type Piece = (usize, Vec<u8>);

/// Sends every part that the journal does not know; all of them, in their order.
fn send_all(
    host: &Host<'_>,
    service: &Service,
    backup: &Backup,
    remote: &Remote,
    settings: &Settings,
    journal: &Journal,
) -> Result<Vec<Part>> {
    let total = tarball::size(backup)?;
    let sender = Sender {
        remote,
        folder: offsite::folder(&service.name, &backup.id),
        recipients: settings.recipients.as_ref(),
        journal,
        writing: Mutex::new(()),
    };
    let stop = AtomicBool::new(false);
    let (pieces, queue) = sync_channel::<Piece>(0);
    let (report, reports) = mpsc::channel();
    let queue = Arc::new(Mutex::new(queue));
    let mut done = journal.done.clone();
    std::thread::scope(|scope| {
        let interrupt = host.docker.interrupt();
        let splitter = Splitter { piece: Vec::new(), number: 1, skip: &journal.done, pieces, interrupt };
        let reading = scope.spawn(move || tarball::write(backup, splitter)?.finish());
        for _ in 0..AT_ONCE {
            let (queue, report, sender, stop) = (Arc::clone(&queue), report.clone(), &sender, &stop);
            scope.spawn(move || {
                while let Some((number, piece)) = next_piece(&queue) {
                    let sent = sender.send(number, piece);
                    if sent.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    // One that fails stops the other, too.
                    if report.send((number, sent)).is_err() || stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        // Only the senders hold the queue now: when they stop, whoever reads the files hears of it.
        drop((report, queue));
        let mut failure = None;
        for (number, sent) in reports {
            match sent {
                Ok(part) => drop(done.insert(number, part)),
                Err(error) => drop(failure.get_or_insert(error)),
            }
            let bytes = (done.len() as u64).saturating_mul(PART as u64).min(total);
            host.progress.bytes(bytes, Some(total));
        }
        let read = reading.join().map_err(|_| anyhow!("the thread that reads the backup panicked"))?;
        host.check()?;
        match (failure, read) {
            (Some(error), _) | (None, Err(error)) => Err(error),
            (None, Ok(count)) if done.len() == count => Ok(done.into_values().collect()),
            (None, Ok(count)) => Err(anyhow!("{} of {count} parts were sent", done.len())),
        }
    })
}

fn next_piece(queue: &Mutex<Receiver<Piece>>) -> Option<Piece> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Cuts what is written into pieces, and hands on those that are wanted.
struct Splitter<'a> {
    piece: Vec<u8>,
    number: usize,
    skip: &'a BTreeMap<usize, Part>,
    pieces: SyncSender<Piece>,
    /// What is passed over is read all the same, and that may be much.
    interrupt: &'a Interrupt,
}

impl Splitter<'_> {
    fn hand_on(&mut self) -> io::Result<()> {
        self.interrupt.check().map_err(io::Error::other)?;
        if self.skip.contains_key(&self.number) {
            self.piece.clear();
        } else {
            let piece = std::mem::take(&mut self.piece);
            let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody sends any more");
            self.pieces.send((self.number, piece)).map_err(gone)?;
        }
        self.number += 1;
        Ok(())
    }

    /// How many parts there are.
    fn finish(mut self) -> Result<usize> {
        if !self.piece.is_empty() {
            self.hand_on()?;
        }
        Ok(self.number - 1)
    }
}

impl Write for Splitter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve_exact(PART);
        }
        let count = bytes.len().min(PART - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PART {
            self.hand_on()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends one piece: encrypted, stored, read back, written down.
struct Sender<'a> {
    remote: &'a Remote,
    folder: String,
    recipients: Option<&'a Recipients>,
    journal: &'a Journal,
    writing: Mutex<()>,
}

impl Sender<'_> {
    fn send(&self, number: usize, piece: Vec<u8>) -> Result<Part> {
        let (bytes, suffix) = match self.recipients {
            None => (piece, offsite::PLAIN),
            Some(recipients) => {
                let mut writer = recipients.encrypt(Vec::with_capacity(piece.len() + 64 * 1024))?;
                writer.write_all(&piece)?;
                drop(piece);
                (writer.finish().context("encrypting")?, offsite::ENCRYPTED)
            }
        };
        let part = Part {
            name: format!("part-{}-{number:06}{suffix}", self.journal.series),
            size: bytes.len() as u64,
            sha256: sha256_hex(&bytes),
        };
        self.remote.put(&format!("{}/{}", self.folder, part.name), &Bytes::from(bytes))?;
        let line = serde_json::to_string(&Sent { number, part: part.clone() })?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        files::append_line(&self.journal.path, &line)?;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_into_pieces_and_known_ones_are_passed_over() {
        let (pieces, queue) = sync_channel(10);
        let part = Part { name: "part-000002.tar".into(), size: 1, sha256: String::new() };
        let skip = BTreeMap::from([(2, part)]);
        let interrupt = Interrupt::default();
        let mut splitter =
            Splitter { piece: Vec::new(), number: 1, skip: &skip, pieces, interrupt: &interrupt };
        splitter.write_all(&vec![1; PART]).unwrap();
        splitter.write_all(&vec![2; PART]).unwrap();
        splitter.write_all(&[3; 10]).unwrap();
        assert_eq!(splitter.finish().unwrap(), 3);
        let sent: Vec<(usize, usize, u8)> =
            queue.into_iter().map(|(number, piece)| (number, piece.len(), piece[0])).collect();
        assert_eq!(sent, [(1, PART, 1), (3, 10, 3)]);
    }
}
