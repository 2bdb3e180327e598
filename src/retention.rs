//! Which backups of a service stay and which go, as a pure function of the list, the policies and the time.
//!
//! An automatic pool keeps its last good backups and the *first* good one of each of the newest days, weeks
//! and months that have one.
//!
//! The first one, because it never loses its slot to a later one: what is kept for a month stays until the
//! policy leaves that month, and a newcomer that nobody has verified drives nothing out of it. (With the
//! newest one, a month's slot would go to an unproven backup every night.) While a month is not over, the
//! last ones stand for its end. Slots are counted over the days, weeks and months that have a good backup,
//! not back from the clock: when backups stop, nothing ages away.
//!
//! That makes it stable: newer backups never bring back a good one that is not kept now, and those that are
//! kept with them are kept now. So pruning after every backup keeps exactly what pruning once at the end
//! would (a property test says so).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Datelike, IsoWeek, NaiveDate, TimeDelta, TimeZone, Utc};

use crate::backup_id::BackupId;
use crate::manifest::Pool;

/// Clocks that are set by the network are off by less.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// What is to be known of a backup to decide about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: BackupId,
    pub pool: Pool,
    /// When it was started.
    pub at: DateTime<Utc>,
    /// No verification found it bad.
    pub good: bool,
    /// Its last verification, at level archive or drill, found it good.
    pub verified: bool,
    pub pinned: bool,
}

/// How many good backups of a pool are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest ones. One at least, unless nothing at all is asked for: what was just made must not go at
    /// once.
    pub last: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
}

/// The automatic pools. Backups of the others are kept until somebody deletes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policies {
    pub scheduled: Policy,
    pub deploy: Policy,
}

impl Default for Policies {
    fn default() -> Self {
        Policies {
            scheduled: Policy { last: 3, daily: 7, weekly: 4, monthly: 6 },
            deploy: Policy { last: 5, ..Policy::default() },
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub id: BackupId,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// With one reason at least.
    Keep(Vec<Reason>),
    Remove,
}

impl Verdict {
    /// The backup whose date keeps everything.
    pub fn misdated(&self) -> Option<&BackupId> {
        let Verdict::Keep(reasons) = self else { return None };
        reasons.iter().find_map(|reason| if let Reason::Misdated(id) = reason { Some(id) } else { None })
    }
}

/// Why a backup is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Of the service, over all pools.
    NewestGood,
    /// Of the service, over all pools.
    NewestVerified,
    Pinned,
    /// Its pool is not automatic.
    UntilDeleted(Pool),
    /// One of so many.
    Last(u32),
    Slot(Slot),
    /// No rule keeps it, but it was being read, or was changed, when it should have gone.
    InUse,
    /// It is bad, but may be all there is of the latest data.
    BadButLatest(Pool),
    /// The date of this backup (or the clock) is wrong, so that no age can be trusted.
    Misdated(BackupId),
}

/// A day, week or month in the zone of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    Day(NaiveDate),
    Week(IsoWeek),
    Month { year: i32, month: u32 },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NewestGood => write!(f, "newest good one"),
            Reason::NewestVerified => write!(f, "newest verified one"),
            Reason::Pinned => write!(f, "pinned"),
            Reason::UntilDeleted(pool) => write!(f, "pool {} is kept until deleted", pool.as_str()),
            Reason::Last(1) => write!(f, "the last one"),
            Reason::Last(count) => write!(f, "one of the last {count}"),
            Reason::InUse => write!(f, "in use; no rule keeps it the next time"),
            Reason::Slot(slot) => write!(f, "{slot}"),
            Reason::BadButLatest(pool) => {
                write!(f, "bad, but no newer good one of pool {} is kept", pool.as_str())
            }
            Reason::Misdated(id) => write!(f, "the date of {id} or the clock is wrong: nothing is removed"),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Day(day) => write!(f, "day {day}"),
            Slot::Week(week) => write!(f, "week {}-W{:02}", week.year(), week.week()),
            Slot::Month { year, month } => write!(f, "month {year}-{month:02}"),
        }
    }
}

/// What is kept so far, and why.
type Kept<'a> = BTreeMap<&'a BackupId, Vec<Reason>>;

/// What happens to each backup of a service, newest first. Days, weeks and months are those of the zone of
/// `now`.
pub fn decide<Tz: TimeZone>(backups: &[Candidate], policies: &Policies, now: &DateTime<Tz>) -> Vec<Decision> {
    let backups = newest_first(backups);
    let mut kept = Kept::new();
    if let Some(wrong) = misdated(&backups, now.to_utc()) {
        backups.iter().for_each(|backup| keep(&mut kept, backup, Reason::Misdated(wrong.id.clone())));
    } else {
        protect(&backups, &mut kept);
        for (pool, policy) in [(Pool::Scheduled, policies.scheduled), (Pool::Deploy, policies.deploy)] {
            let members: Vec<_> = backups.iter().copied().filter(|backup| backup.pool == pool).collect();
            let good: Vec<_> = members.iter().copied().filter(|backup| backup.good).collect();
            keep_last(&good, policy, &mut kept);
            keep_slots(&good, policy, &now.timezone(), &mut kept);
            keep_unreplaced(&members, &mut kept);
        }
    }
    let verdict = |id| kept.get(id).map_or(Verdict::Remove, |reasons| Verdict::Keep(reasons.clone()));
    backups.iter().map(|backup| Decision { id: backup.id.clone(), verdict: verdict(&backup.id) }).collect()
}

