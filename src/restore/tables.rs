//! Restoring single tables into a new schema of the live database, to copy rows back from.
//!
//! `pg_restore` cannot rename a schema. So the backup's definitions and the rows of the chosen tables go into a scratch
//! database, are copied there into the new schema, and that schema alone is dumped and restored into the live
//! database, in one transaction. Only plain columns come along: no constraint or trigger can get in the rows' way.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::copy_back::{self, LiveTable, Statements};
use super::fill::{NewDatabase, RestoreJob, create_roles, run_pg_restore};
use super::plan::{refuse_unless_whole, server_disk};
use super::{Held, RestoreOptions};
use crate::aftermath::{self, Run};
use crate::backup_id::BackupId;
use crate::catalog::Backup;
use crate::dokku::Service;
use crate::dump::{DumpJob, Extent, Manner, dump};
use crate::error::{Failure, Kind};
use crate::files;
use crate::host::Host;
use crate::layout;
use crate::leftovers;
use crate::likeness;
use crate::manifest;
use crate::obstacles;
use crate::postgres::{self, identifier, literal};
use crate::scratch::Scratch;
use crate::server::Server;
use crate::sql_text::{copied_columns, table_columns};
use crate::swap;
use crate::tables::{self, Asked};
use crate::toc::{Entry, Toc};
use crate::units;

/// What is going to be restored, and where to.
#[derive(Debug, Clone)]
pub struct TablesPlan {
    pub backup: Backup,
    pub target: Service,
    /// The new schema of the live database.
    pub schema: String,
    /// Those first that others point at.
    pub tables: Vec<ChosenTable>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenTable {
    pub schema: String,
    pub name: String,
    /// Its name in the new schema.
    pub copy: String,
    /// What copies its rows back; `None` when the table itself is gone.
    pub statements: Option<Statements>,
}

impl ChosenTable {
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

impl TablesPlan {
    /// The tables that the live database does not have any more.
    pub fn gone(&self) -> Vec<String> {
        let gone = self.tables.iter().filter(|table| table.statements.is_none());
        gone.map(ChosenTable::full_name).collect()
    }

