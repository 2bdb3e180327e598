//! Clearing what a killed run left behind: containers, folders, half-made databases. Each is named to the user.
//!
//! Only the holder of the service's lock calls this, so that a pending folder here is nobody's.

use std::fs;

use anyhow::Result;

use crate::backup_id::BackupId;
use crate::catalog::{self, Backup, Entry};
use crate::destroyed;
use crate::docker::Leftover;
use crate::dokku::Service;
use crate::files;
use crate::host::Host;
use crate::layout;
use crate::lock::{BackupLock, ServiceLock};
use crate::postgres::{self, MAINTENANCE_DATABASE, ServerFacts};
use crate::server::Server;
use crate::swap;

/// Removes containers and folders of runs that are dead.
pub fn clear(host: &Host<'_>, service: &Service, _held: &ServiceLock) -> Result<()> {
    destroyed::bring_back(host, service)?;
    clear_containers(host, service, |_| true)?;
    clear_folders(host, service)
}

/// The same for runs that do without docker: a disk that is full may have stopped it, and must be cleaned up all the
/// same.
pub fn clear_without_docker(host: &Host<'_>, service: &Service, _held: &ServiceLock) -> Result<()> {
    destroyed::bring_back(host, service)?;
    if let Err(error) = clear_containers(host, service, |_| true) {
        host.check()?;
        host.progress.warn(&format!("containers that killed runs may have left stay: {error:#}"));
    }
    clear_folders(host, service)
}

fn clear_folders(host: &Host<'_>, service: &Service) -> Result<()> {
    clear_unfinished(host, service)?;
    for entry in catalog::list(&service.layout)? {
        let (folder, what) = match &entry {
            Entry::Pending { name } => (layout_name(layout::PENDING_PREFIX, name), "unfinished backup"),
            Entry::Deleted { name } => (layout_name(layout::DELETED_PREFIX, name), "half-removed backup"),
            Entry::Whole(backup) => {
                clear_records(host, backup)?;
                continue;
            }
            Entry::Broken { .. } => continue,
        };
        files::remove_tree(&service.layout.backups().join(folder))?;
        host.progress.note(&format!("removed the {what} {} that a killed run had left", entry.name()));
    }
    destroyed::clear_begun(host, service)?;
    destroyed::clear_deleted(host);
    clear_scratch(host, service)
}

/// Removes what was being written, copied or moved away.
fn clear_unfinished(host: &Host<'_>, service: &Service) -> Result<()> {
    let layout = &service.layout;
    for folder in [layout.root().to_owned(), layout.own(), layout.backups(), layout.pushing()] {
        for path in files::unfinished(&folder) {
            files::remove_tree(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            host.progress.note(&format!("removed the unfinished {name} that a killed run had left"));
        }
    }
    Ok(())
}

/// Removes containers and scratch folders of drills that are dead. They run without the service's lock.
pub fn clear_drills(host: &Host<'_>, service: &Service) -> Result<()> {
    // A drill's containers bear its scratch folder's name; those of other runs a backup id.
    clear_containers(host, service, |container| container.backup.parse::<BackupId>().is_err())?;
    clear_scratch(host, service)
}

fn clear_containers(host: &Host<'_>, service: &Service, is_ours: impl Fn(&Leftover) -> bool) -> Result<()> {
    for container in
        host.docker.leftovers(service.name.as_str())?.iter().filter(|container| is_ours(container))
    {
        if !is_in_use(service, container)? {
            host.docker.remove(&container.name)?;
            host.progress
                .note(&format!("removed the container {} that a killed run had left", container.name));
        }
    }
    Ok(())
}

/// Removes what is left of a verification's record that was being written.
fn clear_records(host: &Host<'_>, backup: &Backup) -> Result<()> {
    let Ok(entries) = fs::read_dir(&backup.folder) else { return Ok(()) };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| name.starts_with('.') && layout::is_later_record(name)) {
        // Whoever verifies it holds the backup.
        if BackupLock::exclusive(&backup.folder)?.is_some() {
            files::remove_tree(&backup.folder.join(name))?;
            host.progress
                .note(&format!("removed an unfinished record of {} that a killed run had left", backup.id));
        }
    }
    Ok(())
}

fn layout_name(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}")
}

/// Drills run without the service's lock, holding their scratch folder instead.
pub fn is_in_use(service: &Service, container: &Leftover) -> Result<bool> {
    let scratch = service.layout.scratch().join(&container.backup);
    if !scratch.is_dir() {
        return Ok(false);
    }
    Ok(BackupLock::exclusive(&scratch)?.is_none())
}

fn clear_scratch(host: &Host<'_>, service: &Service) -> Result<()> {
    let Ok(entries) = fs::read_dir(service.layout.scratch()) else { return Ok(()) };
    for entry in entries.flatten() {
        if BackupLock::exclusive(&entry.path()).is_ok_and(|lock| lock.is_some()) {
            files::remove_tree(&entry.path())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            host.progress.note(&format!("removed the scratch folder {name} that a killed run had left"));
        }
    }
    Ok(())
}

/// Drops half-restored databases. They are never the live one, nor the previous one.
pub fn clear_databases(host: &Host<'_>, server: &Server<'_>, service: &Service, facts: &ServerFacts) {
    for name in facts.databases.iter().filter(|name| swap::is_restoring(&service.database, name)) {
        match server.execute(MAINTENANCE_DATABASE, &postgres::drop_database(facts.version_num, name)) {
            Ok(_) => {
                host.progress.note(&format!("dropped the database {name} that a killed restore had left"));
            }
            // It only takes room. What the user asked for goes on.
            Err(error) => {
                host.progress
                    .warn(&format!("the half-restored database {name} cannot be dropped: {error:#}"));
            }
        }
    }
}
