//! `pgbackup:set`.

use anyhow::Result;

use super::App;
use super::report::shown;
use crate::cli::SetArgs;
use crate::crontab;
use crate::destroyed;
use crate::error::Failure;
use crate::files;
use crate::settings::{self, KEYS, Key, Values};

pub fn run(app: &App<'_>, args: &SetArgs) -> Result<()> {
    let (path, key, value) = if args.global {
        if args.value.is_some() {
            return Err(Failure::usage("with --global, there is no service: only a key and a value").into());
        }
        (app.dokku.layout().global_settings(), args.service.as_ref(), args.key.as_deref())
    } else {
        let service = args.service.as_ref().ok_or_else(|| Failure::usage("which service, or --global?"))?;
        let name = service.parse().map_err(Failure::usage)?;
        let service = app.service(&name)?;
        destroyed::bring_back_if_free(&app.host(), &service);
        files::create_private_folders_in(service.layout.root(), &service.layout.own())?;
        (service.layout.settings(), args.key.as_ref(), args.value.as_deref())
    };
    let Some(key) = key else { return Err(which_key()) };
    let key = Key::find(key)?;
    let piped = if value == Some("-") && key.is_secret() {
        Some(app.ui.read_line(app.docker.interrupt())?)
    } else {
        None
    };
    // dokku's own :set takes an empty value for none.
    let value = piped.as_deref().or(value).filter(|value| !value.is_empty());
    if !args.global && key.is_global() {
        return Err(Failure::usage(format!("{} is set for all services: with --global", key.name)).into());
    }
    if key.values == Values::Schedule {
        crontab::set(&app.host(), &path, key, value)?;
    } else {
        settings::set(&path, key, value)?;
    }
    match value {
        Some(_) if key.is_secret() => app.ui.heading(&format!("Setting {}", key.name)),
        Some(value) => app.ui.heading(&format!("Setting {} to {value}", key.name)),
        None => app.ui.heading(&format!("Unsetting {}, in force is {}", key.name, in_force(app, args, key)?)),
    }
    Ok(())
}

/// What counts now: a value for all services, or the default.
fn in_force(app: &App<'_>, args: &SetArgs, key: &Key) -> Result<String> {
    let host = app.host();
    let settings = match args.service.as_ref().filter(|_| !args.global) {
        Some(name) => host.settings(&app.service(&name.parse().map_err(Failure::usage)?)?)?,
        None => host.global_settings()?,
    };
    let found = settings.explained.iter().find(|one| one.key == key.name);
    Ok(found.map_or_else(String::new, |one| format!("{} ({})", shown(one), one.source.as_str())))
}

fn which_key() -> anyhow::Error {
    let line = |key: &Key| format!("{}: {} ({})", key.name, key.about, key.allowed());
    Failure::usage("which setting?").details(KEYS.iter().map(line).collect()).into()
}