    /// The command line that makes those again.
    pub fn make_again(&self) -> Option<String> {
        let gone = self.gone();
        let command = copy_back::make_again(&self.target, &self.backup, gone.iter().map(String::as_str));
        (!gone.is_empty()).then_some(command)
    }
}

#[derive(Debug)]
pub struct TablesReport {
    pub plan: TablesPlan,
    /// Rows of each table, in the plan's order.
    pub rows: Vec<u64>,
    pub duration: Duration,
}

/// The schema's name: lower case and without dashes, so that it needs no quotes.
fn schema_name(id: &BackupId) -> String {
    format!("pgbackup_{}", id.as_str().to_lowercase().replace('-', "_"))
}

/// Finds the tables that are asked for in the backup and in the live database, or says why they cannot be restored.
pub fn plan_tables(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    wanted: &[String],
) -> Result<TablesPlan> {
    refuse_unless_whole(host, &backup)?;
    Ok(look(host, target, backup, wanted)?.1)
}

/// The target's server, and the plan that was made from it.
fn look<'a>(
    host: &Host<'a>,
    target: &Service,
    backup: Backup,
    wanted: &[String],
) -> Result<(Server<'a>, TablesPlan)> {
    let toc = manifest::read_toc(&backup.folder)?;
    let asked = Asked { command: "dokku pgbackup:restore", service: target, flags: "", tables: wanted };
    let chosen = tables::choose(host, &backup, &toc, asked)?;
    let schema = schema_name(&backup.id);
    let server = Server::of(host, target)?;
    let live = live_tables(&server, target, &chosen)?;
    let mut tables: Vec<ChosenTable> = Vec::new();
    for (entry, live) in chosen.iter().zip(&live) {
        let taken = tables.iter().any(|table| table.copy == entry.name);
        let copy = if taken { format!("{}_{}", entry.schema, entry.name) } else { entry.name.clone() };
        let (of, then) = ((entry.schema.as_str(), entry.name.as_str()), columns(&toc, entry));
        let statements =
            live.as_ref().map(|live| Statements::of(of, (schema.as_str(), copy.as_str()), &then, live));
        tables.push(ChosenTable { schema: entry.schema.clone(), name: entry.name.clone(), copy, statements });
    }
    let plan = TablesPlan { schema, target: target.clone(), tables, backup };
    refuse_if_there(&server, &plan)?;
    Ok((server, plan))
}

/// What the live database has of them, in their order.
fn live_tables(server: &Server<'_>, target: &Service, chosen: &[&Entry]) -> Result<Vec<Option<LiveTable>>> {
    let questions: Vec<String> =
        chosen.iter().map(|entry| copy_back::question(&entry.schema, &entry.name)).collect();
    let question = format!("select json_build_array({});\n", questions.join(",\n"));
    let answer = server.query(&target.database, &question);
    answer.map_err(|error| Server::with_way_back(error, target))
}

/// The columns of a table as the backup has them, but for generated ones.
fn columns(toc: &Toc, table: &Entry) -> Vec<String> {
    let is_data = |entry: &&Entry| {
        entry.kind == "TABLE DATA" && entry.schema == table.schema && entry.name == table.name
    };
    let copied = toc.entries.iter().find(is_data).map(|entry| copied_columns(&entry.copy_statement));
    // A partitioned table has no rows of its own.
    copied
        .filter(|columns| !columns.is_empty())
        .unwrap_or_else(|| table_columns(&table.definition).into_iter().map(|column| column.name).collect())
}

/// Plans it behind the lock and carries it out.
pub fn run_tables(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    wanted: &[String],
    options: &RestoreOptions,
) -> Result<TablesReport> {
    let (id, started) = (backup.id.clone(), Instant::now());
    // Not to be taken for a restore of the whole database.
    let run = Run { backup: Some(&id), ..Run::of("restore-table", started) };
    let whole = refuse_unless_whole(host, &backup);
    let ended = whole.and_then(|()| Held::take(host, target, &backup)).and_then(|_held| {
        let (server, plan) = look(host, target, backup, wanted)?;
        carry_out(host, &server, plan, options, started)
    });
    aftermath::follow(host, target, run, &ended);
    ended
}

fn carry_out(
    host: &Host<'_>,
    server: &Server<'_>,
    plan: TablesPlan,
    options: &RestoreOptions,
    started: Instant,
) -> Result<TablesReport> {
    let service = &plan.target;
    let facts = server.facts_of(service)?;
    leftovers::clear_databases(host, server, service, &facts);
    obstacles::refuse_older_server(
        &service.name,
        plan.backup.manifest.server.version_num,
        facts.version_num,
    )?;
    let jobs = options.jobs.unwrap_or(host.settings(service)?.jobs);
    create_roles(server, &plan.backup.folder, &facts)?;
    let scratch_database = swap::restoring_name(&service.database, host.now, &facts.databases);
    let creation = likeness::create_database(&scratch_database, &facts);
    let _scratch = NewDatabase::create(server, &scratch_database, facts.version_num, &creation)?;
    let work = Scratch::begin(host, service, &plan.backup.id)?;

    host.progress.step(&format!(
        "Restoring {} into a scratch database",
        units::plural(plan.tables.len() as u64, "table")
    ));
    let definitions = postgres::restore_command(
        &scratch_database,
        jobs,
        "/backup/dump",
        &["--section=pre-data", "--no-privileges"],
    );
    run_pg_restore(host, server, &restore_job(&plan, &plan.backup.folder, definitions))?;
    let rows = load_rows(host, server, &plan, &work, &scratch_database, jobs)?;
    host.progress.step(&format!("Copying them into the schema {} of the live database", plan.schema));
    server.execute(&scratch_database, &copy_script(&plan))?;
    let copies = Copies { server, plan: &plan, wanted: false };
    move_schema(host, server, &plan, &work, &scratch_database)?;
    let found = count_copies(server, &plan)?;
    if found != rows {
        let sums = [&found, &rows].map(|rows| units::count(rows.iter().sum()));
        let message = format!("the copied tables hold {} rows, the backup {}", sums[0], sums[1]);
        return Err(Failure::new(Kind::Difference, message)
            .hint(format!("prove the backup: dokku pgbackup:verify {} {}", service.name, plan.backup.id))
            .into());
    }
    copies.keep();
    Ok(TablesReport { rows: found, duration: started.elapsed(), plan })
}

fn restore_job<'a>(plan: &'a TablesPlan, folder: &'a Path, command: Vec<String>) -> RestoreJob<'a> {
    let manifest = &plan.backup.manifest;
    RestoreJob {
        id: manifest.id.as_str(),
        folder,
        lc_monetary: &manifest.server.lc_monetary,
        command,
        into_live: false,
        growing: None,
        disk: server_disk(&plan.target).ok(),
    }
}

/// An earlier restore of the same backup made it. Its copies are as good as new ones would be.
fn refuse_if_there(server: &Server<'_>, plan: &TablesPlan) -> Result<()> {
    let (service, schema) = (&plan.target, &plan.schema);
    let question = format!(
        "select coalesce((select to_json(array(select relname::text from pg_class where relnamespace = n.oid))
  from pg_namespace n where nspname = {}), 'null');\n",
        literal(schema)
    );
    let Some(copies) = server.query::<Option<Vec<String>>>(&service.database, &question)? else {
        return Ok(());
    };
    let mut details = Vec::new();
    for table in plan.tables.iter().filter(|table| copies.contains(&table.copy)) {
        let statements = table.statements.iter().flat_map(Statements::all);
        details.extend(statements.map(str::to_owned));
    }
    if !details.is_empty() {
        let connect = format!("dokku postgres:connect {}", service.name);
        details.insert(0, format!("the copies in it can be used as they are; type into: {connect}"));
    }
    details.extend(plan.make_again());
    Err(Failure::refused(format!("database {} has a schema {schema} already", service.database))
        .details(details)
        .hint(format!(
            "when you need it no more: dokku postgres:connect {} <<<\"drop schema {schema} cascade\"",
            service.name
        ))
        .into())
}

