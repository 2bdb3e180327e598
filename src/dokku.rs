//! dokku and dokku-postgres as a plugin sees them: services, links, apps, access control.
//!
//! Only files, docker names and triggers that both generations of dokku-postgres share are used; none of its code.

mod actions;

use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use rustix::fs::Access;

use crate::environment::Environment;
use crate::error::Failure;
use crate::files;
use crate::git::Repository;
use crate::interrupt::Interrupt;
use crate::layout::{Layout, ServiceLayout};
use crate::process::Tool;
use crate::service_name::ServiceName;

/// The files of dokku that we read are a line or two.
const SMALL_FILE: u64 = 64 * 1024;

/// This server's dokku.
#[derive(Debug, Clone)]
pub struct Dokku {
    environment: Environment,
    layout: Layout,
    interrupt: Interrupt,
}

/// A service that exists and that this user may use.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: ServiceName,
    pub layout: ServiceLayout,
    pub database: String,
}

/// dokku's record of the last deploy of an app that succeeded, word for word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploySource {
    /// Property `deploy-source`: `git-push`, `git-sync`, `docker-image`, …
    pub kind: String,
    /// Property `deploy-source-metadata`: the commit, `address#commit`, the image.
    pub metadata: String,
}

/// The branch that dokku deploys when nobody says otherwise (dokku's `plugins/git`).
const DEFAULT_BRANCH: &str = "master";

impl Service {
    /// The container's name, the same in every version of dokku-postgres.
    pub fn container(&self) -> String {
        format!("dokku.postgres.{}", self.name)
    }

    /// The superuser's password, the first line of `PASSWORD`.
    pub fn password(&self) -> Result<String> {
        first_line(&self.layout.root().join("PASSWORD"))?.ok_or_else(|| {
            Failure::failed(format!("service {} has no PASSWORD file", self.name))
                .hint("was it made by dokku-postgres? see: dokku postgres:info")
                .into()
        })
    }

    /// The names of the apps it is linked to, one in each line of `LINKS`.
    pub fn links(&self) -> Result<Vec<String>> {
        links_in(&self.layout)
    }
}

fn links_in(layout: &ServiceLayout) -> Result<Vec<String>> {
    let text = small_file(&layout.root().join("LINKS"))?.unwrap_or_default();
    Ok(text.lines().map(str::trim).filter(|name| is_app_name(name)).map(str::to_owned).collect())
}

