//! A backup in other forms, for other tools and other places.

mod custom;
mod custom_toc;
mod sql;
mod zlib;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

use crate::catalog::Backup;
use crate::dokku::Service;
use crate::encryption::Recipients;
use crate::error::{Failure, Kind};
use crate::host::Host;
use crate::tarball;
use crate::verify;
use sql::Tables;

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// The backup's folder as it is.
    Tar,
    /// Plain SQL, as `pg_dump` without a format writes it; of some tables alone where they are named.
    Sql { tables: &'a [String] },
    /// An archive as `pg_dump -Fc` writes it.
    Custom,
}

/// What was written.
#[derive(Debug)]
pub struct ExportReport {
    pub bytes: u64,
    pub duration: Duration,
}

/// Writes `backup` to `out`, for `recipients` where there are any. Only when this returns well is the result whole.
pub fn export(
    host: &Host<'_>,
    service: &Service,
    backup: &Backup,
    form: Form<'_>,
    recipients: Option<&Recipients>,
    out: &mut dyn Write,
) -> Result<ExportReport> {
    let started = Instant::now();
    let _reading = backup.held_for_reading()?;
    let tables = match form {
        Form::Sql { tables: names } if !names.is_empty() => Some(Tables::find(host, service, backup, names)?),
        _ => None,
    };
    // A tar's files are compared with their checksums while they go out, and what is damaged leaves it without an end.
    // SQL and custom archives have no end that their readers would miss. So everything is read once before the first
    // byte, in all threads; that takes a fraction of what the other end needs to load it.
    if form != Form::Tar {
        refuse_damaged(host, backup)?;
    }
    let total = match form {
        Form::Tar => Some(tarball::size(backup)?),
        Form::Custom => Some(backup.manifest.dump.size_bytes),
        Form::Sql { .. } => None,
    };
    let mut outlet = Outlet { out, host, written: 0, total, failure: None };
    let write = |out: &mut dyn Write| match (form, &tables) {
        (Form::Tar, _) => tarball::write(backup, out).map(|_| ()),
        (Form::Custom, _) => custom::write(backup, out),
        (Form::Sql { .. }, None) => sql::write(host, service, backup, out),
        (Form::Sql { .. }, Some(tables)) => sql::write_tables(host, service, backup, tables, out),
    };
    let written = match recipients {
        None => write(&mut outlet),
        Some(recipients) => encrypted(recipients, &mut outlet, write),
    };
    let written = written.and_then(|()| Ok(outlet.flush()?));
    host.progress.done();
    match (outlet.failure, written) {
        // What went wrong with the output comes through other people's writers in their words.
        (Some(failure), _) => Err(failure),
        (None, written) => written.map_err(|error| told_of_the_rest(error, outlet.written)),
    }?;
    Ok(ExportReport { bytes: outlet.written, duration: started.elapsed() })
}

/// Without its `finish`, which it only gets after everything went well, an age stream is cut off.
fn encrypted(
    recipients: &Recipients,
    out: &mut Outlet<'_>,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut encrypting = recipients.encrypt(out)?;
    write(&mut encrypting)?;
    encrypting.finish()?;
    Ok(())
}

fn refuse_damaged(host: &Host<'_>, backup: &Backup) -> Result<()> {
    let problems = verify::check_files(host, backup)?;
    if problems.is_empty() { Ok(()) } else { Err(verify::refusal(backup, &problems, "exported").into()) }
}

/// Whoever got a part of it should know.
fn told_of_the_rest(error: Error, written: u64) -> Error {
    match error.downcast::<Failure>() {
        Ok(failure)
            if written > 0 && (failure.hint.is_none() || matches!(failure.kind, Kind::Interrupted(_))) =>
        {
            failure.hint("what came out until then is not whole").into()
        }
        Ok(failure) => failure.into(),
        Err(error) => error,
    }
}

/// Where the export goes. Knows how much it was, and what went wrong with it.
struct Outlet<'a> {
    out: &'a mut dyn Write,
    host: &'a Host<'a>,
    written: u64,
    total: Option<u64>,
    failure: Option<Error>,
}

impl Outlet<'_> {
    fn note(&mut self, error: io::Error) -> io::Error {
        let kind = error.kind();
        let failure = match error.downcast::<Failure>() {
            Ok(failure) => told_of_the_rest(failure.into(), self.written),
            Err(error) => {
                let what = Failure::new(Kind::Failed, format!("the export cannot be written: {error}"));
                told_of_the_rest(what.into(), self.written)
            }
        };
        self.failure.get_or_insert(failure);
        kind.into()
    }
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.out.write(bytes) {
            Ok(count) => {
                self.written += count as u64;
                self.host.progress.bytes(self.written, self.total);
                Ok(count)
            }
            Err(error) => Err(self.note(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|error| self.note(error))
    }
}
