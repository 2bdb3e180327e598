//! Loading a dump into a throwaway server, with all errors collected.
//!
//! A dump is a program. What psql and `pg_restore` are told by one runs where it can do no harm: the tools in a container
//! of their own without capabilities, that may only read the dump (so much for a `\! rm`), and what the server is told
//! (`COPY … TO PROGRAM`) in the throwaway one. Neither has a network.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::complaints::{Complaints, Speaker};
use super::prepare::Prepared;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::likeness;
use crate::postgres::{self, MAINTENANCE_DATABASE, ServerFacts, identifier, literal};
use crate::restore;
use crate::scratch::Scratch;
use crate::server::{Server, Sidecar};
use crate::throwaway::Throwaway;
use crate::units;

/// A database that every server has and no script drops.
const ANY_DATABASE: &str = "postgres";
/// How often the server's disk is looked at, and how often the database's size is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const SIZE_EVERY: Duration = Duration::from_secs(5);

/// What is loaded, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    pub throwaway: &'a Throwaway<'a>,
    pub scratch: &'a Scratch,
    pub prepared: &'a Prepared,
    /// The name that the database is to have in the end.
    pub database: &'a str,
    /// Of the service: what the database is like where the dump does not say it.
    pub like: &'a ServerFacts,
    pub lc_monetary: &'a str,
}

/// Loads it; afterwards the database is there under its name, with all that could be loaded.
pub fn load(host: &Host<'_>, load: &Load<'_>) -> Result<Complaints> {
    make_roles(load)?;
    let complaints = restore::without_deadlock(host, load.prepared.jobs, |jobs| {
        make_database(host, load)?;
        let complaints = run(host, load, jobs)?;
        let deadlock = complaints.first.iter().find(|text| text.contains(postgres::DEADLOCK));
        match deadlock {
            Some(deadlock) if jobs > 1 => Err(Failure::tool(deadlock.clone()).into()),
            _ => Ok(complaints),
        }
    })?;
    name_database(load)?;
    Ok(complaints)
}

impl Load<'_> {
    fn server(&self) -> &Server<'_> {
        &self.throwaway.server
    }

    /// The name under which the dump knows the database.
    fn name_inside(&self) -> &str {
        self.prepared.database.as_deref().unwrap_or(self.database)
    }

    /// A server of ours has it from the beginning.
    fn is_there_already(&self, name: &str) -> bool {
        self.throwaway.facts.databases.iter().any(|one| one == name)
    }
}

/// The roles of a backup as they are; those that other dumps only name, without a login.
fn make_roles(load: &Load<'_>) -> Result<()> {
    let mut existing = load.throwaway.facts.roles.clone();
    if let Some((folder, _)) = &load.prepared.backup {
        existing.extend(restore::create_roles(load.server(), folder, &load.throwaway.facts)?);
    }
    let missing = load.prepared.roles.iter().filter(|role| !existing.contains(role));
    let statements: Vec<String> =
        missing.map(|role| format!("create role {} nologin;\n", identifier(role))).collect();
    let script = statements.concat();
    if !script.is_empty() {
        load.server().execute(MAINTENANCE_DATABASE, &script)?;
    }
    Ok(())
}

/// An empty database with the encoding and locale of the dump, else with those of the service.
fn make_database(host: &Host<'_>, load: &Load<'_>) -> Result<()> {
    let name = load.name_inside();
    if load.prepared.database.is_some() && load.is_there_already(name) {
        return Ok(());
    }
    let execute = |script: &str| load.server().execute(MAINTENANCE_DATABASE, script);
    execute(&postgres::drop_database(load.throwaway.facts.version_num, name))?;
    if let Some(words) = &load.prepared.creation {
        let words = words.split(" TABLESPACE = ").next().unwrap_or_default();
        let Err(error) = execute(&format!("create database {} with {words};\n", identifier(name))) else {
            return Ok(());
        };
        host.check()?;
        host.progress.warn(&format!("the database gets the service's locale, not the dump's: {error:#}"));
    }
    execute(&likeness::create_database(name, &locale_of(load.like)))?;
    Ok(())
}

/// What a server that knows neither the service's roles nor its tablespaces can make.
fn locale_of(facts: &ServerFacts) -> ServerFacts {
    let mut facts = facts.clone();
    for key in ["owner_name", "tablespace_name", "datconnlimit"] {
        facts.database[key] = serde_json::Value::Null;
    }
    facts
}

fn name_database(load: &Load<'_>) -> Result<()> {
    let inside = load.name_inside();
    if inside == load.database {
        return Ok(());
    }
    let mut script = postgres::drop_database(load.throwaway.facts.version_num, load.database);
    script.push_str(&format!(
        "alter database {} rename to {};\n",
        identifier(inside),
        identifier(load.database)
    ));
    load.server().execute(MAINTENANCE_DATABASE, &script)?;
    Ok(())
}

