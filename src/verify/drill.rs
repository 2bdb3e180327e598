//! The drill: a real restore into a throwaway server of the same image, dumped again and compared.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;

use super::{Problem, VerifyReport, compare};
use crate::catalog::Backup;
use crate::dokku::Service;
use crate::dump::{DumpJob, Extent, Manner, dump};
use crate::error::Failure;
use crate::files;
use crate::fingerprint::{Fingerprint, TableSum};
use crate::host::Host;
use crate::obstacles;
use crate::pace::Pace;
use crate::plain_text::shell_word;
use crate::postgres::{self, MAINTENANCE_DATABASE, ServerFacts};
use crate::restore::{self, RestoreJob};
use crate::schema;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::throwaway::{Likeness, Throwaway};
use crate::toc::{Entry, Toc};
use crate::units;

/// Restores `backup`, dumps the result, and adds every difference from `expected` to the report.
pub fn drill(
    host: &Host<'_>,
    service: &Service,
    backup: &Backup,
    (toc, expected): (&Toc, &Fingerprint),
    pace: Pace,
    report: &mut VerifyReport,
) -> Result<()> {
    let scratch = Scratch::begin(host, service, &backup.id)?;
    let disk = check_space(host, backup)?;
    host.progress.step("Starting a throwaway server");
    let likeness = Likeness {
        purpose: "drill",
        image: image(host, backup)?,
        shared_preload_libraries: &backup.manifest.server.shared_preload_libraries,
        pace,
        objects: toc.entries.len(),
    };
    let Throwaway { server, facts, .. } = &Throwaway::start(host, service, &scratch, likeness)?;
    host.progress.step("Restoring into it");
    let problems =
        restore_into(host, server, facts, backup, (&scratch, disk), restore::possible_jobs(toc, pace.jobs))?;
    let failed = !problems.is_empty();
    report.check("restore", format!("into a throwaway Postgres {}", facts.version_num), problems);
    if failed {
        return Ok(());
    }
    host.progress.step("Dumping what was restored and comparing it");
    let job = DumpJob {
        database: &backup.manifest.database.name,
        id: &scratch.name,
        folder: &scratch.folder,
        jobs: pace.jobs,
        processors: None,
        throw_away: true,
        extent: Extent::Whole,
        lock_timeout: None,
    };
    let compression = postgres::fast_compression(facts.version_num);
    let manner = Manner::unbounded(compression, &backup.manifest.server.lc_monetary);
    let dumped = dump(host, server, &job, &manner)?;
    let mut found = Fingerprint::assemble(&dumped.toc, &dumped.digests)?;
    let reordered = leave_out_reordered(toc, expected, &dumped.toc, &mut found);
    compare(expected, &found, "restored", report);
    if !reordered.is_empty() {
        let what = format!("{}: columns in another order, rows counted only", reordered.join(", "));
        report.check("inherited", what, Vec::new());
    }
    let definitions = units::plural(schema::objects(toc).len() as u64, "definition");
    report.check("schema", definitions, compare_schemas(toc, &dumped.toc));
    Ok(())
}

/// The throwaway server's data is on docker's disk, which the services often share: that is where.
fn check_space(host: &Host<'_>, backup: &Backup) -> Result<Option<PathBuf>> {
    let folder = host.docker.root_folder()?;
    // dokku may run in a container and not see it.
    let Ok(space) = files::space(&folder) else { return Ok(None) };
    let needed = backup.manifest.database.size_bytes.saturating_add(space.reserve());
    if space.free >= needed {
        return Ok(Some(folder));
    }
    Err(Failure::refused(format!(
        "there is too little space for a drill: {} are free in {}, {} are needed",
        units::bytes(space.free),
        folder.display(),
        units::bytes(needed)
    ))
    .hint("make room there, or verify without a restore: --level archive")
    .into())
}

