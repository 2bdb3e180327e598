//! Schedules: cron expressions, several with `;` between them, as dokku's crontab takes them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeZone};
use croner::Cron;

/// Longer is nobody's schedule.
const MAX_LENGTH: usize = 500;
/// What every cron understands: cron(8) of Debian reads the crontab, dokku's own parser checks it before
/// (`plugins/cron/crontab.go`), and one line that it does not like spoils the crontab of everybody.
const ALIASES: [&str; 7] = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];

/// One or more cron expressions.
#[derive(Debug, Clone)]
pub struct Schedule {
    crons: Vec<(String, Cron)>,
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err("a schedule has at most 500 characters".to_owned());
        }
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let crons = parts.map(expression).collect::<Result<Vec<_>, _>>()?;
        if crons.is_empty() {
            Err("a schedule is a cron expression".to_owned())
        } else {
            Ok(Schedule { crons })
        }
    }
}

fn expression(text: &str) -> Result<(String, Cron), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let wrong = |why: String| format!("{text:?} is not a cron expression: {why}");
    match words.as_slice() {
        [alias] if ALIASES.contains(alias) => {}
        [_, _, day, _, weekday] => {
            for (word, field) in words.iter().zip(&FIELDS) {
                field.check(word).map_err(wrong)?;
            }
            // With both, some crons want both days to fit and others one of them, if either begins with a star.
            let is_restricted = |word: &str| word != "*";
            if is_restricted(day)
                && is_restricted(weekday)
                && (day.starts_with('*') || weekday.starts_with('*'))
            {
                return Err(wrong(
                    "not every cron takes a step of days together with a day of the week".to_owned(),
                ));
            }
        }
        _ => {
            let five = "minute, hour, day, month and day of the week are wanted, as in 30 3 * * *";
            return Err(wrong(five.to_owned()));
        }
    }
    let text = words.join(" ");
    let known = if text == "@midnight" { "@daily" } else { &text };
    let cron = Cron::from_str(known).map_err(|error| wrong(error.to_string()))?;
    // Any time will do to see whether there is one at all.
    if cron.find_next_occurrence(&DateTime::UNIX_EPOCH, false).is_err() {
        return Err(wrong("that time never comes".to_owned()));
    }
    Ok((text, cron))
}

/// One of the five parts of an expression, with what Debian's cron and dokku's parser (robfig/cron) both take.
struct Field {
    name: &'static str,
    from: u32,
    to: u32,
    /// Of the numbers from `from` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", from: 0, to: 59, names: &[] },
    Field { name: "hour", from: 0, to: 23, names: &[] },
    Field { name: "day", from: 1, to: 31, names: &[] },
    Field {
        name: "month",
        from: 1,
        to: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field {
        name: "day of the week",
        from: 0,
        to: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

impl Field {
    fn check(&self, word: &str) -> Result<(), String> {
        word.split(',').try_for_each(|item| self.check_item(item))
    }

    /// `*`, `3`, `1-5`, and the first and the last with a step: `*/15`, `0-30/10`.
    fn check_item(&self, item: &str) -> Result<(), String> {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let is_step = |step: &str| step.parse().is_ok_and(|step: u32| (1..=self.to).contains(&step));
        if step.is_some_and(|step| !is_step(step)) {
            return Err(format!("{item:?} has no step of {}s", self.name));
        }
        if range == "*" {
            return Ok(());
        }
        match range.split_once('-') {
            Some((first, last)) if self.value(first)? <= self.value(last)? => Ok(()),
            Some(_) => Err(format!("{range:?} goes backwards")),
            None if step.is_some() => Err(format!("a step is wanted of * or of a range, not of {range:?}")),
            None => self.value(range).map(drop),
        }
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = || self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match text.parse() {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
            _ => named().and_then(|at| u32::try_from(at).ok()).map(|at| at + self.from),
        };
        let hint = if self.to == 6 && text == "7" { " (Sunday is 0)" } else { "" };
        number
            .filter(|number| (self.from..=self.to).contains(number))
            .ok_or_else(|| format!("{text:?} is no {}{hint}", self.name))
    }
}

impl Schedule {
    /// The expressions, each for a line of a crontab.
    pub fn expressions(&self) -> impl Iterator<Item = &str> {
        self.crons.iter().map(|(text, _)| text.as_str())
    }

    /// The next `count` times after `now`.
    pub fn next<Tz: TimeZone>(&self, now: &DateTime<Tz>, count: usize) -> Vec<DateTime<Tz>> {
        let mut times: Vec<DateTime<Tz>> = Vec::new();
        for (_, cron) in &self.crons {
            times.extend(cron.iter_after(now.clone()).take(count));
        }
        times.sort();
        times.dedup();
        times.truncate(count);
        times
    }

    /// The last time at or before `now`.
    pub fn last<Tz: TimeZone>(&self, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        let before = |(_, cron): &(String, Cron)| cron.find_previous_occurrence(now, true).ok();
        self.crons.iter().filter_map(before).max()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expressions().collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime};

    fn at(text: &str) -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339(text).unwrap()
    }

    #[test]
    fn several_expressions_make_one_schedule() {
        let schedule: Schedule = "30 3 * * *; 0 12  * * mon".parse().unwrap();
        assert_eq!(schedule.to_string(), "30 3 * * *; 0 12 * * mon");
        let now = at("2026-11-23T05:00:00+01:00");
        let wanted = ["2026-11-23T12:00:00+01:00", "2026-11-24T03:30:00+01:00", "2026-11-25T03:30:00+01:00"];
        assert_eq!(schedule.next(&now, 3), wanted.map(at));
        assert_eq!(schedule.last(&now), Some(at("2026-11-23T03:30:00+01:00")));
    }

    #[test]
    fn what_some_cron_does_not_know_is_refused() {
        for wrong in [
            "",
            ";",
            "30 3 * *",
            "30 3 * * * *",
            "99 3 * * *",
            "30 3 L * *",
            "30 3 15W * *",
            "0 0 * * 5#2",
            "@every 5m",
            "@reboot",
            "30 3 * * * dokku",
            "30 3 * * ;x",
            "? * * * *",
            "30 3 * * mond",
            "30%3 * * * *",
            "30 3 * 13 *",
            "5/15 * * * *",
            "1,,2 * * * *",
            ",1 * * * *",
        ] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong:?}");
        }
        for right in [
            "@daily",
            "@midnight",
            "0 0 1 * mon",
            "0 0 29 2 *",
            "*/15 * * * *",
            "0 0-6/2 1,15 jan-mar 0",
            "30 3 * * SUN",
        ] {
            assert!(right.parse::<Schedule>().is_ok(), "{right:?}");
        }
    }

