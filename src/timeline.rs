//! The last days of a service, one by one: backups made, those still there, those proven, and runs that failed.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, TimeZone, Utc};

use crate::catalog::Backup;
use crate::history::{Event, WATCHED};
use crate::manifest::{Level, Verified};

/// How many days are looked at, today included.
pub const DAYS: usize = 30;

/// What a timeline tells of. In the order in which it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Backups that were made, also those that are gone.
    Made,
    /// Those of them that are still there.
    Kept,
    /// Those of them that a drill has proven.
    Proven,
    /// Runs of `create`, `verify` and `push` that failed.
    Failed,
}

/// Counts for each of the last [`DAYS`] days; the last one is today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    pub first: NaiveDate,
    pub last: NaiveDate,
    made: [u32; DAYS],
    kept: [u32; DAYS],
    proven: [u32; DAYS],
    failed: [u32; DAYS],
}

/// A backup that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point<'a> {
    pub id: &'a str,
    /// When it was begun.
    pub at: DateTime<Utc>,
    /// Its last verification was a drill, and it was good.
    pub proven: bool,
}

impl<'a> From<&'a Backup> for Point<'a> {
    fn from(backup: &'a Backup) -> Self {
        let is_drill = |verified: &Verified| verified.good && verified.level == Level::Drill;
        Point {
            id: backup.id.as_str(),
            at: backup.manifest.started_at,
            proven: backup.verified.as_ref().is_some_and(is_drill),
        }
    }
}

impl Timeline {
    /// Days are those of the time zone of `now`. What lies before them, or in the future, is not counted.
    pub fn of<Tz: TimeZone>(there: &[Point<'_>], events: &[Event], now: &DateTime<Tz>) -> Self {
        let last = now.date_naive();
        let first = last - Days::new(DAYS as u64 - 1);
        let day = |at: DateTime<Utc>| {
            let days = (at.with_timezone(&now.timezone()).date_naive() - first).num_days();
            usize::try_from(days).ok().filter(|day| *day < DAYS)
        };
        let counts = |times: &mut dyn Iterator<Item = DateTime<Utc>>| {
            let mut counts = [0; DAYS];
            times.filter_map(day).for_each(|day| counts[day] += 1);
            counts
        };
        let proven = there.iter().filter(|point| point.proven);
        let failed = events.iter().filter(|event| has_failed(event));
        Timeline {
            first,
            last,
            made: counts(&mut made(there, events).into_values()),
            kept: counts(&mut there.iter().map(|point| point.at)),
            proven: counts(&mut proven.map(|point| point.at)),
            failed: counts(&mut failed.map(|event| event.at)),
        }
    }

    /// A character for each day: `.` for none, `+` for ten and more.
    pub fn line(&self, row: Row) -> String {
        self.counts(row)
            .iter()
            .map(|count| match count {
                0 => '.',
                1..=9 => char::from_digit(*count, 10).unwrap_or('+'),
                _ => '+',
            })
            .collect()
    }

    pub fn is_empty(&self, row: Row) -> bool {
        self.counts(row).iter().all(|count| *count == 0)
    }

    fn counts(&self, row: Row) -> &[u32; DAYS] {
        match row {
            Row::Made => &self.made,
            Row::Kept => &self.kept,
            Row::Proven => &self.proven,
            Row::Failed => &self.failed,
        }
    }
}

/// When each backup was made: those that are there, and those that only the history knows any more.
fn made<'a>(there: &[Point<'a>], events: &'a [Event]) -> BTreeMap<&'a str, DateTime<Utc>> {
    let is_made = |event: &&Event| event.good && ["create", "import"].contains(&event.command.as_str());
    let known = events.iter().filter(is_made).filter_map(|event| Some((event.backup.as_deref()?, event.at)));
    known.chain(there.iter().map(|point| (point.id, point.at))).collect()
}

fn has_failed(event: &Event) -> bool {
    !event.good && event.is_telling() && WATCHED.contains(&event.command.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;
    use chrono::FixedOffset;

    use super::*;

    /// `hours` before the noon of 25 November, two hours east of Greenwich.
    fn ago(hours: i64) -> DateTime<Utc> {
        now().to_utc() - chrono::TimeDelta::hours(hours)
    }

    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-25T12:00:00+02:00").unwrap()
    }

    fn ran(command: &str, id: &str, at: DateTime<Utc>, good: bool) -> Event {
        let ended = if good { Ok(()) } else { Err(anyhow!("no")) };
        let event = Event::of(command, "schedule", at, &ended, Duration::ZERO);
        Event { backup: Some(id.to_owned()), pool: Some("scheduled".to_owned()), ..event }
    }

    #[test]
    fn each_day_has_its_column_and_today_is_the_last() {
        let point = |id, hours, proven| Point { id, at: ago(hours), proven };
        // 13 hours before noon is another day here, and the same one in Greenwich's time.
        let there =
            [point("a", 0, false), point("b", 13, true), point("c", 24 * 40, true), point("d", -48, true)];
        let mut events = vec![
            ran("create", "a", ago(0), true),
            ran("create", "gone", ago(24 * 29), true),
            ran("verify", "a", ago(1), true),
            ran("create", "", ago(24 * 2), false),
            ran("restore", "", ago(24 * 3), false),
        ];
        events.extend((0..12).map(|number| ran("push", &number.to_string(), ago(24 * 28), false)));
        let timeline = Timeline::of(&there, &events, &now());
        assert_eq!(
            (timeline.first.to_string(), timeline.last.to_string()),
            ("2026-10-27".into(), "2026-11-25".into())
        );
        assert_eq!(timeline.line(Row::Made), "1...........................11");
        assert_eq!(timeline.line(Row::Kept), "............................11");
        assert_eq!(timeline.line(Row::Proven), "............................1.");
        assert_eq!(timeline.line(Row::Failed), ".+.........................1..");
        let none = Timeline::of(&[], &[], &now());
        assert!(none.is_empty(Row::Failed) && !timeline.is_empty(Row::Failed));
        assert_eq!(none.line(Row::Made), ".".repeat(DAYS));
    }
}
