//! The backups of services that were destroyed: saved before, listed, restored from, deleted for good.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::catalog::{self, Entry};
use crate::create::{CreateOptions, create_backup};
use crate::dokku::{Dokku, Service};
use crate::error::{self, Failure};
use crate::files;
use crate::history;
use crate::host::Host;
use crate::layout::{self, ServiceLayout};
use crate::lock::BackupLock;
use crate::manifest::Pool;
use crate::process;
use crate::push;
use crate::service_name::ServiceName;
use crate::settings::FinalBackup;

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
/// How long a destroy waits for a run that has the service.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// After that, a destroy is over that nobody can be asked about.
const LONGEST_DESTROY: TimeDelta = TimeDelta::hours(1);

/// What is left of a destroyed service.
#[derive(Debug, Clone)]
pub struct Destroyed {
    /// `<service>-<time>`, its folder's name.
    pub name: String,
    pub service: ServiceName,
    pub at: DateTime<Utc>,
    pub layout: ServiceLayout,
}

impl Destroyed {
    fn of(dokku: &Dokku, name: &str) -> Option<Self> {
        let (service, time) = name.rsplit_once('-')?;
        let at = NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok()?.and_utc();
        let layout = dokku.layout().destroyed_service(name);
        Some(Destroyed { name: name.to_owned(), service: service.parse().ok()?, at, layout })
    }

    /// As a service to restore from.
    pub fn as_service(&self) -> Service {
        let database = self.service.as_str().replace(['-', '.'], "_");
        Service { name: self.service.clone(), layout: self.layout.clone(), database }
    }

