//! `pgbackup:delete`.

use std::time::Instant;

use anyhow::Result;

use super::{App, destroyed, remote};
use crate::aftermath::{self, Run};
use crate::backup_id::BackupId;
use crate::catalog::{self, Entry};
use crate::cli::DeleteArgs;
use crate::dokku::Service;
use crate::error::Failure;
use crate::leftovers;
use crate::lock::ServiceLock;
use crate::manifest::Pushed;
use crate::offsite::{self, Offsite};
use crate::remote::Patience;
use crate::service_name::ServiceName;
use crate::units;

pub fn run(app: &App<'_>, args: &DeleteArgs) -> Result<()> {
    if let Some(name) = &args.destroyed {
        return destroyed::delete(app, name);
    }
    let Some(name) = &args.service else { return Err(Failure::usage("which service?").into()) };
    if args.remote {
        return delete_there(app, name, &args.backups);
    }
    let service = app.service(name)?;
    let names = chosen(&service, &args.backups)?;
    let what = if let [one] = names.as_slice() {
        format!("Backup {one}")
    } else {
        units::plural(names.len() as u64, "backup")
    };
    app.ui.confirm(
        &format!("{what} of {} is going to be deleted for good", service.name),
        service.name.as_str(),
        app.docker.interrupt(),
    )?;
    let run = Run::of("delete", Instant::now());
    let mut removed = Vec::new();
    let deleted = delete(app, &service, &names, &mut removed);
    let id = names.first().filter(|_| names.len() == 1).and_then(|name| name.parse::<BackupId>().ok());
    aftermath::follow(&app.host(), &service, Run { backup: id.as_ref(), ids: &removed, ..run }, &deleted);
    deleted
}

/// At the remote, also of a service that is not here any more. What is here of them stays.
fn delete_there(app: &App<'_>, name: &ServiceName, wanted: &[String]) -> Result<()> {
    let here = remote::local(app, name)?;
    let interrupt = app.docker.interrupt().clone();
    let remote = offsite::open(&app.dokku, here.as_ref(), Patience::Work, interrupt)?;
    remote::refuse_unseen(app, &remote, name, wanted.first().map(String::as_str))?;
    let found: Vec<Offsite> =
        wanted.iter().map(|id| offsite::find(&remote, name, Some(id))).collect::<Result<_>>()?;
    let what = units::plural(found.len() as u64, "backup");
    app.ui.confirm(
        &format!("{what} of {name} at {} is going to be deleted for good", remote.shown),
        name.as_str(),
        app.docker.interrupt(),
    )?;
    for backup in &found {
        offsite::remove(&remote, name, &backup.id)?;
        if let Some(layout) = &here {
            Pushed::forget(&layout.backup(&backup.id))?;
        }
        app.ui.heading(&format!("Backup {} of {name} deleted at {}", backup.id, remote.shown));
    }
    Ok(())
}

fn delete(app: &App<'_>, service: &Service, names: &[String], removed: &mut Vec<String>) -> Result<()> {
    let lock = ServiceLock::take(&service.layout.lock(), &service.name, "pgbackup:delete")?;
    leftovers::clear_without_docker(&app.host(), service, &lock)?;
    for name in names {
        catalog::remove(&service.layout, name)?;
        removed.push(name.clone());
        app.ui.heading(&format!("Backup {name} of {} deleted", service.name));
    }
    Ok(())
}

/// All of them must be known before any is deleted. Broken ones may be deleted too.
fn chosen(service: &Service, wanted: &[String]) -> Result<Vec<String>> {
    let entries = catalog::list(&service.layout)?;
    let mut names: Vec<String> = Vec::new();
    for wanted in wanted {
        let broken = |entry: &&Entry| entry.name() == wanted && matches!(entry, Entry::Broken { .. });
        let name = match entries.iter().find(broken) {
            Some(entry) => entry.name().to_owned(),
            None => catalog::find(&service.name, entries.clone(), Some(wanted))?.id.to_string(),
        };
        if names.contains(&name) {
            return Err(Failure::usage(format!("backup {name} is named twice")).into());
        }
        names.push(name);
    }
    Ok(names)
}
