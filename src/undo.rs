//! Undoing a restore: the previous database and the live one swap names.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::aftermath::{self, Run};
use crate::dokku::Service;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::leftovers;
use crate::lock::ServiceLock;
use crate::postgres::MAINTENANCE_DATABASE;
use crate::server::Server;
use crate::swap;

/// What an undo did.
#[derive(Debug)]
pub struct UndoReport {
    /// The database that is live again.
    pub restored: String,
    /// The name under which the one that was live is kept now; `None` when there was none.
    pub kept: Option<String>,
    pub swap_duration: Duration,
}

/// Swaps the previous database back in; what was live becomes the previous one.
pub fn undo(host: &Host<'_>, service: &Service) -> Result<UndoReport> {
    let run = Run::of("undo", Instant::now());
    let ended = swap_back(host, service);
    aftermath::follow(host, service, run, &ended);
    ended
}

fn swap_back(host: &Host<'_>, service: &Service) -> Result<UndoReport> {
    files::create_private_folders(&service.layout.own())?;
    let lock = ServiceLock::take(&service.layout.lock(), &service.name, "pgbackup:undo")?;
    leftovers::clear(host, service, &lock)?;
    let server = Server::of(host, service)?;
    let databases: Vec<String> =
        server.query(MAINTENANCE_DATABASE, "select json_agg(datname) from pg_database;\n")?;
    let Some(restored) = swap::previous_databases(&service.database, &databases).into_iter().next() else {
        return Err(Failure::not_found(format!(
            "there is nothing to undo: {} has no previous database",
            service.name
        ))
        .hint(format!("a restore keeps one; the backups are listed by: dokku pgbackup:list {}", service.name))
        .into());
    };
    if !databases.contains(&service.database) {
        let swapping = Instant::now();
        swap::rename(&server, &restored, &service.database)?;
        return Ok(UndoReport { restored, kept: None, swap_duration: swapping.elapsed() });
    }
    let kept = swap::previous_name(&service.database, host.now, &databases);
    let swap_duration = swap::swap(&server, &service.database, &restored, &kept, "")?;
    Ok(UndoReport { restored, kept: Some(kept), swap_duration })
}
