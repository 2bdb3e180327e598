//! What a push has sent already, so that the next one goes on there.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::BackupId;
use crate::catalog::Backup;
use crate::dokku::Service;
use crate::encryption::Recipients;
use crate::files;
use crate::host::Host;
use crate::offsite::{self, Part};
use crate::remote::Remote;

use super::sending::PART;

/// Of a journal: a line for each part.
const MAX_JOURNAL: u64 = 64 * 1024 * 1024;

/// The journal of this push, and those of backups that are not here any more.
pub(super) fn forget_journals(service: &Service, id: &BackupId) -> Result<()> {
    files::remove_tree(&service.layout.push_journal(id))?;
    for entry in std::fs::read_dir(service.layout.pushing())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let other = name.strip_suffix(".jsonl").and_then(|id| id.parse::<BackupId>().ok());
        if other.is_some_and(|other| !service.layout.backup(&other).exists()) {
            files::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// A part as the journal knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sent {
    pub number: usize,
    #[serde(flatten)]
    pub part: Part,
}

/// What the parts in a journal were sent to, and for whom. They are of no use for anything else.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Purpose {
    remote: String,
    endpoint: Option<String>,
    recipients: Option<String>,
    part_bytes: usize,
    started_at: DateTime<Utc>,
}

/// The first line of a journal.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    purpose: Purpose,
    /// In the names of its parts, so that they never replace those of another push.
    series: String,
}

/// `pushing/<backup>.jsonl`: the header, then a line for each part that was sent and read back.
pub(super) struct Journal {
    pub path: std::path::PathBuf,
    pub series: String,
    pub done: BTreeMap<usize, Part>,
}

impl Journal {
    pub fn open(
        service: &Service,
        backup: &Backup,
        remote: &Remote,
        recipients: Option<&Recipients>,
    ) -> Result<Self> {
        let path = service.layout.push_journal(&backup.id);
        let purpose = Purpose {
            remote: remote.shown.clone(),
            endpoint: remote.endpoint.clone(),
            recipients: recipients.map(ToString::to_string),
            part_bytes: PART,
            started_at: backup.manifest.started_at,
        };
        let folder = offsite::folder(&service.name, &backup.id);
        if let Some((series, sent)) = Self::read(&path, &purpose) {
            // That it cannot be asked now is no reason to begin anew.
            let there: HashMap<String, u64> =
                remote.list(&folder)?.into_iter().map(|object| (object.key, object.size)).collect();
            let is_there =
                |sent: &Sent| there.get(&format!("{folder}/{}", sent.part.name)) == Some(&sent.part.size);
            let done = sent.into_iter().filter(is_there).map(|sent| (sent.number, sent.part)).collect();
            return Ok(Journal { path, series, done });
        }
        let id = Host::new_id_at(backup.manifest.started_at)?;
        let series = id.as_str().rsplit('-').next().unwrap_or_default().to_owned();
        files::remove_tree(&path)?;
        files::append_line(&path, &serde_json::to_string(&Header { purpose, series: series.clone() })?)?;
        Ok(Journal { path, series, done: BTreeMap::new() })
    }

    /// `None` when there is none for this purpose.
    fn read(path: &std::path::Path, purpose: &Purpose) -> Option<(String, Vec<Sent>)> {
        let text = String::from_utf8(files::read_bounded(path, MAX_JOURNAL).ok()?).ok()?;
        let mut lines = text.lines();
        let header: Header = serde_json::from_str(lines.next()?).ok()?;
        // The last line may be half of one.
        let sent = lines.filter_map(|line| serde_json::from_str::<Sent>(line).ok()).collect();
        (header.purpose == *purpose).then_some((header.series, sent))
    }
}
