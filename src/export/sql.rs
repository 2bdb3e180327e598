//! A backup as plain SQL, whole or some of its tables: `pg_restore` prints it, and needs no server for that.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::catalog::Backup;
use crate::dependents::Dependents;
use crate::docker::{self, JobContainer};
use crate::dokku::Service;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::manifest;
use crate::plain_text::{one_line, shell_word};
use crate::postgres::{self, anonymous_block, identifier, literal};
use crate::scratch::Scratch;
use crate::server;
use crate::tables::{self, Asked};

/// Streams the whole script out of a container without network.
pub fn write(host: &Host<'_>, service: &Service, backup: &Backup, out: &mut dyn Write) -> Result<()> {
    Printer::new(host, service, backup)?.print(None, out)
}

/// Tables of a backup with everything that belongs to them, by the entries of its dump.
pub struct Tables {
    /// Schema and name of each.
    names: Vec<(String, String)>,
    entries: Dependents,
}

impl Tables {
    pub fn find(host: &Host<'_>, service: &Service, backup: &Backup, names: &[String]) -> Result<Self> {
        let toc = manifest::read_toc(&backup.folder)?;
        let asked = Asked { command: "dokku pgbackup:export", service, flags: " --as sql", tables: names };
        let chosen = tables::choose(host, backup, &toc, asked)?;
        let names = chosen.iter().map(|entry| (entry.schema.clone(), entry.name.clone())).collect();
        Ok(Tables { names, entries: Dependents::of(&toc, &chosen) })
    }
}

/// Streams a script for psql that makes tables again. What is their own is made in one transaction: an app that is
/// running sees all of it or nothing, and a table that is still there is left alone. What leads to them from elsewhere
/// may not fit any more, each for itself (a foreign key of rows that came since), so there psql goes on behind errors.
pub fn write_tables(
    host: &Host<'_>,
    service: &Service,
    backup: &Backup,
    tables: &Tables,
    out: &mut dyn Write,
) -> Result<()> {
    let printer = Printer::new(host, service, backup)?;
    for (schema, name) in &tables.entries.others {
        host.progress.warn(&format!(
            "table {schema}.{name} has a default or a column that depends on them: see what it lacks with dokku pgbackup:diff {}",
            service.name
        ));
    }
    out.write_all(opening(&tables.names).as_bytes())?;
    printer.print(Some(("own", &tables.entries.own)), out)?;
    out.write_all(turn(&tables.names).as_bytes())?;
    if !tables.entries.around.is_empty() {
        printer.print(Some(("around", &tables.entries.around)), out)?;
    }
    Ok(())
}

/// Ends psql where a table is still there: its rows would be doubled.
fn opening(names: &[(String, String)]) -> String {
    let mut checks = String::new();
    for (schema, name) in names {
        let table = literal(&format!("{}.{}", identifier(schema), identifier(name)));
        let message = literal(&format!("{schema}.{name} is still there, so nothing was done"));
        let hint = literal("pgbackup:restore --table brings single rows back.");
        checks.push_str(&format!(
            "  if to_regclass({table}) is not null then raise exception using message = {message}, hint = {hint}; end if;\n"
        ));
    }
    let block = anonymous_block(&format!("begin\n{checks}end"));
    // Hundreds of `SET` and `ALTER TABLE` would hide an error.
    format!("\\set QUIET on\n\\o /dev/null\n\\set ON_ERROR_STOP on\nbegin;\n{block}")
}

/// Between the two parts: what there is now, and that errors do not end it from here on.
fn turn(names: &[(String, String)]) -> String {
    let mut script =
        "\ncommit;\n\\set ON_ERROR_STOP off\n\\o\n\\pset format unaligned\n\\pset tuples_only on\n"
            .to_owned();
    for (schema, name) in names {
        let table = format!("{}.{}", identifier(schema), identifier(name));
        let told = literal(&one_line(&format!("{schema}.{name}")));
        script.push_str(&format!("select {told} || ' is back; rows: ' || count(*) from {table};\n"));
    }
    script.push_str("\\o /dev/null\n");
    script
}

/// `pg_restore` of one backup, in containers without network.
struct Printer<'a> {
    host: &'a Host<'a>,
    service: &'a Service,
    backup: &'a Backup,
    image: String,
    /// Holds the lists of entries, if any. Its lock tells those who clear what killed runs left that the containers are
    /// in use.
    scratch: Scratch,
}

impl<'a> Printer<'a> {
    fn new(host: &'a Host<'a>, service: &'a Service, backup: &'a Backup) -> Result<Self> {
        let scratch = Scratch::begin(host, service, &backup.id)?;
        Ok(Printer { image: image(host, service, backup)?, host, service, backup, scratch })
    }

    /// Prints everything, or the entries of a list, which needs a name.
    fn print(&self, list: Option<(&str, &[i64])>, out: &mut dyn Write) -> Result<()> {
        let Printer { host, service, backup, image, scratch } = self;
        let on_host = |path: &Path| host.dokku.environment().host_path(path);
        let mut mounts = vec![(on_host(&backup.folder), "/backup", true)];
        let mut options = Vec::new();
        if let Some((name, entries)) = list {
            let lines: Vec<String> = entries.iter().map(|id| format!("{id};\n")).collect();
            files::write_private(&scratch.folder.join(name), lines.concat().as_bytes())?;
            mounts.push((on_host(&scratch.folder), "/lists", true));
            options.push(format!("--use-list=/lists/{name}"));
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let job = JobContainer {
            name: format!("pgbackup.{}.{}.export", service.name, scratch.name),
            service: service.name.to_string(),
            backup: scratch.name.clone(),
            image: image.clone(),
            network: "none".to_owned(),
            user: server::own_identity(),
            mounts,
            env: Vec::new(),
            shm_size: None,
            writable: false,
            gentle: false,
            processors: None,
            command: postgres::print_command("/backup/dump", &options),
        };
        let output = host.docker.start_printing_job(&job)?.hand_on(|piece| Ok(out.write_all(piece)?))?;
        if output.success() {
            return Ok(());
        }
        if docker::docker_itself_failed(&output) {
            return Err(docker::start_failure(&output, image));
        }
        let why = postgres::explain(&output.stderr).unwrap_or_else(|| output.ending());
        Err(Failure::tool(format!("pg_restore failed on backup {}: {why}", backup.id))
            .details(output.last_words(8))
            .into())
    }
}

/// The image that the backup was made with, by its id: its `pg_restore` prints what its `pg_dump` would have, which every
/// newer server takes. Else that of the service's container, which need not run; else whatever has the name now.
fn image(host: &Host<'_>, service: &Service, backup: &Backup) -> Result<String> {
    let made_with = &backup.manifest.server;
    if !made_with.image_id.is_empty() && host.docker.has_image(&made_with.image_id)? {
        return Ok(made_with.image_id.clone());
    }
    if let Some(container) = host.docker.container(&service.container())? {
        if host.docker.has_image(&container.image_id)? {
            return Ok(container.image_id);
        }
    }
    if !made_with.image.is_empty() && host.docker.has_image(&made_with.image)? {
        return Ok(made_with.image.clone());
    }
    let what = "neither the service's container nor the image";
    Err(Failure::refused(format!(
        "{what} {} that the backup was made with is on this server",
        made_with.image
    ))
    .hint(format!(
        "fetch it with: docker pull {}; or take another form, which needs none: --as custom",
        shell_word(&made_with.image)
    ))
    .into())
}
