//! A deploy as dokku goes through it: the code that is coming, a backup of every linked service before any migration can
//! run, and the record of what was deployed at its end.
//!
//! Which trigger comes when (dokku's `plugins/git/functions`, `plugins/builder-*`, `plugins/scheduler-docker-local`):
//! `core-post-extract` with the commit that is built; `post-build` after the image is built and before anything of it is
//! run; `post-container-create` before each container starts, also in a deploy that builds nothing (`config:set`);
//! `core-post-deploy` and `post-deploy` when the new containers run; `deploy-source-set` after a success.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::code::{Code, FROM_IMAGE};
use crate::create::{CreateOptions, CreateReport, create_backup};
use crate::deployed::{self, AppRecord, Deployed};
use crate::dokku::DeploySource;
use crate::environment::DeployEnvironment;
use crate::error::{self, Failure};
use crate::files;
use crate::git::Repository;
use crate::host::Host;
use crate::layout;
use crate::lock::AppLock;
use crate::manifest::Pool;
use crate::process;
use crate::service_name::ServiceName;
use crate::settings::OnDeploy;

/// How long a deploy waits for another run that has the service.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Deploys that failed leave their file; after this they are over.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(2);
const MAX_SIZE: u64 = 1024 * 1024;

/// `deploy-<key>.toml`: a deploy that is going on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Deploy {
    started_at: DateTime<Utc>,
    /// What is going to run; nothing in a deploy that builds nothing.
    #[serde(default)]
    coming: Code,
    /// The services that were backed up for it.
    #[serde(default)]
    done: Vec<String>,
}

/// What a deploy did with one of the app's services.
#[derive(Debug)]
pub enum Outcome {
    Made(Box<CreateReport>),
    /// It could not be backed up, and the setting says to go on; why, and what to type.
    Warned {
        service: String,
        error: anyhow::Error,
    },
}

/// `core-post-extract`: notes the commit that is going to be built.
pub fn begin(host: &Host<'_>, app: &str, commit: &str) -> Result<()> {
    forget_old(host, app);
    let Some(key) = key(&host.dokku.environment().deploy) else { return Ok(()) };
    let (source, origin) = match host.dokku.environment().deploy.began_with() {
        Some("git-hook") => (Some("git-push".to_owned()), None),
        Some("git:from-image") => (Some(FROM_IMAGE.to_owned()), host.dokku.source_image(app)?),
        _ => (None, None),
    };
    let code = Code {
        commit: Some(commit.to_owned()).filter(|commit| crate::code::is_commit(commit)),
        branch: Some(host.dokku.deploy_branch(app)?),
        source,
        origin,
        ..Code::default()
    };
    let coming = deployed::with_facts(code, &pushed(host, app));
    write(host, app, &key, &Deploy { started_at: host.now, coming, done: Vec::new() })
}

/// The repository with the commits of the push that is going on.
fn pushed<'a>(host: &'a Host<'_>, app: &str) -> Repository<'a> {
    Repository { with_pushed: true, ..host.dokku.repository(app) }
}

/// `post-build`, and `post-container-create` in a deploy that had none: backs up every linked service that this deploy
/// has not backed up yet. `tell` hears of each.
pub fn back_up(host: &Host<'_>, app: &str, mut tell: impl FnMut(Outcome)) -> Result<()> {
    let (services, broken) = host.dokku.services_of_app(app)?;
    for error in broken {
        host.progress.warn(&format!("{error:#}; if {app} is linked to it, there is no backup of it"));
    }
    if services.is_empty() {
        return Ok(());
    }
    let _turn = await_turn(host, app);
    let key = key(&host.dokku.environment().deploy);
    let known = key.as_ref().and_then(|key| read(host, app, key));
    let mut deploy =
        known.unwrap_or_else(|| Deploy { started_at: host.now, coming: Code::default(), done: Vec::new() });
    let running = deployed::running_as_known(host, app);
    for service in services {
        if deploy.done.contains(&service.to_string()) {
            continue;
        }
        if let Some(outcome) = back_up_one(host, &service, &running, &deploy.coming)? {
            tell(outcome);
        }
        // A service whose backup failed was warned of once; that is enough for one deploy.
        deploy.done.push(service.to_string());
        // Without the note there is a backup too many.
        if let Some(Err(error)) = key.as_ref().map(|key| write(host, app, key, &deploy)) {
            host.progress.warn(&format!("pgbackup could not take note of this deploy: {error:#}"));
        }
    }
    Ok(())
}

