//! `pgbackup:restore --table`.

use anyhow::Result;
use serde::Serialize;

use crate::catalog;
use crate::cli::{Format, RestoreArgs};
use crate::commands::App;
use crate::dokku::Service;
use crate::postgres::identifier;
use crate::restore::RestoreOptions;
use crate::restore::tables::{ChosenTable, TablesPlan, TablesReport, plan_tables, run_tables};
use crate::units;

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

pub fn restore(app: &App<'_>, args: &RestoreArgs, service: &Service) -> Result<()> {
    let host = app.host();
    let plan = plan_tables(&host, service, catalog::choose(service, args.backup.as_deref())?, &args.tables)?;
    if args.dry_run {
        return show_tables_plan(app, args.format, &plan);
    }
    let options = RestoreOptions { jobs: args.jobs, ..RestoreOptions::default() };
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
