//! The edges that core works with, handed in together.

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::backup_id::BackupId;
use crate::docker::Docker;
use crate::dokku::{Dokku, Service};
use crate::progress::Progress;
use crate::settings::Settings;

/// This server, as core sees it.
pub struct Host<'a> {
    pub docker: &'a Docker,
    pub dokku: &'a Dokku,
    pub progress: &'a dyn Progress,
    /// When this run was started.
    pub now: DateTime<Utc>,
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

    /// A new id for something that starts now.
    pub fn new_id(&self) -> Result<BackupId> {
        Ok(BackupId::new(self.now, random()?))
    }

    pub fn settings(&self, service: &Service) -> Result<Settings> {
        Settings::load(self.dokku.layout(), &service.layout, self.dokku.environment().cores)
    }
}

fn random() -> Result<[u8; 4]> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}
