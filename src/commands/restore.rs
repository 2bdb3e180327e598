//! `pgbackup:restore`.

mod tables;
mod text;

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::App;
use super::remote::{identities, refuse_unseen};
use crate::aftermath::{self, Run};
use crate::catalog::Backup;
use crate::cli::{Format, RestoreArgs};
use crate::deployed::AppRecord;
use crate::destroyed;
use crate::diff::MigrationChange;
use crate::dokku::Service;
use crate::error::Failure;
use crate::offsite;
use crate::pull;
use crate::remote::Patience;
use crate::restore::code::Mismatch;
use crate::restore::doubts;
use crate::restore::{
    RestoreOptions, RestorePlan, RestoreReport, plan_restore, restore_at_once, run_restore,
};
use crate::service_name::ServiceName;

#[derive(Serialize)]
struct Plan<'a> {
    backup: &'a str,
    backup_created_at: chrono::DateTime<chrono::Utc>,
    backup_pool: &'a str,
    backup_note: Option<&'a str>,
    backup_verified: bool,
    tables: usize,
    rows: u64,
    database_bytes: u64,
    postgres_version: &'a str,
    from_service: &'a str,
    into_service: &'a str,
    into_database: &'a str,
    previous_database: &'a str,
    dropped_databases: &'a [String],
    apps_disconnected: &'a [String],
    stop_apps: bool,
    warnings: Vec<&'a str>,
    code: Vec<MismatchView<'a>>,
    migrations_since: &'a [MigrationChange],
    unlinked_apps: &'a [AppRecord],
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Outcome<'a>>,
}

#[derive(Serialize)]
struct Outcome<'a> {
    tables: usize,
    rows: u64,
    created_roles: &'a [String],
    duration_seconds: f64,
    swap_seconds: f64,
    left_stopped: &'a [String],
}

/// An app that runs other code than the backup belongs to.
#[derive(Serialize)]
struct MismatchView<'a> {
    app: &'a str,
    running: Option<&'a AppRecord>,
    backup: Option<&'a AppRecord>,
    commits_since: Option<usize>,
    command: Option<&'a str>,
}

impl<'a> MismatchView<'a> {
    fn of(mismatch: &'a Mismatch) -> Self {
        let change = &mismatch.change;
        MismatchView {
            app: &change.name,
            running: change.now.as_ref(),
            backup: change.then.as_ref(),
            commits_since: change.came.as_ref().map(|range| range.count),
            command: mismatch.remedy.as_ref().map(|remedy| remedy.command.as_str()),
        }
    }
}

pub fn run(app: &App<'_>, args: &RestoreArgs) -> Result<()> {
    if let Some(name) = &args.from_destroyed {
        let target = app.service(&args.service)?;
        return restore(app, args, &destroyed::find(&app.dokku, name)?.as_service(), &target);
    }
    if let Some(name) = &args.from_remote {
        return from_remote(app, args, name);
    }
    let source = app.service(&args.service)?;
    if !args.tables.is_empty() {
        return tables::restore(app, args, &source);
    }
    let target = match &args.to {
        Some(name) => app.service(name)?,
        None => source.clone(),
    };
    restore(app, args, &source, &target)
}

/// The backup lies beside the service for as long as this takes.
fn from_remote(app: &App<'_>, args: &RestoreArgs, name: &ServiceName) -> Result<()> {
    let target = app.service(&args.service)?;
    if args.identity.as_deref() == Some("-") && !app.ui.is_forced() && !args.dry_run {
        return Err(Failure::usage(
            "the key comes in on standard input, so nobody can be asked for confirmation",
        )
        .hint("add --force, or give the key as a file that user dokku can read")
        .into());
    }
    let identities = identities(args.identity.as_deref(), app.docker.interrupt())?;
    let interrupt = app.docker.interrupt().clone();
    let remote = offsite::open(&app.dokku, Some(&target.layout), Patience::Work, interrupt)?;
    refuse_unseen(app, &remote, name, args.backup.as_deref())?;
    let (_, index) = offsite::find_whole(&remote, name, args.backup.as_deref())?;
    let visitor = pull::visit(&app.host(), &target, &remote, &index, identities.as_ref())?;
    let named = RestoreArgs { backup: Some(index.id.to_string()), ..args.clone() };
    restore(app, &named, &visitor.source, &target)
}

