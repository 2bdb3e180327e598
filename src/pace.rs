//! How hard a run works: how many parallel jobs, and whether the service goes first.

use crate::settings::Settings;

/// For `create` and drills. A restore never steps back: somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Parallel jobs of `pg_dump` and `pg_restore`.
    pub jobs: usize,
    /// Everything of ours gives way to everything else on the machine.
    pub gentle: bool,
    /// How many processors a dump may keep busy; `None` for as many as it can.
    pub processors: Option<f64>,
}

/// The part of the machine that an unhurried `pg_dump` gets. The server works about as much for it, but with its own
/// weight, so that low weights of ours do not help a busy service (docs/performance.md).
const UNHURRIED: f64 = 1.0 / 40.0;

impl Pace {
    /// What was asked for, else what is set. A gentle run has one job if no number is asked for.
    pub fn of(settings: &Settings, jobs: Option<usize>, gentle: bool) -> Self {
        let gentle = gentle || settings.gentle;
        let usual = if gentle { 1 } else { settings.jobs };
        Pace { jobs: jobs.unwrap_or(usual), gentle, processors: None }
    }

    /// For a gentle dump that nobody waits for, on a machine with so many processors.
    #[must_use]
    pub fn unhurried(self, processors: usize) -> Self {
        let processors = u32::try_from(processors).unwrap_or(u32::MAX);
        Pace { processors: self.gentle.then(|| UNHURRIED * f64::from(processors)), ..self }
    }
}
