//! The backups of a service: listing them, finding one, removing one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, Utc};

use crate::backup_id::BackupId;
use crate::dokku::Service;
use crate::error::Failure;
use crate::files;
use crate::layout::{self, ServiceLayout};
use crate::lock::BackupLock;
use crate::manifest::{Manifest, Pinned, Pushed, Verified, read_manifest_bytes};
use crate::nearest::nearest;
use crate::service_name::ServiceName;

/// A backup whose folder is complete and whose manifest is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub id: BackupId,
    pub folder: PathBuf,
    pub manifest: Manifest,
    pub verified: Option<Verified>,
    pub pinned: Option<Pinned>,
    /// Whether it is at the remote; `None` where nobody wanted it there.
    pub pushed: Option<Pushed>,
}

impl Backup {
    /// Keeps it from being deleted while it is read.
    pub fn held_for_reading(&self) -> Result<BackupLock> {
        hold_for_reading(&self.folder, &self.id)
    }

    /// False when its last verification found something wrong.
    pub fn is_good(&self) -> bool {
        self.verified.as_ref().is_none_or(|verified| verified.good)
    }
}

/// One folder among the backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Whole(Box<Backup>),
    /// Named like a backup, but not whole.
    Broken {
        name: String,
        why: String,
    },
    /// Left by a run that was killed while it made a backup, or being made now.
    Pending {
        name: String,
    },
    /// Left by a run that was killed while it removed a backup, or being removed now.
    Deleted {
        name: String,
    },
}

impl Entry {
    /// The backup id, or the folder's name where that is not one.
    pub fn name(&self) -> &str {
        match self {
            Entry::Whole(backup) => backup.id.as_str(),
            Entry::Broken { name, .. } | Entry::Pending { name } | Entry::Deleted { name } => name,
        }
    }

    /// Greater is newer.
    fn age_key(&self) -> (&str, Option<DateTime<Utc>>, &str) {
        let name = sort_key(self.name());
        let second = name.split_once('-').map_or(name, |(second, _)| second);
        let started = if let Entry::Whole(backup) = self { Some(backup.manifest.started_at) } else { None };
        (second, started, name)
    }

    /// A whole backup.
    pub fn backup(&self) -> Option<&Backup> {
        if let Entry::Whole(backup) = self { Some(backup) } else { None }
    }

    /// Of a whole backup.
    pub fn manifest_mut(&mut self) -> Option<&mut Manifest> {
        if let Entry::Whole(backup) = self { Some(&mut backup.manifest) } else { None }
    }
}

/// Reading this many manifests takes longer than starting a thread.
const PER_THREAD: usize = 64;

