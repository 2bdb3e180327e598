//! The backups at a remote: listed, found, and removed when the remote's own policy does not keep them.
//!
//! A backup there is a folder `<service>/<backup id>/` with the tar stream of the backup in parts, and `index.toml`, which
//! is written last: without it there is no backup. A part is an object of its own, and with encryption an age file of its
//! own. So an upload goes on at the part where it stopped, on every kind of store and without the state of an
//! encryption, and no unfinished upload lies hidden in the store and costs money.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::BackupId;
use crate::catalog::{self, Backup};
use crate::dokku::{Dokku, Service};
use crate::error::{self, Failure, Kind};
use crate::files;
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::layout::ServiceLayout;
use crate::manifest::Pool;
use crate::pg_version::PgVersion;
use crate::prune;
use crate::remote::{Object, Patience, Remote, place};
use crate::retention::{self, Candidate, Policies, Verdict};
use crate::service_name::ServiceName;

/// The version of the form in which backups lie at a remote.
pub const FORMAT: u32 = 1;
pub const INDEX: &str = "index.toml";
/// How the names of parts end.
pub const PLAIN: &str = ".tar";
pub const ENCRYPTED: &str = ".tar.age";
/// More than the parts of any backup take in an index.
const MAX_INDEX: u64 = 256 * 1024 * 1024;
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
    /// Of the server, as in the manifest: which service it can be restored into is to be known before it is fetched. Older
    /// indexes do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version_num: Option<PgVersion>,
    /// Of the backup's files, as in its manifest.
    pub size_bytes: u64,
    /// Whether each part is an age file.
    pub encrypted: bool,
    /// SHA-256 of the public keys that it is encrypted for, so that a push knows whether they are still the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients_sha256: Option<String>,
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
    /// Of a whole one, bytes of all parts.
    pub stored_bytes: u64,
    has_index: bool,
    /// When the newest of its objects was written.
    modified: DateTime<Utc>,
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

/// What lies at the remote of one service or, without a name, of all; newest first. Without the parts of each, which
/// together may be many.
pub fn list(remote: &Remote, service: Option<&ServiceName>) -> Result<Vec<Offsite>> {
    let mut found: Vec<Offsite> = Vec::new();
    for ((service, id), objects) in folders(remote, service)? {
        let mut offsite = look(remote, service, id, &objects)?;
        if let Ok(index) = &mut offsite.state {
            index.parts = Vec::new();
        }
        found.push(offsite);
    }
    found.sort_by(|a, b| (&a.service, &b.id).cmp(&(&b.service, &a.id)));
    Ok(found)
}

