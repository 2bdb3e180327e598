//! `pgbackup:report`.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::NaiveDate;

use super::App;
use super::view::overview_rows;
use crate::cli::{REPORT_STATE, ReportArgs, ReportFormat};
use crate::error::Failure;
use crate::metrics;
use crate::notify;
use crate::settings::{Explained, KEYS, Key};
use crate::status::Status;
use crate::timeline::{Row, Timeline};
use crate::units;

pub fn run(app: &App<'_>, args: &ReportArgs) -> Result<()> {
    let host = app.host();
    let services = match &args.service {
        Some(name) => vec![app.service(name)?],
        None => app.dokku.services()?,
    };
    let statuses: Vec<Status> = services.iter().map(|service| Status::of(&host, service)).collect();
    if args.format == Some(ReportFormat::Prometheus) {
        app.ui.result(metrics::text(&host, &statuses).trim_end());
        return Ok(());
    }
    if args.format == Some(ReportFormat::Json) {
        let reports: Vec<BTreeMap<String, String>> =
            statuses.iter().map(|status| flat(app, status)).collect();
        return match (&args.service, reports.as_slice()) {
            (Some(_), [one]) => app.ui.json(one),
            (_, all) => app.ui.json(&all),
        };
    }
    if let Some(key) = args.key {
        for status in &statuses {
            let value = value(app, status, key).ok_or_else(|| unreadable(status))?;
            let name =
                if args.service.is_some() { String::new() } else { format!("{} ", status.service.name) };
            app.ui.value(&format!("{name}{value}"));
        }
        return Ok(());
    }
    statuses.iter().for_each(|status| show(app, status));
    if let (Some(_), [status]) = (&args.service, statuses.as_slice()) {
        show_days(app, &status.timeline);
    }
    Ok(())
}

fn unreadable(status: &Status) -> anyhow::Error {
    let why = status.settings.as_ref().err().map(ToString::to_string).unwrap_or_default();
    Failure::failed(why).hint("correct the file, or move it away to go back to the defaults").into()
}

fn show(app: &App<'_>, status: &Status) {
    app.ui.heading(&format!("{} pgbackup information", status.service.name));
    for key in REPORT_STATE {
        let value = value(app, status, key).unwrap_or_default();
        app.ui.detail(&format!("{:<30} {value}", title(key)));
    }
    if let Some(why) = &status.unreadable {
        app.ui.problem(why);
    }
    match &status.settings {
        Err(error) => app.ui.problem(&error.to_string()),
        Ok(settings) => {
            for one in &settings.explained {
                app.ui.detail(&format!("{:<30} {} ({})", title(one.key), shown(one), one.source.as_str()));
            }
        }
    }
}

/// One column for each day.
fn show_days(app: &App<'_>, timeline: &Timeline) {
    let day = |date: NaiveDate| date.format("%-d %b").to_string();
    let (first, last) = (day(timeline.first), day(timeline.last));
    let dates = format!("{first:<15}{last:>15}");
    app.ui.detail(&format!("{:<30} {dates}", title("last-30-days")));
    for (row, title) in [
        (Row::Made, "backups made"),
        (Row::Kept, "still there"),
        (Row::Proven, "proven by a drill"),
        (Row::Failed, "runs that failed"),
    ] {
        if row != Row::Failed || !timeline.is_empty(row) {
            app.ui.detail(&format!("  {title:<28} {}", timeline.line(row)));
        }
    }
}

/// As dokku names its report's keys.
fn title(key: &str) -> String {
    let text = key.replace('-', " ");
    format!("Pgbackup {text}:")
}

/// A value without the secrets that it may hold.
pub fn shown(one: &Explained) -> String {
    let is_secret = Key::find(one.key).is_ok_and(Key::is_secret);
    if is_secret && one.value != "off" { notify::shown(&one.value) } else { one.value.clone() }
}

/// One flat object of texts, as dokku's reports are.
fn flat(app: &App<'_>, status: &Status) -> BTreeMap<String, String> {
    let mut report: BTreeMap<String, String> = REPORT_STATE
        .iter()
        .map(|key| ((*key).to_owned(), value(app, status, key).unwrap_or_default()))
        .collect();
    report.insert("service".to_owned(), status.service.name.to_string());
    for one in status.settings.iter().flat_map(|settings| &settings.explained) {
        report.insert(one.key.to_owned(), shown(one));
        report.insert(format!("{}-source", one.key), one.source.as_str().to_owned());
    }
    report
}

fn value(app: &App<'_>, status: &Status, key: &str) -> Option<String> {
    if KEYS.iter().any(|known| known.name == key) {
        let settings = status.settings.as_ref().ok()?;
        return settings.explained.iter().find(|one| one.key == key).map(shown);
    }
    let good = status.last_good.as_ref();
    Some(match key {
        "health" => status.health().to_owned(),
        "last-backup" => good.map(|backup| backup.id.to_string()).unwrap_or_default(),
        "last-backup-at" => good
            .map(|backup| {
                let at = backup.manifest.started_at;
                format!("{} ({})", units::time(at), units::ago(at, app.now))
            })
            .unwrap_or_default(),
        "last-drill-at" => status
            .last_drill
            .map(|at| format!("{} ({})", units::time(at), units::ago(at, app.now)))
            .unwrap_or_default(),
        "next-backup-at" => status.next_run.map(units::local).unwrap_or_default(),
        "overdue-since" => status.overdue_since.map(units::local).unwrap_or_default(),
        "backups" => status.count.to_string(),
        "disk-use" => units::bytes(status.disk_bytes),
        "linked-apps" => app.dokku.visible_apps(&status.service.links().ok()?).ok()?.join(" "),
        _ => return None,
    })
}

/// The overview of all services.
pub fn overview(app: &App<'_>, statuses: &[Status]) {
    app.ui.heading("Postgres services and their backups");
    app.ui.details(&overview_rows(app.ui, statuses, app.now));
}
