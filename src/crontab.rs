//! The schedules of all services as dokku's crontab takes them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::destroyed;
use crate::dokku::Dokku;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::layout;
use crate::schedule::Schedule;
use crate::service_name::ServiceName;
use crate::settings::{self, Key};

/// The lines that the trigger `cron-entries` is answered with: `schedule;command;log file`, and the services whose
/// settings cannot be read, with the reason. Such a service must not spoil the lines of the others.
pub fn entries(host: &Host<'_>) -> (String, Vec<String>) {
    let log = host.dokku.environment().logs.join("pgbackup.log");
    let (mut text, mut broken) = (String::new(), Vec::new());
    let services = host.dokku.all_services().unwrap_or_else(|error| {
        broken.push(format!("all services: {error:#}"));
        Vec::new()
    });
    for service in services {
        destroyed::bring_back_if_free(host, &service);
        match host.settings_without_broken_global(&service.layout, &service.name) {
            Ok(settings) => {
                for (schedule, command) in
                    [(settings.schedule, "create"), (settings.verify_schedule, "verify")]
                {
                    let schedule = schedule.as_ref();
                    for expression in schedule.iter().flat_map(|schedule| schedule.expressions()) {
                        let command = command_line(command, &service.name);
                        let _ = writeln!(text, "{expression};{command};{}", log.display());
                    }
                }
            }
            Err(error) => broken.push(format!("{}: {error}", service.name)),
        }
    }
    (text, broken)
}

fn command_line(command: &str, service: &ServiceName) -> String {
    format!("dokku pgbackup:{command} {service} --scheduled")
}

/// Has dokku write its crontab anew, where that is not what the run is about.
pub fn rewrite(host: &Host<'_>) {
    if let Err(error) = Dokku::write_crontab() {
        host.progress.warn(&format!("dokku's crontab could not be written: {error}"));
    }
}

/// Sets a schedule. When dokku's crontab cannot be written with it, everything is as before: a crontab that dokku
/// refuses is nobody's any more.
pub fn set(host: &Host<'_>, path: &Path, key: &Key, value: Option<&str>) -> Result<()> {
    let before = settings::own_value(path, key)?;
    settings::set(path, key, value)?;
    let Err(error) = Dokku::write_crontab() else {
        return files::write_atomic(&layout::schedule_since(path), b"");
    };
    if let Err(also) = settings::set(path, key, before.as_deref()) {
        host.progress.warn(&format!("{} could not be set back: {also:#}", key.name));
    }
    rewrite(host);
    Err(Failure::tool(format!(
        "dokku's crontab could not be written, and {} is as it was: {error}",
        key.name
    ))
    .hint("see what is wrong, as root: dokku plugin:trigger scheduler-cron-write")
    .into())
}

/// The next times of a schedule, for people.
pub fn next_times(host: &Host<'_>, schedule: &Schedule, count: usize) -> Vec<String> {
    let now = host.now.with_timezone(&chrono::Local);
    let text = |time: &chrono::DateTime<chrono::Local>| time.format("%a %Y-%m-%d %H:%M %:z").to_string();
    schedule.next(&now, count).iter().map(text).collect()
}