/// One run of psql or `pg_restore`.
fn run(host: &Host<'_>, load: &Load<'_>, jobs: usize) -> Result<Complaints> {
    let (server, speaker) = (load.server(), load.prepared.speaker);
    let container =
        server.sidecar(sidecar(load, jobs), &host.dokku.environment().host_path(&load.scratch.folder));
    let complaints = Arc::new(Mutex::new(Complaints::of(speaker)));
    let listening = Arc::clone(&complaints);
    let listener = Box::new(move |line: &str| lock(&listening).hear(line));
    let running = host.docker.start_heard_job(&container, listener)?;
    let disk = host.docker.root_folder()?;
    let (mut looked, mut asked) = (Instant::now(), Instant::now());
    let output = running.wait(|| {
        if looked.elapsed() > LOOK_EVERY {
            looked = Instant::now();
            stop_before_the_disk_is_full(&disk)?;
        }
        if asked.elapsed() > SIZE_EVERY {
            let question = format!("select to_json(pg_database_size({}));\n", literal(load.name_inside()));
            if let Ok(size) = server.query::<u64>(MAINTENANCE_DATABASE, &question) {
                host.progress.bytes(size, None);
            }
            asked = Instant::now();
        }
        Ok(())
    })?;
    host.progress.done();
    let mut complaints = std::mem::replace(&mut *lock(&complaints), Complaints::of(speaker));
    complaints.end();
    let got_through = match speaker {
        Speaker::Psql => output.success(),
        Speaker::PgRestore => output.success() || complaints.came_through,
    };
    if got_through && !output.stderr.contains("server closed the connection unexpectedly") {
        return Ok(complaints);
    }
    host.check()?;
    if crate::docker::docker_itself_failed(&output)
        || postgres::explain(&output.stderr).is_some_and(|why| why.contains("disk is full"))
    {
        server.checked("loading the dump", output)?;
        return Ok(complaints);
    }
    Err(given_up(load, &complaints, &output.last_words(8)))
}

fn lock(complaints: &Mutex<Complaints>) -> MutexGuard<'_, Complaints> {
    complaints.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sidecar<'a>(load: &'a Load<'_>, jobs: usize) -> Sidecar<'a> {
    let server = load.server();
    let inside = load.prepared.path.strip_prefix(&load.scratch.folder).unwrap_or(Path::new(""));
    let inside = format!("/backup/{}", inside.display());
    let mut more = server.restore_options();
    let command = match load.prepared.speaker {
        Speaker::Psql => {
            // Scripts of other tools and of people name no schema.
            more.push(("search_path", "public"));
            // One that connects itself may drop its database first.
            let first = load.prepared.database.as_ref().map_or(load.database, |_| ANY_DATABASE);
            postgres::script_command(first, &inside)
        }
        Speaker::PgRestore => postgres::load_command(load.database, jobs, &inside),
    };
    Sidecar {
        purpose: "load",
        backup: &load.scratch.name,
        read_only: true,
        options: server.session_options(load.lc_monetary, &more),
        command,
    }
}

/// A few lines of a script can make rows without end.
fn stop_before_the_disk_is_full(folder: &Path) -> Result<()> {
    // dokku may run in a container and not see it.
    let Ok(space) = files::space(folder) else { return Ok(()) };
    if space.free >= space.reserve() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the disk is nearly full: only {} are left in {}",
        units::bytes(space.free),
        folder.display()
    ))
    .hint("the dump was not loaded to its end; make room first")
    .into())
}

/// The tool did not come to the end of the dump: that is more than errors in it.
fn given_up(load: &Load<'_>, complaints: &Complaints, last_words: &[String]) -> anyhow::Error {
    let tool = if load.prepared.speaker == Speaker::Psql { "psql" } else { "pg_restore" };
    let said = |words: &str| last_words.iter().any(|line| line.contains(words));
    let why = complaints.first.last().cloned().unwrap_or_else(|| "it says nothing more".to_owned());
    let version = load.throwaway.facts.version_num.major();
    let failure = if said("unsupported version") {
        let dump = load.prepared.versions.dump.as_deref().unwrap_or("a newer version");
        Failure::refused(format!(
            "the dump was written by pg_dump {dump}, which pg_restore {version} cannot read: {why}"
        ))
        .hint(format!("import it into a newer service, or dump again with pg_dump {version}"))
    } else {
        Failure::refused(format!("the dump cannot be loaded to its end, {tool} gave up: {why}"))
            .hint("it may be damaged or cut off: take another copy of it")
    };
    failure.details(last_words.to_vec()).into()
}