    /// What became of the destroy, if the service's root is still the one that was to be destroyed.
    fn outcome(&self, identity: &str, now: DateTime<Utc>) -> Option<Outcome> {
        let path = self.layout.own().join(IDENTITY);
        let bytes = files::read_bounded(&path, 1000).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        lines.next().filter(|root| !root.is_empty() && *root == identity)?;
        let is_old = || {
            let noted = path.metadata().and_then(|metadata| metadata.modified());
            noted.is_ok_and(|noted| now - DateTime::<Utc>::from(noted) > LONGEST_DESTROY)
        };
        Some(match lines.next().filter(|process| !process.is_empty()) {
            Some(process) if is_running(process) => Outcome::GoesOn,
            Some(_) => Outcome::GivenUp,
            None if is_old() => Outcome::GivenUp,
            None => Outcome::Unknown,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    GoesOn,
    /// The service is there, and whoever wanted to destroy it has ended.
    GivenUp,
    /// Nobody can be asked yet.
    Unknown,
}

/// Whether something is left that backups could be made of. A destroy that failed half-way leaves a folder, too.
fn is_a_service(host: &Host<'_>, service: &Service) -> bool {
    let has = |name: &str| service.layout.root().join(name).is_file();
    let has_container = || matches!(host.docker.container(&service.container()), Ok(Some(_)));
    has("DATABASE_NAME") && has("PASSWORD") || has_container()
}

/// The process that destroys: its id and the time of its start, so that no later one is taken for it.
fn destroyer(host: &Host<'_>) -> Option<String> {
    let pid: u32 = host.dokku.environment().deploy.pid.as_ref()?.parse().ok()?;
    Some(format!("{pid} {}", process::start_time(pid)?))
}

fn is_running(process: &str) -> bool {
    let started = |pid: &str| process::start_time(pid.parse().ok()?);
    process.split_once(' ').is_some_and(|(pid, then)| started(pid).is_some_and(|now| then.parse() == Ok(now)))
}

/// Two lines: the identity of the service root, and the process that destroys.
const IDENTITY: &str = "service-root";

/// All that the user may see, newest first.
pub fn list(dokku: &Dokku) -> Result<Vec<Destroyed>> {
    let folder = dokku.layout().destroyed();
    if !files::exists(&folder)? {
        return Ok(Vec::new());
    }
    let names = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<Destroyed> = names
        .filter_map(|name| Destroyed::of(dokku, &name))
        .filter(|destroyed| destroyed.layout.own().is_dir())
        .collect();
    found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.name.cmp(&b.name)));
    let names: Vec<ServiceName> = found.iter().map(|destroyed| destroyed.service.clone()).collect();
    let allowed = dokku.allowed_services(&names)?;
    Ok(found.into_iter().filter(|destroyed| allowed.contains(&destroyed.service.to_string())).collect())
}

/// The one of that name; a service's name alone stands for the last one that was destroyed under it.
pub fn find(dokku: &Dokku, wanted: &str) -> Result<Destroyed> {
    let all = list(dokku)?;
    let exact = all.iter().find(|destroyed| destroyed.name == wanted);
    let found = exact.or_else(|| all.iter().find(|destroyed| destroyed.service.as_str() == wanted));
    found.cloned().ok_or_else(|| {
        Failure::not_found(format!("there are no backups of a destroyed service {wanted:?}"))
            .hint("see the ones there are with: dokku pgbackup:list --destroyed")
            .into()
    })
}

/// Where the backups of a destroyed service of that name are, if there are any: for somebody who looks for them among
/// the living.
pub fn hint(dokku: &Dokku, service: &ServiceName) -> Option<String> {
    let is_there = list(dokku).is_ok_and(|all| all.iter().any(|destroyed| destroyed.service == *service));
    is_there
        .then(|| format!("the backups of a destroyed {service} are kept: dokku pgbackup:list --destroyed"))
}

/// Before a service is destroyed: a last backup, then its folder is moved out of the way. `None` when there is nothing
/// to save. An error refuses the destroy.
pub fn save(host: &Host<'_>, service: &Service) -> Result<Option<Destroyed>> {
    // Its own settings may say that it must not be destroyed without a last backup.
    let settings = host.settings_without_broken_global(&service.layout, &service.name).map_err(|error| {
        Failure::failed(format!("{} is not destroyed: {error}", service.name))
            .hint("correct the file, or move it away to go back to the defaults")
    })?;
    let (final_backup, is_scheduled) = (settings.final_backup, settings.schedule.is_some());
    let backed_up = !catalog::list(&service.layout)?.is_empty();
    if !backed_up && !is_scheduled && final_backup != FinalBackup::Required {
        return Ok(None);
    }
    if final_backup != FinalBackup::Off {
        last_backup(host, service, final_backup)?;
        push::push_marked(host, service, None);
    }
    if catalog::list(&service.layout)?.is_empty() {
        return Ok(None);
    }
    // Whoever has the service now ends first; whoever comes later finds no service.
    let _lock = host.lock(service, "postgres:destroy", PATIENCE)?;
    let destroyed = place(host, service)?;
    // Where folders cannot be told apart, nothing is brought back by itself.
    let identity = files::identity(service.layout.root()).unwrap_or_default();
    let note = format!("{identity}\n{}\n", destroyer(host).unwrap_or_default());
    files::write_atomic(&service.layout.own().join(IDENTITY), note.as_bytes())?;
    files::create_private_folders(destroyed.layout.root())?;
    if let Err(error) = files::move_folder(&service.layout.own(), &destroyed.layout.own()) {
        files::remove_if_empty(destroyed.layout.root());
        return Err(error);
    }
    Ok(Some(destroyed))
}

fn last_backup(host: &Host<'_>, service: &Service, wanted: FinalBackup) -> Result<()> {
    let options = CreateOptions {
        pool: Pool::Final,
        note: Some("before postgres:destroy".to_owned()),
        jobs: None,
        gentle: false,
        coming: None,
        patience: PATIENCE,
    };
    let Err(error) = create_backup(host, service, &options) else { return Ok(()) };
    host.check()?;
    if wanted == FinalBackup::Required {
        let kind = error::failure_in(&error).map_or(error::Kind::Failed, |failure| failure.kind);
        let name = &service.name;
        return Err(Failure::new(
            kind,
            format!("{name} is not destroyed, for its last backup failed: {error:#}"),
        )
        .hint(format!("to destroy it without one: dokku pgbackup:set {name} final-backup off"))
        .into());
    }
    host.progress.warn(&format!("the last backup of {} failed: {error:#}", service.name));
    host.progress.warn("the backups made before are kept");
    Ok(())
}

fn place(host: &Host<'_>, service: &Service) -> Result<Destroyed> {
    let mut at = host.time();
    loop {
        let name = format!("{}-{}", service.name, at.format(TIME_FORMAT));
        let destroyed = Destroyed::of(host.dokku, &name).context("the name of the destroyed service")?;
        if !destroyed.layout.root().exists() {
            return Ok(destroyed);
        }
        at += TimeDelta::seconds(1);
    }
}

/// Brings back what was moved away for a destroy that did not happen. While it happens, there is nothing to be done with
/// the service any more: a backup that was made now would go with it. The service's lock is the caller's.
pub fn bring_back(host: &Host<'_>, service: &Service) -> Result<()> {
    let moved = moved_away(host.dokku, service, host.time());
    if moved.iter().any(|(outcome, _)| *outcome == Outcome::GoesOn) {
        return Err(Failure::not_found(format!("Postgres service {} is being destroyed", service.name))
            .hint("its backups are kept: dokku pgbackup:list --destroyed")
            .into());
    }
    for destroyed in of_living(host, service, moved) {
        for entry in catalog::list(&destroyed.layout)? {
            // A damaged backup may still hold what somebody needs; what a killed run left holds nothing.
            let (Entry::Whole(_) | Entry::Broken { .. }) = entry else { continue };
            files::create_private_folders_in(service.layout.root(), &service.layout.backups())?;
            let name = Path::new(entry.name());
            let (from, to) = (destroyed.layout.backups().join(name), service.layout.backups().join(name));
            // Of two, one is what a removal left that was cut off.
            if files::exists(&to)? && has_all_of(&to, &from)? {
                files::remove_tree(&from)?;
                continue;
            }
            let is_rest = !files::exists(&to)? || has_all_of(&from, &to)?;
            if is_rest {
                files::remove_tree(&to)?;
            }
            // Where both have what the other lacks, neither goes.
            let beside = format!("{}.before-destroy", entry.name());
            files::move_folder(&from, &if is_rest { to } else { service.layout.backups().join(beside) })?;
        }
        bring_back_settings(host, service, &destroyed)?;
        bring_back_remote(host, service, &destroyed)?;
        history::put_before(&service.layout, &destroyed.layout)?;
        // What is left may go. Without a journal, a push that was cut off only sends some parts a second time.
        take_away(host, &destroyed)?;
        host.progress.note(&format!("{} was not destroyed after all: its backups are back", service.name));
    }
    Ok(())
}

/// Whether every file that is in the backup `part` is in `all`, too.
fn has_all_of(all: &Path, part: &Path) -> Result<bool> {
    let there = files::plain_files(all)?;
    let own = files::plain_files(part)?;
    Ok(own.iter().filter(|(name, _)| !layout::is_later_record(name)).all(|file| there.contains(file)))
}

/// Settings that somebody made meanwhile are in force; the old ones stay beside them.
fn bring_back_settings(host: &Host<'_>, service: &Service, destroyed: &Destroyed) -> Result<()> {
    let (kept, now) = (destroyed.layout.settings(), service.layout.settings());
    let beside = service.layout.settings_before(&destroyed.at.format(TIME_FORMAT).to_string());
    if bring_back_file(&kept, &now, &beside)? {
        host.progress.warn(&format!(
            "{} has new settings; those from before the destroy are in {}",
            service.name,
            beside.display()
        ));
    }
    Ok(())
}

/// The same for the remote, whose file may be the only place that holds its secret key.
fn bring_back_remote(host: &Host<'_>, service: &Service, destroyed: &Destroyed) -> Result<()> {
    let (kept, now) = (destroyed.layout.remote(), service.layout.remote());
    let beside =
        now.with_file_name(format!("remote.toml.before-destroy-{}", destroyed.at.format(TIME_FORMAT)));
    if bring_back_file(&kept, &now, &beside)? {
        host.progress.warn(&format!(
            "{} has a new remote; the one from before the destroy is in {}",
            service.name,
            beside.display()
        ));
    }
    // Which backups there are bad or pinned is known nowhere else. A newer one was made from what is there now.
    let (kept, now) = (destroyed.layout.known_offsite(), service.layout.known_offsite());
    if files::exists(&kept)? && !files::exists(&now)? {
        files::create_private_folders_in(service.layout.root(), &service.layout.pushing())?;
        files::move_folder(&kept, &now)?;
    }
    Ok(())
}

/// Moves a file back, or to `beside` where there is a new one: then true.
fn bring_back_file(kept: &Path, now: &Path, beside: &Path) -> Result<bool> {
    if !files::exists(kept)? {
        return Ok(false);
    }
    let is_replaced = files::exists(now)?;
    files::move_folder(kept, if is_replaced { beside } else { now })?;
    Ok(is_replaced)
}

/// The same, unless another run has the service. That it cannot be done now is not what the run is about.
pub fn bring_back_if_free(host: &Host<'_>, service: &Service) {
    if of_living(host, service, moved_away(host.dokku, service, host.time())).is_empty() {
        return;
    }
    let brought =
        files::create_private_folders_in(service.layout.root(), &service.layout.own()).and_then(|()| {
            let _lock = host.lock(service, "postgres:destroy", Duration::ZERO)?;
            bring_back(host, service)
        });
    if let Err(error) = brought {
        host.progress.warn(&format!("the backups of {} are not back yet: {error:#}", service.name));
    }
}

/// Of what was moved away, that of a service that is still there.
fn of_living(host: &Host<'_>, service: &Service, moved: Vec<(Outcome, Destroyed)>) -> Vec<Destroyed> {
    let given_up = moved.into_iter().filter(|(outcome, _)| *outcome == Outcome::GivenUp);
    let mut found: Vec<Destroyed> = given_up.map(|(_, destroyed)| destroyed).collect();
    if !found.is_empty() && !is_a_service(host, service) {
        found.clear();
    }
    found
}

/// Whether somebody destroys it, or has.
pub fn is_going(dokku: &Dokku, service: &Service, now: DateTime<Utc>) -> bool {
    !service.layout.root().exists() || !moved_away(dokku, service, now).is_empty()
}

/// What was moved away of that very service, and of no earlier one of its name.
fn moved_away(dokku: &Dokku, service: &Service, now: DateTime<Utc>) -> Vec<(Outcome, Destroyed)> {
    let Ok(entries) = std::fs::read_dir(dokku.layout().destroyed()) else { return Vec::new() };
    let Ok(identity) = files::identity(service.layout.root()) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let of_that_name =
        names.filter_map(|name| Destroyed::of(dokku, &name)).filter(|one| one.service == service.name);
    of_that_name.filter_map(|one| Some((one.outcome(&identity, now)?, one))).collect()
}

/// Deletes them for good: out of the list by one rename first.
pub fn delete(host: &Host<'_>, destroyed: &Destroyed) -> Result<()> {
    clear_deleted(host);
    // Tells a deletion that goes on from one that was killed.
    let root = destroyed.layout.root();
    let lock = BackupLock::exclusive(root)?.ok_or_else(|| busy(destroyed))?;
    let backups = catalog::whole(catalog::list(&destroyed.layout)?);
    let held =
        backups.iter().map(|backup| BackupLock::exclusive(&backup.folder)?.ok_or_else(|| busy(destroyed)));
    let held: Vec<BackupLock> = held.collect::<Result<_>>()?;
    take_away(host, destroyed)?;
    drop((lock, held));
    Ok(())
}

/// Out of the list by one rename first, then for good.
fn take_away(host: &Host<'_>, destroyed: &Destroyed) -> Result<()> {
    let doomed =
        host.dokku.layout().destroyed().join(format!("{}{}", layout::DELETED_PREFIX, destroyed.name));
    files::rename_durably(destroyed.layout.root(), &doomed)?;
    files::remove_tree(&doomed)
}

fn busy(destroyed: &Destroyed) -> anyhow::Error {
    Failure::busy(format!("a backup of {} is being restored or deleted now", destroyed.name))
        .hint("wait for that run to end, then type the same command again")
        .into()
}

/// Removes what a destroy made that was killed before the backups were moved. The service's lock is the caller's.
pub fn clear_begun(host: &Host<'_>, service: &Service) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(host.dokku.layout().destroyed()) else { return Ok(()) };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for begun in names.filter_map(|name| Destroyed::of(host.dokku, &name)) {
        let root = begun.layout.root();
        let has_nothing_else =
            || std::fs::read_dir(root).is_ok_and(|all| all.count() == files::unfinished(root).len());
        if begun.service == service.name && !files::exists(&begun.layout.own())? && has_nothing_else() {
            files::remove_tree(root)?;
            host.progress.note(&format!("removed the folder {} that a killed run had left", begun.name));
        }
    }
    Ok(())
}

