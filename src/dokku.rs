//! dokku and dokku-postgres as a plugin sees them: services, links, apps, access control.
//!
//! Only files, docker names and triggers that both generations of dokku-postgres share are used; none of its code.

use std::path::Path;

use anyhow::{Context, Result};

use crate::environment::Environment;
use crate::error::Failure;
use crate::files;
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

/// What an app was running, as far as dokku knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedCode {
    pub commit: String,
    /// False when dokku's record and the repository's HEAD do not agree.
    pub certain: bool,
}

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
        let path = self.layout.root().join("LINKS");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = String::from_utf8_lossy(&files::read_bounded(&path, SMALL_FILE)?).into_owned();
        Ok(text.lines().map(str::trim).filter(|name| is_app_name(name)).map(str::to_owned).collect())
    }
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
        let database = first_line(&layout.root().join("DATABASE_NAME"))?;
        Ok(Service { name: name.clone(), layout, database: database.unwrap_or_else(|| name.to_string()) })
    }

    /// All services that the user may use, by name.
    pub fn services(&self) -> Result<Vec<Service>> {
        let folder = self.layout.services();
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut names: Vec<ServiceName> = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        names.sort();
        let plain: Vec<&str> = names.iter().map(ServiceName::as_str).collect();
        let allowed = self.allowed("user-auth-service", &["postgres"], &plain)?;
        names
            .iter()
            .filter(|name| allowed.iter().any(|one| one == name.as_str()))
            .map(|name| self.service(name))
            .collect()
    }

    /// Which of `names` the plugins that control access let this user see
    /// (dokku's `plugins/common/functions`, `user-auth-app` and `user-auth-service`).
    fn allowed(&self, trigger: &str, first: &[&str], names: &[&str]) -> Result<Vec<String>> {
        if names.is_empty() || !self.is_answered(trigger) {
            return Ok(names.iter().map(|name| (*name).to_owned()).collect());
        }
        let user = [self.environment.ssh_user.as_str(), self.environment.ssh_name.as_str()];
        let tool = Tool::new("plugn").args(["trigger", trigger]).args(user).args(first).args(names);
        let output = tool.run(&self.interrupt)?;
        if !output.success() {
            let why = output.last_words(1).join("");
            return Err(Failure::failed(format!("the access check {trigger} failed: {why}")).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
    }

    /// Whether a plugin implements `trigger`; dokku's own `20_events` only logs it.
    fn is_answered(&self, trigger: &str) -> bool {
        let Some(plugins) = &self.environment.plugins else { return false };
        let Ok(entries) = std::fs::read_dir(plugins) else { return false };
        entries.flatten().any(|entry| entry.file_name() != "20_events" && entry.path().join(trigger).exists())
    }

    /// The commit that `app` was running, or `None` where dokku knows of none.
    ///
    /// dokku writes down what it deployed, but not at a `ps:rebuild`; and the repository's HEAD is behind during a push
    /// and ahead after a failed `git:sync`. Only where HEAD does not contradict the record the commit is
    /// certain.
    pub fn deployed_code(&self, app: &str) -> Result<Option<DeployedCode>> {
        let metadata =
            first_line(&self.layout.app_property(app, "deploy-source-metadata"))?.unwrap_or_default();
        let recorded = metadata.rsplit('#').next().filter(|text| is_commit(text)).map(str::to_owned);
        let head = self.head(app);
        let certain = recorded.is_some() && head.as_ref().is_none_or(|head| recorded.as_ref() == Some(head));
        Ok(recorded.or(head).map(|commit| DeployedCode { commit, certain }))
    }

    fn head(&self, app: &str) -> Option<String> {
        let repository = self.environment.dokku_root.join(app);
        if !repository.join("HEAD").is_file() {
            return None;
        }
        // Inside a push git's quarantine variables point at another repository's objects.
        let git = Tool::new("git")
            .without_env(&[
                "GIT_DIR",
                "GIT_OBJECT_DIRECTORY",
                "GIT_ALTERNATE_OBJECT_DIRECTORIES",
                "GIT_QUARANTINE_PATH",
            ])
            .arg("-C")
            .arg(&repository)
            .args(["rev-parse", "--verify", "--quiet", "HEAD"]);
        let output = git.run(&self.interrupt).ok().filter(crate::process::Output::success)?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Those of `apps` that this user may see.
    pub fn visible_apps(&self, apps: &[String]) -> Result<Vec<String>> {
        let names: Vec<&str> = apps.iter().map(String::as_str).collect();
        self.allowed("user-auth-app", &[], &names)
    }

    /// Stops an app as `ps:stop` does (dokku's `plugins/ps`: `scheduler-stop`, then `post-stop`).
    pub fn stop_app(app: &str) -> Result<()> {
        let scheduler = Self::trigger(&["scheduler-detect", app])?;
        let scheduler = if scheduler.trim().is_empty() { "docker-local" } else { scheduler.trim() };
        Self::trigger(&["scheduler-stop", scheduler, app])?;
        Self::trigger(&["post-stop", app])?;
        Ok(())
    }

    /// Starts an app again; does nothing for one that was never deployed.
    pub fn start_app(app: &str) -> Result<()> {
        Self::trigger(&["app-restart", app]).map(drop)
    }

    /// Fires a trigger as dokku's own plugins do; not stopped by an interrupt, since half a stop is none.
    fn trigger(words: &[&str]) -> Result<String> {
        let output = Tool::new("plugn").arg("trigger").args(words).run_always()?;
        if output.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let why = output.last_words(1).join("");
        Err(Failure::tool(format!("dokku's trigger {} failed: {why}", words.join(" "))).into())
    }
}

/// dokku's rule for app names (`plugins/common`, `IsValidAppName`), without dots at the start.
fn is_app_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) && name.chars().all(allowed)
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The first line of a small file, `None` when there is no file or nothing in it.
fn first_line(path: &Path) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&files::read_bounded(path, SMALL_FILE)?).into_owned();
    Ok(text.lines().next().filter(|line| !line.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_cannot_leave_their_folder() {
        for name in ["", "..", "../x", "-a", "a b", ".git", "A"] {
            assert!(!is_app_name(name), "{name:?}");
        }
        assert!(is_app_name("happycows-qa.2"));
    }
}