/// Roles, then the database itself as the backup knows it. What the server has against it is a problem of the backup.
fn restore_into(
    host: &Host<'_>,
    server: &Server<'_>,
    facts: &ServerFacts,
    backup: &Backup,
    (scratch, disk): (&Scratch, Option<PathBuf>),
    jobs: usize,
) -> Result<Vec<Problem>> {
    let manifest = &backup.manifest;
    let missing = obstacles::missing_extensions(&manifest.database.extensions, &facts.available_extensions);
    if !missing.is_empty() {
        let what = format!("the image {} lacks the extension {}", manifest.server.image, missing.join(", "));
        return Err(Failure::refused(format!("{what} that the backup needs"))
            .hint("nothing is wrong with the backup as far as was looked; without a restore: --level archive")
            .into());
    }
    restore::create_roles(server, &backup.folder, facts)?;
    let database = &manifest.database.name;
    let restored = restore::without_deadlock(host, jobs, |jobs| {
        if facts.databases.contains(database) || jobs == 1 {
            server.execute(MAINTENANCE_DATABASE, &postgres::drop_database(facts.version_num, database))?;
        }
        let job = RestoreJob {
            id: &scratch.name,
            folder: &backup.folder,
            lc_monetary: &manifest.server.lc_monetary,
            command: postgres::restore_command(
                MAINTENANCE_DATABASE,
                jobs,
                "/backup/dump",
                &["--create", "--no-tablespaces"],
            ),
            into_live: false,
            growing: Some((database, manifest.database.size_bytes)),
            disk: disk.clone(),
        };
        restore::run_pg_restore(host, server, &job)
    });
    let Err(error) = restored else { return Ok(Vec::new()) };
    host.check()?;
    // A full disk or a killed container says nothing of the backup, and must not be remembered as its fault.
    match crate::error::failure_in(&error) {
        Some(failure) if failure.blames_data => {
            Ok(vec![Problem::new("restore", format!("{error}: {}", failure.details.join("; ")))])
        }
        _ => Err(error.context("the drill could not be carried out")),
    }
}

/// The content of tables whose columns came back in another order cannot be compared; their rows are.
fn leave_out_reordered(toc: &Toc, expected: &Fingerprint, new: &Toc, found: &mut Fingerprint) -> Vec<String> {
    let statement = |toc: &Toc, table: &TableSum| {
        let is_its = |entry: &&Entry| {
            entry.kind == "TABLE DATA" && entry.schema == table.schema && entry.name == table.name
        };
        toc.entries.iter().find(is_its).map(|entry| entry.copy_statement.clone()).unwrap_or_default()
    };
    let mut names = Vec::new();
    for (table, other) in expected.tables.iter().zip(&mut found.tables) {
        if (&table.schema, &table.name) != (&other.schema, &other.name) || table.hash == other.hash {
            continue;
        }
        let (before, after) = (statement(toc, table), statement(new, other));
        if before != after && schema::column_set(&before) == schema::column_set(&after) {
            other.hash.clone_from(&table.hash);
            names.push(format!("{}.{}", table.schema, table.name));
        }
    }
    names
}

/// The objects that one dump has and the other has not, or has otherwise.
fn compare_schemas(expected: &Toc, found: &Toc) -> Vec<Problem> {
    let (expected, found) = (schema::objects(expected), schema::objects(found));
    let (wanted, got): (BTreeSet<_>, BTreeSet<_>) = (expected.iter().collect(), found.iter().collect());
    let names = |objects: &[schema::SchemaObject]| -> BTreeSet<String> {
        objects.iter().map(schema::SchemaObject::describe).collect()
    };
    let (wanted_names, got_names) = (names(&expected), names(&found));
    let mut problems = Vec::new();
    for object in wanted.difference(&got) {
        let name = object.describe();
        let what = if got_names.contains(&name) { "is defined otherwise" } else { "is missing" };
        problems.push(Problem::new(name, what));
    }
    let added =
        got.difference(&wanted).map(|object| object.describe()).filter(|name| !wanted_names.contains(name));
    problems.extend(added.map(|name| Problem::new(name, "is there and should not be")));
    problems
}

/// The image that the backup was made with, by its id, else by its name.
fn image(host: &Host<'_>, backup: &Backup) -> Result<String> {
    let server = &backup.manifest.server;
    for image in [&server.image_id, &server.image] {
        if !image.is_empty() && host.docker.has_image(image)? {
            return Ok(image.clone());
        }
    }
    Err(Failure::refused(format!(
        "the image {} that the backup was made with is not on this server",
        server.image
    ))
    .hint(format!(
        "fetch it with: docker pull {}; or verify without a restore: --level archive",
        shell_word(&server.image)
    ))
    .into())
}