/// Everything among the backups of a service, newest first. What cannot be read is told, never skipped.
pub fn list(service: &ServiceLayout) -> Result<Vec<Entry>> {
    let folder = service.backups();
    if !files::exists(&folder)? {
        return Ok(Vec::new());
    }
    let mut names: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort_by(|a, b| sort_key(b).cmp(sort_key(a)));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let per_thread = names.len().div_ceil(threads).max(PER_THREAD);
    let parts: Vec<Vec<Entry>> = std::thread::scope(|scope| {
        let folder = &folder;
        let read = |names| scope.spawn(move || read_entries(folder, names));
        let running: Vec<_> = names.chunks(per_thread).map(read).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut entries: Vec<Entry> = parts.into_iter().flatten().collect();
    // Ids know seconds only; of two backups in one second, the manifests know which is newer.
    entries.sort_by(|a, b| b.age_key().cmp(&a.age_key()));
    Ok(entries)
}

fn sort_key(name: &str) -> &str {
    name.trim_start_matches(layout::PENDING_PREFIX).trim_start_matches(layout::DELETED_PREFIX)
}

fn read_entries(folder: &Path, names: &[String]) -> Vec<Entry> {
    names.iter().map(|name| read_entry(folder, name)).collect()
}

fn read_entry(folder: &Path, name: &str) -> Entry {
    if let Some(id) = name.strip_prefix(layout::PENDING_PREFIX) {
        return Entry::Pending { name: id.to_owned() };
    }
    if let Some(id) = name.strip_prefix(layout::DELETED_PREFIX) {
        return Entry::Deleted { name: id.to_owned() };
    }
    match read(&folder.join(name), name) {
        Ok(backup) => Entry::Whole(Box::new(backup)),
        Err(error) => Entry::Broken { name: name.to_owned(), why: format!("{error:#}") },
    }
}

/// The backup in `folder`, which is named (or is going to be named) `name`.
pub fn read(folder: &Path, name: &str) -> Result<Backup> {
    let id: BackupId = name.parse().map_err(|_| anyhow!("its name is not a backup id"))?;
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir());
    if !is_folder {
        return Err(anyhow!("it is not a folder"));
    }
    let bytes = match read_manifest_bytes(folder) {
        Err(_) if !folder.join(layout::MANIFEST).exists() => {
            return Err(anyhow!("its {} is missing", layout::MANIFEST));
        }
        read => read?,
    };
    for (part, is_folder) in [(layout::CHECKSUMS, false), (layout::DUMP, true)] {
        match fs::symlink_metadata(folder.join(part)) {
            Err(_) => return Err(anyhow!("its {part} is missing")),
            Ok(found) if found.is_dir() != is_folder || found.is_file() == is_folder => {
                return Err(anyhow!(
                    "its {part} is not a plain {}",
                    if is_folder { "folder" } else { "file" }
                ));
            }
            Ok(_) => {}
        }
    }
    let manifest = Manifest::parse(&bytes)?;
    if manifest.id != id {
        return Err(anyhow!("its manifest is that of {}", manifest.id));
    }
    let verified = Verified::read(folder, &bytes);
    let pinned = Pinned::read(folder);
    let pushed = Pushed::read(folder);
    Ok(Backup { id, folder: folder.to_owned(), manifest, verified, pinned, pushed })
}

/// The whole backups among `entries`, newest first.
pub fn whole(entries: Vec<Entry>) -> Vec<Backup> {
    let backup = |entry| if let Entry::Whole(backup) = entry { Some(*backup) } else { None };
    entries.into_iter().filter_map(backup).collect()
}

/// The backup that `wanted` names: an id, an unambiguous prefix of one, or `None` for the newest good one.
pub fn find(service: &ServiceName, entries: Vec<Entry>, wanted: Option<&str>) -> Result<Backup> {
    let list_hint = format!("see the ones there are with: dokku pgbackup:list {service}");
    let Some(wanted) = wanted else {
        let newest = whole(entries).into_iter().find(Backup::is_good);
        return newest.ok_or_else(|| {
            Failure::not_found(format!("{service} has no good backup"))
                .hint(format!(
                    "make one with: dokku pgbackup:create {service}\nor bring one here: dokku pgbackup:pull {service}, or pgbackup:import {service}"
                ))
                .into()
        });
    };
    let meant = nearest(wanted, entries.iter().map(Entry::name)).map(|name| format!("did you mean {name}? "));
    let matching: Vec<Entry> =
        entries.into_iter().filter(|entry| !wanted.is_empty() && entry.name().starts_with(wanted)).collect();
    let exact = matching.iter().position(|entry| entry.name() == wanted);
    match (exact, matching.len()) {
        (None, 0) => Err(Failure::not_found(format!("{service} has no backup {}", shown(wanted)))
            .hint(meant.unwrap_or_default() + &list_hint)
            .into()),
        (None, count) if count > 1 => {
            let names: Vec<&str> = matching.iter().map(Entry::name).take(5).collect();
            let message = format!("{wanted} stands for {count} backups of {service}: {}", names.join(", "));
            Err(Failure::usage(message).hint("type more of the id").into())
        }
        (position, _) => usable(service, matching.into_iter().nth(position.unwrap_or(0))),
    }
}

/// An id is short; anything longer is somebody's mistake and need not be repeated whole.
fn shown(wanted: &str) -> String {
    let short: String = wanted.chars().take(40).collect();
    format!("{short:?}")
}

fn usable(service: &ServiceName, entry: Option<Entry>) -> Result<Backup> {
    let (name, why) = match entry {
        Some(Entry::Whole(backup)) => return Ok(*backup),
        Some(Entry::Broken { name, why }) => (name, why),
        Some(Entry::Pending { name }) => (name, "it was never completed".to_owned()),
        // Not in the list any more: a run that removes it has seen to that first.
        Some(Entry::Deleted { name }) => {
            return Err(Failure::not_found(format!("backup {name} of {service} is being removed"))
                .hint(format!("choose another one: dokku pgbackup:list {service}"))
                .into());
        }
        None => (String::new(), String::new()),
    };
    Err(Failure::refused(format!("backup {name} of {service} is not whole: {why}"))
        .hint(format!("choose another one: dokku pgbackup:list {service}"))
        .into())
}

/// The backup of `source` that `wanted` names.
pub fn choose(source: &Service, wanted: Option<&str>) -> Result<Backup> {
    let backup = find(&source.name, list(&source.layout)?, wanted)?;
    if backup.manifest.service == source.name {
        return Ok(backup);
    }
    let whose = &backup.manifest.service;
    Err(Failure::refused(format!("backup {} of {} is one of service {whose}", backup.id, source.name))
        .hint(format!("choose another one: dokku pgbackup:list {}", source.name))
        .into())
}

/// A folder that can still be opened may have been deleted before it was locked.
fn hold_for_reading(folder: &Path, id: &BackupId) -> Result<BackupLock> {
    let locked = BackupLock::shared(folder);
    if !files::exists(folder)? {
        return Err(deleted_meanwhile(id.as_str()));
    }
    locked?.ok_or_else(|| Failure::busy(format!("backup {id} is being deleted")).into())
}

fn deleted_meanwhile(name: &str) -> anyhow::Error {
    Failure::not_found(format!("backup {name} has been deleted meanwhile"))
        .hint("see what there is: dokku pgbackup:list")
        .into()
}

/// Removes one folder of backups.
pub fn remove(service: &ServiceLayout, name: &str) -> Result<()> {
    if fs::symlink_metadata(service.backups().join(name))
        .is_err_and(|error| error.kind() == ErrorKind::NotFound)
    {
        return Err(deleted_meanwhile(name));
    }
    let _lock = hold(&service.backups().join(name), name)?;
    take_away(service, name)
}

/// Removes a backup, unless it was pinned or verified since it was looked at. False when it stays for that.
pub fn remove_unchanged(service: &ServiceLayout, backup: &Backup) -> Result<bool> {
    let name = backup.id.as_str();
    // Whoever pins or verifies it holds it, so what is read now stays true.
    let _lock = hold(&backup.folder, name)?;
    if !read(&backup.folder, name).is_ok_and(|now| now == *backup) {
        return Ok(false);
    }
    take_away(service, name).map(|()| true)
}

/// Keeps everybody else from a folder of backups; `None` for what is no folder.
fn hold(folder: &Path, name: &str) -> Result<Option<BackupLock>> {
    if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(None);
    }
    let lock = BackupLock::exclusive(folder)?.ok_or_else(|| {
        Failure::busy(format!("backup {name} is being verified or restored now"))
            .hint("wait for that run to end, then delete it again")
    })?;
    Ok(Some(lock))
}

