//! A practice run: a fresh app and a fresh service with the backup's data, and the code at exactly the backup's commit.
//! Production is only read. What is made is written down first, so that it can be removed whatever happens.

use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::catalog::Backup;
use crate::code::Code;
use crate::deployed::{self, AppRecord, Deployed};
use crate::diff::code::{self as code_diff, AppChange};
use crate::dokku::{Dokku, Service, is_app_name};
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::lock::AppLock;
use crate::restore::{self, RestoreOptions, RestoreReport};
use crate::server::Server;
use crate::service_name::ServiceName;
use crate::settings::{self, Key};

const MAX_SIZE: u64 = 1024 * 1024;

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct PracticeOptions {
    /// The app to make.
    pub app: String,
    /// The service to make.
    pub service: Option<ServiceName>,
    /// The app whose code is taken, when the backup knows several.
    pub from_app: Option<String>,
    /// Other code than the backup's.
    pub commit: Option<String>,
    pub image: Option<String>,
    pub image_version: Option<String>,
    pub jobs: Option<usize>,
}

/// Everything a practice run is going to make.
#[derive(Debug, Clone)]
pub struct PracticePlan {
    pub backup: Backup,
    /// The app whose code is taken, as the backup knows it.
    pub from: AppRecord,
    /// The same as it runs now.
    pub running: AppRecord,
    pub app: String,
    pub service: ServiceName,
    pub image: String,
    pub image_version: String,
    /// What the new app's repository will be at.
    pub code: Code,
}

#[derive(Debug)]
pub struct PracticeReport {
    pub plan: PracticePlan,
    pub restored: RestoreReport,
    /// From the data's code to the one that is going to be built; and on to the one that runs in production.
    pub to_built: AppChange,
    pub to_running: AppChange,
    pub duration: Duration,
}

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

/// Looks at everything and changes nothing.
pub fn plan(host: &Host<'_>, backup: Backup, options: &PracticeOptions) -> Result<PracticePlan> {
    let from = source_app(host, &backup, options.from_app.as_deref())?;
    let app = options.app.clone();
    if !is_app_name(&app) {
        return Err(Failure::usage(format!("{app:?} is not a name for an app")).into());
    }
    let service = match &options.service {
        Some(service) => service.clone(),
        None => format!("{app}-db").parse().map_err(Failure::usage)?,
    };
    refuse_what_exists(host, &app, &service)?;
    let (image, tag) =
        image_parts(&backup.manifest.server.image, &backup.manifest.server.version_num.to_string());
    let code = chosen_code(host, &from, options.commit.as_deref())?;
    Ok(PracticePlan {
        running: deployed::running(host.dokku, &from.name)?,
        image: options.image.clone().unwrap_or(image),
        image_version: options.image_version.clone().unwrap_or(tag),
        backup,
        from,
        app,
        service,
        code,
    })
}

fn source_app(host: &Host<'_>, backup: &Backup, wanted: Option<&str>) -> Result<AppRecord> {
    // An app that the user may not see is none that the backup knows.
    let all: Vec<String> = backup.manifest.apps.iter().map(|app| app.name.clone()).collect();
    let visible = host.dokku.visible_apps(&all)?;
    let apps: Vec<AppRecord> =
        backup.manifest.apps.iter().filter(|app| visible.contains(&app.name)).cloned().collect();
    let names: Vec<String> = apps.iter().map(|app| app.name.clone()).collect();
    let found = match (wanted, apps.as_slice()) {
        (Some(wanted), [only]) if is_app_name(wanted) && host.dokku.app_exists(wanted) => {
            // The only app may have another name by now.
            Some(AppRecord { name: wanted.to_owned(), ..only.clone() })
        }
        (Some(wanted), _) => apps.iter().find(|app| app.name == wanted).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    };
    let may_see = |app: &AppRecord| {
        host.dokku.visible_apps(std::slice::from_ref(&app.name)).is_ok_and(|seen| !seen.is_empty())
    };
    if let Some(gone) = found.as_ref().filter(|app| !host.dokku.app_exists(&app.name)) {
        return Err(Failure::refused(format!("app {} is not there any more", gone.name))
            .hint("has it another name now? take its code with --from-app <app>")
            .into());
    }
    found.filter(may_see).ok_or_else(|| {
        let failure = match (wanted, apps.len()) {
            (Some(wanted), _) => Failure::not_found(format!("backup {} knows no app {wanted}", backup.id)),
            (None, 0) => Failure::refused(format!("no app was linked when backup {} was made", backup.id)),
            (None, _) => Failure::usage(format!("backup {} knows several apps", backup.id)),
        };
        let known = if names.is_empty() { String::new() } else { format!("; it knows {}", names.join(", ")) };
        failure.hint(format!("say whose code to take with --from-app <app>{known}")).into()
    })
}

