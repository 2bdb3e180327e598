//! Sizes, durations, ages and counts as a person reads them.

use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, Utc};

/// `1.4 GB`, in powers of 1000 as `df -H` and disk makers count.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (count, 0);
    let mut rest = 0;
    while value >= 1000 && unit < UNITS.len() - 1 {
        rest = value % 1000;
        value /= 1000;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{value}.{} {}", rest / 100, UNITS[unit]) }
}

/// `500 MB`, `1.5GB`, `2000000`: what [`bytes`] writes, and what people type.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=9).contains(digits))?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(factor)? / 10u64.pow(digits);
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part)
}

/// `15,230,111`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 table`, `2 tables`.
pub fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

/// `2026-11-23 15:29 +01:00`, in the server's time zone.
pub fn local(time: DateTime<Local>) -> String {
    time.format("%Y-%m-%d %H:%M %:z").to_string()
}

/// `0.8 s`, `42 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, duration.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `3 hours ago`, `in the future` for a clock that was set back.
pub fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let age = now - then;
    if age < TimeDelta::seconds(-60) {
        return "in the future".to_owned();
    }
    let seconds = age.num_seconds().max(0).unsigned_abs();
    let (number, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        86_400..5_184_000 => (seconds / 86_400, "day"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{} ago", plural(number, unit))
}

/// `2026-11-23 12:05:01 UTC`.
pub fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_well() {
        assert_eq!([0, 999, 1000, 1_449_999_999].map(bytes), ["0 B", "999 B", "1.0 kB", "1.4 GB"]);
        assert_eq!([0, 999, 1000, 15_230_111].map(count), ["0", "999", "1,000", "15,230,111"]);
        assert_eq!(plural(1, "table"), "1 table");
    }

    #[test]
    fn sizes_are_read_as_people_type_them() {
        let read = ["500", "500 MB", "1.5GB", "2g", "0.25 kB"].map(parse_bytes);
        let bytes = [500, 500_000_000, 1_500_000_000, 2_000_000_000, 250];
        assert_eq!(read, bytes.map(Some));
        assert_eq!(
            ["7 b", "3k", "2 Mb", "1T"].map(parse_bytes),
            [7, 3_000, 2_000_000, 1_000_000_000_000].map(Some)
        );
        assert_eq!(parse_bytes("0.000000001 GB"), Some(1));
        for wrong in
            ["0.0000000001 GB", "", "GB", "-1", "1.", "1e9", "9 XB", "99999999999999999999", "99999999 TB"]
        {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_unit_begins_with_its_first_whole_one() {
        let sizes = [1_000_000, 999_999_999_999, 1_000_000_000_000, 5_432_000_000_000_000].map(bytes);
        assert_eq!(sizes, ["1.0 MB", "999.9 GB", "1.0 TB", "5432.0 TB"]);
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (age, words) in [
            (-61, "in the future"),
            (-60, "just now"),
            (59, "just now"),
            (3_599, "59 minutes ago"),
            (3_600, "1 hour ago"),
            (86_399, "23 hours ago"),
            (86_400, "1 day ago"),
            (5_183_999, "59 days ago"),
            (5_184_000, "2 months ago"),
            (63_071_999, "24 months ago"),
            (63_072_000, "2 years ago"),
        ] {
            assert_eq!(ago(now - TimeDelta::seconds(age), now), words);
        }
        let spans = [9_999, 10_000, 59_999, 60_000, 3_599_999, 3_600_000]
            .map(|milliseconds| duration(Duration::from_millis(milliseconds)));
        assert_eq!(spans, ["9.9 s", "10 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min"]);
    }

    #[test]
    fn a_moment_names_its_zone() {
        let moment = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        assert_eq!(time(moment), "2027-01-15 08:00:00 UTC");
        let local = local(moment.with_timezone(&Local));
        assert_eq!(DateTime::parse_from_str(&local, "%Y-%m-%d %H:%M %:z").unwrap(), moment);
    }

    #[test]
    fn ages_and_durations_read_well() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let ages = [-600, 5, 60, 7200, 90_000, 6_000_000].map(|age| ago(now - TimeDelta::seconds(age), now));
        assert_eq!(
            ages,
            ["in the future", "just now", "1 minute ago", "2 hours ago", "1 day ago", "2 months ago"]
        );
        let spans = [800, 42_000, 200_000, 7_500_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(spans, ["0.8 s", "42 s", "3 min 20 s", "2 h 5 min"]);
    }
}