/// The objects of each backup.
fn folders(
    remote: &Remote,
    service: Option<&ServiceName>,
) -> Result<BTreeMap<(ServiceName, BackupId), Vec<Object>>> {
    let mut folders: BTreeMap<(ServiceName, BackupId), Vec<Object>> = BTreeMap::new();
    for object in remote.list(service.map_or("", ServiceName::as_str))? {
        let mut words = object.key.split('/');
        let (Some(name), Some(id), Some(_), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if let (Ok(name), Ok(id)) = (name.parse(), id.parse()) {
            folders.entry((name, id)).or_default().push(object);
        }
    }
    Ok(folders)
}

/// Whether the newest backup there whose upload came to its end is encrypted: of the service, or where it has none there, of
/// all. Names tell it, so nothing is read. `None` without any.
pub fn is_newest_encrypted(remote: &Remote, service: &ServiceName) -> Result<Option<bool>> {
    let newest_in = |service| -> Result<Option<bool>> {
        let mut found: Vec<_> = folders(remote, service)?.into_iter().collect();
        found.retain(|(_, objects)| objects.iter().any(|object| object.key.ends_with(&format!("/{INDEX}"))));
        let newest = found.into_iter().max_by(|((_, one), _), ((_, other), _)| one.cmp(other));
        Ok(newest.map(|(_, objects)| objects.iter().any(|object| object.key.ends_with(ENCRYPTED))))
    };
    newest_in(Some(service))?.map_or_else(|| newest_in(None), |found| Ok(Some(found)))
}

/// What lies there of one backup, with its parts; `None` when nothing does.
pub fn of_backup(remote: &Remote, service: &ServiceName, id: &BackupId) -> Result<Option<Offsite>> {
    let objects = remote.list(&folder(service, id))?;
    if objects.is_empty() {
        return Ok(None);
    }
    look(remote, service.clone(), id.clone(), &objects).map(Some)
}

fn look(remote: &Remote, service: ServiceName, id: BackupId, objects: &[Object]) -> Result<Offsite> {
    let key = format!("{}/{INDEX}", folder(&service, &id));
    let has_index = objects.iter().any(|object| object.key == key);
    let state = if has_index {
        match remote.get(&key, MAX_INDEX) {
            Ok(None) => Err("its index is gone".to_owned()),
            Ok(Some(bytes)) => Index::parse(&bytes)
                .and_then(|index| complete(index, &service, &id, objects))
                .map_err(|error| error.to_string()),
            Err(error) if matches!(error::kind_of(&error), Kind::Interrupted(_)) => return Err(error),
            // One that cannot be read (it may be in a store's archive) does not hide the others.
            Err(error) => Err(format!("its index cannot be had: {error}")),
        }
    } else {
        Err("it was not taken there to its end".to_owned())
    };
    let stored_bytes = state.as_ref().map_or(0, Index::stored_bytes);
    let modified = objects.iter().map(|object| object.modified).max().unwrap_or_default();
    Ok(Offsite { service, id, state, stored_bytes, has_index, modified })
}

/// The index, if it is that of this folder and every part is there in its size.
fn complete(index: Index, service: &ServiceName, id: &BackupId, objects: &[Object]) -> Result<Index> {
    if index.id != *id || index.service != *service {
        bail!("its index is that of {} of {}", index.id, index.service);
    }
    let prefix = format!("{}/", folder(service, id));
    let there: HashMap<&str, u64> =
        objects.iter().filter_map(|object| Some((object.key.strip_prefix(&prefix)?, object.size))).collect();
    let mut named = BTreeSet::new();
    for part in &index.parts {
        match there.get(part.name.as_str()) {
            _ if !named.insert(&part.name) => bail!("its index names {} twice", part.name),
            None => bail!("{} is missing", part.name),
            Some(size) if *size != part.size => {
                bail!("{} has {size} bytes, and {} were sent", part.name, part.size)
            }
            Some(_) => {}
        }
    }
    Ok(index)
}

/// The backup at the remote that `wanted` names: an id, an unambiguous beginning of one, or `None` for the newest whole one.
pub fn find(remote: &Remote, service: &ServiceName, wanted: Option<&str>) -> Result<Offsite> {
    choose(remote, list(remote, Some(service))?, service, wanted)
}

/// The one that is meant of `all` that the remote has of the service.
pub fn choose(
    remote: &Remote,
    all: Vec<Offsite>,
    service: &ServiceName,
    wanted: Option<&str>,
) -> Result<Offsite> {
    let hint = format!("see the ones there are with: dokku pgbackup:list {service} --remote");
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
        1 => Ok(matching.remove(0)),
        count => {
            let names: Vec<&str> = matching.iter().map(|one| one.id.as_str()).take(5).collect();
            let message = format!("{wanted} stands for {count} backups of {service}: {}", names.join(", "));
            Err(Failure::usage(message).hint("type more of the id").into())
        }
    }
}