impl Dokku {
    pub fn new(environment: Environment, interrupt: Interrupt) -> Self {
        let layout = Layout::new(&environment.lib_root);
        Dokku { environment, layout, interrupt }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The service of that name, if it exists and the user may use it; both are told in the same words.
    pub fn service(&self, name: &ServiceName) -> Result<Service> {
        let layout = self.layout.service(name);
        let exists = layout.root().is_dir();
        let allowed =
            exists && !self.allowed("user-auth-service", &["postgres"], &[name.as_str()])?.is_empty();
        if !allowed {
            return Err(Failure::not_found(format!("Postgres service {name} does not exist"))
                .hint("see the ones there are with: dokku postgres:list")
                .into());
        }
        self.known_service(name)
    }

    /// A service that is known to be there, whoever may use it.
    pub fn known_service(&self, name: &ServiceName) -> Result<Service> {
        let layout = self.layout.service(name);
        let database = first_line(&layout.database_name())?;
        Ok(Service { name: name.clone(), layout, database: database.unwrap_or_else(|| name.to_string()) })
    }

    /// The names of all services, whoever may use them.
    fn service_names(&self) -> Result<Vec<ServiceName>> {
        let folder = self.layout.services();
        if !files::exists(&folder)? {
            return Ok(Vec::new());
        }
        let mut names: Vec<ServiceName> = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// One for an overview: it is there also when its files cannot be read.
    fn listed(&self, name: &ServiceName) -> Service {
        let unread =
            |_| Service { name: name.clone(), layout: self.layout.service(name), database: name.to_string() };
        self.known_service(name).unwrap_or_else(unread)
    }

    /// All services that the user may use, by name: for overviews.
    pub fn services(&self) -> Result<Vec<Service>> {
        let names = self.service_names()?;
        let plain: Vec<&str> = names.iter().map(ServiceName::as_str).collect();
        let allowed = self.allowed("user-auth-service", &["postgres"], &plain)?;
        let is_allowed = |name: &&ServiceName| allowed.iter().any(|one| one == name.as_str());
        Ok(names.iter().filter(is_allowed).map(|name| self.listed(name)).collect())
    }

    /// All services, whoever may use them: for what the server does by itself.
    pub fn all_services(&self) -> Result<Vec<Service>> {
        Ok(self.service_names()?.iter().map(|name| self.listed(name)).collect())
    }

    /// Those of `names` that the user may use, also of services that are not there any more.
    pub fn allowed_services(&self, names: &[ServiceName]) -> Result<Vec<String>> {
        let names: Vec<&str> = names.iter().map(ServiceName::as_str).collect();
        self.allowed("user-auth-service", &["postgres"], &names)
    }

    /// Which of `names` the plugins that control access let this user see
    /// (dokku's `plugins/common/functions`, `user-auth-app` and `user-auth-service`).
    fn allowed(&self, trigger: &str, first: &[&str], names: &[&str]) -> Result<Vec<String>> {
        if names.is_empty() || !self.is_answered(trigger)? {
            return Ok(names.iter().map(|name| (*name).to_owned()).collect());
        }
        let user = [self.environment.ssh_user.as_str(), self.environment.ssh_name.as_str()];
        let tool = Tool::new("plugn").args(["trigger", trigger]).args(user).args(first).args(names);
        let output = tool.run(&self.interrupt)?;
        if !output.success() {
            let why = output.last_words(1).join("");
            return Err(Failure::failed(format!("the access check {trigger} failed: {why}")).into());
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        // Several plugins may answer, and dokku takes what any of them prints.
        let printed: Vec<&str> = printed.split_whitespace().collect();
        Ok(names.iter().filter(|name| printed.contains(name)).map(|name| (*name).to_owned()).collect())
    }

    /// Whether a plugin implements `trigger`; dokku's own `20_events` only logs it.
    fn is_answered(&self, trigger: &str) -> Result<bool> {
        let Some(plugins) = &self.environment.plugins else { return Ok(false) };
        // Where it cannot be known who decides, nobody is let through.
        let refused = || format!("cannot see who answers {trigger} in {}", plugins.display());
        for entry in std::fs::read_dir(plugins).with_context(refused)? {
            let entry = entry.with_context(refused)?;
            // As plugn does, which passes by what cannot be run.
            let answers = || rustix::fs::access(entry.path().join(trigger), Access::EXEC_OK).is_ok();
            if entry.file_name() != "20_events" && answers() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What dokku wrote down at the end of the app's last deploy that succeeded. Not written at a `ps:rebuild`.
    pub fn deploy_source(&self, app: &str) -> Result<DeploySource> {
        let property = |name| Ok::<_, anyhow::Error>(self.property("apps", app, name)?.unwrap_or_default());
        Ok(DeploySource { kind: property("deploy-source")?, metadata: property("deploy-source-metadata")? })
    }

    /// The branch of the app's repository that is deployed.
    pub fn deploy_branch(&self, app: &str) -> Result<String> {
        let own = self.property("git", app, "deploy-branch")?;
        let branch = if own.is_some() { own } else { self.property("git", "--global", "deploy-branch")? };
        Ok(branch.unwrap_or_else(|| DEFAULT_BRANCH.to_owned()))
    }

    /// When dokku wrote that down: the end of that deploy.
    pub fn deployed_at(&self, app: &str) -> Option<DateTime<Utc>> {
        let path = self.layout.app_property("apps", app, "deploy-source-metadata");
        std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok().map(DateTime::from)
    }

    /// The image that `git:from-image` was given last (dokku's `plugins/git`, property `source-image`).
    pub fn source_image(&self, app: &str) -> Result<Option<String>> {
        self.property("git", app, "source-image")
    }

    /// When dokku made the app, in its own words; `None` for one that older versions made.
    pub fn app_created_at(&self, app: &str) -> Result<Option<String>> {
        self.property("apps", app, "created-at")
    }

    fn property(&self, plugin: &str, app: &str, name: &str) -> Result<Option<String>> {
        first_line(&self.layout.app_property(plugin, app, name))
    }

    /// The app's bare repository, which need not be there. A backup of others may name an app that is a path to what is
    /// none: git would do what such a repository's configuration says.
    pub fn repository(&self, app: &str) -> Repository<'_> {
        let folder = if is_app_name(app) { app } else { ".no-app" };
        Repository {
            path: self.environment.dokku_root.join(folder),
            interrupt: &self.interrupt,
            with_pushed: false,
        }
    }

    pub fn app_exists(&self, app: &str) -> bool {
        is_app_name(app) && self.environment.dokku_root.join(app).is_dir()
    }

    /// The services that `app` is linked to, by name, and what is wrong with those whose links cannot be read. Whoever
    /// may deploy the app is not asked about them.
    pub fn services_of_app(&self, app: &str) -> Result<(Vec<ServiceName>, Vec<anyhow::Error>)> {
        let (mut linked, mut broken) = (Vec::new(), Vec::new());
        for name in self.service_names()? {
            match links_in(&self.layout.service(&name)) {
                Ok(links) if links.iter().any(|link| link == app) => linked.push(name),
                Ok(_) => {}
                Err(error) => {
                    broken.push(error.context(format!("the links of service {name} cannot be read")));
                }
            }
        }
        Ok((linked, broken))
    }

    /// Those of `apps` that this user may see.
    pub fn visible_apps(&self, apps: &[String]) -> Result<Vec<String>> {
        let names: Vec<&str> = apps.iter().map(String::as_str).collect();
        self.allowed("user-auth-app", &[], &names)
    }
}

/// Whether an app may be called so and its name be part of a path. dokku's own rule (`plugins/common`) has changed:
/// older versions took nearly anything but capital letters and slashes, and such apps are still there.
pub fn is_app_name(name: &str) -> bool {
    let forbidden = |c: char| c == '/' || c.is_control() || c.is_whitespace() || c.is_uppercase();
    !name.is_empty() && !name.starts_with(['.', '-']) && !name.contains(forbidden)
}

/// The first line of a small file, `None` when there is no file or nothing in it.
fn first_line(path: &Path) -> Result<Option<String>> {
    let text = small_file(path)?.unwrap_or_default();
    Ok(text.lines().next().filter(|line| !line.is_empty()).map(str::to_owned))
}

/// `None` when there is no such file, be it that its service is destroyed just now.
fn small_file(path: &Path) -> Result<Option<String>> {
    match files::read_bounded(path, SMALL_FILE) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(_) if !files::exists(path)? => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_cannot_leave_their_folder() {
        for name in
            ["", ".", "..", "../x", "a/..", "-a", "--global", "a b", "a\u{a0}b", ".git", "A", "a\0", "a\n"]
        {
            assert!(!is_app_name(name), "{name:?}");
        }
        for name in ["happycows-qa.2", "happy_cows", "cows+milk", "cows@home", "cows~2", "kühe"] {
            assert!(is_app_name(name), "{name:?}");
        }
    }
}
