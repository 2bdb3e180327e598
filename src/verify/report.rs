//! What a verification found, and what is said of it where the backup is to be used.

use std::fmt;
use std::time::Duration;

use crate::catalog::Backup;
use crate::error::Failure;
use crate::manifest::Level;
use crate::plain_text::shell_word;

/// One thing that is not as the backup says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `table public.cows`, `dump/7.dat.zst`, `schema`.
    pub subject: String,
    pub what: String,
    /// Only the owner or the mode is wrong, after a copy by root for example; the content is not in doubt.
    pub is_exposure: bool,
}

impl Problem {
    pub(super) fn new(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Problem { subject: subject.into(), what: what.into(), is_exposure: false }
    }
}

/// Whether nothing is wrong but who owns the files and who may read them.
pub fn are_exposures(problems: &[Problem]) -> bool {
    problems.iter().all(|problem| problem.is_exposure)
}

/// Why a backup with these problems is not used; `done` is what is not done with it: "restored".
pub fn refusal(backup: &Backup, problems: &[Problem], done: &str) -> Failure {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let details = problems.iter().skip(1).take(SHOWN_PROBLEMS).map(ToString::to_string).collect();
    let (id, service) = (&backup.id, &backup.manifest.service);
    if are_exposures(problems) {
        let folder = shell_word(&backup.folder.to_string_lossy());
        return Failure::refused(format!(
            "backup {id} is not {done}, it does not belong to dokku alone: {first}"
        ))
        .details(details)
        .hint(format!("as root: chown -R dokku:dokku {folder} && chmod -R go= {folder}"));
    }
    Failure::refused(format!("backup {id} is damaged and is not {done}: {first}"))
        .details(details)
        .hint(format!("choose another one: dokku pgbackup:list {service}"))
}

/// Problems that are shown where one is enough to say no.
const SHOWN_PROBLEMS: usize = 8;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)
    }
}

/// A table as it should be and as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableResult {
    pub name: String,
    pub expected_rows: u64,
    pub found_rows: Option<u64>,
    pub same: bool,
}

/// Something that was compared as a whole: files, sequences, the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    pub name: &'static str,
    pub compared: String,
    pub good: bool,
}

/// Everything that a verification found.
#[derive(Debug)]
pub struct VerifyReport {
    pub backup: String,
    /// How closely it was looked at: less than was asked for when something was wrong before.
    pub level: Level,
    pub checks: Vec<CheckResult>,
    pub tables: Vec<TableResult>,
    pub problems: Vec<Problem>,
    pub duration: Duration,
}

impl VerifyReport {
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn new(name: &str) -> Self {
        VerifyReport {
            backup: name.to_owned(),
            level: Level::Quick,
            checks: Vec::new(),
            tables: Vec::new(),
            problems: Vec::new(),
            duration: Duration::ZERO,
        }
    }

    /// The report on a folder that is not whole enough to look into.
    pub fn broken(name: &str, why: &str) -> Self {
        VerifyReport { problems: vec![Problem::new("backup", why)], ..Self::new(name) }
    }

    pub(super) fn check(&mut self, name: &'static str, compared: impl Into<String>, problems: Vec<Problem>) {
        self.checks.push(CheckResult { name, compared: compared.into(), good: problems.is_empty() });
        self.problems.extend(problems);
    }
}
