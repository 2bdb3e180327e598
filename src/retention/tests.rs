//! What must hold whatever the backups and the policies are.

use super::*;
use chrono::{FixedOffset, NaiveDateTime};
use proptest::prelude::*;
use proptest::sample::Index;

const POOLS: [Pool; 5] = [Pool::Manual, Pool::Scheduled, Pool::Deploy, Pool::Final, Pool::Imported];
const AUTOMATIC: [Pool; 2] = [Pool::Scheduled, Pool::Deploy];
const NOTHING: Policy = Policy { last: 0, daily: 0, weekly: 0, monthly: 0 };

/// Summer time from March 29 to October 25 at 22:01 UTC. In spring the day jumps, and in autumn, a minute
/// after midnight, the date goes back by a day.
#[derive(Debug, Clone, Copy)]
struct NastyZone;

impl TimeZone for NastyZone {
    type Offset = FixedOffset;

    fn from_offset(_: &FixedOffset) -> Self {
        NastyZone
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        let switch = |month, day| {
            NaiveDate::from_ymd_opt(utc.year(), month, day).unwrap().and_hms_opt(22, 1, 0).unwrap()
        };
        let hours = if (switch(3, 29)..switch(10, 25)).contains(utc) { 2 } else { 1 };
        FixedOffset::east_opt(hours * 3600).unwrap()
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        self.offset_from_utc_datetime(&utc.and_hms_opt(0, 0, 0).unwrap())
    }

    fn offset_from_local_datetime(&self, _: &NaiveDateTime) -> chrono::MappedLocalTime<FixedOffset> {
        unreachable!("retention never makes times of local ones")
    }

    fn offset_from_local_date(&self, _: &NaiveDate) -> chrono::MappedLocalTime<FixedOffset> {
        unreachable!("retention never makes times of local ones")
    }
}

fn time(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc()
}

fn backup(text: &str, pool: Pool) -> Candidate {
    let at = time(text);
    let id = BackupId::new(at, [0; 4]);
    Candidate { id, pool, at, good: true, verified: false, pinned: false }
}

fn scheduled(text: &str) -> Candidate {
    backup(text, Pool::Scheduled)
}

fn bad(candidate: Candidate) -> Candidate {
    Candidate { good: false, ..candidate }
}

fn verified(candidate: Candidate) -> Candidate {
    Candidate { verified: true, ..candidate }
}

fn kept<Tz: TimeZone>(backups: &[Candidate], policies: &Policies, now: &DateTime<Tz>) -> BTreeSet<BackupId> {
    let decisions = decide(backups, policies, now).into_iter();
    decisions.filter(|decision| decision.verdict != Verdict::Remove).map(|decision| decision.id).collect()
}

fn prune<Tz: TimeZone>(backups: &mut Vec<Candidate>, policies: &Policies, now: &DateTime<Tz>) {
    let kept = kept(backups, policies, now);
    backups.retain(|backup| kept.contains(&backup.id));
}

/// Makes the backups one after the other and prunes after each. What is there after each step goes to
/// `check`.
fn live<Tz: TimeZone>(
    births: &[Candidate],
    policies: &Policies,
    zone: &Tz,
    mut check: impl FnMut(usize, &[Candidate]),
) {
    let mut there = Vec::new();
    for (step, birth) in births.iter().enumerate() {
        there.push(birth.clone());
        prune(&mut there, policies, &birth.at.with_timezone(zone));
        check(step, &there);
    }
}

