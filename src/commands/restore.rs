//! `pgbackup:restore`.

use anyhow::Result;
use serde::Serialize;

use super::App;
use super::view::verified_text;
use crate::cli::{Format, RestoreArgs};
use crate::dokku::Service;
use crate::postgres::identifier;
use crate::restore::tables::{ChosenTable, TablesPlan, TablesReport, plan_tables, run_tables};
use crate::restore::{RestoreOptions, RestorePlan, RestoreReport, choose, plan_restore, run_restore};
use crate::ui::table;
use crate::units;

#[derive(Serialize)]
struct Plan<'a> {
    backup: &'a str,
    backup_created_at: chrono::DateTime<chrono::Utc>,
    from_service: &'a str,
    into_service: &'a str,
    into_database: &'a str,
    previous_database: &'a str,
    dropped_databases: &'a [String],
    apps_disconnected: &'a [String],
    stop_apps: bool,
    warnings: &'a [String],
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
}

#[derive(Serialize)]
struct TablesView<'a> {
    backup: &'a str,
    service: &'a str,
    schema: &'a str,
    tables: Vec<TableView<'a>>,
    dry_run: bool,
}

#[derive(Serialize)]
struct TableView<'a> {
    table: String,
    copy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<&'a u64>,
}

pub fn run(app: &App<'_>, args: &RestoreArgs) -> Result<()> {
    let source = app.dokku.service(&args.service)?;
    if !args.tables.is_empty() {
        return restore_tables(app, args, &source);
    }
    let target = match &args.to {
        Some(name) => app.dokku.service(name)?,
        None => source.clone(),
    };
    let host = app.host();
    let options = RestoreOptions { jobs: args.jobs, stop_apps: args.stop_apps };
    let plan = plan_restore(&host, &target, choose(&source, args.backup.as_deref())?, &options)?;
    if args.dry_run && args.format == Format::Json {
        return app.ui.json(&view(&plan, None));
    }
    if args.format == Format::Stdout && !app.ui.is_quiet() {
        show_plan(app, &plan);
    }
    if args.dry_run {
        app.ui.detail("Nothing was changed (--dry-run)");
        return Ok(());
    }
    let warning = format!("Database {} of {} is going to be replaced", target.database, target.name);
    app.ui.confirm(&warning, target.name.as_str(), app.docker.interrupt())?;
    let report = run_restore(&host, plan, &options)?;
    match args.format {
        Format::Json => app.ui.json(&view(&report.plan, Some(&report))),
        Format::Stdout => {
            show_report(app, &report);
            Ok(())
        }
    }
}

fn view<'a>(plan: &'a RestorePlan, report: Option<&'a RestoreReport>) -> Plan<'a> {
    Plan {
        backup: plan.backup.id.as_str(),
        backup_created_at: plan.backup.manifest.started_at,
        from_service: plan.backup.manifest.service.as_str(),
        into_service: plan.target.name.as_str(),
        into_database: &plan.target.database,
        previous_database: &plan.previous,
        dropped_databases: &plan.dropped,
        apps_disconnected: &plan.apps,
        stop_apps: plan.stop_apps,
        warnings: &plan.warnings,
        dry_run: report.is_none(),
        result: report.map(|report| Outcome {
            tables: report.tables,
            rows: report.rows,
            created_roles: &report.created_roles,
            duration_seconds: report.duration.as_secs_f64(),
            swap_seconds: report.swap_duration.as_secs_f64(),
        }),
    }
}

fn show_plan(app: &App<'_>, plan: &RestorePlan) {
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
                "{}, {}, {} as a database, Postgres {}",
                units::plural(manifest.contents.tables as u64, "table"),
                units::plural(manifest.contents.rows, "row"),
                units::bytes(manifest.database.size_bytes),
                manifest.server.version_num
            ),
        ),
    ];
    match plan.live_size {
        Some(size) => rows.extend([
            (
                "Replaces",
                format!(
                    "database {database} of {target} ({}, Postgres {})",
                    units::bytes(size),
                    plan.target_version
                ),
            ),
            ("Put aside", format!("what is live now, with everything written since, as {}", plan.previous)),
        ]),
        None => rows
            .push(("Brings back", format!("database {database} of {target}, which is not there any more"))),
    }
    if !plan.apps.is_empty() {
        let what = match (plan.stop_apps, plan.apps.len()) {
            (true, _) => "stopped before, started afterwards",
            (false, 1) => "loses its connections for a moment",
            (false, _) => "lose their connections for a moment",
        };
        rows.push(("Apps", format!("{}: {what}", plan.apps.join(", "))));
    }
    if !plan.missing_roles.is_empty() {
        rows.push(("Roles to make", plan.missing_roles.join(", ")));
    }
    for name in &plan.dropped {
        rows.push(("Dropped at the end", format!("{name}, the previous database until now")));
    }
    app.ui.heading(&format!("Restore into {target}"));
    app.ui.details(&table::report(&rows));
    plan.warnings.iter().for_each(|warning| app.ui.problem(warning));
}

