//! What a practice run made: written down before, found again, removed.

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::plan::service_exists;
use crate::dokku::{Dokku, is_app_name};
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::lock::AppLock;
use crate::server::Server;
use crate::service_name::ServiceName;
use crate::settings::{self, Key};

const MAX_SIZE: u64 = 1024 * 1024;

/// `practice/<app>.toml`: what a practice run made, or is making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub app: String,
    pub service: ServiceName,
    pub from_service: ServiceName,
    pub backup: String,
    pub at: DateTime<Utc>,
    /// dokku's property `created-at` of the app: another app of that name has another one.
    #[serde(default)]
    pub app_created_at: Option<String>,
    /// Of the service's folder ([`files::identity`]): another service of that name has another one.
    #[serde(default)]
    pub service_identity: Option<String>,
}

/// Which of the two things that a note names are meant.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    pub app: bool,
    pub service: bool,
}

pub(super) const BOTH: Parts = Parts { app: true, service: true };

pub(super) fn lock(host: &Host<'_>, app: &str) -> Result<AppLock> {
    AppLock::take(&host.dokku.layout().practice_lock(app), app, "pgbackup:practice")
}

pub(super) fn write(host: &Host<'_>, made: &Made) -> Result<()> {
    files::write_atomic(&host.dokku.layout().practice(&made.app), toml::to_string(made)?.as_bytes())
}

pub(super) fn read(host: &Host<'_>, app: &str) -> Result<Option<Made>> {
    let path = host.dokku.layout().practice(app);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read_bounded(&path, MAX_SIZE)?;
    let broken = |why: String| Failure::failed(format!("{} cannot be read: {why}", path.display()));
    let text = std::str::from_utf8(&bytes).map_err(|error| broken(error.to_string()))?;
    Ok(Some(toml::from_str(text).map_err(|error| broken(error.message().to_owned()))?))
}

/// What a practice run made, with the lock that keeps it from being made anew meanwhile.
#[derive(Debug)]
pub struct Found {
    pub made: Made,
    _lock: AppLock,
}

/// What a practice run made under the name of `app`; refuses anything that is not its work. What the user may not use
/// is not there, in the same words.
pub fn find(host: &Host<'_>, app: &str) -> Result<Found> {
    let permitted = || -> Result<Made> {
        let made = if is_app_name(app) { read(host, app)? } else { None };
        match made {
            Some(made) if may_use(host, &made)? => Ok(made),
            _ => Err(Failure::not_found(format!("{app} was not made by a practice run"))
                .hint("only what pgbackup:practice made is removed; for all else: dokku apps:destroy <app>")
                .into()),
        }
    };
    permitted()?;
    let lock = lock(host, app)?;
    let made = permitted()?;
    refuse_what_is_not_ours(host, &made, BOTH)?;
    Ok(Found { made, _lock: lock })
}

fn may_use(host: &Host<'_>, made: &Made) -> Result<bool> {
    let apps = host.dokku.visible_apps(std::slice::from_ref(&made.app))?;
    let services = host.dokku.allowed_services(std::slice::from_ref(&made.service))?;
    Ok(!apps.is_empty() && !services.is_empty())
}

pub(super) fn refuse_what_is_not_ours(host: &Host<'_>, made: &Made, parts: Parts) -> Result<()> {
    let refuse = |why: String| Err(Failure::refused(why).hint("nothing was removed").into());
    if parts.app && host.dokku.app_exists(&made.app) {
        // dokku forgets when it made an app first and removes the app last, so the time of ours may be gone already.
        let now = host.dokku.app_created_at(&made.app)?;
        if now.is_some() && made.app_created_at.is_some() && now != made.app_created_at {
            return refuse(format!("app {} is not the one that the practice run made", made.app));
        }
    }
    if parts.service && service_exists(host, &made.service) {
        let service = host.dokku.known_service(&made.service)?;
        let is_another = match &made.service_identity {
            Some(identity) => files::identity(service.layout.root())? != *identity,
            None => false,
        };
        if is_another {
            return refuse(format!("service {} is not the one that the practice run made", made.service));
        }
        let others: Vec<String> = service.links()?.into_iter().filter(|app| *app != made.app).collect();
        if !others.is_empty() {
            return refuse(format!("service {} is linked to {}, too", made.service, others.join(", ")));
        }
    }
    Ok(())
}

/// Removes what a practice run made.
pub fn remove(host: &Host<'_>, found: &Found) -> Result<()> {
    remove_parts(host, &found.made, BOTH)
}

/// The app goes first, since a linked service cannot be destroyed. Other plugins have a say in both, and what one of
/// them is busy with is over soon.
pub(super) fn remove_parts(host: &Host<'_>, made: &Made, parts: Parts) -> Result<()> {
    refuse_what_is_not_ours(host, made, parts)?;
    if parts.app {
        Server::patiently(|| {
            if host.dokku.app_exists(&made.app) { Dokku::destroy_app(&made.app) } else { Ok(()) }
        })?;
    }
    if parts.service {
        Server::patiently(|| remove_service(host, &made.service))?;
    }
    files::remove_tree(&host.dokku.layout().practice(&made.app))
}

fn remove_service(host: &Host<'_>, name: &ServiceName) -> Result<()> {
    if !service_exists(host, name) {
        return Ok(());
    }
    let own = host.dokku.layout().service(name);
    // Its backups are copies of copies: nothing to keep when it is destroyed.
    files::remove_tree(&own.backups())?;
    settings::set(&own.settings(), Key::find("final-backup")?, Some("off"))?;
    host.dokku.destroy_service(name)
}
