//! `pgbackup:practice`.

use anyhow::Result;
use serde::Serialize;

use super::App;
use crate::cli::{Format, PracticeArgs};
use crate::code::{self, Code};
use crate::diff::code::{AppChange, migration_files};
use crate::error::Failure;
use crate::git::Range;
use crate::practice::{self, Made, PracticeOptions, PracticePlan, PracticeReport};
use crate::ui::table;
use crate::units;

/// Migration files that are listed; the rest is counted.
const MIGRATIONS: usize = 20;

#[derive(Serialize)]
struct PracticeView<'a> {
    app: &'a str,
    service: &'a str,
    from_app: &'a str,
    from_service: &'a str,
    backup: &'a str,
    code: &'a Code,
    tables: usize,
    rows: u64,
    migration_files_to_built: Vec<&'a str>,
    migration_files_to_running: Vec<&'a str>,
    build_command: String,
    cleanup_command: String,
    duration_seconds: f64,
}

pub fn run(app: &App<'_>, args: &PracticeArgs) -> Result<()> {
    if let Some(name) = &args.cleanup {
        return cleanup(app, name);
    }
    let (Some(service), Some(new_app)) = (&args.service, &args.app) else {
        return Err(Failure::usage("a service and --app are wanted").into());
    };
    let source = app.service(service)?;
    let options = PracticeOptions {
        app: new_app.clone(),
        service: args.new_service.clone(),
        from_app: args.from_app.clone(),
        commit: args.commit.clone(),
        image: args.image.clone(),
        image_version: args.image_version.clone(),
        jobs: args.jobs,
    };
    let host = app.host();
    let plan = practice::plan(&host, app.choose(&source, args.backup.as_deref())?, &options)?;
    let report = practice::run(&host, plan, options.jobs)?;
    if args.format == Format::Json {
        return app.ui.json(&view(&report));
    }
    if app.ui.is_quiet() {
        app.ui.result(&report.plan.app);
    } else {
        show(app, &report);
    }
    Ok(())
}

fn cleanup(app: &App<'_>, name: &str) -> Result<()> {
    let host = app.host();
    let found = practice::find(&host, name)?;
    let Made { app: made_app, service, .. } = &found.made;
    let warning = format!("App {made_app} and service {service} of a practice run are going to be destroyed");
    app.ui.confirm(&warning, made_app, app.docker.interrupt())?;
    practice::remove(&host, &found)?;
    app.ui.heading(&format!("Removed the app {made_app} and the service {service}"));
    Ok(())
}

fn build_command(plan: &PracticePlan) -> String {
    match plan.code.image() {
        Some(image) => format!("dokku git:from-image {} {image}", plan.app),
        None => format!("dokku ps:rebuild {}", plan.app),
    }
}

fn cleanup_command(plan: &PracticePlan) -> String {
    format!("dokku pgbackup:practice --cleanup {}", plan.app)
}

fn view(report: &PracticeReport) -> PracticeView<'_> {
    let plan = &report.plan;
    PracticeView {
        app: &plan.app,
        service: plan.service.as_str(),
        from_app: &plan.from.name,
        from_service: plan.backup.manifest.service.as_str(),
        backup: plan.backup.id.as_str(),
        code: &plan.code,
        tables: report.restored.tables,
        rows: report.restored.rows,
        migration_files_to_built: files(report.to_built.came.as_ref()),
        migration_files_to_running: files(report.to_running.came.as_ref()),
        build_command: build_command(plan),
        cleanup_command: cleanup_command(plan),
        duration_seconds: report.duration.as_secs_f64(),
    }
}

/// The migration files of a range, oldest first, each once.
fn files(range: Option<&Range>) -> Vec<&str> {
    let mut files: Vec<&str> = Vec::new();
    for commit in range.iter().flat_map(|range| range.commits.iter().rev()) {
        for path in migration_files(commit, &[]) {
            if !files.contains(&path) {
                files.push(path);
            }
        }
    }
    files
}

fn show(app: &App<'_>, report: &PracticeReport) {
    let plan = &report.plan;
    let from = &plan.from.name;
    let code = plan.code.described().unwrap_or_else(|| "unknown".to_owned());
    app.ui.heading(&format!("{} is ready for practice, and not built yet", plan.app));
    app.ui.details(&table::report(&[
        ("App", format!("{}, with the code of {from} at {code}", plan.app)),
        ("Service", format!("{} ({}:{}), linked", plan.service, plan.image, plan.image_version)),
        ("Data", format!("backup {} of {}", plan.backup.id, plan.backup.manifest.service)),
        (
            "Restored",
            format!(
                "{}, {}, all counted",
                units::plural(report.restored.tables as u64, "table"),
                units::plural(report.restored.rows, "row")
            ),
        ),
        ("Duration", units::duration(report.duration)),
    ]));
    app.ui.detail("");
    show_change(app, &report.to_built, "the data's commit", "the one to build");
    show_change(app, &report.to_running, "the data's commit", &format!("what {from} runs now"));
    app.ui.detail(&format!("The settings of {from} were not copied; see them: dokku config:export {from}"));
    app.ui.detail(&format!("Build and start it:  {}", build_command(plan)));
    app.ui.detail(&format!("Remove all of it:    {}", cleanup_command(plan)));
}

/// What a migration has to get the data across.
fn show_change(app: &App<'_>, change: &AppChange, from: &str, to: &str) {
    let short = |commit: &Option<String>| commit.as_deref().map_or("unknown", code::short).to_owned();
    let commit = |side: &Option<crate::deployed::AppRecord>| {
        short(&side.as_ref().and_then(|app| app.code.commit.clone()))
    };
    let ends = format!("From {from} ({}) to {to} ({})", commit(&change.then), commit(&change.now));
    if change.is_same {
        app.ui.detail(&format!("{ends}: the same code"));
        return;
    }
    let Some(came) = &change.came else {
        app.ui.detail(&format!("{ends}: what lies between is not known"));
        return;
    };
    let files = files(Some(came));
    let commits = units::plural(came.count as u64, "commit");
    let back = change.went.as_ref().map_or(0, |range| range.count);
    let back =
        if back > 0 { format!(", {} back", units::plural(back as u64, "commit")) } else { String::new() };
    app.ui
        .detail(&format!("{ends}: {commits}{back}, {}", units::plural(files.len() as u64, "migration file")));
    files.iter().take(MIGRATIONS).for_each(|path| app.ui.detail(&format!("  {path}")));
    if files.len() > MIGRATIONS {
        app.ui.detail(&format!("  and {} more", files.len() - MIGRATIONS));
    }
}