/// dokku may make containers side by side: hooks that read the same note at once would all make a backup. Where there
/// can be no lock, that is what they do.
fn await_turn(host: &Host<'_>, app: &str) -> Option<AppLock> {
    let layout = host.dokku.layout();
    let taken = files::create_private_folders(&layout.app(app)).and_then(|()| {
        AppLock::await_turn(&layout.deploy_lock(app), app, "a backup before a deploy", |_| host.check())
    });
    taken.map_err(|error| host.progress.warn(&format!("{error:#}"))).ok()
}

fn back_up_one(
    host: &Host<'_>,
    service: &ServiceName,
    running: &AppRecord,
    coming: &Code,
) -> Result<Option<Outcome>> {
    let layout = host.dokku.layout().service(service);
    let settings = host.settings_without_broken_global(&layout, service);
    let wanted = settings.map_err(|error| stopped(service, &running.name, &error))?.on_deploy;
    if wanted == OnDeploy::Off {
        return Ok(None);
    }
    let options = CreateOptions {
        pool: Pool::Deploy,
        note: Some(note(running, coming)),
        jobs: None,
        gentle: false,
        coming: coming.short().is_some().then(|| (running.name.clone(), coming.clone())),
        patience: PATIENCE,
    };
    let made = host.dokku.known_service(service).and_then(|service| create_backup(host, &service, &options));
    match made {
        Ok(report) => Ok(Some(Outcome::Made(Box::new(report)))),
        Err(error) if is_interrupt(&error) => Err(error),
        Err(error) if wanted == OnDeploy::Warn => {
            Ok(Some(Outcome::Warned { service: service.to_string(), error }))
        }
        Err(error) => Err(stopped(service, &running.name, &error)),
    }
}

fn is_interrupt(error: &anyhow::Error) -> bool {
    matches!(error::kind_of(error), error::Kind::Interrupted(_))
}

/// The failure that stops the deploy: the cause, its remedy, and the way around.
fn stopped(name: &ServiceName, app: &str, error: &anyhow::Error) -> anyhow::Error {
    let cause = error::failure_in(error);
    let remedy =
        cause.and_then(|cause| cause.hint.clone()).map_or_else(String::new, |hint| format!("{hint}\n"));
    let hint = format!(
        "{remedy}then deploy again; the app runs on as it was\nto deploy without a backup: dokku pgbackup:set {name} on-deploy warn"
    );
    let kind = cause.map_or(error::Kind::Failed, |cause| cause.kind);
    Failure::new(
        kind,
        format!("the deploy of {app} is stopped, as its database cannot be backed up: {error:#}"),
    )
    .details(cause.map(|cause| cause.details.clone()).unwrap_or_default())
    .hint(hint)
    .into()
}

/// `deploy happycows 82eeec6 → 1f0c3aa`.
fn note(running: &AppRecord, coming: &Code) -> String {
    let app = &running.name;
    match (running.code.short(), coming.short()) {
        (Some(old), Some(new)) if old != new => format!("deploy {app} {old} → {new}"),
        (Some(old), _) => format!("deploy {app} {old} again"),
        (None, Some(new)) => format!("deploy {app} → {new}"),
        (None, None) => format!("deploy {app}"),
    }
}

