//! Parse, run, print the error, exit with its code.

use std::process::ExitCode;

use pgbackup::commands::{self, App};
use pgbackup::environment::Environment;
use pgbackup::interrupt::Interrupt;
use pgbackup::{cli, error, ui::Ui};

fn main() -> ExitCode {
    let environment = Environment::read();
    let parsed = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(wrong) => return Ui::new(&environment, false, false).usage(&wrong),
    };
    let mut ui = Ui::new(&environment, parsed.common.quiet, parsed.common.force);
    let scheduled = parsed.is_scheduled();
    if scheduled {
        ui.log_with(stamp);
    }
    #[expect(clippy::disallowed_methods, reason = "the clock is read here, once")]
    let now = chrono::Utc::now();
    let ended = Interrupt::install().map_err(anyhow::Error::from).and_then(|interrupt| {
        commands::run(&App::new(environment, interrupt, &ui, &parsed.common, now, scheduled), parsed.command)
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ui.failure(&failure);
            ExitCode::from(error::exit_code(&failure))
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock is read here, for a log that is written line by line"
)]
fn stamp() -> String {
    chrono::Local::now().format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