fn restore(app: &App<'_>, args: &RestoreArgs, source: &Service, target: &Service) -> Result<()> {
    let backup = app.choose(source, args.backup.as_deref())?;
    let doubts = if args.backup.is_none() { doubts::about(source, &backup, app.now) } else { Vec::new() };
    let options = RestoreOptions { jobs: args.jobs, stop_apps: args.stop_apps, doubts };
    let is_shown = args.format == Format::Stdout && !app.ui.is_quiet();
    // Nobody should agree to what they were not told of, nor say --force without a word of what goes.
    let show = |plan: &RestorePlan| {
        if is_shown { text::show_plan(app, plan) } else { text::warn_of_plan(app, plan) }
    };
    if args.dry_run {
        let plan = plan_restore(&app.host(), target, backup, &options)?;
        if args.format == Format::Json {
            return app.ui.json(&view(&plan, None));
        }
        // It is what was asked for, also with --quiet.
        text::show_plan(app, &plan);
        app.ui.detail("Nothing was changed (--dry-run)");
        return Ok(());
    }
    let report = if app.ui.is_forced() {
        restore_at_once(&app.host(), target, backup, &options, show)?
    } else {
        let plan = plan_on_record(app, target, backup, &options)?;
        show(&plan);
        let warning = format!("Database {} of {} is going to be replaced", target.database, target.name);
        app.ui.confirm(&warning, target.name.as_str(), app.docker.interrupt())?;
        run_restore(&app.host(), plan, &options)?
    };
    match args.format {
        Format::Json => app.ui.json(&view(&report.plan, Some(&report))),
        Format::Stdout => {
            text::show_report(app, &report);
            Ok(())
        }
    }
}

/// A plan; that there can be none is in the history, too.
fn plan_on_record(
    app: &App<'_>,
    target: &Service,
    backup: Backup,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    let (host, id, run) = (app.host(), backup.id.clone(), Run::of("restore", Instant::now()));
    let planned = plan_restore(&host, target, backup, options);
    if planned.is_err() {
        aftermath::follow(&host, target, Run { backup: Some(&id), ..run }, &planned);
    }
    planned
}

fn view<'a>(plan: &'a RestorePlan, report: Option<&'a RestoreReport>) -> Plan<'a> {
    let manifest = &plan.backup.manifest;
    Plan {
        backup: plan.backup.id.as_str(),
        backup_created_at: manifest.started_at,
        backup_pool: manifest.pool.as_str(),
        backup_note: manifest.note.as_deref(),
        backup_verified: plan.backup.verified.as_ref().is_some_and(|verified| verified.good),
        tables: manifest.contents.tables,
        rows: manifest.contents.rows,
        database_bytes: manifest.database.size_bytes,
        postgres_version: &manifest.server.version,
        from_service: manifest.service.as_str(),
        into_service: plan.target.name.as_str(),
        into_database: &plan.target.database,
        previous_database: &plan.previous,
        dropped_databases: &plan.dropped,
        apps_disconnected: &plan.apps,
        stop_apps: plan.stop_apps,
        warnings: plan.all_warnings(),
        code: plan.code.apps.iter().map(MismatchView::of).collect(),
        migrations_since: &plan.code.migrations,
        unlinked_apps: &plan.code.unlinked,
        dry_run: report.is_none(),
        result: report.map(|report| Outcome {
            tables: report.tables,
            rows: report.rows,
            created_roles: &report.created_roles,
            duration_seconds: report.duration.as_secs_f64(),
            swap_seconds: report.swap_duration.as_secs_f64(),
            left_stopped: &report.left_stopped,
        }),
    }
}
