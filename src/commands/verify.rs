//! `pgbackup:verify`.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::App;
use crate::aftermath::{self, Run};
use crate::catalog::{self, Entry};
use crate::cli::{Format, VerifyArgs};
use crate::dokku::Service;
use crate::error::{Failure, Kind};
use crate::host::Host;
use crate::leftovers;
use crate::manifest::Level;
use crate::overdue;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::ui::table::{self, Align};
use crate::units;
use crate::verify::{VerifyReport, verify};

#[derive(Serialize)]
struct Report<'a> {
    id: &'a str,
    service: &'a str,
    level: &'static str,
    good: bool,
    duration_seconds: f64,
    checks: Vec<Check<'a>>,
    tables: Vec<Table<'a>>,
    problems: Vec<Problem<'a>>,
}

#[derive(Serialize)]
struct Check<'a> {
    name: &'a str,
    compared: &'a str,
    good: bool,
}

#[derive(Serialize)]
struct Table<'a> {
    name: &'a str,
    expected_rows: u64,
    found_rows: Option<u64>,
    same: bool,
}

#[derive(Serialize)]
struct Problem<'a> {
    subject: &'a str,
    problem: &'a str,
}

pub fn run(app: &App<'_>, args: &VerifyArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let ended = verify_chosen(app, args, &service);
    if args.scheduled {
        overdue::tell(&app.host());
    }
    ended
}

/// What is to be verified, and at what pace.
fn prepare(host: &Host<'_>, service: &Service, args: &VerifyArgs) -> Result<(Vec<Entry>, Pace)> {
    // The other levels read files only: they work when docker does not.
    if args.level() == Level::Drill {
        leftovers::clear_drills(host, service)?;
    }
    let pace = Pace::of(&host.settings(service)?, args.jobs, args.gentle);
    Ok((chosen(service, args)?, pace))
}

