//! One file for each subcommand: arguments → one call of core → ui.

mod create;
mod delete;
mod help;
mod info;
mod list;
mod restore;
mod undo;
mod verify;
mod view;

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::cli::{Commands, Common};
use crate::docker::Docker;
use crate::dokku::Dokku;
use crate::environment::Environment;
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::ui::{self, Ui};

/// What every command gets.
#[derive(Debug)]
pub struct App<'a> {
    docker: Docker,
    dokku: Dokku,
    ui: &'a Ui,
    now: DateTime<Utc>,
}

impl<'a> App<'a> {
    pub fn new(
        environment: Environment,
        interrupt: Interrupt,
        ui: &'a Ui,
        common: &Common,
        now: DateTime<Utc>,
    ) -> Self {
        let trace: Option<fn(&str)> = if common.trace || environment.trace { Some(ui::trace) } else { None };
        App {
            docker: Docker::new(environment.docker.clone(), interrupt.clone(), trace),
            dokku: Dokku::new(environment, interrupt),
            ui,
            now,
        }
    }

    fn host(&self) -> Host<'_> {
        Host { docker: &self.docker, dokku: &self.dokku, progress: self.ui, now: self.now }
    }
}

/// Runs one command.
pub fn run(app: &App<'_>, command: Commands) -> Result<()> {
    match command {
        Commands::Create(args) => create::run(app, args),
        Commands::List(args) => list::run(app, &args),
        Commands::Info(args) => info::run(app, &args),
        Commands::Verify(args) => verify::run(app, &args),
        Commands::Restore(args) => restore::run(app, &args),
        Commands::Undo(args) => undo::run(app, &args),
        Commands::Delete(args) => delete::run(app, &args),
        Commands::Help(args) => help::run(app, args.command.as_deref()),
        Commands::Default => help::run(app, None),
        Commands::HelpLines => {
            help::lines(app);
            Ok(())
        }
    }
}
