//! What dokku is made to do: apps stopped and started, apps and services made and destroyed.
//!
//! Through triggers and the plugins' own subcommands, as dokku itself calls them; a plugin must not call `dokku`.

use std::path::Path;

use anyhow::Result;

use super::Dokku;
use crate::error::Failure;
use crate::process::Tool;
use crate::service_name::ServiceName;

/// Answers for the user where dokku would ask before it destroys something.
const FORCE: (&str, &str) = ("DOKKU_APPS_FORCE_DELETE", "1");

impl Dokku {
    /// Whether the app's containers run, as `ps:report` tells it (trigger `scheduler-app-status`: processes, then `true`,
    /// `false` or `mixed`). Where nobody says, they do.
    pub fn is_running(app: &str) -> Result<bool> {
        let status = trigger(&["scheduler-app-status", &scheduler(app)?, app])?;
        Ok(status.split_whitespace().nth(1) != Some("false"))
    }

    /// Stops an app as `ps:stop` does (dokku's `plugins/ps`: `scheduler-stop`, then `post-stop`).
    pub fn stop_app(app: &str) -> Result<()> {
        trigger(&["scheduler-stop", &scheduler(app)?, app])?;
        trigger(&["post-stop", app])?;
        Ok(())
    }

    /// Starts an app again; does nothing for one that was never deployed.
    pub fn start_app(app: &str) -> Result<()> {
        trigger(&["app-restart", app]).map(drop)
    }

    /// Makes an app as `apps:create` does.
    pub fn create_app(app: &str) -> Result<()> {
        trigger(&["app-create", app]).map(drop)
    }

    /// Destroys an app as `apps:destroy --force` does; its links go with it.
    pub fn destroy_app(app: &str) -> Result<()> {
        trigger(&["app-destroy", app]).map(drop)
    }

    /// Makes a service as `postgres:create` does.
    pub fn create_service(&self, name: &ServiceName, image: &str, version: &str) -> Result<()> {
        self.postgres("create", &[name.as_str(), "--image", image, "--image-version", version])
    }

    pub fn link_service(&self, name: &ServiceName, app: &str) -> Result<()> {
        self.postgres("link", &[name.as_str(), app])
    }

    /// Destroys a service as `postgres:destroy --force` does.
    pub fn destroy_service(&self, name: &ServiceName) -> Result<()> {
        self.postgres("destroy", &[name.as_str(), "--force"])
    }

    /// Has dokku write the crontab of all plugins anew; the trigger's name changed with dokku 0.36.
    pub fn write_crontab() -> Result<()> {
        trigger(&["scheduler-cron-write"])?;
        trigger(&["cron-write"])?;
        Ok(())
    }

    /// Runs one of dokku-postgres' subcommands. What it prints is kept back: it shows passwords.
    fn postgres(&self, subcommand: &str, args: &[&str]) -> Result<()> {
        let plugins = self
            .environment()
            .plugins
            .as_deref()
            .unwrap_or_else(|| Path::new("/var/lib/dokku/plugins/enabled"));
        let command = format!("postgres:{subcommand}");
        let program = plugins.join("postgres/subcommands").join(subcommand);
        let output = Tool::new(program).arg(&command).args(args).secret_env(FORCE.0, FORCE.1).run_always()?;
        if output.success() {
            return Ok(());
        }
        let why = output.last_words(1).join("");
        let why = why.trim_start_matches(" !").trim();
        Err(Failure::tool(format!("{command} {} failed: {why}", args[0])).into())
    }
}

fn scheduler(app: &str) -> Result<String> {
    let scheduler = trigger(&["scheduler-detect", app])?;
    let scheduler = scheduler.trim();
    Ok(if scheduler.is_empty() { "docker-local".to_owned() } else { scheduler.to_owned() })
}

/// Fires a trigger as dokku's own plugins do; not stopped by an interrupt, since half a stop is none.
fn trigger(words: &[&str]) -> Result<String> {
    let output = Tool::new("plugn").arg("trigger").args(words).secret_env(FORCE.0, FORCE.1).run_always()?;
    if output.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = output.last_words(1).join("");
    let why = why.trim_start_matches(" !").trim();
    Err(Failure::tool(format!("dokku's trigger {} failed: {why}", words.join(" "))).into())
}
