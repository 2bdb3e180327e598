//! What was done to a service: a line of JSON for each run, the newest at the end, of bounded size.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{self, Kind};
use crate::files;
use crate::layout::ServiceLayout;

/// Beyond this the older half goes.
const MAX_SIZE: u64 = 1024 * 1024;

/// The commands whose failure means that backups are not made, not proven, or not off the server.
pub const WATCHED: [&str; 3] = ["create", "verify", "push"];

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: DateTime<Utc>,
    /// `create`, `verify`, `restore`, …
    pub command: String,
    /// The ssh key's name, or the user at the server's shell; `schedule` and `deploy` for themselves.
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The backups that were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    pub good: bool,
    /// The exit code of the run.
    pub code: u8,
    /// What went wrong, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub duration_ms: u64,
}

impl Event {
    /// How a run of `command` ended.
    pub fn of<T>(command: &str, who: &str, at: DateTime<Utc>, ended: &Result<T>, duration: Duration) -> Self {
        Event {
            at,
            command: command.to_owned(),
            who: who.to_owned(),
            backup: None,
            pool: None,
            ids: Vec::new(),
            good: ended.is_ok(),
            code: ended.as_ref().err().map_or(0, error::exit_code),
            message: ended.as_ref().err().map(|error| format!("{error:#}")),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Event {
    /// Whether it says something of the service. That the user stopped it, mistyped it, or that another run was at work,
    /// does not.
    pub fn is_telling(&self) -> bool {
        let by_hand = self.pool.as_deref().is_none_or(|pool| pool == "manual");
        let is_nothing = [Kind::Usage, Kind::Busy].iter().any(|kind| kind.exit_code() == self.code);
        self.code < 128 && !(by_hand && is_nothing)
    }
}

/// Writes an event down.
pub fn append(service: &ServiceLayout, event: &Event) -> Result<()> {
    let path = service.history();
    files::create_private_folders_in(service.root(), &service.own())?;
    if path.metadata().is_ok_and(|metadata| metadata.len() > MAX_SIZE) {
        let text = files::read_bounded(&path, 4 * MAX_SIZE)?;
        let middle = text.len() / 2;
        let start =
            text[middle..].iter().position(|byte| *byte == b'\n').map_or(middle, |at| middle + at + 1);
        files::write_atomic(&path, &text[start..])?;
    }
    files::append_line(&path, &serde_json::to_string(event)?)
}

/// Puts the lines of `older` before those of `service`.
pub fn put_before(service: &ServiceLayout, older: &ServiceLayout) -> Result<()> {
    let mut lines = lines(older)?;
    if lines.is_empty() {
        return Ok(());
    }
    lines.extend(self::lines(service)?);
    files::write_atomic(&service.history(), &lines)
}

/// The whole file; nothing where there is none.
fn lines(service: &ServiceLayout) -> Result<Vec<u8>> {
    let path = service.history();
    if files::exists(&path)? { files::read_bounded(&path, 4 * MAX_SIZE) } else { Ok(Vec::new()) }
}

/// All events, newest first. Lines that cannot be read are left out.
pub fn read(service: &ServiceLayout) -> Result<Vec<Event>> {
    let text = String::from_utf8_lossy(&lines(service)?).into_owned();
    let mut events: Vec<Event> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    events.reverse();
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn events_come_back_newest_first_and_the_oldest_go() {
        let root = tempfile::tempdir().unwrap();
        let service = Layout::new(root.path()).service(&"db".parse().unwrap());
        assert!(read(&service).unwrap().is_empty());
        files::create_private_folders(service.root()).unwrap();
        let event = |number: u64| {
            let failed: Result<()> = Err(anyhow::anyhow!("{}", "x".repeat(2000)));
            Event::of("create", "admin", DateTime::UNIX_EPOCH, &failed, Duration::from_millis(number))
        };
        for number in 0..1500 {
            append(&service, &event(number)).unwrap();
        }
        let events = read(&service).unwrap();
        assert_eq!(events[0].duration_ms, 1499);
        assert!(events.len() < 1100 && service.history().metadata().unwrap().len() < 2 * MAX_SIZE);
        assert_eq!((events[0].good, events[0].code), (false, 1));
        let newer = Layout::new(root.path()).service(&"new".parse().unwrap());
        files::create_private_folders(newer.root()).unwrap();
        append(&newer, &event(2000)).unwrap();
        put_before(&newer, &service).unwrap();
        let both = read(&newer).unwrap();
        assert_eq!((both.len(), both[0].duration_ms, &both[1..]), (events.len() + 1, 2000, &events[..]));
    }
}