fn refuse_what_exists(host: &Host<'_>, app: &str, service: &ServiceName) -> Result<()> {
    let earlier = read(host, app)?;
    let taken = if host.dokku.app_exists(app) {
        format!("app {app} exists already")
    } else if service_exists(host, service) {
        format!("service {service} exists already")
    } else if let Some(left) = earlier.as_ref().filter(|made| service_exists(host, &made.service)) {
        // Its note is about to be replaced, and without the note nobody would remove it.
        format!("service {} is left from a practice run with the same app", left.service)
    } else {
        return Ok(());
    };
    let hint = if earlier.is_some() {
        format!(
            "if it is from an earlier practice run, remove it with: dokku pgbackup:practice --cleanup {app}"
        )
    } else {
        "a practice run makes its own; choose another name".to_owned()
    };
    Err(Failure::refused(taken).hint(hint).into())
}

fn service_exists(host: &Host<'_>, service: &ServiceName) -> bool {
    host.dokku.layout().service(service).root().exists()
}

/// `registry:5000/postgres:17.6` → `registry:5000/postgres`, `17.6`. An image without a tag, of a digest for example, is
/// taken in the `version` that its server had.
fn image_parts(image: &str, version: &str) -> (String, String) {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        _ => (name.to_owned(), version.to_owned()),
    }
}

/// The commit that the new app is put at, which must be in the repository of the app that it is taken from.
fn chosen_code(host: &Host<'_>, from: &AppRecord, wanted: Option<&str>) -> Result<Code> {
    let repository = host.dokku.repository(&from.name);
    let name = &from.name;
    if let Some(wanted) = wanted {
        let commit = repository.resolve(wanted).ok_or_else(|| {
            Failure::not_found(format!("the repository of {name} has no commit {wanted:?}"))
                .hint(format!("deploy it to {name} once, or choose another one"))
        })?;
        return Ok(deployed::with_facts(Code { commit: Some(commit), ..Code::default() }, &repository));
    }
    // Before its first deploy an app runs nothing; then the data is for what was about to come.
    let code =
        if from.code.short().is_some() { from.code.clone() } else { from.coming.clone().unwrap_or_default() };
    if code.image().is_some() {
        return Ok(code);
    }
    match code.commit.as_deref() {
        Some(commit) if repository.facts(commit).is_some() => Ok(code),
        Some(commit) => {
            Err(Failure::refused(format!("the repository of {name} does not have commit {commit} any more"))
                .hint("choose another one with --commit <sha>")
                .into())
        }
        None => Err(Failure::refused(format!("the backup does not know which commit {name} was running"))
            .hint("choose one with --commit <sha>")
            .into()),
    }
}

/// Makes it all. On failure nothing of it stays.
pub fn run(host: &Host<'_>, plan: PracticePlan, jobs: Option<usize>) -> Result<PracticeReport> {
    let started = Instant::now();
    let mut making = Making::begin(host, &plan)?;
    host.progress.step(&format!("Making the app {}", plan.app));
    making.make_app()?;
    host.check()?;
    host.progress
        .step(&format!("Making the service {} ({}:{})", plan.service, plan.image, plan.image_version));
    making.make_service(&plan)?;
    host.check()?;
    host.dokku.link_service(&plan.service, &plan.app)?;
    let target = host.dokku.known_service(&plan.service)?;
    let restored = fill(host, &plan, &target, jobs)?;
    if plan.code.image().is_none() {
        put_code(host, &plan)?;
    }
    // The first build's own backup then knows what the data belongs to.
    let dokku_record = deployed::mark_of(&host.dokku.deploy_source(&plan.app)?);
    let data = Code { branch: None, ..plan.from.code.clone() };
    Deployed { code: data, at: host.now, image_tag: None, dokku_record }.write(host.dokku, &plan.app)?;
    host.check()?;
    making.keep();
    let data = plan.from.clone();
    let built = AppRecord { code: plan.code.clone(), ..plan.from.clone() };
    Ok(PracticeReport {
        to_built: code_diff::between(host.dokku, data.clone(), built),
        to_running: code_diff::between(host.dokku, data, plan.running.clone()),
        restored,
        plan,
        duration: started.elapsed(),
    })
}

fn fill(
    host: &Host<'_>,
    plan: &PracticePlan,
    target: &Service,
    jobs: Option<usize>,
) -> Result<RestoreReport> {
    let options = RestoreOptions { jobs, ..RestoreOptions::default() };
    let report = restore::restore_at_once(host, target, plan.backup.clone(), &options, |_| {})?;
    // The empty database that it replaced is of no use to anybody.
    restore::drop_previous(host, target, &report.plan.previous);
    Ok(report)
}