/// Whether `post-container-create` is part of a deploy that may change the data: a container of an app, in a phase that
/// comes before the app's new containers run, of a command that brings new code or new settings.
///
/// A restart brings neither. It must go on when no backup can be made, above all after a reboot (`ps:restore`).
pub fn is_net(deploy: &DeployEnvironment, container: &str, phase: &str) -> bool {
    let is_early = matches!(phase, "predeploy" | "release" | "deploy");
    let restarts = |word: &String| word.starts_with("ps:") && word != "ps:rebuild";
    let is_restart = [&deploy.source, &deploy.command].into_iter().flatten().any(restarts);
    let is_ours = deploy.command.as_deref().is_some_and(|command| command.starts_with("pgbackup:"));
    container == "app" && is_early && !is_restart && !is_ours
}

/// `core-post-deploy` and `post-deploy`: the containers of the coming code run now.
pub fn finish(host: &Host<'_>, app: &str, image_tag: &str) -> Result<()> {
    let Some(key) = key(&host.dokku.environment().deploy) else { return Ok(()) };
    let Some(deploy) = read(host, app, &key) else { return Ok(()) };
    if deploy.coming.commit.is_some() {
        let dokku_source = host.dokku.deploy_source(app)?;
        // A rebuild's code came the way that the running code had come.
        let is_rebuild = host.dokku.environment().deploy.began_with() == Some("ps:rebuild");
        let before = if is_rebuild {
            Code::of_deploy_source(&dokku_source.kind, &dokku_source.metadata)
        } else {
            Code::default()
        };
        let code = deploy.coming.or(&Code { commit: None, ..before });
        let image_tag = Some(image_tag.to_owned()).filter(|tag| !tag.is_empty());
        let dokku_record = deployed::mark_of(&dokku_source);
        Deployed { code, at: host.now, image_tag, dokku_record }.write(host.dokku, app)?;
    }
    files::remove_tree(&host.dokku.layout().deploy(app, &key))
}

/// `deploy-source-set`: dokku writes down what was deployed, and from where.
pub fn note_source(host: &Host<'_>, app: &str, kind: &str, metadata: &str) -> Result<()> {
    let source = DeploySource { kind: kind.to_owned(), metadata: metadata.to_owned() };
    let told = Code::of_deploy_source(kind, metadata);
    let own = Deployed::read(host.dokku, app);
    let is_ours = own.as_ref().is_some_and(|own| told.commit.is_none() || own.code.commit == told.commit);
    let dokku_record = deployed::mark_of(&source);
    let deployed = if let Some(own) = own.filter(|_| is_ours) {
        Deployed { code: told.or(&own.code), dokku_record, ..own }
    } else {
        let code = deployed::with_facts(told, &pushed(host, app));
        Deployed { code, at: host.now, image_tag: None, dokku_record }
    };
    deployed.write(host.dokku, app)
}

/// `post-delete`: the app is gone.
pub fn forget(host: &Host<'_>, app: &str) -> Result<()> {
    let folder = host.dokku.layout().app(app);
    if folder.is_dir() { files::remove_tree(&folder) } else { Ok(()) }
}

/// `post-app-rename-setup`: the same app under another name.
pub fn rename(host: &Host<'_>, old: &str, new: &str) -> Result<()> {
    match Deployed::read(host.dokku, old) {
        Some(deployed) => deployed.write(host.dokku, new),
        None => Ok(()),
    }
}

/// What tells this deploy from all others of the app; `None` outside of one.
fn key(deploy: &DeployEnvironment) -> Option<String> {
    let is_plain =
        |text: &&String| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if let Some(id) = deploy.build_id.as_ref().filter(is_plain) {
        return Some(format!("build-{id}"));
    }
    // Process ids come again; together with the time of their start they do not.
    let pid: u32 = deploy.pid.as_ref()?.parse().ok()?;
    Some(format!("process-{pid}-{}", process::start_time(pid).unwrap_or_default()))
}

