//! Cron expressions: what is taken reads back the same, and has times before and after any moment.
#![no_main]

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use pgbackup::schedule::Schedule;

fuzz_target!(|input: (u32, &str)| {
    let (second, text) = input;
    let Ok(schedule) = text.parse::<Schedule>() else { return };
    assert_eq!(schedule.to_string().parse::<Schedule>().unwrap().to_string(), schedule.to_string());
    let now = DateTime::<Utc>::from_timestamp(i64::from(second), 0).unwrap();
    let next = schedule.next(&now, 3);
    assert!(next.len() == 3 && next[0] > now && next.is_sorted());
    let _ = schedule.last(&now).inspect(|last| assert!(*last <= now));
    assert!(schedule.expressions().all(|line| !line.contains(['\n', '%', ';'])));
});