/// Puts the new app's repository at the commit.
fn put_code(host: &Host<'_>, plan: &PracticePlan) -> Result<()> {
    let Some(commit) = &plan.code.commit else { return Ok(()) };
    host.progress.step(&format!("Putting {} at commit {}", plan.app, crate::code::short(commit)));
    let branch = host.dokku.deploy_branch(&plan.app)?;
    let repository = host.dokku.repository(&plan.app);
    repository.take_commit(&host.dokku.repository(&plan.from.name).path, commit, &branch)?;
    repository.point_head_at(&branch)
}

/// What is being made. Dropped before it is kept, all that this run has made is removed.
struct Making<'a, 'b> {
    host: &'a Host<'b>,
    made: Made,
    has_made: Parts,
    wanted: bool,
    _lock: AppLock,
}

/// Which of the two things that a note names are meant.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    app: bool,
    service: bool,
}

const BOTH: Parts = Parts { app: true, service: true };

impl<'a, 'b> Making<'a, 'b> {
    fn begin(host: &'a Host<'b>, plan: &PracticePlan) -> Result<Self> {
        files::create_private_folders(&host.dokku.layout().practices())?;
        let lock = lock(host, &plan.app)?;
        // The plan was made without the lock.
        refuse_what_exists(host, &plan.app, &plan.service)?;
        let made = Made {
            app: plan.app.clone(),
            service: plan.service.clone(),
            from_service: plan.backup.manifest.service.clone(),
            backup: plan.backup.id.to_string(),
            at: host.now,
            app_created_at: None,
            service_identity: None,
        };
        write(host, &made)?;
        Ok(Making { host, made, has_made: Parts::default(), wanted: false, _lock: lock })
    }

    /// What a creation that fails leaves may be somebody else's, who was faster: it is not removed.
    fn make_app(&mut self) -> Result<()> {
        Dokku::create_app(&self.made.app)?;
        self.has_made.app = true;
        self.made.app_created_at = self.host.dokku.app_created_at(&self.made.app)?;
        write(self.host, &self.made)
    }

    /// The same.
    fn make_service(&mut self, plan: &PracticePlan) -> Result<()> {
        let dokku = self.host.dokku;
        dokku.create_service(&plan.service, &plan.image, &plan.image_version)?;
        self.has_made.service = true;
        // Not every file system knows when a folder was made.
        self.made.service_identity = files::identity(dokku.layout().service(&plan.service).root()).ok();
        write(self.host, &self.made)
    }

    fn keep(mut self) {
        self.wanted = true;
    }

    /// Names what was not made and is there all the same, which a creation that failed may have left.
    fn tell_what_stays(&self) {
        let Made { app, service, .. } = &self.made;
        let stays = |what: &str, command: String| {
            self.host.progress.warn(&format!("{what} is there and was left alone; to remove it: {command}"));
        };
        if !self.has_made.app && self.host.dokku.app_exists(app) {
            stays(&format!("app {app}"), format!("dokku apps:destroy {app}"));
        }
        if !self.has_made.service && service_exists(self.host, service) {
            stays(&format!("service {service}"), format!("dokku postgres:destroy {service}"));
        }
    }
}

impl Drop for Making<'_, '_> {
    fn drop(&mut self) {
        if self.wanted {
            return;
        }
        self.host.progress.step("Removing what was made for the practice run");
        if let Err(error) = remove_parts(self.host, &self.made, self.has_made) {
            self.host.progress.warn(&format!(
                "{error:#}; try again with: dokku pgbackup:practice --cleanup {}",
                self.made.app
            ));
        }
        self.tell_what_stays();
    }
}

fn lock(host: &Host<'_>, app: &str) -> Result<AppLock> {
    AppLock::take(&host.dokku.layout().practice_lock(app), app, "pgbackup:practice")
}

fn write(host: &Host<'_>, made: &Made) -> Result<()> {
    files::write_atomic(&host.dokku.layout().practice(&made.app), toml::to_string(made)?.as_bytes())
}

fn read(host: &Host<'_>, app: &str) -> Result<Option<Made>> {
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

fn refuse_what_is_not_ours(host: &Host<'_>, made: &Made, parts: Parts) -> Result<()> {
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
fn remove_parts(host: &Host<'_>, made: &Made, parts: Parts) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_a_name_and_a_tag() {
        for (image, name, tag) in [
            ("postgres:17.6", "postgres", "17.6"),
            ("registry:5000/a/postgres@sha256:abc", "registry:5000/a/postgres", "17.6"),
            ("postgis/postgis:17-3.5", "postgis/postgis", "17-3.5"),
            ("postgres:17@sha256:abc", "postgres", "17"),
        ] {
            assert_eq!(image_parts(image, "17.6"), (name.to_owned(), tag.to_owned()));
        }
    }
}
