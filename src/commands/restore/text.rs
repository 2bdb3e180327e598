//! A restore's plan and result as a person reads them.

use crate::commands::App;
use crate::commands::view::{change_lines, verified_text};
use crate::deployed::AppRecord;
use crate::diff::code::AppChange;
use crate::git::Range;
use crate::plain_text::shell_word;
use crate::restore::code::{CodeReport, Mismatch, Remedy};
use crate::restore::{RestorePlan, RestoreReport};
use crate::ui::table;
use crate::units;

pub fn show_plan(app: &App<'_>, plan: &RestorePlan) {
    let manifest = &plan.backup.manifest;
    let (target, database) = (&plan.target.name, &plan.target.database);
    let mut rows = vec![
        ("Backup", format!("{} of {}", plan.backup.id, manifest.service)),
        (
            "Made",
            format!("{} ({})", units::ago(manifest.started_at, app.now), units::time(manifest.started_at)),
        ),
        ("Verified", verified_text(plan.backup.verified.as_ref(), app.now)),
        (
            "Holds",
            format!(
                "{}, {}; {}, Postgres {}",
                units::plural(manifest.contents.tables as u64, "table"),
                units::plural(manifest.contents.rows, "row"),
                units::bytes(manifest.database.size_bytes),
                manifest.server.version_num
            ),
        ),
    ];
    rows.extend(manifest.note.clone().map(|note| ("Note", note)));
    match plan.live_size {
        Some(size) => rows.extend([
            (
                "Replaces",
                format!("database {database} ({}, Postgres {})", units::bytes(size), plan.target_version),
            ),
            ("Put aside", "what is live now, with all that was written since, as".to_owned()),
            ("", plan.previous.clone()),
        ]),
        None => rows.push(("Brings back", format!("database {database}, which is not there any more"))),
    }
    let stay = plan.stay_stopped();
    let others: Vec<&str> = plan.apps.iter().map(String::as_str).filter(|app| !stay.contains(app)).collect();
    if !others.is_empty() {
        let what = match (plan.stop_apps, others.len()) {
            (true, _) => "stopped before, started afterwards",
            (false, 1) => "loses its connections for a moment",
            (false, _) => "lose their connections for a moment",
        };
        rows.push(("Apps", format!("{}: {what}", others.join(", "))));
    }
    if !stay.is_empty() {
        rows.push(("Apps", format!("{}: stopped before, and not started with this code", stay.join(", "))));
    }
    if !plan.missing_roles.is_empty() {
        rows.push(("Roles to make", plan.missing_roles.join(", ")));
    }
    for name in &plan.dropped {
        rows.push(("Dropped at the end", name.clone()));
    }
    rows.extend(plan.code.unlinked.iter().map(belonging));
    app.ui.heading(&format!("Restore into {target}"));
    app.ui.details(&table::report(&rows));
    plan.all_warnings().into_iter().for_each(|warning| app.ui.problem(warning));
    show_code(app, &plan.code);
}

/// The code of an app that is not here, or not linked: nothing can be compared, but it can be pushed.
fn belonging(then: &AppRecord) -> (&'static str, String) {
    let Some(commit) = then.code.commit.as_deref().filter(|_| then.code.image().is_none()) else {
        return ("Belongs to", format!("{}: {}", then.name, described(Some(then))));
    };
    let subject = then.code.subject.as_ref().map_or_else(String::new, |subject| format!(" ({subject})"));
    ("Belongs to", format!("{} at {commit}{subject}", then.name))
}

/// What lies between the backup's code and the running one.
fn show_code(app: &App<'_>, code: &CodeReport) {
    for mismatch in &code.apps {
        let change = &mismatch.change;
        app.ui.problem(&format!("{} runs {}", change.name, described(change.now.as_ref())));
        let then = described(change.then.as_ref());
        app.ui.problem(&format!("the backup belongs to {then}{}", distance(change)));
        if change.now.iter().chain(&change.then).any(AppRecord::is_doubtful) {
            app.ui.problem(
                "(? for a commit that nobody is certain of: dokku has no record of it, or another one)",
            );
        }
    }
    for changed in &code.migrations {
        app.ui.details(&change_lines(changed));
    }
    show_remedies(app, code, "After the restore, this brings back the code that fits:");
}

