//! The backups at a remote: listed, found, and removed when the remote's own policy does not keep them.
//!
//! A backup there is a folder `<service>/<backup id>/` with the tar stream of the backup in parts, and `index.toml`, which
//! is written last: without it there is no backup. A part is an object of its own, and with encryption an age file of its
//! own. So an upload goes on at the part where it stopped, on every kind of store and without the state of an
//! encryption, and no unfinished upload lies hidden in the store and costs money.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::BackupId;
use crate::catalog::{self, Backup};
use crate::dokku::{Dokku, Service};
use crate::error::Failure;
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::layout::ServiceLayout;
use crate::manifest::Pool;
use crate::prune;
use crate::remote::{Object, Patience, Remote, place};
use crate::retention::{self, Candidate, Policies, Verdict};
use crate::service_name::ServiceName;

/// The version of the form in which backups lie at a remote.
pub const FORMAT: u32 = 1;
pub const INDEX: &str = "index.toml";
/// More than the parts of any backup take in an index.
const MAX_INDEX: u64 = 32 * 1024 * 1024;
/// Parts without an index, left by a push that never went on.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(7);

/// `index.toml`: all that can be read without a private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub format: u32,
    pub service: ServiceName,
    pub id: BackupId,
    pub pool: Pool,
    pub started_at: DateTime<Utc>,
    /// Of the backup's files, as in its manifest.
    pub size_bytes: u64,
    /// Whether each part is an age file.
    pub encrypted: bool,
    pub parts: Vec<Part>,
}

/// One object with a piece of the tar stream, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub size: u64,
    /// Of the object as it lies there.
    pub sha256: String,
}

impl Index {
    fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct OnlyFormat {
            format: u32,
        }
        let text = std::str::from_utf8(bytes).map_err(|_| anyhow!("its index is not UTF-8"))?;
        match toml::from_str::<OnlyFormat>(text) {
            Ok(only) if only.format > FORMAT => {
                bail!("it has format {}, and this pgbackup reads format {FORMAT}", only.format)
            }
            _ => {}
        }
        let index: Self =
            toml::from_str(text).map_err(|error| anyhow!("its index cannot be read: {}", error.message()))?;
        let is_name = |part: &Part| part.name.starts_with("part-") && !part.name.contains(['/', '\\']);
        if index.parts.is_empty() || !index.parts.iter().all(is_name) {
            bail!("its index names no parts, or strange ones");
        }
        Ok(index)
    }

    /// Bytes of all parts.
    pub fn stored_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }
}

/// One folder at a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsite {
    pub service: ServiceName,
    pub id: BackupId,
    /// Why it is not whole.
    pub state: Result<Index, String>,
    /// When the newest of its objects was written.
    modified: DateTime<Utc>,
    objects: Vec<String>,
}

impl Offsite {
    pub fn index(&self) -> Option<&Index> {
        self.state.as_ref().ok()
    }
}

/// The folder of a backup below the remote's prefix.
pub fn folder(service: &ServiceName, id: &BackupId) -> String {
    format!("{service}/{id}")
}

/// The remote of `service`, opened.
pub fn open(
    dokku: &Dokku,
    service: Option<&ServiceLayout>,
    patience: Patience,
    interrupt: Interrupt,
) -> Result<Remote> {
    let Some(place) = place::of(dokku.layout(), service)? else {
        return Err(Failure::refused("no remote is set")
            .hint("set one with: dokku pgbackup:remote-set <service>|--global s3://bucket/prefix")
            .into());
    };
    Remote::open(&place, patience, interrupt)
}