/// The same, which must be whole; with its parts.
pub fn find_whole(remote: &Remote, service: &ServiceName, wanted: Option<&str>) -> Result<(Offsite, Index)> {
    let found = find(remote, service, wanted)?;
    let refused = |why: &str| {
        Failure::refused(format!("backup {} at {} is not whole: {why}", found.id, remote.shown))
            .hint(format!("see the ones there are with: dokku pgbackup:list {service} --remote"))
    };
    let again = of_backup(remote, service, &found.id)?.ok_or_else(|| refused("it is gone"))?;
    match again.state.clone() {
        Ok(index) => Ok((again, index)),
        Err(why) => Err(refused(&why).into()),
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
    let known = Known::updated(service, &here, &found);
    let candidates: Vec<Candidate> =
        found.iter().filter_map(|offsite| Some(known.candidate(offsite.index()?))).collect();
    let now = host.time().with_timezone(&chrono::Local);
    let decisions = retention::decide(&candidates, policies, &now);
    if let Some(wrong) = decisions.iter().find_map(|decision| decision.verdict.misdated()) {
        host.progress.warn(&format!(
            "the date of {wrong} or the clock is wrong: nothing is removed from {} any more",
            remote.shown
        ));
    }
    let going: BTreeSet<BackupId> = decisions
        .into_iter()
        .filter(|decision| decision.verdict == Verdict::Remove)
        .map(|decision| decision.id)
        .collect();
    let mut removed = Vec::new();
    for offsite in found {
        host.check()?;
        let is_forgotten = !offsite.has_index
            && host.time() - offsite.modified > FORGOTTEN_AFTER
            && !here.iter().any(|backup| backup.id == offsite.id);
        if going.contains(&offsite.id) || is_forgotten {
            remove(remote, &offsite.service, &offsite.id)?;
            removed.push(offsite.id);
        }
    }
    Ok(removed)
}

/// What was known of backups when they were still here too: whether they were good, proven, pinned. Without it, one that
/// was found bad would count as good once it is only there, and a proven one as any other.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    #[serde(default)]
    backups: BTreeMap<String, Verdicts>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Verdicts {
    good: bool,
    verified: bool,
    pinned: bool,
}

impl Known {
    fn updated(service: &Service, here: &[Backup], there: &[Offsite]) -> Self {
        let path = service.layout.known_offsite();
        let bytes = files::read_bounded(&path, MAX_INDEX).unwrap_or_default();
        let mut known: Self = toml::from_str(&String::from_utf8_lossy(&bytes)).unwrap_or_default();
        known.backups.retain(|id, _| there.iter().any(|offsite| offsite.id.as_str() == id));
        for backup in here.iter().filter(|backup| there.iter().any(|offsite| offsite.id == backup.id)) {
            let Candidate { good, verified, pinned, .. } = prune::candidate(backup);
            known.backups.insert(backup.id.to_string(), Verdicts { good, verified, pinned });
        }
        // What cannot be remembered counts as good the next time, which removes nothing that is not replaced.
        let written = toml::to_string(&known).map_err(anyhow::Error::from);
        let _ = written.and_then(|text| files::write_atomic(&path, text.as_bytes()));
        known
    }

    fn candidate(&self, index: &Index) -> Candidate {
        let unknown = Verdicts { good: true, verified: false, pinned: false };
        let Verdicts { good, verified, pinned } =
            self.backups.get(index.id.as_str()).copied().unwrap_or(unknown);
        Candidate { id: index.id.clone(), pool: index.pool, at: index.started_at, good, verified, pinned }
    }
}

/// Removes a backup at the remote. The index goes first: what is left of a removal that was interrupted is no backup.
pub fn remove(remote: &Remote, service: &ServiceName, id: &BackupId) -> Result<()> {
    let folder = folder(service, id);
    remote.delete(&format!("{folder}/{INDEX}"))?;
    remote.list(&folder)?.iter().try_for_each(|object| remote.delete(&object.key))
}

/// Removes what lies in a backup's folder and is none of it: parts that an earlier push sent for other keys, or for none.
pub fn remove_strays(remote: &Remote, index: &Index) -> Result<()> {
    let folder = folder(&index.service, &index.id);
    let names: BTreeSet<String> = index.parts.iter().map(|part| format!("{folder}/{}", part.name)).collect();
    let own = format!("{folder}/{INDEX}");
    let is_stray = |object: &&Object| object.key != own && !names.contains(&object.key);
    remote.list(&folder)?.iter().filter(is_stray).try_for_each(|object| remote.delete(&object.key))
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
        let old = Index::parse(index("part-000001.tar").as_bytes()).unwrap();
        assert_eq!(old.server_version_num, None);
        let new = format!("server_version_num = 170012\n{}", index("part-000001.tar"));
        assert_eq!(Index::parse(new.as_bytes()).unwrap().server_version_num, Some(PgVersion(170_012)));
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