/// One line for each backup: its time and the reasons.
fn told(backups: &[Candidate], policies: &Policies, now: &str) -> Vec<String> {
    let line = |decision: Decision| {
        let what = match decision.verdict {
            Verdict::Remove => "removed".to_owned(),
            Verdict::Keep(reasons) => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        format!("{}: {what}", decision.id.time().format("%m-%d %H:%M"))
    };
    decide(backups, policies, &time(now)).into_iter().map(line).collect()
}

fn only(last: u32, daily: u32, weekly: u32, monthly: u32) -> Policies {
    Policies { scheduled: Policy { last, daily, weekly, monthly }, deploy: NOTHING }
}

#[test]
fn nightly_backups_leave_a_week_of_days_then_mondays_then_firsts_of_the_month() {
    let start = time("2025-01-01 03:00");
    let nights: Vec<Candidate> = (0..=691)
        .map(|night| scheduled(&(start + TimeDelta::days(night)).format("%Y-%m-%d %H:%M").to_string()))
        .collect();
    let mut left = Vec::new();
    live(&nights, &Policies::default(), &Utc, |_, there| there.clone_into(&mut left));
    assert_eq!(
        told(&left, &Policies::default(), "2026-11-23 03:10"),
        [
            "11-23 03:00: newest good one, one of the last 3, day 2026-11-23, week 2026-W48",
            "11-22 03:00: one of the last 3, day 2026-11-22",
            "11-21 03:00: one of the last 3, day 2026-11-21",
            "11-20 03:00: day 2026-11-20",
            "11-19 03:00: day 2026-11-19",
            "11-18 03:00: day 2026-11-18",
            "11-17 03:00: day 2026-11-17",
            "11-16 03:00: week 2026-W47",
            "11-09 03:00: week 2026-W46",
            "11-02 03:00: week 2026-W45",
            "11-01 03:00: month 2026-11",
            "10-01 03:00: month 2026-10",
            "09-01 03:00: month 2026-09",
            "08-01 03:00: month 2026-08",
            "07-01 03:00: month 2026-07",
            "06-01 03:00: month 2026-06",
        ]
    );
}

#[test]
fn of_deploys_the_last_five_stay_beside_the_scheduled_ones() {
    let mut list: Vec<Candidate> =
        (1..=7).map(|hour| backup(&format!("2026-11-23 0{hour}:30"), Pool::Deploy)).collect();
    list.push(scheduled("2026-11-23 03:00"));
    assert_eq!(
        told(&list, &Policies::default(), "2026-11-23 12:00"),
        [
            "11-23 07:30: newest good one, one of the last 5",
            "11-23 06:30: one of the last 5",
            "11-23 05:30: one of the last 5",
            "11-23 04:30: one of the last 5",
            "11-23 03:30: one of the last 5",
            "11-23 03:00: one of the last 3, day 2026-11-23, week 2026-W48, month 2026-11",
            "11-23 02:30: removed",
            "11-23 01:30: removed",
        ]
    );
}

#[test]
fn with_hourly_backups_the_first_of_the_day_holds_it_and_the_last_ones_its_end() {
    let list: Vec<Candidate> = (0..6).map(|hour| scheduled(&format!("2026-11-23 0{hour}:00"))).collect();
    assert_eq!(
        told(&list, &only(2, 1, 0, 0), "2026-11-23 05:01"),
        [
            "11-23 05:00: newest good one, one of the last 2",
            "11-23 04:00: one of the last 2",
            "11-23 03:00: removed",
            "11-23 02:00: removed",
            "11-23 01:00: removed",
            "11-23 00:00: day 2026-11-23",
        ]
    );
}

#[test]
fn backups_that_are_bad_drive_out_none_that_are_good() {
    let mut list = vec![verified(scheduled("2026-11-10 03:00")), scheduled("2026-11-11 03:00")];
    list.extend((12..=22).map(|day| bad(scheduled(&format!("2026-11-{day} 03:00")))));
    let told_of = told(&list, &only(1, 0, 0, 0), "2026-11-22 04:00");
    assert_eq!(told_of[0], "11-22 03:00: bad, but no newer good one of pool scheduled is kept");
    assert_eq!(told_of[11], "11-11 03:00: newest good one, the last one");
    assert_eq!(told_of[12], "11-10 03:00: newest verified one");
    // The next good one replaces them.
    list.push(scheduled("2026-11-23 03:00"));
    let left = kept(&list, &only(1, 0, 0, 0), &time("2026-11-23 03:10"));
    assert_eq!(left, BTreeSet::from([list[0].id.clone(), list[13].id.clone()]));
}

#[test]
fn years_without_a_backup_remove_nothing() {
    let nights: Vec<Candidate> = (1..=7).map(|day| scheduled(&format!("2026-11-0{day} 03:00"))).collect();
    assert_eq!(kept(&nights, &only(0, 7, 0, 0), &time("2046-01-01 00:00")).len(), 7);
}

#[test]
fn a_policy_of_nothing_leaves_the_newest_good_and_the_newest_verified() {
    let list = [
        verified(scheduled("2026-11-20 03:00")),
        scheduled("2026-11-21 03:00"),
        scheduled("2026-11-22 03:00"),
    ];
    assert_eq!(
        told(&list, &only(0, 0, 0, 0), "2026-11-23 03:00"),
        ["11-22 03:00: newest good one", "11-21 03:00: removed", "11-20 03:00: newest verified one"]
    );
}

#[test]
fn what_was_just_made_stays_though_the_day_has_one_already() {
    let list = [
        scheduled("2026-11-23 01:00"),
        scheduled("2026-11-23 02:00"),
        backup("2026-11-23 03:00", Pool::Manual),
    ];
    assert_eq!(
        told(&list, &only(0, 1, 0, 0), "2026-11-23 03:00"),
        [
            "11-23 03:00: newest good one, pool manual is kept until deleted",
            "11-23 02:00: the last one",
            "11-23 01:00: day 2026-11-23",
        ]
    );
}

#[test]
fn days_are_those_of_the_zone() {
    let list = [scheduled("2026-11-22 22:30"), scheduled("2026-11-22 23:30")];
    let now = time("2026-11-23 12:00");
    let berlin = now.with_timezone(&FixedOffset::east_opt(3600).unwrap());
    let day = |decision: &Decision| format!("{:?}", decision.verdict);
    let in_berlin = decide(&list, &only(0, 2, 0, 0), &berlin);
    assert!(day(&in_berlin[0]).contains("2026-11-23") && day(&in_berlin[1]).contains("2026-11-22"));
    let in_utc = decide(&list, &only(0, 2, 0, 0), &now);
    assert!(!day(&in_utc[0]).contains("Day") && day(&in_utc[1]).contains("2026-11-22"));
}

#[test]
fn a_night_whose_clock_goes_back_over_midnight_has_its_days() {
    let list = [
        scheduled("2026-10-25 21:30"), // 23:30
        scheduled("2026-10-25 22:00"), // 00:00 of the next day
        scheduled("2026-10-25 22:30"), // 23:30 again
        scheduled("2026-10-25 23:30"), // 00:30
    ];
    let now = time("2026-10-26 12:00").with_timezone(&NastyZone);
    let of_days = |days| kept(&list, &only(0, days, 0, 0), &now).into_iter().map(|id| id.time());
    assert!(of_days(2).eq([list[0].at, list[1].at, list[3].at]));
    assert!(of_days(1).eq([list[1].at, list[3].at]));
}

#[test]
fn a_date_or_clock_that_is_wrong_stops_everything() {
    let night = |day| scheduled(&format!("2026-11-{day} 03:00"));
    let list = [night(20), night(21), night(22)];
    assert_eq!(kept(&list, &only(1, 0, 0, 0), &time("2026-11-22 02:59")).len(), 1, "a minute is nothing");
    let line = &told(&list, &only(1, 0, 0, 0), "2026-11-22 02:58")[2];
    assert_eq!(
        line,
        "11-20 03:00: the date of 20261122T030000Z-2222 or the clock is wrong: nothing is removed"
    );
    let moved = Candidate { at: time("2026-11-01 03:00"), ..night(23) };
    let now = time("2026-11-25 00:00");
    assert_eq!(kept(&[&list[..], &[moved]].concat(), &only(1, 0, 0, 0), &now).len(), 4);
    let twice = bad(night(22));
    assert_eq!(kept(&[&list[..], &[twice]].concat(), &only(1, 0, 0, 0), &now).len(), 3);
}

#[test]
fn for_room_bad_ones_go_first_then_the_oldest() {
    let pinned = Candidate { pinned: true, ..scheduled("2026-11-15 03:00") };
    let list = [
        verified(scheduled("2026-11-14 03:00")),
        pinned,
        scheduled("2026-11-16 03:00"),
        backup("2026-11-17 03:00", Pool::Deploy),
        backup("2026-11-18 03:00", Pool::Manual),
        scheduled("2026-11-19 03:00"),
        scheduled("2026-11-20 03:00"),
        bad(scheduled("2026-11-21 03:00")),
        bad(scheduled("2026-11-22 03:00")),
    ];
    let now = time("2026-11-22 04:00");
    let days: Vec<u32> = shrink(&list, &now).iter().map(|id| id.time().day()).collect();
    assert_eq!(days, [21, 16, 17, 19]);
    assert_eq!(shrink(&list, &time("2026-11-21 04:00")), []);
    assert_eq!(shrink(&list.clone().map(bad), &now), []);
}

fn policy() -> impl Strategy<Value = Policy> {
    (0..4u32, 0..5u32, 0..4u32, 0..4u32).prop_map(|(last, daily, weekly, monthly)| Policy {
        last,
        daily,
        weekly,
        monthly,
    })
}

fn policies() -> impl Strategy<Value = Policies> {
    (policy(), policy()).prop_map(|(scheduled, deploy)| Policies { scheduled, deploy })
}

/// Backups with the given times; some bad, verified or pinned, most of them of the automatic pools.
fn born(times: impl Strategy<Value = Vec<DateTime<Utc>>>) -> impl Strategy<Value = Vec<Candidate>> {
    let one = (0..9usize, prop::bool::weighted(0.8), any::<bool>(), prop::bool::weighted(0.05));
    (times, prop::collection::vec(one, 200)).prop_map(|(times, properties)| {
        let candidate = |(number, (at, (pool, good, verified, pinned))): (usize, (DateTime<Utc>, _))| {
            let [.., high, low] = number.to_be_bytes();
            let id = BackupId::new(at, [0, high, low / 31, low % 31]);
            let pool = POOLS.get(pool).copied().unwrap_or(AUTOMATIC[pool % 2]);
            Candidate { id, pool, at, good, verified, pinned }
        };
        times.into_iter().zip(properties).enumerate().map(candidate).collect()
    })
}

/// A list in any order, in which some times are the same.
fn backups() -> impl Strategy<Value = Vec<Candidate>> {
    let hour = prop_oneof![0..48i64, 0..9600i64];
    let at = hour.prop_map(|hour| time("2026-01-01 00:00") + TimeDelta::hours(hour));
    born(prop::collection::vec(at, 0..40))
}

/// One after the other over years, with gaps of seconds up to months.
fn births() -> impl Strategy<Value = Vec<Candidate>> {
    let gap = prop_oneof![
        3 => 1..20_000i64,
        5 => 80_000..90_000i64,
        2 => 80_000..900_000i64,
        1 => 1..6_000_000i64
    ];
    // The year's first day, and a while before NastyZone's switches.
    let start = prop::sample::select(vec!["2026-01-01 00:00", "2026-03-29 20:30", "2026-10-25 20:30"]);
    let times = (start, prop::collection::vec(gap, 1..160)).prop_map(|(start, gaps)| {
        let later = |at: &mut DateTime<Utc>, gap| {
            *at += TimeDelta::seconds(gap);
            Some(*at)
        };
        gaps.into_iter().scan(time(start), later).collect()
    });
    born(times)
}

fn end() -> DateTime<Utc> {
    time("2027-03-01 00:00")
}

fn newest(backups: &[Candidate], is_wanted: impl Fn(&Candidate) -> bool) -> Option<&Candidate> {
    backups.iter().filter(|backup| is_wanted(backup)).max_by_key(|backup| (backup.at, &backup.id))
}

#[test]
fn what_stops_everything_is_named() {
    let late = scheduled("2027-03-02 00:00");
    let decisions = decide(&[scheduled("2026-11-01 00:00"), late.clone()], &Policies::default(), &end());
    assert!(decisions.iter().all(|decision| decision.verdict.misdated() == Some(&late.id)));
    let decisions = decide(&[scheduled("2026-11-01 00:00")], &Policies::default(), &end());
    assert_eq!(decisions[0].verdict.misdated(), None);
    assert_eq!(Verdict::Remove.misdated(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_must_stay_stays(backups in backups(), policies in policies()) {
        let kept = kept(&backups, &policies, &end());
        for must in [newest(&backups, |it| it.good), newest(&backups, |it| it.good && it.verified)] {
            prop_assert!(must.is_none_or(|must| kept.contains(&must.id)));
        }
        for backup in &backups {
            if backup.pinned || !AUTOMATIC.contains(&backup.pool) {
                prop_assert!(kept.contains(&backup.id));
            }
        }
        for (pool, policy) in AUTOMATIC.into_iter().zip([policies.scheduled, policies.deploy]) {
            let last = newest(&backups, |it| it.good && it.pool == pool);
            prop_assert!(policy == NOTHING || last.is_none_or(|last| kept.contains(&last.id)));
        }
    }

    #[test]
    fn a_bad_one_goes_only_when_a_newer_good_one_of_its_pool_stays(
        backups in backups(),
        policies in policies(),
    ) {
        let kept = kept(&backups, &policies, &end());
        for gone in backups.iter().filter(|it| !it.good && !kept.contains(&it.id)) {
            prop_assert!(backups.iter().any(|it| it.good && it.pool == gone.pool
                && (it.at, &it.id) > (gone.at, &gone.id) && kept.contains(&it.id)));
        }
    }

    #[test]
    fn slots_are_held_by_good_ones_of_automatic_pools_and_no_more_than_asked_for(
        backups in backups(),
        policies in policies(),
    ) {
        let mut held = BTreeMap::new();
        for Decision { id, verdict } in decide(&backups, &policies, &end()) {
            let Verdict::Keep(reasons) = verdict else { continue };
            prop_assert!(!reasons.is_empty());
            let backup = backups.iter().find(|it| it.id == id).unwrap();
            for reason in reasons {
                let kind = match reason {
                    Reason::Last(_) => 0,
                    Reason::Slot(Slot::Day(_)) => 1,
                    Reason::Slot(Slot::Week(_)) => 2,
                    Reason::Slot(Slot::Month { .. }) => 3,
                    _ => continue,
                };
                prop_assert!(backup.good);
                *held.entry((backup.pool.as_str(), kind)).or_insert(0u32) += 1;
            }
        }
        for ((pool, kind), count) in held {
            let policy = if pool == "scheduled" { policies.scheduled } else { policies.deploy };
            prop_assert!(["scheduled", "deploy"].contains(&pool));
            let most = [policy.last.max(1), policy.daily, policy.weekly, policy.monthly];
            prop_assert!(count <= most[kind]);
        }
    }

    #[test]
    fn a_pool_does_not_feel_the_others(backups in backups(), policies in policies()) {
        let together = decide(&backups, &policies, &end());
        for pool in AUTOMATIC {
            let alone: Vec<Candidate> = backups.iter().filter(|it| it.pool == pool).cloned().collect();
            let alone = decide(&alone, &policies, &end());
            let of_pool = |reason: &&Reason| matches!(reason, Reason::Last(_) | Reason::Slot(_));
            for decision in alone {
                let beside = together.iter().find(|it| it.id == decision.id).unwrap();
                let [alone, beside] = [&decision.verdict, &beside.verdict].map(|verdict| match verdict {
                    Verdict::Keep(reasons) => reasons.iter().filter(of_pool).collect(),
                    Verdict::Remove => Vec::new(),
                });
                prop_assert_eq!(alone, beside);
            }
        }
    }

    #[test]
    fn deciding_again_removes_nothing(backups in backups(), policies in policies()) {
        let mut left = backups;
        prune(&mut left, &policies, &end());
        prop_assert_eq!(kept(&left, &policies, &end()).len(), left.len());
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(
        (backups, shuffled) in backups().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
        policies in policies(),
    ) {
        let decisions = decide(&backups, &policies, &end());
        prop_assert_eq!(&decide(&shuffled, &policies, &end()), &decisions);
        prop_assert_eq!(shrink(&shuffled, &end()), shrink(&backups, &end()));
        let times: Vec<DateTime<Utc>> = decisions.iter().map(|decision| decision.id.time()).collect();
        prop_assert!(times.is_sorted_by(|a, b| a >= b));
        prop_assert_eq!(decisions.len(), backups.len());
    }

    #[test]
    fn a_newer_one_brings_no_good_one_back_and_takes_none_that_must_stay(
        backups in backups(),
        policies in policies(),
        pool in prop::sample::select(POOLS.to_vec()),
        hours in 1..3000i64,
    ) {
        let before = kept(&backups, &policies, &end());
        let at = end() + TimeDelta::hours(hours);
        let newer = backup(&at.format("%Y-%m-%d %H:%M").to_string(), pool);
        let after = kept(&[&backups[..], std::slice::from_ref(&newer)].concat(), &policies, &at);
        prop_assert!(after.contains(&newer.id));
        for old in &backups {
            prop_assert!(!old.good || !after.contains(&old.id) || before.contains(&old.id));
            let must_stay = old.pinned || !AUTOMATIC.contains(&old.pool);
            prop_assert!(!must_stay || after.contains(&old.id));
        }
    }

    #[test]
    fn a_larger_policy_keeps_all_that_a_smaller_one_keeps(
        backups in backups(),
        small in policy(),
        more in policy(),
    ) {
        let large = Policy {
            last: small.last + more.last,
            daily: small.daily + more.daily,
            weekly: small.weekly + more.weekly,
            monthly: small.monthly + more.monthly,
        };
        let [small, large] = [small, large].map(|scheduled| {
            kept(&backups, &Policies { scheduled, deploy: NOTHING }, &end())
        });
        let good: BTreeSet<BackupId> = backups.into_iter().filter(|it| it.good).map(|it| it.id).collect();
        prop_assert!(small.intersection(&good).all(|id| large.contains(id)));
    }

    #[test]
    fn a_backup_from_the_future_or_with_two_dates_stops_everything(
        backups in backups(),
        policies in policies(),
        which: Index,
        seconds in 61..10_000_000i64,
        has_two_dates: bool,
    ) {
        prop_assume!(!backups.is_empty());
        let mut backups = backups;
        let (wrong, off) = (which.index(backups.len()), TimeDelta::seconds(seconds));
        let mut now = end();
        if has_two_dates {
            backups[wrong].at -= off;
        } else {
            now = newest(&backups, |_| true).unwrap().at - off;
        }
        prop_assert_eq!(kept(&backups, &policies, &now).len(), backups.len());
        prop_assert!(shrink(&backups, &now).is_empty());
    }

    #[test]
    fn shrinking_never_takes_what_is_protected_wherever_it_stops(backups in backups(), stop: Index) {
        let order = shrink(&backups, &end());
        let gone: BTreeSet<&BackupId> = order.iter().take(stop.index(order.len() + 1)).collect();
        let is_there = |it: Option<&Candidate>| it.is_none_or(|it| !gone.contains(&it.id));
        prop_assert!(is_there(newest(&backups, |it| it.good)));
        prop_assert!(is_there(newest(&backups, |it| it.good && it.verified)));
        let find = |id: &BackupId| backups.iter().find(|it| it.id == *id).unwrap();
        for it in gone.iter().map(|id| find(id)) {
            prop_assert!(AUTOMATIC.contains(&it.pool) && !it.pinned);
            prop_assert!(it.good || newest(&backups, |other| other.pool == it.pool) != Some(it));
        }
        prop_assert!(order.iter().map(|id| (find(id).good, find(id).at, id)).is_sorted());
        // Wherever it stopped, what comes next is still the same.
        let left: Vec<Candidate> = backups.iter().filter(|it| !gone.contains(&it.id)).cloned().collect();
        prop_assert_eq!(&shrink(&left, &end())[..], &order[gone.len()..]);
    }
}

fn earlier(backup: &Candidate, seconds: i64) -> Candidate {
    let at = backup.at - TimeDelta::seconds(seconds);
    let (_, suffix) = backup.id.as_str().split_once('-').unwrap();
    let id = format!("{}-{suffix}", at.format("%Y%m%dT%H%M%SZ")).parse().unwrap();
    Candidate { id, at, ..*backup }
}

fn ids_of_good(backups: &[Candidate]) -> BTreeSet<&BackupId> {
    backups.iter().filter(|it| it.good).map(|it| &it.id).collect()
}

/// The newest `count` days, weeks or months that the good backups of a pool were made in.
fn slots<Tz: TimeZone>(
    backups: &[Candidate],
    pool: Pool,
    count: u32,
    zone: &Tz,
    format: &str,
) -> Vec<String> {
    let good = backups.iter().filter(|it| it.good && it.pool == pool);
    let slot = |it: &Candidate| it.at.with_timezone(zone).date_naive().format(format).to_string();
    good.map(slot).collect::<BTreeSet<String>>().into_iter().rev().take(size(count)).collect()
}

/// Every day, week and month that the policies ask for and that ever had a good backup still has one, and
/// pruning all the time keeps what pruning once would.
fn nothing_wanders_away<Tz: TimeZone>(births: &[Candidate], policies: &Policies, zone: &Tz) {
    live(births, policies, zone, |step, there| {
        if step % 9 != 0 && step + 1 != births.len() {
            return;
        }
        let ever = &births[..=step];
        let once = kept(ever, policies, &births[step].at.with_timezone(zone));
        let once: BTreeSet<&BackupId> =
            ids_of_good(ever).into_iter().filter(|id| once.contains(id)).collect();
        assert_eq!(ids_of_good(there), once);
        for (pool, policy) in [(Pool::Scheduled, policies.scheduled), (Pool::Deploy, policies.deploy)] {
            let kinds = [(policy.daily, "%Y-%m-%d"), (policy.weekly, "%G-%V"), (policy.monthly, "%Y-%m")];
            for (count, format) in kinds {
                let wanted = slots(ever, pool, count, zone, format);
                assert_eq!(slots(there, pool, count, zone, format), wanted);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn years_of_pruning_after_every_backup_lose_no_slot(
        births in births(),
        policies in policies(),
        quarters in -48..56i32,
    ) {
        nothing_wanders_away(&births, &policies, &FixedOffset::east_opt(quarters * 900).unwrap());
    }

    #[test]
    fn summer_time_loses_no_slot(births in births(), policies in policies()) {
        nothing_wanders_away(&births, &policies, &NastyZone);
    }

    #[test]
    fn while_a_clock_is_behind_nothing_goes_and_afterwards_it_goes_on(
        births in births(),
        policies in policies(),
        turn: Index,
        back in 61..9_000_000i64,
    ) {
        // From some backup on, the clock is behind; new backups are dated by it.
        let turn = turn.index(births.len());
        let mut there: Vec<Candidate> = Vec::new();
        for (step, birth) in births.into_iter().enumerate() {
            let birth = if step > turn { earlier(&birth, back) } else { birth };
            let now = birth.at;
            there.push(birth);
            let before = there.clone();
            prune(&mut there, &policies, &now);
            let is_behind = before.iter().any(|it| it.at - now > TimeDelta::seconds(60));
            prop_assert!(!is_behind || there.len() == before.len());
            for must in [newest(&before, |it| it.good), newest(&before, |it| it.good && it.verified)] {
                prop_assert!(must.is_none_or(|must| there.contains(must)));
            }
        }
    }
}
