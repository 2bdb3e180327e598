//! `pgbackup:export`.

use anyhow::{Result, bail};

use super::App;
use crate::cli::ExportArgs;

pub fn run(_app: &App<'_>, _args: &ExportArgs) -> Result<()> {
    bail!("not built yet")
}