/// Out of the list by one rename first, then for good.
fn take_away(service: &ServiceLayout, name: &str) -> Result<()> {
    let folder = service.backups().join(name);
    let doomed = service.deleted(name);
    files::rename_durably(&folder, &doomed)?;
    files::remove_tree(&doomed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn a_backup_that_is_deleted_while_a_run_begins_is_said_to_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, id) = (folder.path().join("one"), "20261122T235901Z-k3f9".parse().unwrap());
        files::create_private_folder(&path).unwrap();
        let deleting = BackupLock::exclusive(&path).unwrap();
        assert_eq!(exit_code(&hold_for_reading(&path, &id).unwrap_err()), 4);
        files::remove_tree(&path).unwrap();
        for _ in 0..2 {
            let gone = hold_for_reading(&path, &id).unwrap_err();
            assert_eq!((exit_code(&gone), gone.to_string().contains("deleted meanwhile")), (5, true));
        }
        drop(deleting);
    }

    #[test]
    fn a_backup_that_somebody_else_has_removed_is_not_removed_again() {
        let root = tempfile::tempdir().unwrap();
        let service = crate::layout::Layout::new(root.path()).service(&"db".parse().unwrap());
        files::create_private_folders(&service.backups().join("one")).unwrap();
        remove(&service, "one").unwrap();
        let gone = remove(&service, "one").unwrap_err();
        assert_eq!((exit_code(&gone), gone.to_string().contains("deleted meanwhile")), (5, true));
    }

    #[test]
    fn a_backup_that_is_being_removed_is_not_there_any_more() {
        let entries = vec![Entry::Deleted { name: "20261122T235901Z-k3f9".into() }];
        let gone = find(&"db".parse().unwrap(), entries, Some("20261122T235901Z-k3f9")).unwrap_err();
        assert_eq!((exit_code(&gone), gone.to_string().contains("is being removed")), (5, true));
    }

    fn broken(name: &str) -> Entry {
        Entry::Broken { name: name.into(), why: "its manifest.toml is missing".into() }
    }

    fn find_in(entries: Vec<Entry>, wanted: Option<&str>) -> anyhow::Error {
        find(&"db".parse().unwrap(), entries, wanted).unwrap_err()
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let entries = || vec![broken("20261122T235901Z-k3f9"), broken("20261122T000000Z-aaaa")];
        assert_eq!(exit_code(&find_in(entries(), Some("20261122T235901Z-k3f9"))), 6);
        assert_eq!(exit_code(&find_in(entries(), Some("202611"))), 2);
        assert_eq!(exit_code(&find_in(entries(), Some("2025"))), 5);
        assert_eq!(exit_code(&find_in(entries(), Some(""))), 5);
        assert_eq!(exit_code(&find_in(entries(), None)), 5);
    }

    const MANIFEST: &str = r#"format = 1
