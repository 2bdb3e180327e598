//! The edges that core works with, handed in together.

use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};

use crate::backup_id::BackupId;
use crate::docker::Docker;
use crate::dokku::{Dokku, Service};
use crate::layout::ServiceLayout;
use crate::lock::{self, ServiceLock};
use crate::progress::Progress;
use crate::service_name::ServiceName;
use crate::settings::Settings;

/// Whom the history names for what cron runs.
pub const SCHEDULE: &str = "schedule";

/// This server, as core sees it.
pub struct Host<'a> {
    pub docker: &'a Docker,
    pub dokku: &'a Dokku,
    pub progress: &'a dyn Progress,
    /// When this run was started, by the clock.
    pub now: DateTime<Utc>,
    /// The same moment, to count from.
    pub started: Instant,
    /// Whom the history names: the ssh key's name, the user at the server's shell, or [`SCHEDULE`].
    pub who: &'a str,
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Host<'_> {
    /// Fails when the run was asked to stop.
    pub fn check(&self) -> Result<()> {
        Ok(self.docker.interrupt().check()?)
    }

    /// The server's name, for messages that come from several.
    pub fn name(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
    }

    /// The time now. A run may have waited for an hour before it came to its work.
    pub fn time(&self) -> DateTime<Utc> {
        self.time_of(Instant::now())
    }

    /// The time of a moment of this run.
    pub fn time_of(&self, moment: Instant) -> DateTime<Utc> {
        let since = TimeDelta::from_std(moment.saturating_duration_since(self.started)).unwrap_or_default();
        self.now + since
    }

    /// A new id for something that starts now.
    pub fn new_id(&self) -> Result<BackupId> {
        Self::new_id_at(self.time())
    }

    pub fn new_id_at(time: DateTime<Utc>) -> Result<BackupId> {
        Ok(BackupId::new(time, random()?))
    }

    /// The service's lock, waited for at most `patience`. A gentle backup that has it hurries up from now on: somebody
    /// waits.
    pub fn lock(&self, service: &Service, purpose: &str, patience: Duration) -> Result<ServiceLock> {
        let mut told = false;
        ServiceLock::await_turn(&service.layout.lock(), &service.name, purpose, patience, |busy| {
            if !told {
                self.progress.note(&format!("{busy}; waiting for it"));
                self.hurry(service, busy);
                told = true;
            }
            self.check()
        })
        .inspect_err(|error| self.hurry(service, error))
    }

    fn hurry(&self, service: &Service, busy: &anyhow::Error) {
        let is_backup = busy.to_string().contains(lock::CREATE);
        if is_backup && self.who != SCHEDULE {
            // Where that fails, the backup goes on as slowly as it did.
            let _ = self.docker.hurry(service.name.as_str(), self.dokku.environment().cores);
        }
    }

    pub fn global_settings(&self) -> Result<Settings> {
        Settings::load_global(self.dokku.layout(), self.dokku.environment().cores)
    }

    /// Those that can be read, of the service or for all services: for what must be done all the same.
    pub fn settings_for_sure(&self, service: &Service) -> Option<Settings> {
        self.settings_without_broken_global(&service.layout, &service.name)
            .or_else(|_| self.global_settings())
            .ok()
    }

    /// Those of the service; where only those for all services cannot be read, without them, which is said.
    pub fn settings_without_broken_global(
        &self,
        layout: &ServiceLayout,
        name: &ServiceName,
    ) -> Result<Settings> {
        self.settings_in(layout).or_else(|error| {
            let own = Settings::load_own(layout, self.dokku.environment().cores)?;
            self.progress.warn(&format!("{error}; for {name}, only its own settings count"));
            Ok(own)
        })
    }

    pub fn settings(&self, service: &Service) -> Result<Settings> {
        self.settings_in(&service.layout)
    }

    /// Those of a service that need not be readable otherwise.
    pub fn settings_in(&self, layout: &ServiceLayout) -> Result<Settings> {
        Settings::load(self.dokku.layout(), layout, self.dokku.environment().cores)
    }
}

fn random() -> Result<[u8; 4]> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::interrupt::Interrupt;
    use crate::progress::Silent;

    #[test]
    fn a_run_that_had_to_wait_knows_the_time() {
        let (environment, interrupt) = (Environment::read(), Interrupt::default());
        let docker = Docker::new(environment.docker.clone(), interrupt.clone(), None);
        let dokku = Dokku::new(environment, interrupt);
        let waited = Duration::from_secs(90);
        let Some(started) = Instant::now().checked_sub(waited) else { return };
        let now = DateTime::UNIX_EPOCH;
        let host = Host { docker: &docker, dokku: &dokku, progress: &Silent, now, started, who: "me" };
        assert!(host.time() - now >= TimeDelta::seconds(90));
        assert!(host.new_id().unwrap().time() - now >= TimeDelta::seconds(90));
        assert_eq!(host.time_of(started + Duration::from_secs(5)), now + TimeDelta::seconds(5));
    }
}
