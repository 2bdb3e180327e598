//! Waiting until the disk has what was written. On a slow disk that takes long: it is told, and a run that is asked to stop
//! meanwhile stops.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::error::{Failure, Kind};
use crate::host::Host;
use crate::process::Tool;

/// How long it takes until it is told, and between that and the next time.
const PATIENCE: Duration = Duration::from_secs(2);
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Makes everything written below `folder` durable.
///
/// One `syncfs(2)` instead of an fsync for each file: a database of 5,000 tables is 5,000 files. Since Linux 5.8 it reports
/// write errors. By a program of its own, for nothing ends a process that is in it.
pub fn make_durable(host: &Host<'_>, folder: &Path) -> Result<()> {
    let started = Instant::now();
    let mut tell_at = PATIENCE;
    let sync = Tool::new("sync").secret_env("LC_ALL", "C").arg("-f").arg(folder);
    let output = sync.start()?.wait_or_leave(|| {
        if started.elapsed() > tell_at {
            host.progress.note("waiting for the disk to have it all");
            tell_at += TELL_EVERY;
        }
        host.check()
    })?;
    if output.success() {
        return Ok(());
    }
    let what = format!("cannot make {} durable (is the disk full or failing?)", folder.display());
    Err(Failure::new(Kind::Failed, what).details(output.last_words(2)).into())
}