fn verify_chosen(app: &App<'_>, args: &VerifyArgs, service: &Service) -> Result<()> {
    let host = app.host();
    let mut reports = Vec::new();
    let mut hindered = None;
    let started = Instant::now();
    let prepared = prepare(&host, service, args);
    if prepared.is_err() && args.scheduled {
        aftermath::follow(&host, service, Run::of("verify", started), &prepared);
    }
    let (chosen, pace) = prepared?;
    for entry in chosen {
        let report = match &entry {
            Entry::Whole(backup) => verify(&host, service, backup, args.level(), pace),
            Entry::Broken { name, why } => {
                let report = Ok(VerifyReport::broken(name, why));
                let run = Run { problem: Some(why), ..Run::of("verify", started) };
                aftermath::follow(&host, service, run, &report);
                report
            }
            Entry::Pending { .. } | Entry::Deleted { .. } => continue,
        };
        match report {
            Ok(report) => {
                if args.format == Format::Stdout {
                    show(app, service, &report);
                }
                reports.push(report);
            }
            // One that cannot be looked at does not keep the others from being looked at.
            Err(error) if args.all && host.check().is_ok() => {
                app.ui.warn(&format!("backup {} could not be verified: {error:#}", entry.name()));
                hindered.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    if reports.is_empty() && hindered.is_none() && args.format == Format::Stdout {
        app.ui.detail(&format!("none yet; make one with: dokku pgbackup:create {}", service.name));
    }
    if args.format == Format::Json {
        let views: Vec<Report<'_>> = reports.iter().map(|report| view(service, report)).collect();
        match views.as_slice() {
            [one] if !args.all => app.ui.json(one)?,
            all => app.ui.json(&all)?,
        }
    }
    conclude(service, &reports)?;
    hindered.map_or(Ok(()), Err)
}

fn chosen(service: &Service, args: &VerifyArgs) -> Result<Vec<Entry>> {
    let entries = catalog::list(&service.layout)?;
    if args.all {
        return Ok(entries);
    }
    // A broken folder that is asked for by name is verified like any other: it fails.
    let named = |entry: &&Entry| args.backup.as_deref() == Some(entry.name());
    if let Some(broken) = entries.iter().find(named).filter(|entry| matches!(entry, Entry::Broken { .. })) {
        return Ok(vec![broken.clone()]);
    }
    // Without a name: the newest, good or not. A bad one is to be seen, not passed over.
    if args.backup.is_none() {
        if let Some(newest) =
            entries.iter().find(|entry| matches!(entry, Entry::Whole(_) | Entry::Broken { .. }))
        {
            return Ok(vec![newest.clone()]);
        }
    }
    let backup = catalog::find(&service.name, entries, args.backup.as_deref())?;
    Ok(vec![Entry::Whole(Box::new(backup))])
}

fn conclude(service: &Service, reports: &[VerifyReport]) -> Result<()> {
    let bad: Vec<&VerifyReport> = reports.iter().filter(|report| !report.is_good()).collect();
    let Some(first) = bad.first() else { return Ok(()) };
    let message = if bad.len() == 1 {
        format!("backup {} of {} is not good", first.backup, service.name)
    } else {
        format!("{} backups of {} are not good", bad.len(), service.name)
    };
    Err(Failure::new(Kind::Difference, message)
        .hint(format!("make a new one now: dokku pgbackup:create {}", service.name))
        .into())
}

fn view<'a>(service: &'a Service, report: &'a VerifyReport) -> Report<'a> {
    Report {
        id: &report.backup,
        service: service.name.as_str(),
        level: report.level.as_str(),
        good: report.is_good(),
        duration_seconds: report.duration.as_secs_f64(),
        checks: report
            .checks
            .iter()
            .map(|check| Check { name: check.name, compared: &check.compared, good: check.good })
            .collect(),
        tables: report
            .tables
            .iter()
            .map(|table| Table {
                name: &table.name,
                expected_rows: table.expected_rows,
                found_rows: table.found_rows,
                same: table.same,
            })
            .collect(),
        problems: report
            .problems
            .iter()
            .map(|problem| Problem { subject: &problem.subject, problem: &problem.what })
            .collect(),
    }
}

/// A longer table says nothing more to a person; the JSON has all of them.
const TABLES_SHOWN: usize = 40;

fn show(app: &App<'_>, service: &Service, report: &VerifyReport) {
    let (good, word) = (report.is_good(), if report.is_good() { "good" } else { "NOT GOOD" });
    let id = &report.backup;
    app.ui.heading(&format!("Backup {id} of {} is {}", service.name, app.ui.mark(good, word)));
    let result = |good| app.ui.mark(good, if good { "same" } else { "DIFFERS" });
    let mut rows: Vec<Vec<String>> = report
        .checks
        .iter()
        .map(|check| vec![check.name.to_owned(), check.compared.clone(), result(check.good)])
        .collect();
    app.ui.details(&table::lines(&[Align::Left, Align::Left, Align::Left], &rows));
    if !report.tables.is_empty() && !app.ui.is_quiet() {
        rows = vec![["TABLE", "EXPECTED", "FOUND", "RESULT"].map(str::to_owned).to_vec()];
        rows.extend(report.tables.iter().take(TABLES_SHOWN).map(|table| {
            let found = table.found_rows.map_or_else(|| "-".to_owned(), units::count);
            vec![table.name.clone(), units::count(table.expected_rows), found, result(table.same)]
        }));
        app.ui.detail("");
        let align = [Align::Left, Align::Right, Align::Right, Align::Left];
        app.ui.details(&table::lines(&align, &rows));
        if let Some(more) = report.tables.len().checked_sub(TABLES_SHOWN).filter(|more| *more > 0) {
            app.ui.detail(&format!(
                "and {} more; --format json shows all",
                units::plural(more as u64, "table")
            ));
        }
    }
    for problem in &report.problems {
        app.ui.problem(&problem.to_string());
    }
    if app.ui.is_quiet() {
        return;
    }
    let depth = match report.level {
        Level::Quick => "its files",
        Level::Archive => "its files and every row in them",
        Level::Drill => "its files, every row in them, and a real restore",
    };
    app.ui.detail(&format!("Looked at {depth}, in {}", units::duration(report.duration)));
}
