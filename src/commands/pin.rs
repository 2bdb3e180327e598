//! `pgbackup:pin` and `pgbackup:unpin`.

use anyhow::Result;

use super::App;
use crate::cli::{PinArgs, UnpinArgs};
use crate::manifest::Pinned;

pub fn pin(app: &App<'_>, args: &PinArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let backup = app.choose(&service, Some(&args.backup))?;
    // It must not be removed at the same moment.
    let _reading = backup.held_for_reading()?;
    let by = app.dokku.environment().who().to_owned();
    Pinned { at: app.now, by, note: args.note.clone() }.write(&backup.folder)?;
    app.ui.heading(&format!(
        "Backup {} of {} is kept until it is unpinned or deleted",
        backup.id, service.name
    ));
    Ok(())
}

pub fn unpin(app: &App<'_>, args: &UnpinArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let backup = app.choose(&service, Some(&args.backup))?;
    let _reading = backup.held_for_reading()?;
    Pinned::remove(&backup.folder)?;
    app.ui.heading(&format!("Backup {} of {} is left to retention", backup.id, service.name));
    Ok(())
}
