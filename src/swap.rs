//! Exchanging two databases' names, behind a fence that no crash can leave standing.
//!
//! `ALTER DATABASE … RENAME` takes an exclusive lock on the database first, which makes new connections wait, and then
//! waits up to five seconds for the sessions that are still there (Postgres, `RenameDatabase` and
//! `CountOtherDBBackends`). So the transaction with both renames is itself the fence; a second session beside it ends
//! the remaining sessions as soon as the lock is asked for. Nothing is ever set that somebody would have to set back: when
//! either session dies, the transaction is undone and the live database is as it was.

use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use regex::Regex;
use serde::Deserialize;

use crate::error::Failure;
use crate::postgres::{MAINTENANCE_DATABASE, anonymous_block, identifier, literal, parse_answer};
use crate::server::Server;

/// Postgres cuts names at 63 bytes (`NAMEDATALEN` - 1).
const MAX_NAME: usize = 63;
const TIME_FORMAT: &str = "%Y%m%d_%H%M%S";
const TIME_LENGTH: usize = "20261123_115248".len();
const PREVIOUS: &str = "_previous_";
const RESTORING: &str = "_restoring_";

/// The name under which a database is kept that was live until `now`; none of `taken`.
pub fn previous_name(live: &str, now: DateTime<Utc>, taken: &[String]) -> String {
    marked_name(live, PREVIOUS, now, taken)
}

/// The name of a database while it is being restored; none of `taken`.
pub fn restoring_name(live: &str, now: DateTime<Utc>, taken: &[String]) -> String {
    marked_name(live, RESTORING, now, taken)
}

/// Whether `name` is one that [`previous_name`] gives.
pub fn is_previous(live: &str, name: &str) -> bool {
    is_marked(live, PREVIOUS, name)
}

/// When a database was put aside; `None` when `name` is none that [`previous_name`] gives.
pub fn put_aside_at(live: &str, name: &str) -> Option<DateTime<Utc>> {
    is_previous(live, name).then(|| time_in(name))?
}

/// The time at the end of a marked name.
fn time_in(name: &str) -> Option<DateTime<Utc>> {
    let text = name.get(name.len().checked_sub(TIME_LENGTH)?..)?;
    NaiveDateTime::parse_from_str(text, TIME_FORMAT).ok().map(|time| time.and_utc())
}

/// Whether `name` is one that [`restoring_name`] gives.
pub fn is_restoring(live: &str, name: &str) -> bool {
    is_marked(live, RESTORING, name)
}

/// The previous databases among `databases`, newest first.
pub fn previous_databases(live: &str, databases: &[String]) -> Vec<String> {
    let mut found: Vec<String> = databases.iter().filter(|name| is_previous(live, name)).cloned().collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn base<'a>(live: &'a str, mark: &str) -> &'a str {
    let mut end = live.len().min(MAX_NAME - mark.len() - TIME_LENGTH);
    while !live.is_char_boundary(end) {
        end -= 1;
    }
    &live[..end]
}

fn marked_name(live: &str, mark: &str, mut now: DateTime<Utc>, taken: &[String]) -> String {
    loop {
        let name = format!("{}{mark}{}", base(live, mark), now.format(TIME_FORMAT));
        if !taken.contains(&name) {
            return name;
        }
        now += TimeDelta::seconds(1);
    }
}

fn is_marked(live: &str, mark: &str, name: &str) -> bool {
    let pattern = format!("^{}{mark}[0-9]{{8}}_[0-9]{{6}}$", regex::escape(base(live, mark)));
    Regex::new(&pattern).is_ok_and(|pattern| pattern.is_match(name))
}

/// Gives `incoming` the name `live`, and what was `live` the name `kept`, in one transaction; how long that took.
/// `preparation` is run before, by the way.
pub fn swap(
    server: &Server<'_>,
    live: &str,
    incoming: &str,
    kept: &str,
    preparation: &str,
) -> Result<Duration> {
    refuse_prepared_transactions(server, &[live, incoming], preparation)?;
    let began = Instant::now();
    let fence = format!("pgbackup fence {}", std::process::id());
    std::thread::scope(|scope| {
        let evictor = scope
            .spawn(|| server.execute_always(MAINTENANCE_DATABASE, &eviction_script(live, incoming, &fence)));
        let renamed =
            server.execute_always(MAINTENANCE_DATABASE, &rename_script(live, incoming, kept, &fence));
        let evicted = evictor.join();
        if let Err(error) = renamed {
            let reason = match evicted {
                Ok(Err(eviction)) => format!("{error} (and ending its sessions: {eviction})"),
                _ => error.to_string(),
            };
            let failure = Failure::tool(format!("the databases could not be swapped: {reason}"));
            // The connection may have broken after the commit: the server knows.
            return match exists(server, kept) {
                Ok(true) => Ok(began.elapsed()),
                Ok(false) => {
                    Err(failure.hint("the live database is as it was; try the same command again").into())
                }
                Err(_) => Err(failure
                    .hint(format!(
                        "the server does not answer: when it does, {kept} is there if they were swapped"
                    ))
                    .into()),
            };
        }
        Ok(began.elapsed())
    })
}

