//! Restoring single tables into a new schema of the live database, to copy rows back from.
//!
//! `pg_restore` cannot rename a schema. So the backup's definitions and the rows of the chosen tables go into a scratch
//! database, are copied there into the new schema, and that schema alone is dumped and restored into the live
//! database, in one transaction. Only plain columns come along: no constraint or trigger can get in the rows' way.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::RestoreOptions;
use super::fill::{NewDatabase, RestoreJob, create_roles, run_pg_restore};
use super::plan::{refuse_unless_whole, server_disk};
use crate::aftermath::{self, Run};
use crate::backup_id::BackupId;
use crate::catalog::Backup;
use crate::dokku::Service;
use crate::dump::{DumpJob, Extent, Manner, dump};
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::layout;
use crate::leftovers;
use crate::likeness;
use crate::lock::{self, ServiceLock};
use crate::manifest;
use crate::postgres::{self, identifier, literal};
use crate::scratch::Scratch;
use crate::server::Server;
use crate::swap;
use crate::toc::{Entry, Toc};

/// What is going to be restored, and where to.
#[derive(Debug, Clone)]
pub struct TablesPlan {
    pub backup: Backup,
    pub target: Service,
    /// The new schema of the live database.
    pub schema: String,
    pub tables: Vec<ChosenTable>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenTable {
    pub schema: String,
    pub name: String,
    /// Its name in the new schema.
    pub copy: String,
    /// Its columns but the generated ones, quoted where necessary, in a list; `None` for a parent without own rows.
    pub columns: Option<String>,
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

/// Finds the tables that are asked for as `schema.table` or, in the schema public, `table`.
pub fn plan_tables(
    host: &Host<'_>,
    target: &Service,
    backup: Backup,
    wanted: &[String],
) -> Result<TablesPlan> {
    refuse_unless_whole(host, &backup)?;
    let toc = manifest::read_toc(&backup.folder)?;
    let mut tables: Vec<ChosenTable> = Vec::new();
    for asked in wanted {
        let entry = find_table(&toc, asked).ok_or_else(|| unknown_table(&toc, &backup, asked))?;
        if tables.iter().any(|table| table.schema == entry.schema && table.name == entry.name) {
            continue;
        }
        let taken = tables.iter().any(|table| table.copy == entry.name);
        let copy = if taken { format!("{}_{}", entry.schema, entry.name) } else { entry.name.clone() };
        let columns = columns(&toc, entry);
        tables.push(ChosenTable { schema: entry.schema.clone(), name: entry.name.clone(), copy, columns });
    }
    Ok(TablesPlan { schema: schema_name(&backup.id), target: target.clone(), tables, backup })
}

fn tables(toc: &Toc) -> impl Iterator<Item = &Entry> {
    toc.entries.iter().filter(|entry| entry.kind == "TABLE")
}

fn find_table<'a>(toc: &'a Toc, asked: &str) -> Option<&'a Entry> {
    let named = |entry: &&Entry| {
        format!("{}.{}", entry.schema, entry.name) == asked
            || (entry.schema == "public" && entry.name == asked)
    };
    tables(toc).find(named)
}

/// From `COPY public.cows (id, name) FROM stdin;`.
fn columns(toc: &Toc, table: &Entry) -> Option<String> {
    let is_data = |entry: &&Entry| {
        entry.kind == "TABLE DATA" && entry.schema == table.schema && entry.name == table.name
    };
    let copy = &toc.entries.iter().find(is_data)?.copy_statement;
    let target = format!("{}.{}", table.schema, table.name);
    let list = copy.trim_end().strip_suffix(") FROM stdin;")?;
    // Names may hold brackets themselves; the list begins behind the table's own name.
    let behind_name = list.find(&target).map_or(0, |at| at + target.len());
    list[behind_name..]
        .split_once('(')
        .map(|(_, columns)| columns.to_owned())
        .filter(|columns| !columns.is_empty())
}

