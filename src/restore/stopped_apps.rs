//! Apps that are stopped for a restore, and started again whatever happens.

use anyhow::Result;

use crate::dokku::Dokku;
use crate::host::Host;

/// Apps that are stopped for a while, and started again whatever happens.
pub(super) struct StoppedApps<'a, 'b> {
    host: &'a Host<'b>,
    names: Vec<String>,
}

impl<'a, 'b> StoppedApps<'a, 'b> {
    pub fn stop(host: &'a Host<'b>, apps: &[String]) -> Result<Self> {
        let mut stopped = StoppedApps { host, names: Vec::new() };
        for app in apps {
            if !Dokku::is_running(app)? {
                host.progress.note(&format!("{app} does not run, and is not started afterwards"));
                continue;
            }
            host.progress.step(&format!("Stopping {app}"));
            stopped.names.push(app.clone());
            Dokku::stop_app(app)?;
        }
        Ok(stopped)
    }

    /// Does not start these; the names of those that were stopped here.
    pub fn leave(&mut self, apps: &[&str]) -> Vec<String> {
        let names = std::mem::take(&mut self.names);
        let (left, started) = names.into_iter().partition(|name| apps.contains(&name.as_str()));
        self.names = started;
        left
    }
}

impl Drop for StoppedApps<'_, '_> {
    fn drop(&mut self) {
        for app in &self.names {
            self.host.progress.step(&format!("Starting {app}"));
            if let Err(error) = Dokku::start_app(app) {
                self.host.progress.warn(&format!("{error:#}; start it with: dokku ps:start {app}"));
            }
        }
    }
}
