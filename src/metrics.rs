//! Metrics of all services as Prometheus reads them, and the file in which its `node_exporter` finds them.

use std::fmt::Write as _;

use anyhow::Result;

use crate::files;
use crate::history;
use crate::host::Host;
use crate::status::Status;

/// One metric: its name, what it says, and its value for a service.
type Metric = (&'static str, &'static str, fn(&Status) -> Option<String>);

const METRICS: [Metric; 8] = [
    ("pgbackup_last_success_timestamp_seconds", "When the newest good backup was begun", |status| {
        Some(status.last_good.as_ref()?.manifest.started_at.timestamp().to_string())
    }),
    ("pgbackup_last_drill_timestamp_seconds", "When a backup was last proven by a drill", |status| {
        Some(status.last_drill?.timestamp().to_string())
    }),
    ("pgbackup_last_size_bytes", "What the newest good backup holds", |status| {
        Some(status.last_good.as_ref()?.manifest.dump.size_bytes.to_string())
    }),
    ("pgbackup_last_duration_seconds", "How long the newest good backup took", |status| {
        let manifest = &status.last_good.as_ref()?.manifest;
        let took = (manifest.finished_at - manifest.started_at).num_milliseconds().max(0);
        Some(format!("{}.{:03}", took / 1000, took % 1000))
    }),
    ("pgbackup_backups", "How many whole backups there are", |status| Some(status.count.to_string())),
    ("pgbackup_disk_bytes", "What all backups take on the disk", |status| {
        Some(status.disk_bytes.to_string())
    }),
    ("pgbackup_overdue", "1 when a scheduled backup was not made", |status| {
        Some(u8::from(status.overdue_since.is_some()).to_string())
    }),
    (
        "pgbackup_failing",
        "1 when the last backup, verification or push failed, or something cannot be read",
        |status| {
            let is_ill = !status.failures.is_empty()
                || status.newest_is_bad
                || status.unreadable.is_some()
                || status.settings.is_err();
            Some(u8::from(is_ill).to_string())
        },
    ),
];

/// The text format of Prometheus ("Exposition formats", text-based, 0.0.4).
pub fn text(host: &Host<'_>, statuses: &[Status]) -> String {
    let mut text = String::new();
    for (name, help, value) in METRICS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for status in statuses {
            if let Some(value) = value(status) {
                let _ = writeln!(text, "{name}{{service=\"{}\"}} {value}", status.service.name);
            }
        }
    }
    let name = "pgbackup_failed_runs";
    let _ = writeln!(text, "# HELP {name} Failed runs in the history\n# TYPE {name} gauge");
    for status in statuses {
        let events = history::read(&status.service.layout).unwrap_or_default();
        let failed = events.iter().filter(|event| !event.good).count();
        let _ = writeln!(text, "{name}{{service=\"{}\"}} {failed}", status.service.name);
    }
    let _ = writeln!(
        text,
        "# HELP pgbackup_written_timestamp_seconds When this was written\n# TYPE pgbackup_written_timestamp_seconds gauge"
    );
    let _ = writeln!(text, "pgbackup_written_timestamp_seconds {}", host.now.timestamp());
    text
}

/// Writes the file anew, where one is set.
pub fn refresh(host: &Host<'_>) {
    if let Err(error) = write(host) {
        host.progress.warn(&format!("the metrics could not be written: {error:#}"));
    }
}

fn write(host: &Host<'_>) -> Result<()> {
    let Some(path) = host.global_settings().ok().and_then(|settings| settings.textfile()) else {
        return Ok(());
    };
    let statuses: Vec<Status> =
        host.dokku.all_services()?.iter().map(|service| Status::of(host, service)).collect();
    // node_exporter is another user, and reads only whole files that end in .prom.
    files::write_atomic_readable(&path, text(host, &statuses).as_bytes())
}