/// Loads the chosen tables' rows, and those of their partitions and heirs; how many rows each has then.
fn load_rows(
    host: &Host<'_>,
    server: &Server<'_>,
    plan: &TablesPlan,
    work: &Scratch,
    database: &str,
    jobs: usize,
) -> Result<Vec<u64>> {
    let toc = manifest::read_toc(&plan.backup.folder)?;
    let sums = manifest::read_fingerprint(&plan.backup.folder)?.tables;
    let mut list = String::new();
    let mut rows = Vec::new();
    for table in &plan.tables {
        let family = family(server, database, table)?;
        let belongs = |schema: &str, name: &str| family.iter().any(|(s, n)| s == schema && n == name);
        let data = toc
            .entries
            .iter()
            .filter(|entry| entry.kind == "TABLE DATA" && belongs(&entry.schema, &entry.name));
        data.for_each(|entry| list.push_str(&format!("{};\n", entry.dump_id)));
        rows.push(
            sums.iter()
                .filter(|sum| belongs(&sum.schema, &sum.name))
                .map(|sum| sum.rows)
                .fold(0, u64::saturating_add),
        );
    }
    files::write_private(&work.folder.join("list"), list.as_bytes())?;
    borrow_dump(work, &plan.backup.folder)?;
    let more = ["--section=data", "--use-list=/backup/list"];
    let command = postgres::restore_command(database, jobs, "/backup/dump", &more);
    run_pg_restore(host, server, &restore_job(plan, &work.folder, command))?;
    files::remove_tree(&work.folder.join(layout::DUMP))?;
    Ok(rows)
}