/// For a limit on size: what may go beyond what the policies remove, in the order in which it should. The
/// caller removes one after the other until there is room; what that frees is only known afterwards, as
/// backups share files.
///
/// Oldest first, but bad ones before good ones: a service whose backups all turn out bad must not lose its
/// good ones to them. The latest of a pool stays though it is bad, and where nothing is good, nothing goes.
pub fn shrink<Tz: TimeZone>(backups: &[Candidate], now: &DateTime<Tz>) -> Vec<BackupId> {
    let backups = newest_first(backups);
    if misdated(&backups, now.to_utc()).is_some() || !backups.iter().any(|backup| backup.good) {
        return Vec::new();
    }
    let mut kept = Kept::new();
    protect(&backups, &mut kept);
    let is_latest = |backup: &Candidate| {
        backups.iter().find(|other| other.pool == backup.pool).is_some_and(|latest| latest.id == backup.id)
    };
    let may_go = |backup: &&&Candidate| !kept.contains_key(&backup.id) && (backup.good || !is_latest(backup));
    let mut going: Vec<&Candidate> = backups.iter().rev().filter(may_go).copied().collect();
    going.sort_by_key(|backup| backup.good); // Stable: still oldest first.
    going.into_iter().map(|backup| backup.id.clone()).collect()
}

/// Equal times are ordered by the ids, so that the answer never depends on the order of the list.
fn newest_first(backups: &[Candidate]) -> Vec<&Candidate> {
    let mut sorted: Vec<&Candidate> = backups.iter().collect();
    sorted.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
    sorted
}

/// A backup from the future, or whose date is not that of its id, or that is there twice.
fn misdated<'a>(backups: &[&'a Candidate], now: DateTime<Utc>) -> Option<&'a Candidate> {
    let mut seen = BTreeSet::new();
    backups.iter().copied().find(|backup| {
        backup.at - now > CLOCK_TOLERANCE
            || (backup.at - backup.id.time()).abs() > CLOCK_TOLERANCE
            || !seen.insert(&backup.id)
    })
}

fn keep<'a>(kept: &mut Kept<'a>, backup: &'a Candidate, reason: Reason) {
    kept.entry(&backup.id).or_default().push(reason);
}

/// What neither a policy nor a limit on size removes.
fn protect<'a>(backups: &[&'a Candidate], kept: &mut Kept<'a>) {
    if let Some(newest) = backups.iter().find(|backup| backup.good) {
        keep(kept, newest, Reason::NewestGood);
    }
    if let Some(newest) = backups.iter().find(|backup| backup.good && backup.verified) {
        keep(kept, newest, Reason::NewestVerified);
    }
    for backup in backups {
        if backup.pinned {
            keep(kept, backup, Reason::Pinned);
        }
        match backup.pool {
            Pool::Scheduled | Pool::Deploy => {}
            Pool::Manual | Pool::Final | Pool::Imported => {
                keep(kept, backup, Reason::UntilDeleted(backup.pool));
            }
        }
    }
}

fn keep_last<'a>(good: &[&'a Candidate], policy: Policy, kept: &mut Kept<'a>) {
    let count = if policy == Policy::default() { 0 } else { policy.last.max(1) };
    for backup in good.iter().take(size(count)) {
        keep(kept, backup, Reason::Last(count));
    }
}

fn keep_slots<'a, Tz: TimeZone>(good: &[&'a Candidate], policy: Policy, zone: &Tz, kept: &mut Kept<'a>) {
    type SlotOf = fn(NaiveDate) -> Slot;
    let kinds: [(u32, SlotOf); 3] = [
        (policy.daily, Slot::Day),
        (policy.weekly, |date| Slot::Week(date.iso_week())),
        (policy.monthly, |date| Slot::Month { year: date.year(), month: date.month() }),
    ];
    for (count, slot_of) in kinds {
        let mut firsts = BTreeMap::new();
        for backup in good {
            // From new to old: what stays in the map is the first one of its slot.
            firsts.insert(slot_of(backup.at.with_timezone(zone).date_naive()), *backup);
        }
        for (slot, backup) in firsts.into_iter().rev().take(size(count)) {
            keep(kept, backup, Reason::Slot(slot));
        }
    }
}

/// Bad ones go when a newer good one of their pool stays. Until then they may be better than nothing.
fn keep_unreplaced<'a>(members: &[&'a Candidate], kept: &mut Kept<'a>) {
    for backup in members {
        if !backup.good {
            keep(kept, backup, Reason::BadButLatest(backup.pool));
        } else if kept.contains_key(&backup.id) {
            return;
        }
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
