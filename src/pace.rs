//! How hard a run works: how many parallel jobs, and whether the service goes first.

use crate::settings::Settings;

/// For `create` and drills. A restore never steps back: somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Parallel jobs of `pg_dump` and `pg_restore`.
    pub jobs: usize,
    /// Everything of ours gives way to everything else on the machine.
    pub gentle: bool,
}

impl Pace {
    /// What was asked for, else what is set. A gentle run has one job if no number is asked for.
    pub fn of(settings: &Settings, jobs: Option<usize>, gentle: bool) -> Self {
        let gentle = gentle || settings.gentle;
        let usual = if gentle { 1 } else { settings.jobs };
        Pace { jobs: jobs.unwrap_or(usual), gentle }
    }
}
