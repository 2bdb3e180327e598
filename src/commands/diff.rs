//! `pgbackup:diff`.

mod json;
mod text;

use anyhow::Result;

use super::App;
use crate::cli::{DiffArgs, Format};
use crate::diff::code::{self, AppChange};
use crate::diff::side::Side;
use crate::diff::{self, Diff};
use crate::migrations::Tool;

/// Both sides and what is between them.
struct Outcome {
    then: Side,
    now: Side,
    diff: Diff,
    apps: Vec<AppChange>,
    /// The tools that keep books in the database: their files are migrations.
    tools: Vec<&'static Tool>,
    /// The content was not compared.
    fast: bool,
}

pub fn run(app: &App<'_>, args: &DiffArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let host = app.host();
    let then = Side::of_backup(app.choose(&service, args.backup.as_deref())?)?;
    let now = if let Some(wanted) = &args.to {
        Side::of_backup(app.choose(&service, Some(wanted))?)?
    } else {
        let what = if args.fast { "Counting the rows" } else { "Reading the database" };
        host.progress.step(&format!("{what} of {} as it is now", service.name));
        Side::of_live(&host, &service, &then, args.fast)?
    };
    // The older one is the one that a restore would go back to, in whatever order they were named. The live database is
    // later than any backup, also than one of a clock that was ahead.
    let is_turned = now.backup.is_some() && now.at < then.at;
    let (then, now) = if is_turned { (now, then) } else { (then, now) };
    for side in [&then, &now] {
        let place =
            side.backup.as_ref().map_or("of the live database".to_owned(), |one| format!("of {}", one.id));
        side.migrations.complaints(&place).iter().for_each(|complaint| host.progress.warn(complaint));
    }
    let diff = diff::compare(&then, &now);
    let visible: Vec<String> = app.dokku.visible_apps(&app_names(&then, &now))?;
    let may_see = |change: &AppChange| visible.contains(&change.name);
    let apps = code::compare(&app.dokku, &then.apps, &now.apps).into_iter().filter(may_see).collect();
    let accounts = then.migrations.read.iter().chain(&now.migrations.read);
    let tools = accounts.map(|account| account.books.tool).collect();
    let outcome = Outcome { fast: args.fast && now.backup.is_none(), then, now, diff, apps, tools };
    if args.format == Format::Json {
        return app.ui.json(&json::view(&service, &outcome));
    }
    text::show(app, &service, &outcome);
    Ok(())
}

fn app_names(then: &Side, now: &Side) -> Vec<String> {
    let mut names: Vec<String> = then.apps.iter().chain(&now.apps).map(|app| app.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