    /// Summer time from 2027-03-28 01:00 UTC to 2027-10-31 01:00 UTC: 2 o'clock is left out, then comes twice.
    #[derive(Debug, Clone, Copy)]
    struct Berlin;

    fn hours(count: i32) -> FixedOffset {
        FixedOffset::east_opt(count * 3600).unwrap()
    }

    fn moment(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    impl TimeZone for Berlin {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Berlin
        }

        fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
            let summer = moment("2027-03-28T01:00:00")..moment("2027-10-31T01:00:00");
            hours(if summer.contains(utc) { 2 } else { 1 })
        }

        fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
            self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
        }

        fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
            let fits = |count| self.offset_from_utc_datetime(&(*local - hours(count))) == hours(count);
            match (fits(2), fits(1)) {
                (true, true) => MappedLocalTime::Ambiguous(hours(2), hours(1)),
                (true, false) => MappedLocalTime::Single(hours(2)),
                (false, true) => MappedLocalTime::Single(hours(1)),
                (false, false) => MappedLocalTime::None,
            }
        }

        fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
        }
    }

    /// Whoever waits for a nightly backup is to hear neither that it is overdue nor nothing at all.
    #[test]
    fn a_night_with_an_hour_more_or_less_has_its_one_backup() {
        let schedule: Schedule = "30 2 * * *".parse().unwrap();
        for eve in ["2027-03-26T12:00:00", "2027-10-29T12:00:00"] {
            let before = Berlin.from_utc_datetime(&moment(eve));
            let nights = schedule.next(&before, 4);
            let days: Vec<NaiveDate> = nights.iter().map(DateTime::date_naive).collect();
            assert!(days.windows(2).all(|two| two[1] == two[0].succ_opt().unwrap()), "{nights:?}");
            for night in nights {
                assert_eq!(schedule.last(&night), Some(night), "the last time at that time is that time");
                let later = night + chrono::TimeDelta::minutes(5);
                assert_eq!(schedule.last(&later).unwrap(), night);
            }
        }
    }

    #[test]
    fn a_schedule_has_a_length() {
        let schedule = |length: usize| format!("{:length$}", "@daily").parse::<Schedule>();
        assert!(schedule(500).is_ok());
        assert!(schedule(501).unwrap_err().contains("at most 500 characters"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("99 3 * * *", "\"99\" is no minute"),
            ("*/60 * * * *", "\"*/60\" has no step of minutes"),
            ("0-59/0 * * * *", "has no step of minutes"),
            ("0 0 0 * *", "\"0\" is no day"),
            ("0 0 * * 1-9", "\"9\" is no day of the week"),
            ("0 0 * * sun/2", "a step is wanted of * or of a range"),
            ("30 3 * * 7", "Sunday is 0"),
            ("30 3 * * fri-sun", "goes backwards"),
            ("30 3 31 2 *", "never comes"),
            ("0 1 */2 * mon", "not every cron"),
        ] {
            let why = text.parse::<Schedule>().unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
