//! What a restore is going to do, or why it cannot be.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use chrono::{DateTime, TimeDelta, Utc};

use super::code::{self, CodeReport};
use super::fill;
use super::target::Target;
use crate::bookkeeping::{self, Books};
use crate::catalog::Backup;
use crate::dokku::Service;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::manifest::Manifest;
use crate::obstacles;
use crate::pg_version::PgVersion;
use crate::postgres::ServerFacts;
use crate::roles;
use crate::room::SERVER_NEEDS;
use crate::server::Server;
use crate::swap;
use crate::units;
use crate::verify;

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    pub jobs: Option<usize>,
    pub stop_apps: bool,
    /// What speaks against the backup, to be told with the plan.
    pub doubts: Vec<String>,
}

/// Everything that a restore is going to do; `--dry-run` prints it and nothing else happens.
#[derive(Debug, Clone)]
pub struct RestorePlan {
    pub backup: Backup,
    pub target: Service,
    pub target_version: PgVersion,
    /// Bytes, of the live database now; `None` when there is none any more.
    pub live_size: Option<u64>,
    /// The database it is restored into first.
    pub restoring: String,
    /// The name under which the live database is kept.
    pub previous: String,
    /// Kept by an earlier restore, dropped after this one succeeded.
    pub dropped: Vec<String>,
    /// Linked apps: they lose their connections in the swap.
    pub apps: Vec<String>,
    pub stop_apps: bool,
    /// Roles that the backup knows and the server does not: they are made.
    pub missing_roles: Vec<String>,
    pub warnings: Vec<String>,
    /// How the code that runs now fits the backup.
    pub code: CodeReport,
}

impl RestorePlan {
    pub fn all_warnings(&self) -> Vec<&str> {
        self.warnings.iter().chain(&self.code.warnings).map(String::as_str).collect()
    }

    /// Apps that are stopped for the restore and not started afterwards: they would run other code than the data
    /// belongs to, beginning with its migrations.
    pub fn stay_stopped(&self) -> Vec<&str> {
        let is_unfit = |app: &&str| self.code.apps.iter().any(|mismatch| mismatch.change.name == **app);
        self.apps.iter().map(String::as_str).filter(|_| self.stop_apps).filter(is_unfit).collect()
    }
}

/// Looks at everything that a restore needs, changes nothing, and says what it would do or why it cannot be.
pub fn plan_restore(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    let _reading = backup.held_for_reading()?;
    refuse_unless_whole(host, &backup)?;
    Ok(look(host, target, backup, options)?.plan)
}

/// A plan, and what it was made from.
pub(super) struct Look<'a> {
    pub server: Server<'a>,
    pub found: Target,
    pub plan: RestorePlan,
}

pub(super) fn look<'a>(
    host: &Host<'a>,
    target: &Service,
    backup: Backup,
    options: &RestoreOptions,
) -> Result<Look<'a>> {
    let (server, found, books) = ask(host, target)?;
    let mut plan = decide(host, target, backup, options, &found, CodeReport::default())?;
    let live = found.exists.then_some((&server, books));
    plan.code = code::look(host, live, target, &plan.backup, &plan.apps)?;
    Ok(Look { server, found, plan })
}

/// The service's server, what is there, and where its migrations are written down.
fn ask<'a>(host: &Host<'a>, target: &Service) -> Result<(Server<'a>, Target, Result<Vec<Books>>)> {
    let server = Server::of(host, target)?;
    let (found, books) = std::thread::scope(|scope| {
        let books = scope.spawn(|| bookkeeping::find_on_server(&server, &target.database));
        let found = Target::look(&server, &target.database);
        (found, books.join())
    });
    let books = books.map_err(|_| anyhow!("the thread that looks for migrations panicked"))?;
    Ok((server, found?, books))
}

pub(super) fn refuse_unless_whole(host: &Host<'_>, backup: &Backup) -> Result<()> {
    let problems = verify::check_files(host, backup)?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(verify::refusal(backup, &problems, "restored").into())
}