/// A table and all that inherit from it (partitions too), as the scratch database knows them.
fn family(server: &Server<'_>, database: &str, table: &ChosenTable) -> Result<Vec<(String, String)>> {
    let name = literal(&format!("{}.{}", identifier(&table.schema), identifier(&table.name)));
    server.query(
        database,
        &format!(
            "with recursive family(oid) as (
  select {name}::regclass::oid union select inhrelid from pg_inherits join family on inhparent = family.oid)
select json_agg(json_build_array(nspname, relname))
from family join pg_class c using (oid) join pg_namespace n on n.oid = relnamespace;\n"
        ),
    )
}

fn copy_script(plan: &TablesPlan) -> String {
    let schema = identifier(&plan.schema);
    let mut script = format!("create schema {schema};\n");
    for table in &plan.tables {
        let (from_schema, from, copy) =
            (identifier(&table.schema), identifier(&table.name), identifier(&table.copy));
        script.push_str(&format!("create table {schema}.{copy} as select * from {from_schema}.{from};\n"));
    }
    script
}

/// Dumps the new schema alone and restores it into the live database, all or nothing.
fn move_schema(
    host: &Host<'_>,
    server: &Server<'_>,
    plan: &TablesPlan,
    work: &Scratch,
    scratch: &str,
) -> Result<()> {
    let manifest = &plan.backup.manifest;
    let job = DumpJob {
        database: scratch,
        id: manifest.id.as_str(),
        folder: &work.folder,
        jobs: 1,
        processors: None,
        throw_away: false,
        extent: Extent::Schema(&plan.schema),
        lock_timeout: None,
    };
    let manner = Manner::unbounded(&manifest.dump.compression, &manifest.server.lc_monetary);
    dump(host, server, &job, &manner)?;
    let command =
        postgres::restore_command(&plan.target.database, 1, "/backup/dump", &["--single-transaction"]);
    let job = RestoreJob { into_live: true, ..restore_job(plan, &work.folder, command) };
    run_pg_restore(host, server, &job)
}

fn count_copies(server: &Server<'_>, plan: &TablesPlan) -> Result<Vec<u64>> {
    let counts: Vec<String> = plan
        .tables
        .iter()
        .map(|table| {
            format!("(select count(*) from {}.{})", identifier(&plan.schema), identifier(&table.copy))
        })
        .collect();
    let question = format!("select json_build_array({});\n", counts.join(", "));
    // Not to be interrupted: the copies are there, and "undone" would be said of them.
    postgres::parse_answer(&server.execute_always(&plan.target.database, &question)?)
}

/// The new schema in the live database, which is dropped unless it is kept: who interrupts `pg_restore` cannot know
/// whether it had come to its commit.
struct Copies<'a> {
    server: &'a Server<'a>,
    plan: &'a TablesPlan,
    wanted: bool,
}

impl Copies<'_> {
    fn keep(mut self) {
        self.wanted = true;
    }
}

impl Drop for Copies<'_> {
    fn drop(&mut self) {
        if !self.wanted {
            let script = format!("drop schema if exists {} cascade;\n", identifier(&self.plan.schema));
            let _ = Server::patiently(|| self.server.execute_always(&self.plan.target.database, &script));
        }
    }
}

/// Hard links to the dump's files, so that they can be mounted together with the list.
fn borrow_dump(work: &Scratch, backup: &Path) -> Result<()> {
    let (from, to) = (backup.join(layout::DUMP), work.folder.join(layout::DUMP));
    files::create_private_folder(&to)?;
    for (name, _) in files::plain_files(&from)? {
        files::link(&from.join(&name), &to.join(&name)).with_context(|| format!("cannot link {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_names_need_no_quotes() {
        let id: BackupId = "20261122T235901Z-k3f9".parse().unwrap();
        assert_eq!(schema_name(&id), "pgbackup_20261122t235901z_k3f9");
    }
}