/// Removes what a killed deletion left. It only takes room, so it is no reason to fail.
pub fn clear_deleted(host: &Host<'_>) {
    let Ok(entries) = std::fs::read_dir(host.dokku.layout().destroyed()) else { return };
    for entry in entries.flatten() {
        let is_doomed = entry.file_name().to_string_lossy().starts_with(layout::DELETED_PREFIX);
        if !is_doomed || !BackupLock::exclusive(&entry.path()).is_ok_and(|lock| lock.is_some()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        match files::remove_tree(&entry.path()) {
            Ok(()) => host.progress.note(&format!("removed {name} that a killed run had left")),
            Err(error) => host.progress.warn(&format!("{name} of a destroyed service stays: {error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::interrupt::Interrupt;

    #[test]
    fn names_hold_a_service_and_a_time() {
        let dokku = Dokku::new(Environment::read(), Interrupt::default());
        let destroyed = Destroyed::of(&dokku, "happy-cows-db-20261123T152931Z").unwrap();
        assert_eq!(destroyed.service.as_str(), "happy-cows-db");
        assert_eq!(destroyed.at.to_rfc3339(), "2026-11-23T15:29:31+00:00");
        for name in ["db", "db-20261123", "-20261123T152931Z", "../x-20261123T152931Z"] {
            assert!(Destroyed::of(&dokku, name).is_none(), "{name}");
        }
    }
}