fn unknown_table(toc: &Toc, backup: &Backup, asked: &str) -> Failure {
    let last = asked.rsplit('.').next().unwrap_or(asked).to_lowercase();
    let near = |entry: &&Entry| {
        entry.name.to_lowercase().contains(&last) || last.contains(&entry.name.to_lowercase())
    };
    let names: Vec<String> =
        tables(toc).filter(near).take(3).map(|entry| format!("{}.{}", entry.schema, entry.name)).collect();
    let failure = Failure::not_found(format!("backup {} has no table {asked}", backup.id));
    if names.is_empty() {
        let service = &backup.manifest.service;
        return failure
            .hint(format!("see its tables with: dokku pgbackup:info {service} {} --format json", backup.id));
    }
    failure.hint(format!("did you mean {}?", names.join(" or ")))
}

/// Carries a plan out.
pub fn run_tables(host: &Host<'_>, plan: TablesPlan, options: &RestoreOptions) -> Result<TablesReport> {
    let (target, id) = (plan.target.clone(), plan.backup.id.clone());
    let run = Run { backup: Some(&id), ..Run::of("restore", Instant::now()) };
    let ended = carry_out(host, plan, options);
    aftermath::follow(host, &target, run, &ended);
    ended
}

fn carry_out(host: &Host<'_>, plan: TablesPlan, options: &RestoreOptions) -> Result<TablesReport> {
    let started = Instant::now();
    let service = &plan.target;
    files::create_private_folders(&service.layout.own())?;
    let lock = ServiceLock::take(&service.layout.lock(), &service.name, lock::RESTORE)?;
    let _reading = plan.backup.held_for_reading()?;
    leftovers::clear(host, service, &lock)?;
    let server = Server::of(host, service)?;
    let facts = server.facts_of(service)?;
    leftovers::clear_databases(host, &server, service, &facts);
    if let Some(why) = likeness::version_obstacle(plan.backup.manifest.server.version_num, facts.version_num)
    {
        return Err(Failure::refused(why).into());
    }
    refuse_if_there(&server, service, &plan.schema)?;
    let jobs = options.jobs.unwrap_or(host.settings(service)?.jobs);
    create_roles(&server, &plan.backup.folder, &facts)?;
    let scratch_database = swap::restoring_name(&service.database, host.now, &facts.databases);
    let creation = likeness::create_database(&scratch_database, &facts);
    let _scratch = NewDatabase::create(&server, &scratch_database, facts.version_num, &creation)?;
    let work = Scratch::begin(host, service, &plan.backup.id)?;

    host.progress.step(&format!(
        "Restoring {} into a scratch database",
        crate::units::plural(plan.tables.len() as u64, "table")
    ));
    let definitions = postgres::restore_command(
        &scratch_database,
        jobs,
        "/backup/dump",
        &["--section=pre-data", "--no-privileges"],
    );
    run_pg_restore(host, &server, &restore_job(&plan, &plan.backup.folder, definitions))?;
    let rows = load_rows(host, &server, &plan, &work, &scratch_database, jobs)?;
    host.progress.step(&format!("Copying them into the schema {} of the live database", plan.schema));
    server.execute(&scratch_database, &copy_script(&plan))?;
    let copies = Copies { server: &server, plan: &plan, wanted: false };
    move_schema(host, &server, &plan, &work, &scratch_database)?;
    let found = count_copies(&server, &plan)?;
    if found != rows {
        let message = format!("the copied tables hold {found:?} rows, the backup {rows:?}");
        return Err(Failure::new(crate::error::Kind::Difference, message).into());
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

fn refuse_if_there(server: &Server<'_>, service: &Service, schema: &str) -> Result<()> {
    let question =
        format!("select to_json(exists(select from pg_namespace where nspname = {}));\n", literal(schema));
    if server.query::<bool>(&service.database, &question)? {
        return Err(Failure::refused(format!("database {} has a schema {schema} already", service.database))
            .hint(format!(
                "when you need it no more: dokku postgres:connect {} <<<\"drop schema {schema} cascade\"",
                service.name
            ))
            .into());
    }
    Ok(())
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
