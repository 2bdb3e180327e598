//! `pgbackup:remote-set`, `pgbackup:remote-unset` and `pgbackup:remote-check`.

use anyhow::{Result, bail};

use super::App;
use crate::cli::{RemoteArgs, RemoteSetArgs};

pub fn set(_app: &App<'_>, _args: &RemoteSetArgs) -> Result<()> {
    bail!("not built yet")
}

pub fn unset(_app: &App<'_>, _args: &RemoteArgs) -> Result<()> {
    bail!("not built yet")
}

pub fn check(_app: &App<'_>, _args: &RemoteArgs) -> Result<()> {
    bail!("not built yet")
}