/// What lies at the remote of one service or, without a name, of all; newest first.
pub fn list(remote: &Remote, service: Option<&ServiceName>) -> Result<Vec<Offsite>> {
    let objects = remote.list(service.map_or("", ServiceName::as_str))?;
    let mut folders: BTreeMap<(ServiceName, BackupId), Vec<Object>> = BTreeMap::new();
    for object in objects {
        let mut words = object.key.split('/');
        let (Some(name), Some(id), Some(_), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if let (Ok(name), Ok(id)) = (name.parse(), id.parse()) {
            folders.entry((name, id)).or_default().push(object);
        }
    }
    let mut found: Vec<Offsite> = Vec::new();
    for ((service, id), objects) in folders {
        found.push(look(remote, service, id, &objects)?);
    }
    found.sort_by(|a, b| (&a.service, &b.id).cmp(&(&b.service, &a.id)));
    Ok(found)
}

fn look(remote: &Remote, service: ServiceName, id: BackupId, objects: &[Object]) -> Result<Offsite> {
    let key = format!("{}/{INDEX}", folder(&service, &id));
    let state = if objects.iter().any(|object| object.key == key) {
        match remote.get(&key, MAX_INDEX)? {
            None => Err("its index is gone".to_owned()),
            Some(bytes) => Index::parse(&bytes)
                .and_then(|index| complete(index, &service, &id, objects))
                .map_err(|error| error.to_string()),
        }
    } else {
        Err("it was not taken there to its end".to_owned())
    };
    let modified = objects.iter().map(|object| object.modified).max().unwrap_or_default();
    let objects = objects.iter().map(|object| object.key.clone()).collect();
    Ok(Offsite { service, id, state, modified, objects })
}

/// The index, if it is that of this folder and every part is there in its size.
fn complete(index: Index, service: &ServiceName, id: &BackupId, objects: &[Object]) -> Result<Index> {
    if index.id != *id || index.service != *service {
        bail!("its index is that of {} of {}", index.id, index.service);
    }
    for part in &index.parts {
        let key = format!("{}/{}", folder(service, id), part.name);
        match objects.iter().find(|object| object.key == key) {
            None => bail!("{} is missing", part.name),
            Some(object) if object.size != part.size => {
                bail!("{} has {} bytes, and {} were sent", part.name, object.size, part.size)
            }
            Some(_) => {}
        }
    }
    Ok(index)
}

/// The backup at the remote that `wanted` names: an id, an unambiguous beginning of one, or `None` for the newest whole one.
pub fn find(remote: &Remote, service: &ServiceName, wanted: Option<&str>) -> Result<Offsite> {
    let hint = format!("see the ones there are with: dokku pgbackup:list {service} --remote");
    let all = list(remote, Some(service))?;
    let Some(wanted) = wanted else {
        return all.into_iter().find(|offsite| offsite.state.is_ok()).ok_or_else(|| {
            Failure::not_found(format!("{} has no whole backup of {service}", remote.shown)).hint(hint).into()
        });
    };
    let mut matching: Vec<Offsite> = all
        .into_iter()
        .filter(|offsite| !wanted.is_empty() && offsite.id.as_str().starts_with(wanted))
        .collect();
    match matching.len() {
        0 => Err(Failure::not_found(format!("{} has no backup {wanted:?} of {service}", remote.shown))
            .hint(hint)
            .into()),
        1 => {
            let found = matching.remove(0);
            match &found.state {
                Ok(_) => Ok(found),
                Err(why) => Err(Failure::refused(format!(
                    "backup {} at {} is not whole: {why}",
                    found.id, remote.shown
                ))
                .hint(hint)
                .into()),
            }
        }
        count => Err(Failure::usage(format!("{wanted} stands for {count} backups of {service}"))
            .hint("type more of the id")
            .into()),
    }
}

/// Removes what the remote's own policy does not keep, counted from what is really there, and what pushes left that never
/// went on. The newest whole backup and the newest proven one stay, as at home.
pub fn prune(
    host: &Host<'_>,
    service: &Service,
    remote: &Remote,
    policies: &Policies,
) -> Result<Vec<BackupId>> {
    let found = list(remote, Some(&service.name))?;
    let here = catalog::whole(catalog::list(&service.layout)?);
    let candidates: Vec<Candidate> =
        found.iter().filter_map(|offsite| Some(candidate(offsite.index()?, &here))).collect();
    let now = host.time().with_timezone(&chrono::Local);
    let going: BTreeSet<BackupId> = retention::decide(&candidates, policies, &now)
        .into_iter()
        .filter(|decision| decision.verdict == Verdict::Remove)
        .map(|decision| decision.id)
        .collect();
    let mut removed = Vec::new();
    for offsite in found {
        host.check()?;
        let is_forgotten = offsite.state.is_err()
            && host.time() - offsite.modified > FORGOTTEN_AFTER
            && !here.iter().any(|backup| backup.id == offsite.id)
            && !offsite.objects.iter().any(|key| key.ends_with(INDEX));
        if going.contains(&offsite.id) || is_forgotten {
            remove(remote, &offsite)?;
            removed.push(offsite.id);
        }
    }
    Ok(removed)
}

/// Of a backup that is here, too, more is known.
fn candidate(index: &Index, here: &[Backup]) -> Candidate {
    let own = here.iter().find(|backup| backup.id == index.id).map(prune::candidate);
    own.unwrap_or(Candidate {
        id: index.id.clone(),
        pool: index.pool,
        at: index.started_at,
        good: true,
        verified: false,
        pinned: false,
    })
}

/// The index first: what is left of a removal that was interrupted is no backup any more.
fn remove(remote: &Remote, offsite: &Offsite) -> Result<()> {
    let (indexes, parts): (Vec<&String>, Vec<&String>) =
        offsite.objects.iter().partition(|key| key.ends_with(INDEX));
    indexes.into_iter().chain(parts).try_for_each(|key| remote.delete(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(part: &str) -> String {
        format!(
            "format = 1\nservice = \"db\"\nid = \"20261122T235901Z-k3f9\"\npool = \"manual\"\n\
             started_at = \"2026-11-22T23:59:01Z\"\nsize_bytes = 1\nencrypted = false\n\
             [[parts]]\nname = \"{part}\"\nsize = 3\nsha256 = \"00\"\n"
        )
    }

    #[test]
    fn an_index_is_not_believed() {
        assert!(Index::parse(index("part-000001.tar").as_bytes()).is_ok());
        for part in ["part-/../x", "x", "../part-1"] {
            assert!(Index::parse(index(part).as_bytes()).is_err(), "{part}");
        }
        let future = Index::parse(b"format = 2\n").unwrap_err().to_string();
        assert!(future.contains("format 2"), "{future}");
        let parsed = Index::parse(index("part-000001.tar").as_bytes()).unwrap();
        let (service, id) = ("db".parse().unwrap(), parsed.id.clone());
        let object = |size| Object {
            key: "db/20261122T235901Z-k3f9/part-000001.tar".into(),
            size,
            modified: DateTime::UNIX_EPOCH,
        };
        assert!(complete(parsed.clone(), &service, &id, &[object(3)]).is_ok());
        assert!(complete(parsed.clone(), &service, &id, &[object(2)]).is_err());
        assert!(complete(parsed.clone(), &service, &id, &[]).is_err());
        assert!(complete(parsed, &"other".parse().unwrap(), &id, &[object(3)]).is_err());
    }
}