/// Gives `from` the name `to`, which no database has. What was put aside for an earlier one of that name, `previous`, leads
/// back from this one no more.
pub fn rename(server: &Server<'_>, from: &str, to: &str, previous: &[String]) -> Result<()> {
    let (from, to) = (identifier(from), identifier(to));
    let reset = |name: &String| format!("alter database {} reset {MARK};\n", identifier(name));
    let resets = previous.iter().map(reset).collect::<Vec<_>>().concat();
    let script = format!(
        "begin;\nalter database {from} rename to {to};\nalter database {to} reset {MARK};\n{resets}commit;\n"
    );
    server.execute_always(MAINTENANCE_DATABASE, &script).map(drop)
}

/// They belong to no session that could be ended, and the rename would keep everybody out while it waits for them.
fn refuse_prepared_transactions(server: &Server<'_>, databases: &[&str], preparation: &str) -> Result<()> {
    let names: Vec<String> = databases.iter().map(|name| literal(name)).collect();
    let question = format!(
        "{preparation}select coalesce(json_agg(database || ' has ' || gid), '[]') from pg_prepared_xacts where database in ({});\n",
        names.join(", ")
    );
    let found: Vec<String> = parse_answer(&server.execute_always(MAINTENANCE_DATABASE, &question)?)?;
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::refused("prepared transactions block the swap")
        .details(found)
        .hint("end them first, each in its database: commit prepared '…' or rollback prepared '…'")
        .into())
}

/// Asked for a while: a server that broke off the rename may be starting again.
fn exists(server: &Server<'_>, name: &str) -> Result<bool> {
    Server::patiently(|| ask_whether_it_exists(server, name))
}

fn ask_whether_it_exists(server: &Server<'_>, name: &str) -> Result<bool> {
    let question =
        format!("select to_json(exists(select from pg_database where datname = {}));\n", literal(name));
    parse_answer(&server.execute_always(MAINTENANCE_DATABASE, &question)?)
}

/// The renaming session's `application_name`, by which the evictor knows it.
fn renamer_name(fence: &str) -> String {
    format!("{fence} rename")
}

/// Waits for the evictor, then renames both or neither.
///
/// While it waits for its locks nobody can connect, so it does not wait long: sessions of other databases may hold them,
/// too, and those are not ended.
fn rename_script(live: &str, incoming: &str, kept: &str, fence: &str) -> String {
    let mark = marking(kept, live);
    let (live, incoming, kept) = (identifier(live), identifier(incoming), identifier(kept));
    let (fence, renamer) = (literal(fence), literal(&renamer_name(fence)));
    let wait = anonymous_block(&format!(
        "begin for i in 1..500 loop
  perform pg_stat_clear_snapshot();
  if exists (select from pg_stat_activity where application_name = {fence}) then return; end if;
  perform pg_sleep(0.01);
end loop; raise exception 'the session that ends the other ones did not come'; end"
    ));
    format!(
        "set application_name = {renamer};
{wait}set lock_timeout = '5s';
begin;
alter database {live} rename to {kept};
alter database {incoming} rename to {live};
{mark}alter database {live} reset {MARK};
commit;
"
    )
}

/// A setting of a database that was put aside: the oid of the database that took its place, and when, in seconds since
/// 1970. It lies beside the data, so it is known whatever becomes of our own files; it is set and taken away in the
/// transaction that swaps, so the live database never has it and no dump either. A database that was made since under
/// the live one's name has another oid: then nothing leads back to the one that was put aside.
const MARK: &str = "\"pgbackup.replaced_by\"";

/// Sets the mark; `kept` and `live` are names, not yet quoted.
fn marking(kept: &str, live: &str) -> String {
    anonymous_block(&format!(
        "begin execute format('alter database %I set {MARK} to %L', {}, (select format('%s %s', oid,
    floor(extract(epoch from clock_timestamp()))) from pg_database where datname = {})); end",
        literal(kept),
        literal(live)
    ))
}

/// A database that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Previous {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Oid and time, as the mark has them.
    mark: Option<String>,
}

impl Previous {
    /// When the last swap put it aside; by its name, where it has no mark.
    pub fn live_until(&self) -> Option<DateTime<Utc>> {
        let of_mark = self.mark.as_ref().and_then(|mark| mark.split_once(' ')?.1.parse().ok());
        of_mark.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).or_else(|| time_in(&self.name))
    }

    /// Whether the live database took its place; `live` is that one's oid, if there is one.
    pub fn leads_back_from(&self, live: Option<u32>) -> bool {
        let taken_by = self.mark.as_ref().and_then(|mark| mark.split_once(' ')?.0.parse().ok());
        taken_by.is_some_and(|oid: u32| live.is_none_or(|live| live == oid))
    }
}

