//! A dump that waits for a lock which somebody else holds: noticed, told, and given up after `lock-timeout`.
//!
//! `pg_dump` has a limit of its own, but for tables alone, and says nothing while it waits. So the server is asked, and only
//! when nothing has come for a while.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Deserialize;

use crate::error::Failure;
use crate::postgres;
use crate::process::Output;
use crate::progress::Progress;
use crate::server::Server;
use crate::units;

/// How long nothing comes of the dump until the server is asked.
const QUIET: Duration = Duration::from_secs(2);
/// How often it is asked then: each question is a process in its container.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// What a dump waits for, and on whom.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Wait {
    /// `public.cows`; nothing when it is no table, view or sequence.
    relation: Option<String>,
    /// `process 71 (role postgres, psql)`.
    holder: Option<String>,
    seconds: f64,
}

/// Watches one dump.
pub struct LockWatch<'a> {
    server: &'a Server<'a>,
    database: &'a str,
    /// The dump's `application_name`.
    session: String,
    limit: Duration,
    /// Bytes done so far, and since when.
    seen: (u64, Instant),
    asked: Instant,
    asking: Option<JoinHandle<Result<Output>>>,
    told: bool,
}

impl std::fmt::Debug for LockWatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockWatch").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<'a> LockWatch<'a> {
    pub fn start(server: &'a Server<'a>, database: &'a str, session: String, limit: Duration) -> Self {
        let now = Instant::now();
        LockWatch { server, database, session, limit, seen: (0, now), asked: now, asking: None, told: false }
    }

    /// To be called often; `done` grows as long as the dump goes on. Fails when it has waited too long.
    pub fn look(&mut self, done: u64, progress: &dyn Progress) -> Result<()> {
        if done != self.seen.0 {
            self.seen = (done, Instant::now());
        }
        if let Some(asking) = self.asking.take_if(|asking| asking.is_finished()) {
            // A server that cannot answer now is the dump's own trouble.
            if let Ok(Ok(answer)) = asking.join() {
                self.hear(&answer, progress)?;
            }
        } else if self.asking.is_none() && self.seen.1.elapsed() > QUIET && self.asked.elapsed() > ASK_EVERY {
            self.asked = Instant::now();
            self.asking = Some(self.server.ask_aside(self.database, postgres::lock_wait_of(&self.session)));
        }
        Ok(())
    }

    fn hear(&mut self, answer: &Output, progress: &dyn Progress) -> Result<()> {
        let waits = postgres::parse_answer::<Option<Wait>>(&answer.stdout);
        let Some(wait) = waits.ok().flatten().filter(|_| answer.success()) else { return Ok(()) };
        let what = wait.relation.as_deref().unwrap_or("something in the database");
        let who = wait.holder.as_ref().map_or_else(|| "another session".to_owned(), Clone::clone);
        if wait.seconds >= self.limit.as_secs_f64() {
            return Err(self.give_up(what, &who));
        }
        if !self.told {
            self.told = true;
            let limit = units::duration(self.limit);
            progress.note(&format!("{what} is locked by {who}; waiting for it, at most {limit}"));
        }
        Ok(())
    }

    fn give_up(&self, what: &str, who: &str) -> anyhow::Error {
        let (service, limit) = (self.server.service(), units::duration(self.limit));
        Failure::tool(format!(
            "pg_dump gave up on {service}: {what} is locked by {who} and was not free within {limit} (lock-timeout)"
        ))
        .hint(format!(
            "try again when that session has ended, or wait longer: dokku pgbackup:set {service} lock-timeout <seconds>"
        ))
        .into()
    }
}