fn show_report(app: &App<'_>, report: &RestoreReport) {
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
    if !report.created_roles.is_empty() {
        rows.push(("Roles made", report.created_roles.join(", ")));
    }
    app.ui.details(&table::report(&rows));
    if plan.live_size.is_none() || app.ui.is_quiet() {
        return;
    }
    app.ui.detail(&format!("Not what you wanted? Swap back at once with: dokku pgbackup:undo {target}"));
}

fn restore_tables(app: &App<'_>, args: &RestoreArgs, service: &Service) -> Result<()> {
    let host = app.host();
    let plan = plan_tables(&host, service, choose(service, args.backup.as_deref())?, &args.tables)?;
    if args.dry_run {
        return show_tables_plan(app, args.format, &plan);
    }
    let options = RestoreOptions { jobs: args.jobs, stop_apps: false };
    let report = run_tables(&host, plan, &options)?;
    if args.format == Format::Json {
        return app.ui.json(&tables_view(&report.plan, Some(&report.rows)));
    }
    show_tables_report(app, &report);
    Ok(())
}

fn tables_view<'a>(plan: &'a TablesPlan, rows: Option<&'a Vec<u64>>) -> TablesView<'a> {
    let table = |(at, table): (usize, &'a ChosenTable)| TableView {
        table: format!("{}.{}", table.schema, table.name),
        copy: format!("{}.{}", plan.schema, table.copy),
        rows: rows.and_then(|rows| rows.get(at)),
    };
    TablesView {
        backup: plan.backup.id.as_str(),
        service: plan.target.name.as_str(),
        schema: &plan.schema,
        tables: plan.tables.iter().enumerate().map(table).collect(),
        dry_run: rows.is_none(),
    }
}

fn show_tables_plan(app: &App<'_>, format: Format, plan: &TablesPlan) -> Result<()> {
    if format == Format::Json {
        return app.ui.json(&tables_view(plan, None));
    }
    app.ui.heading(&format!("Restore from backup {} into the new schema {}", plan.backup.id, plan.schema));
    for table in &plan.tables {
        app.ui.detail(&format!("{}.{} as {}.{}", table.schema, table.name, plan.schema, table.copy));
    }
    app.ui.detail("Nothing was changed (--dry-run)");
    Ok(())
}

fn show_tables_report(app: &App<'_>, report: &TablesReport) {
    let plan = &report.plan;
    let database = &plan.target.database;
    app.ui.heading(&format!("Database {database} has the tables in the schema {}", plan.schema));
    for (table, rows) in plan.tables.iter().zip(&report.rows) {
        app.ui.detail(&format!("{}.{}  {}", plan.schema, table.copy, units::plural(*rows, "row")));
    }
    if let Some(table) = plan.tables.first() {
        app.ui.detail(&format!("Connect with: dokku postgres:connect {}", plan.target.name));
        app.ui.detail("and copy back what you need, for example the rows that are missing now:");
        app.ui.detail(&format!("  {}", copy_back(&plan.schema, table)));
        app.ui.detail(&format!("When you are done: drop schema {} cascade;", plan.schema));
    }
}

/// Generated columns cannot be written, identity columns only so.
fn copy_back(schema: &str, table: &ChosenTable) -> String {
    let target = format!("{}.{}", identifier(&table.schema), identifier(&table.name));
    let source = format!("{schema}.{}", identifier(&table.copy));
    match &table.columns {
        Some(columns) => format!(
            "insert into {target} ({columns}) overriding system value select {columns} from {source} on conflict do nothing;"
        ),
        None => format!("insert into {target} select * from {source} on conflict do nothing;"),
    }
}
