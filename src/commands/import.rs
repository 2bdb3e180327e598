//! `pgbackup:import`.

use anyhow::{Result, bail};

use super::App;
use crate::cli::ImportArgs;

pub fn run(_app: &App<'_>, _args: &ImportArgs) -> Result<()> {
    bail!("not built yet")
}