/// What there is to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WayBack {
    /// Of the live database.
    pub live: Option<u32>,
    /// All databases of the server.
    pub databases: Vec<String>,
    /// Those that were put aside, newest first.
    pub previous: Vec<Previous>,
}

impl WayBack {
    pub fn look(server: &Server<'_>, live: &str) -> Result<Self> {
        let setting = literal(&format!("{}=", MARK.trim_matches('"')));
        let question = format!(
            "select json_build_object('live', (select oid::bigint from pg_database where datname = {live}),
  'databases', (select json_agg(datname) from pg_database),
  'previous', (select coalesce(json_agg(json_build_object('name', datname, 'size', pg_database_size(d.oid),
      'mark', (select substr(one, length({setting}) + 1) from pg_db_role_setting, unnest(setconfig) one
        where setdatabase = d.oid and setrole = 0 and left(one, length({setting})) = {setting}))), '[]')
    from pg_database d where datname like '%\\_previous\\_%'));\n",
            live = literal(live)
        );
        let mut found: WayBack = server.query(MAINTENANCE_DATABASE, &question)?;
        found.previous.retain(|previous| is_previous(live, &previous.name));
        found.previous.sort_by(|a, b| b.name.cmp(&a.name));
        Ok(found)
    }
}

/// Ends the sessions of both databases from when the rename asks for its lock until it is done or has failed.
///
/// It need not have the lock yet: new connections queue up behind its request, and a session that holds a weaker lock on
/// the database in an open transaction is one of those that stand in its way.
fn eviction_script(live: &str, incoming: &str, fence: &str) -> String {
    let (live, incoming) = (literal(live), literal(incoming));
    let (fence, renamer) = (literal(fence), literal(&renamer_name(fence)));
    let block = anonymous_block(&format!(
        "declare live oid; incoming oid; renamer int; seen bool := false; begin
  select oid into live from pg_database where datname = {live};
  select oid into incoming from pg_database where datname = {incoming};
  for i in 1..8000 loop
    perform pg_stat_clear_snapshot();
    select pid into renamer from pg_stat_activity where application_name = {renamer};
    exit when renamer is null and (seen or i > 1000);
    seen := seen or renamer is not null;
    exit when not exists (select from pg_database where oid = live and datname = {live});
    if exists (select from pg_locks where locktype = 'object' and classid = 'pg_database'::regclass
        and objid in (live, incoming) and mode = 'AccessExclusiveLock' and pid = renamer) then
      perform pg_terminate_backend(pid) from pg_stat_activity where datid in (live, incoming);
    end if;
    perform pg_sleep(0.005);
  end loop;
end"
    ));
    format!("set application_name = {fence};\n{block}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn no_name_ends_a_block() {
        let script = eviction_script("a$$b$block$", "c", "f");
        assert!(script.contains("do $ablock$ ") && script.ends_with(" $ablock$;\n"), "{script}");
    }

    #[test]
    fn only_what_made_room_for_the_live_database_leads_back() {
        let of = |mark: Option<&str>| Previous {
            name: "db_previous_20261123_115248".to_owned(),
            size: 1,
            mark: mark.map(str::to_owned),
        };
        let marked = of(Some("16500 1795600000"));
        assert!(marked.leads_back_from(Some(16500)) && marked.leads_back_from(None));
        assert!(!marked.leads_back_from(Some(16501)));
        assert_eq!(marked.live_until().unwrap().timestamp(), 1_795_600_000);
        for mark in [None, Some(""), Some("x y"), Some("16500")] {
            let other = of(mark);
            assert!(!other.leads_back_from(Some(16500)) && !other.leads_back_from(None), "{mark:?}");
            assert_eq!(other.live_until().unwrap().to_rfc3339(), "2026-11-23T11:52:48+00:00");
        }
    }

    #[test]
    fn names_say_when_and_are_known_again() {
        let now = Utc.with_ymd_and_hms(2026, 11, 23, 11, 52, 48).unwrap();
        assert_eq!(previous_name("happycows_db", now, &[]), "happycows_db_previous_20261123_115248");
        let taken = [previous_name("happycows_db", now, &[])];
        assert_eq!(previous_name("happycows_db", now, &taken), "happycows_db_previous_20261123_115249");
        let long = "ä".repeat(31);
        for live in ["happycows_db", "x", long.as_str()] {
            let (previous, restoring) = (previous_name(live, now, &[]), restoring_name(live, now, &[]));
            assert!(previous.len() <= MAX_NAME && restoring.len() <= MAX_NAME);
            assert!(is_previous(live, &previous) && is_restoring(live, &restoring));
            assert!(!is_restoring(live, &previous) && !is_previous(live, live));
        }
        for other in [
            "happycows_db_previous_",
            "happycows_db_previous_20261123-115248",
            "happycows_db_previous_x0261123_115248",
            "other_previous_20261123_115248",
        ] {
            assert!(!is_previous("happycows_db", other), "{other}");
        }
    }
}
