//! What the campaign counts: for each fault the tries and what came of them. `scripts/torture` makes the table of it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;

/// How often a fault is tried: `usually` in the tests, `PGBACKUP_TORTURE=200` times in the campaign.
pub fn tries(usually: u32) -> u32 {
    std::env::var("PGBACKUP_TORTURE").map_or(usually, |text| text.parse().unwrap())
}

/// The tries of one fault and their outcomes. A loss is not counted but fails the test: the row then says so.
pub struct Tally {
    campaign: &'static str,
    fault: String,
    outcomes: BTreeMap<String, u32>,
}

impl Tally {
    /// `campaign` is a heading of docs/reliability.md, `fault` what is done, as a user reads it.
    pub fn new(campaign: &'static str, fault: &str) -> Self {
        Tally { campaign, fault: fault.to_owned(), outcomes: BTreeMap::new() }
    }

    /// Counts one try, after everything was looked at that must hold after it.
    pub fn saw(&mut self, outcome: &str) {
        *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
    }

    fn row(&self) -> String {
        let tries: u32 = self.outcomes.values().sum();
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(outcome, count)| format!("{outcome}: {count}")).collect();
        let lost = if std::thread::panicking() { "FAILED" } else { "0" };
        format!("{}\t{}\t{tries}\t{}\t{lost}\n", self.campaign, self.fault, outcomes.join(", "))
    }
}

impl Drop for Tally {
    /// One write for each row, so that tests side by side do not mix theirs.
    fn drop(&mut self) {
        let Some(path) = std::env::var_os("PGBACKUP_TORTURE_TABLE") else { return };
        // What the dice did not choose.
        if self.outcomes.is_empty() && !std::thread::panicking() {
            return;
        }
        let mut table = OpenOptions::new().create(true).append(true).open(path).unwrap();
        table.write_all(self.row().as_bytes()).unwrap();
    }
}
