//! `pgbackup:pull`.

use anyhow::{Result, bail};

use super::App;
use crate::cli::PullArgs;

pub fn run(_app: &App<'_>, _args: &PullArgs) -> Result<()> {
    bail!("not built yet")
}
