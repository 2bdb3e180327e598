//! `pgbackup:push`.

use anyhow::{Result, bail};

use super::App;
use crate::cli::PushArgs;

pub fn run(_app: &App<'_>, _args: &PushArgs) -> Result<()> {
    bail!("not built yet")
}