fn described(side: Option<&AppRecord>) -> String {
    side.and_then(AppRecord::described).unwrap_or_else(|| "unknown".to_owned())
}

/// Of a plan that is not shown, what somebody must know before they agree.
pub fn warn_of_plan(app: &App<'_>, plan: &RestorePlan) {
    let progress = app.host().progress;
    plan.all_warnings().into_iter().for_each(|warning| progress.warn(warning));
    for mismatch in &plan.code.apps {
        let Mismatch { change, remedy } = mismatch;
        let (now, then) = (described(change.now.as_ref()), described(change.then.as_ref()));
        progress.warn(&format!("{} runs {now}, and the data belongs to {then}", change.name));
        if let Some(remedy) = remedy {
            progress.warn(&format!("bring back the code that fits with: {}", remedy.command));
        }
    }
}

/// What somebody must know who reads nothing else (`--quiet`); the plan was told.
fn warn_of_report(app: &App<'_>, report: &RestoreReport) {
    for name in &report.left_stopped {
        app.host()
            .progress
            .warn(&format!("{name} is left stopped; start it as it is with: {}", start_command(name)));
    }
}

fn start_command(app: &str) -> String {
    format!("dokku ps:start {}", shell_word(app))
}

/// How far the backup's code is from the running one.
fn distance(change: &AppChange) -> String {
    let count = |range: &Option<Range>| range.as_ref().map_or(0, |range| range.count as u64);
    match (count(&change.came), count(&change.went)) {
        (0, 0) => String::new(),
        (came, 0) => format!(", {} earlier", units::plural(came, "commit")),
        (0, went) => format!(", {} later", units::plural(went, "commit")),
        (came, went) => format!(
            ", on another branch: {} came since, {} went",
            units::plural(came, "commit"),
            units::count(went)
        ),
    }
}

fn show_remedies(app: &App<'_>, code: &CodeReport, title: &str) {
    let remedies: Vec<&Remedy> = code.apps.iter().filter_map(|mismatch| mismatch.remedy.as_ref()).collect();
    if remedies.is_empty() {
        return;
    }
    app.ui.detail(title);
    for remedy in remedies {
        app.ui.detail(&format!("  {}", remedy.command));
        for note in &remedy.notes {
            app.ui.detail(&format!("  ({note})"));
        }
    }
}

pub fn show_report(app: &App<'_>, report: &RestoreReport) {
    let plan = &report.plan;
    let target = &plan.target.name;
    app.ui.heading(&format!("{target} has the data of backup {}", plan.backup.id));
    let mut rows = vec![
        (
            "Restored",
            format!(
                "{}, {}, all counted",
                units::plural(report.tables as u64, "table"),
                units::plural(report.rows, "row")
            ),
        ),
        (
            "Duration",
            format!(
                "{}, of which the swap {} ms",
                units::duration(report.duration),
                report.swap_duration.as_millis()
            ),
        ),
    ];
    if plan.live_size.is_some() {
        rows.push(("Previous database", plan.previous.clone()));
    }
    rows.extend(plan.code.unlinked.iter().map(belonging));
    if !report.created_roles.is_empty() {
        rows.push(("Roles made", report.created_roles.join(", ")));
    }
    app.ui.details(&table::report(&rows));
    if app.ui.is_quiet() {
        warn_of_report(app, report);
        return;
    }
    show_what_fits(app, report);
    if plan.live_size.is_none() {
        return;
    }
    app.ui.detail(&format!("Not what you wanted? Swap back: dokku pgbackup:undo {target}"));
}

/// What is left to do for the apps.
fn show_what_fits(app: &App<'_>, report: &RestoreReport) {
    let stopped = &report.left_stopped;
    let title = match stopped.as_slice() {
        [] => "The apps run other code than the data belongs to. This brings it back:",
        _ => "The apps have other code than the data belongs to. This brings it back, and starts them:",
    };
    show_remedies(app, &report.plan.code, title);
    if !stopped.is_empty() {
        app.ui.problem(&format!(
            "{} is left stopped, since its code does not fit the data",
            stopped.join(", ")
        ));
        app.ui.detail("To start it with the code that it has:");
        stopped.iter().for_each(|name| app.ui.detail(&format!("  {}", start_command(name))));
    }
}
