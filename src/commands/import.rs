//! `pgbackup:import`.

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::App;
use super::create::report_rows;
use super::view::BackupView;
use crate::cli::{Format, ImportArgs};
use crate::error::Failure;
use crate::files;
use crate::import::{ImportOptions, ImportReport, import_backup};
use crate::interrupt::Awaited;
use crate::manifest::Pushed;
use crate::push::{self, PushReport};
use crate::ui::table;

/// A passphrase and more.
const MAX_PASSPHRASE: u64 = 64 * 1024;

#[derive(Serialize)]
struct Imported<'a> {
    backup: BackupView<'a>,
    duration_seconds: f64,
    shared_bytes: u64,
    errors: &'a [String],
}

pub fn run(app: &App<'_>, args: &ImportArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    if io::stdin().is_terminal() {
        return Err(Failure::refused("no data provided on standard input")
            .hint(format!("send the dump there: dokku pgbackup:import {} < <file>", service.name))
            .into());
    }
    let input = Awaited::of(io::stdin(), app.docker.interrupt())?;
    let passphrase = || passphrase(app, args.passphrase_file.as_deref());
    let options = ImportOptions {
        note: args.note.as_deref(),
        database: args.database.as_deref(),
        allow_errors: args.allow_errors,
        jobs: args.jobs,
        passphrase: &passphrase,
    };
    let mut report = import_backup(&app.host(), &service, input, options)?;
    let pushed = push::push_marked(&app.host(), &service, None);
    report.backup.pushed = Pushed::read(&report.backup.folder);
    tell(app, args.format, &report, &pushed)?;
    super::push::say_if_interrupted(app, &report.backup)
}

fn tell(app: &App<'_>, format: Format, report: &ImportReport, pushed: &[PushReport]) -> Result<()> {
    if format == Format::Json {
        return app.ui.json(&Imported {
            backup: BackupView::of(&report.backup),
            duration_seconds: report.duration.as_secs_f64(),
            shared_bytes: report.shared_bytes,
            errors: &report.errors,
        });
    }
    if app.ui.is_quiet() {
        app.ui.result(report.backup.id.as_str());
        return Ok(());
    }
    show(app, report);
    pushed.iter().for_each(|report| super::push::show(app, report));
    Ok(())
}

/// Standard input is the data: the passphrase comes from a file or from the terminal itself.
fn passphrase(app: &App<'_>, file: Option<&str>) -> Result<String> {
    let Some(file) = file else {
        let asked = app.ui.ask_secret("Passphrase of the encrypted dump", app.docker.interrupt())?;
        return asked.ok_or_else(|| {
            Failure::refused("this is encrypted with a passphrase, and there is no terminal to ask for it")
                .hint("write it into a file that dokku's user can read, and add --passphrase-file <file>")
                .into()
        });
    };
    let read = files::read_bounded(Path::new(file), MAX_PASSPHRASE);
    let bytes = read.map_err(|error| {
        Failure::refused(format!("the file with the passphrase cannot be read: {error:#}"))
            .hint("it must be a plain file that dokku's user can read")
    })?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn show(app: &App<'_>, report: &ImportReport) {
    let manifest = &report.backup.manifest;
    let mut rows = report_rows(manifest, report.duration, report.shared_bytes);
    if let Some(import) = manifest.import.as_ref().filter(|import| import.errors > 0) {
        rows.push(("Errors", format!("{}, and what they are about is missing", import.errors)));
    }
    app.ui.heading(&format!("Backup {} of {} made", report.backup.id, manifest.service));
    app.ui.details(&table::report(&rows));
    app.ui.detail(&format!("Prove it with: dokku pgbackup:verify {} {}", manifest.service, report.backup.id));
}
