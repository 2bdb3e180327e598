//! What the backups of destroyed services look like in a list, and deleting them.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::App;
use crate::aftermath::{self, Run};
use crate::catalog;
use crate::cli::Format;
use crate::destroyed::{self, Destroyed};
use crate::files;
use crate::ui::table::{self, Align};
use crate::units;

#[derive(Serialize)]
struct DestroyedView<'a> {
    name: &'a str,
    service: &'a str,
    destroyed_at: chrono::DateTime<chrono::Utc>,
    backups: usize,
    last_backup: Option<String>,
    disk_bytes: u64,
    path: String,
}

const HEADINGS: [&str; 5] = ["NAME", "DESTROYED", "BACKUPS", "SIZE", "LAST BACKUP"];
const ALIGN: [Align; 5] = [Align::Left, Align::Left, Align::Right, Align::Right, Align::Left];

pub fn list(app: &App<'_>, format: Format) -> Result<()> {
    let found = destroyed::list(&app.dokku)?;
    let views: Vec<DestroyedView<'_>> = found.iter().map(view).collect::<Result<_>>()?;
    if format == Format::Json {
        return app.ui.json(&views);
    }
    app.ui.heading("Backups of destroyed services");
    let Some(first) = found.first() else {
        app.ui.detail("none");
        return Ok(());
    };
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(views.iter().map(|view| {
        vec![
            view.name.to_owned(),
            units::ago(view.destroyed_at, app.now),
            view.backups.to_string(),
            units::bytes(view.disk_bytes),
            view.last_backup.clone().unwrap_or_default(),
        ]
    }));
    app.ui.details(&table::lines(&ALIGN, &rows));
    ways(app, first);
    Ok(())
}

/// What can be done with them.
pub fn ways(app: &App<'_>, destroyed: &Destroyed) {
    let name = &destroyed.name;
    app.ui.detail(&format!("Get one back:    dokku pgbackup:restore <service> --from-destroyed {name}"));
    app.ui.detail(&format!("Delete for good: dokku pgbackup:delete --destroyed {name}"));
}

fn view(destroyed: &Destroyed) -> Result<DestroyedView<'_>> {
    let backups = catalog::whole(catalog::list(&destroyed.layout)?);
    Ok(DestroyedView {
        name: &destroyed.name,
        service: destroyed.service.as_str(),
        destroyed_at: destroyed.at,
        backups: backups.len(),
        last_backup: backups.first().map(|backup| backup.id.to_string()),
        disk_bytes: files::disk_use(destroyed.layout.root()),
        path: destroyed.layout.backups().display().to_string(),
    })
}

pub fn delete(app: &App<'_>, name: &str) -> Result<()> {
    let found = destroyed::find(&app.dokku, name)?;
    let warning =
        format!("All backups of the destroyed service {} are going to be deleted for good", found.service);
    app.ui.confirm(&warning, &found.name, app.docker.interrupt())?;
    let run = Run::of("delete", Instant::now());
    let deleted = destroyed::delete(&app.host(), &found);
    // Its own history goes with it. A new service of that name has one.
    let service = app.dokku.known_service(&found.service)?;
    let ids = if deleted.is_ok() { vec![found.name.clone()] } else { Vec::new() };
    aftermath::follow(&app.host(), &service, Run { ids: &ids, ..run }, &deleted);
    deleted?;
    app.ui.heading(&format!("The backups {} are deleted", found.name));
    Ok(())
}
