//! One file for each subcommand: arguments → one call of core → ui.

mod complete;
mod create;
mod delete;
mod destroyed;
mod diff;
mod doctor;
mod export;
mod help;
mod history;
mod import;
mod info;
mod list;
mod pin;
mod practice;
mod prune;
mod pull;
mod push;
mod remote;
mod report;
mod restore;
mod schedule;
mod set;
mod trigger;
mod undo;
mod verify;
mod view;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::catalog::{self, Backup};
use crate::cli::{Commands, Common};
use crate::destroyed as destroyed_service;
use crate::docker::Docker;
use crate::dokku::{Dokku, Service};
use crate::environment::Environment;
use crate::error::{self, Failure, Kind};
use crate::host::{Host, SCHEDULE};
use crate::interrupt::Interrupt;
use crate::manifest::Manifest;
use crate::progress::Progress;
use crate::service_name::ServiceName;
use crate::ui::{self, Ui};

/// What every command gets.
#[derive(Debug)]
pub struct App<'a> {
    docker: Docker,
    dokku: Dokku,
    ui: &'a Ui,
    now: DateTime<Utc>,
    started: Instant,
    /// Run by cron.
    scheduled: bool,
    /// The services that it was about.
    found: RefCell<Vec<Service>>,
}

impl<'a> App<'a> {
    pub fn new(
        environment: Environment,
        interrupt: Interrupt,
        ui: &'a Ui,
        common: &Common,
        now: DateTime<Utc>,
        scheduled: bool,
    ) -> Self {
        let trace: Option<fn(&str)> = if common.trace || environment.trace { Some(ui::trace) } else { None };
        App {
            docker: Docker::new(environment.docker.clone(), interrupt.clone(), trace),
            dokku: Dokku::new(environment, interrupt),
            ui,
            now,
            started: Instant::now(),
            scheduled,
            found: RefCell::default(),
        }
    }

    fn host(&self) -> Host<'_> {
        let who = if self.scheduled { SCHEDULE } else { self.dokku.environment().who() };
        let (now, started) = (self.now, self.started);
        Host { docker: &self.docker, dokku: &self.dokku, progress: self.ui, now, started, who }
    }
}

impl App<'_> {
    /// The service of that name. Whoever looks for one that is destroyed is told where its backups are.
    fn service(&self, name: &ServiceName) -> Result<Service> {
        let service = self.dokku.service(name).map_err(|error| self.or_destroyed(error, name))?;
        self.found.borrow_mut().push(service.clone());
        Ok(service)
    }

    /// A file may be missing, or docker find no container, because all that the service had is gone.
    fn or_destroyed_meanwhile(&self, error: anyhow::Error) -> anyhow::Error {
        let kind = error::kind_of(&error);
        if kind != Kind::Tool && (kind != Kind::Failed || !error::is_of_a_missing_file(&error)) {
            return error;
        }
        let is_going = |service: &&Service| destroyed_service::is_going(&self.dokku, service, self.now);
        let Some(Service { name, .. }) = self.found.borrow().iter().find(is_going).cloned() else {
            return error;
        };
        let gone = Failure::not_found(format!("Postgres service {name} was destroyed meanwhile"));
        self.or_destroyed(gone.details(vec![format!("{error:#}")]).into(), &name)
    }

    /// The backup of `source` that `wanted` names, or the newest good one.
    fn choose(&self, source: &Service, wanted: Option<&str>) -> Result<Backup> {
        let chosen = catalog::choose(source, wanted);
        chosen.map_err(|error| if wanted.is_none() { self.or_destroyed(error, &source.name) } else { error })
    }

    fn or_destroyed(&self, error: anyhow::Error, name: &ServiceName) -> anyhow::Error {
        if error::kind_of(&error) != Kind::NotFound {
            return error;
        }
        match (destroyed_service::hint(&self.dokku, name), error.downcast::<Failure>()) {
            (Some(hint), Ok(failure)) => failure.hint(hint).into(),
            (_, Ok(failure)) => failure.into(),
            (_, Err(error)) => error,
        }
    }
}

/// Leaves out of manifests the apps that the user may not see.
fn hide_foreign_apps<'m>(app: &App<'_>, manifests: impl Iterator<Item = &'m mut Manifest>) -> Result<()> {
    let mut manifests: Vec<&mut Manifest> = manifests.collect();
    let names: BTreeSet<String> =
        manifests.iter().flat_map(|manifest| &manifest.apps).map(|app| app.name.clone()).collect();
    let visible = app.dokku.visible_apps(&names.into_iter().collect::<Vec<_>>())?;
    for manifest in &mut manifests {
        manifest.apps.retain(|app| visible.contains(&app.name));
    }
    Ok(())
}

/// The same of a report on work that is done, which must not fail any more: where nobody can be asked, all are left out.
fn hide_foreign_apps_for_sure(app: &App<'_>, manifest: &mut Manifest) {
    if let Err(error) = hide_foreign_apps(app, std::iter::once(&mut *manifest)) {
        manifest.apps.clear();
        app.ui.warn(&format!("no apps are shown, as it is not known which you may see: {error:#}"));
    }
}

/// Runs one command.
pub fn run(app: &App<'_>, command: Commands) -> Result<()> {
    carry_out(app, command).map_err(|error| app.or_destroyed_meanwhile(error))
}

fn carry_out(app: &App<'_>, command: Commands) -> Result<()> {
    match command {
        Commands::Create(args) => create::run(app, args),
        Commands::List(args) => list::run(app, &args),
        Commands::Info(args) => info::run(app, &args),
        Commands::Verify(args) => verify::run(app, &args),
        Commands::Restore(args) => restore::run(app, &args),
        Commands::Undo(args) => undo::run(app, &args),
        Commands::Delete(args) => delete::run(app, &args),
        Commands::Diff(args) => diff::run(app, &args),
        Commands::Practice(args) => practice::run(app, &args),
        Commands::Prune(args) => prune::run(app, &args),
        Commands::Pin(args) => pin::pin(app, &args),
        Commands::Unpin(args) => pin::unpin(app, &args),
        Commands::Schedule(args) => schedule::run(app, &args),
        Commands::Report(args) => report::run(app, &args),
        Commands::Doctor(args) => doctor::run(app, &args),
        Commands::History(args) => history::run(app, &args),
        Commands::Set(args) => set::run(app, &args),
        Commands::Export(args) => export::run(app, &args),
        Commands::Import(args) => import::run(app, &args),
        Commands::Push(args) => push::run(app, &args),
        Commands::Pull(args) => pull::run(app, &args),
        Commands::RemoteSet(args) => remote::set(app, &args),
        Commands::RemoteUnset(args) => remote::unset(app, &args),
        Commands::RemoteCheck(args) => remote::check(app, &args),
        Commands::Trigger(args) => trigger::run(app, &args),
        Commands::Help(args) => help::run(app, args.command.as_deref()),
        Commands::Default => help::run(app, None),
        Commands::Complete(args) => complete::run(app, &args.words),
        Commands::HelpLines => {
            help::lines(app);
            Ok(())
        }
    }
}
