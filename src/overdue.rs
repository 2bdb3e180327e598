//! Telling of services whose scheduled backup was not made. Every scheduled run looks at all of them: the one that does
//! not happen cannot.

use crate::dokku::Service;
use crate::host::Host;
use crate::notify::{self, Happening, Message};
use crate::service_name::ServiceName;
use crate::status::Status;
use crate::units;

/// Whoever may not use a service is not told of it: not only cron can start such a run.
pub fn tell(host: &Host<'_>) {
    let shown: Vec<ServiceName> =
        host.dokku.services().unwrap_or_default().into_iter().map(|service| service.name).collect();
    for service in host.dokku.all_services().unwrap_or_default() {
        let Some(what) = trouble(host, &service) else { continue };
        if shown.contains(&service.name) {
            host.progress.warn(&format!("{}: {what}", service.name));
        }
        let Some(settings) = host.settings_for_sure(&service) else { continue };
        let message = Message {
            event: Happening::Overdue,
            service: service.name.to_string(),
            host: host.name(),
            at: host.now,
            backup: None,
            pool: None,
            message: what,
        };
        notify::tell(host, &settings.notify, &message);
    }
}

/// Settings that cannot be read are a schedule that nobody keeps.
fn trouble(host: &Host<'_>, service: &Service) -> Option<String> {
    let status = Status::of(host, service);
    if let Some(why) = &status.unreadable {
        return Some(why.clone());
    }
    match &status.settings {
        Err(error) => Some(format!("it is not backed up by itself: {error}")),
        Ok(_) => status.overdue_since.map(|due| format!("the backup of {} was not made", units::local(due))),
    }
}