id = "20261122T235901Z-k3f9"
service = "db"
pool = "scheduled"
started_at = "2026-11-22T23:59:01Z"
finished_at = "2026-11-22T23:59:02Z"
pgbackup = "0.1.0"
server = { version = "17.2", version_num = 170002, image = "postgres:17", image_id = "x", lc_monetary = "C", shared_preload_libraries = "" }
database = { name = "db", size_bytes = 1, encoding = "UTF8", collate = "C", ctype = "C", extensions = [] }
dump = { compression = "zstd:3", jobs = 1, size_bytes = 1, files = 1 }
contents = { tables = 0, rows = 0, sequences = 0, large_objects = 0 }
"#;

    #[test]
    fn what_was_pinned_or_verified_since_a_plan_stays() {
        let root = tempfile::tempdir().unwrap();
        let service = layout::Layout::new(root.path()).service(&"db".parse().unwrap());
        let folder = service.backups().join("20261122T235901Z-k3f9");
        files::create_private_folders(&folder.join(layout::DUMP)).unwrap();
        files::write_private(&folder.join(layout::MANIFEST), MANIFEST.as_bytes()).unwrap();
        files::write_private(&folder.join(layout::CHECKSUMS), b"").unwrap();
        let look = || whole(list(&service).unwrap()).remove(0);
        let planned = look();
        Pinned { at: DateTime::UNIX_EPOCH, by: "me".to_owned(), note: None }.write(&folder).unwrap();
        assert!(!remove_unchanged(&service, &planned).unwrap());
        let reader = BackupLock::shared(&folder).unwrap();
        assert_eq!(exit_code(&remove_unchanged(&service, &look()).unwrap_err()), 4);
        drop(reader);
        assert!(remove_unchanged(&service, &look()).unwrap());
        assert!(list(&service).unwrap().is_empty());
    }

    #[test]
    fn strange_folders_are_listed_as_what_they_are() {
        let root = tempfile::tempdir().unwrap();
        let service = layout::Layout::new(root.path()).service(&"db".parse().unwrap());
        for name in ["20261122T235901Z-k3f9", ".pending-20261122T000000Z-aaaa", ".deleted-x", "junk"] {
            files::create_private_folders(&service.backups().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/etc", service.backups().join("20261122T235902Z-k3f9")).unwrap();
        let entries = list(&service).unwrap();
        let kinds: Vec<String> = entries.iter().map(|entry| format!("{entry:?}")).collect();
        let all = kinds.join("\n");
        for part in [
            "its name is not a backup id",
            "it is not a folder",
            "its manifest.toml is missing",
            "Pending",
            "Deleted",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert_eq!(entries.len(), 5);
    }
}
