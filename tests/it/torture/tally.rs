//! What the campaign counts: each try of a fault and what came of it. `scripts/torture` makes the table of it.

use std::fs::OpenOptions;
use std::io::Write;

/// How often a fault is tried: `usually` in the tests, `PGBACKUP_TORTURE=200` times in the campaign.
pub fn tries(usually: u32) -> u32 {
    std::env::var("PGBACKUP_TORTURE").map_or(usually, |text| text.parse().unwrap())
}

/// Whether this is the campaign, and not the sample of it among the tests.
pub fn is_campaign() -> bool {
    tries(0) > 0
}

/// Whether a command is tried: `PGBACKUP_TORTURE_ONLY=restore,delete` names those that are; without it all are.
pub fn is_wanted(command: &str) -> bool {
    let only = std::env::var("PGBACKUP_TORTURE_ONLY").unwrap_or_default();
    only.is_empty() || only.split(',').any(|name| name == command)
}

/// One fault. Each try of it is written down at once, so that a campaign which is stopped has what it found until then.
pub struct Tally {
    campaign: &'static str,
    fault: String,
}

impl Tally {
    /// `campaign` is a heading of docs/reliability.md, `fault` what is done, as a user reads it.
    pub fn new(campaign: &'static str, fault: &str) -> Self {
        Tally { campaign, fault: fault.to_owned() }
    }

    /// Counts one try, after everything was looked at that must hold after it.
    pub fn saw(&mut self, outcome: &str) {
        self.write(outcome);
    }

    /// One write for each line, so that tests side by side do not mix theirs.
    fn write(&self, outcome: &str) {
        let Some(path) = std::env::var_os("PGBACKUP_TORTURE_TABLE") else { return };
        let mut table = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let line = format!("{}\t{}\t{outcome}\n", self.campaign, self.fault);
        table.write_all(line.as_bytes()).unwrap();
    }
}

impl Drop for Tally {
    /// A try after which something did not hold has failed its test.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.write("FAILED");
        }
    }
}