pub(super) fn decide(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    options: &RestoreOptions,
    found: &Target,
    code: CodeReport,
) -> Result<RestorePlan> {
    let manifest = &backup.manifest;
    let facts = &found.facts;
    let refuse = |why: String, hint: String| Err(Failure::refused(why).hint(hint).into());
    obstacles::refuse_older_server(&target.name, manifest.server.version_num, facts.version_num)?;
    if facts.prepared_transactions > 0 {
        let why =
            format!("database {} has prepared transactions, which would block the swap", target.database);
        return refuse(why, "end them first; see them with: select * from pg_prepared_xacts".to_owned());
    }
    let missing = obstacles::missing_extensions(&manifest.database.extensions, &facts.available_extensions);
    if !missing.is_empty() {
        let why = format!(
            "the image of service {} lacks what the backup needs: extension {}",
            target.name,
            missing.join(", ")
        );
        return refuse(why, format!("the backup was made with the image {}", manifest.server.image));
    }
    check_space(target, manifest)?;
    let links = target.links()?;
    let apps = host.dokku.visible_apps(&links)?;
    if options.stop_apps && apps.len() != links.len() {
        let why = format!("service {} is linked to apps that you may not stop", target.name);
        return refuse(why, "restore without --stop-apps, or ask somebody who may".to_owned());
    }
    let script = files::read_bounded(&backup.folder.join(crate::layout::ROLES), fill::MAX_ROLES)?;
    // Without a live database the previous one is the last copy on the server.
    let dropped =
        if found.exists { swap::previous_databases(&target.database, &facts.databases) } else { Vec::new() };
    let mut warnings = options.doubts.clone();
    warnings.extend(dropped.iter().filter_map(|name| loss(target, name, host.now)));
    if found.exists {
        warnings.extend(differences(manifest, facts));
    }
    let missing_roles = roles::plan(&String::from_utf8_lossy(&script), &facts.roles).missing;
    Ok(RestorePlan {
        missing_roles,
        target_version: facts.version_num,
        live_size: found.exists.then_some(facts.size),
        restoring: swap::restoring_name(&target.database, host.now, &facts.databases),
        previous: swap::previous_name(&target.database, host.now, &facts.databases),
        dropped,
        apps,
        stop_apps: options.stop_apps,
        warnings,
        target: target.clone(),
        backup,
        code,
    })
}

/// Where the server's data are; a service that keeps them elsewhere is taken to have them on its own disk.
pub(super) fn server_disk(target: &Service) -> Result<PathBuf> {
    let data = target.layout.server_data();
    Ok(if files::exists(&data)? { data } else { target.layout.root().to_owned() })
}

/// Postgres writes everything to its log first, and keeps about this much of it (its default `max_wal_size`).
const LOG: u64 = 1_000_000_000;

/// Room for a second database beside the live one, on the disk that holds the server's data.
fn check_space(target: &Service, manifest: &Manifest) -> Result<()> {
    let space = files::space(&server_disk(target)?)?;
    let size = manifest.database.size_bytes;
    let (free, needed) =
        (space.free, size.saturating_add(size.min(LOG)).saturating_add(space.reserve().max(SERVER_NEEDS)));
    if free >= needed {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "there is too little space to restore beside the live database: {} are free, {} are needed",
        units::bytes(free),
        units::bytes(needed)
    ))
    .hint("make room on the disk that holds the services; the live database was not touched")
    .into())
}

/// How long after it was put aside a database is still what somebody may want back.
const FRESH: TimeDelta = TimeDelta::days(1);

/// What goes with a previous database that is dropped: after a restore of the wrong backup, it is the only one with
/// what was written since the right one.
fn loss(target: &Service, name: &str, now: DateTime<Utc>) -> Option<String> {
    let at = swap::put_aside_at(&target.database, name)?;
    let ago = units::ago(at, now);
    (now - at < FRESH).then(|| {
        format!(
            "{name}, live until {ago}, is deleted for good; to keep it, first: dokku pgbackup:undo {}",
            target.name
        )
    })
}

fn differences(manifest: &Manifest, facts: &ServerFacts) -> Vec<String> {
    let mut warnings = Vec::new();
    for (what, old, key) in [
        ("encoding", &manifest.database.encoding, "encoding_name"),
        ("collation", &manifest.database.collate, "datcollate"),
    ] {
        let new = facts.database[key].as_str().unwrap_or_default();
        if old != new {
            warnings.push(format!(
                "the {what} of the backup is {old}, that of the database it replaces is {new}"
            ));
        }
    }
    warnings
}

/// What is known of a service's database or, where somebody dropped it, of its server.
pub fn facts_of_target(server: &Server<'_>, database: &str) -> Result<ServerFacts> {
    Ok(Target::look(server, database)?.facts)
}