fn read(host: &Host<'_>, app: &str, key: &str) -> Option<Deploy> {
    let path = host.dokku.layout().deploy(app, key);
    if !path.exists() {
        return None;
    }
    let bytes = files::read_bounded(&path, MAX_SIZE).ok()?;
    toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()
}

fn write(host: &Host<'_>, app: &str, key: &str, deploy: &Deploy) -> Result<()> {
    files::create_private_folders(&host.dokku.layout().app(app))?;
    // A deploy does not survive a crash of the machine, so its notes need not either.
    files::write_atomic_unsynced(&host.dokku.layout().deploy(app, key), toml::to_string(deploy)?.as_bytes())
}

/// Removes the notes of deploys that never came to their end.
fn forget_old(host: &Host<'_>, app: &str) {
    let Ok(entries) = std::fs::read_dir(host.dokku.layout().app(app)) else { return };
    for entry in entries.flatten() {
        let is_deploy = entry.file_name().to_string_lossy().starts_with(layout::DEPLOY_PREFIX);
        let made = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = made.is_ok_and(|made| host.now - DateTime::<Utc>::from(made) > FORGOTTEN_AFTER);
        if is_deploy && is_old {
            // A note too many does no harm.
            let _ = files::remove_tree(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(source: &str, command: &str) -> DeployEnvironment {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        DeployEnvironment { build_id: None, source: text(source), pid: None, command: text(command) }
    }

    #[test]
    fn the_net_catches_what_may_change_the_data_and_lets_restarts_through() {
        for (source, command) in [
            ("config-redeploy", "config:set"),
            ("", "config:set"),
            ("git-hook", "git-hook"),
            ("ps:rebuild", ""),
            ("", ""),
        ] {
            assert!(is_net(&environment(source, command), "app", "deploy"), "{source} {command}");
        }
        for (source, command) in [
            ("ps:restart", "ps:restart"),
            ("", "ps:restore"),
            ("", "pgbackup:restore"),
            ("config-redeploy", "pgbackup:practice"),
        ] {
            assert!(!is_net(&environment(source, command), "app", "deploy"), "{source} {command}");
        }
        let deploy = environment("git-hook", "git-hook");
        assert!(is_net(&deploy, "app", "predeploy") && is_net(&deploy, "app", "release"));
        assert!(!is_net(&deploy, "app", "run") && !is_net(&deploy, "app", "postdeploy"));
        assert!(!is_net(&deploy, "service", "deploy"));
    }

    #[test]
    fn an_older_dokku_tells_by_its_command_what_a_deploy_began_with() {
        assert_eq!(environment("", "ps:rebuild").began_with(), Some("ps:rebuild"));
        assert_eq!(environment("git-hook", "git-receive-pack").began_with(), Some("git-hook"));
        assert_eq!(environment("", "").began_with(), None);
    }

    #[test]
    fn the_note_says_from_what_to_what() {
        let code = |commit: &str| Code { commit: Some(commit.repeat(40)), ..Code::default() };
        let running = AppRecord { name: "happycows".into(), code: code("a"), ..AppRecord::default() };
        let first = AppRecord { name: "happycows".into(), ..AppRecord::default() };
        assert_eq!(note(&running, &code("b")), "deploy happycows aaaaaaa → bbbbbbb");
        assert_eq!(note(&running, &code("a")), "deploy happycows aaaaaaa again");
        assert_eq!(note(&running, &Code::default()), "deploy happycows aaaaaaa again");
        assert_eq!(note(&first, &code("b")), "deploy happycows → bbbbbbb");
    }

    #[test]
    fn only_plain_build_ids_become_file_names() {
        let with =
            |id: &str| key(&DeployEnvironment { build_id: Some(id.into()), ..DeployEnvironment::default() });
        assert_eq!(with("a1-2").as_deref(), Some("build-a1-2"));
        assert_eq!(with("../../x"), None);
    }
}
