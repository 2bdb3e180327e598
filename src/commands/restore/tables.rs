//! `pgbackup:restore --table`.

use anyhow::Result;
use serde::Serialize;

use crate::cli::{Format, RestoreArgs};
use crate::commands::App;
use crate::dokku::Service;
use crate::restore::RestoreOptions;
use crate::restore::tables::{ChosenTable, TablesPlan, TablesReport, plan_tables, run_tables};
use crate::units;

#[derive(Serialize)]
struct TablesView<'a> {
    backup: &'a str,
    service: &'a str,
    schema: &'a str,
    tables: Vec<TableView<'a>>,
    make_again: Option<String>,
    dry_run: bool,
}

#[derive(Serialize)]
struct TableView<'a> {
    table: String,
    copy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<&'a u64>,
    gone: bool,
    sql: Vec<&'a str>,
}

pub fn restore(app: &App<'_>, args: &RestoreArgs, service: &Service) -> Result<()> {
    let host = app.host();
    let backup = app.choose(service, args.backup.as_deref())?;
    if args.dry_run {
        return show_plan(app, args.format, &plan_tables(&host, service, backup, &args.tables)?);
    }
    let options = RestoreOptions { jobs: args.jobs, ..RestoreOptions::default() };
    let report = run_tables(&host, service, backup, &args.tables, &options)?;
    if args.format == Format::Json {
        return app.ui.json(&tables_view(&report.plan, Some(&report.rows)));
    }
    show_report(app, &report);
    Ok(())
}

fn tables_view<'a>(plan: &'a TablesPlan, rows: Option<&'a Vec<u64>>) -> TablesView<'a> {
    let table = |(at, table): (usize, &'a ChosenTable)| TableView {
        table: table.full_name(),
        copy: format!("{}.{}", plan.schema, table.copy),
        rows: rows.and_then(|rows| rows.get(at)),
        gone: table.statements.is_none(),
        sql: table.statements.as_ref().map_or_else(Vec::new, |statements| statements.all()),
    };
    TablesView {
        backup: plan.backup.id.as_str(),
        service: plan.target.name.as_str(),
        schema: &plan.schema,
        tables: plan.tables.iter().enumerate().map(table).collect(),
        make_again: plan.make_again(),
        dry_run: rows.is_none(),
    }
}

fn show_plan(app: &App<'_>, format: Format, plan: &TablesPlan) -> Result<()> {
    if format == Format::Json {
        return app.ui.json(&tables_view(plan, None));
    }
    app.ui.heading(&format!("Restore from backup {} into the new schema {}", plan.backup.id, plan.schema));
    for table in &plan.tables {
        app.ui.detail(&format!("{} as {}.{}", table.full_name(), plan.schema, table.copy));
    }
    show_gone(app, plan);
    app.ui.detail("Nothing was changed (--dry-run)");
    Ok(())
}

fn show_report(app: &App<'_>, report: &TablesReport) {
    let plan = &report.plan;
    let (database, service) = (&plan.target.database, &plan.target.name);
    app.ui.heading(&format!("Database {database} has the tables in the schema {}", plan.schema));
    for (table, rows) in plan.tables.iter().zip(&report.rows) {
        app.ui.detail(&format!("{}.{}  {}", plan.schema, table.copy, units::plural(*rows, "row")));
    }
    if plan.tables.iter().any(|table| table.statements.is_some()) {
        app.ui.detail(&format!("To copy rows back, connect with: dokku postgres:connect {service}"));
    }
    for table in &plan.tables {
        let Some(statements) = &table.statements else { continue };
        let name = table.full_name();
        app.ui.detail(&format!("This puts back the rows that {name} lacks now:"));
        app.ui.detail(&format!("  {}", statements.missing));
        if let Some(changed) = &statements.changed {
            app.ui.detail(&format!("This takes back every change to rows that {name} still has:"));
            app.ui.detail(&format!("  {changed}"));
        }
    }
    show_gone(app, plan);
    app.ui.detail(&format!("When you are done with the schema: drop schema {} cascade;", plan.schema));
}

/// Rows alone are no table.
fn show_gone(app: &App<'_>, plan: &TablesPlan) {
    let (gone, Some(command)) = (plan.gone(), plan.make_again()) else { return };
    let (verb, it) = if gone.len() == 1 { ("is", "it") } else { ("are", "them") };
    app.ui.problem(&format!("{} {verb} gone from database {}", gone.join(", "), plan.target.database));
    app.ui.detail(&format!("This makes {it} again as in the backup, with rows, keys and indexes:"));
    app.ui.detail(&format!("  {command}"));
}
