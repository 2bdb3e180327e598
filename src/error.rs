//! The failures a user or a script must tell apart, with their exit codes (docs/exit-codes.md) and hints.

use std::fmt;

/// What went wrong, as far as a caller can act on it. The number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything without a code of its own: an I/O error, a failed step of our own.
    Failed,
    /// The command line cannot be understood.
    Usage,
    /// A verification found a difference.
    Difference,
    /// Another run holds the lock.
    Busy,
    /// No such service or backup.
    NotFound,
    /// The request is understood, but carrying it out would be wrong now.
    Refused,
    /// docker, `pg_dump`, `pg_restore` or `psql` failed.
    Tool,
    /// Stopped by the signal with this number.
    Interrupted(i32),
}

impl Kind {
    /// The process exit code. Never 10: dokku reads that as "not my command".
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Difference => 3,
            Kind::Busy => 4,
            Kind::NotFound => 5,
            Kind::Refused => 6,
            Kind::Tool => 7,
            Kind::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(130),
        }
    }
}

/// One sentence for the user, an optional hint (what to type next) and optional details (a tool's own words).
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    /// What to type, a line or two.
    pub hint: Option<String>,
    pub details: Vec<String>,
    /// A tool failed because of what it was given, not because of its surroundings.
    pub blames_data: bool,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into(), hint: None, details: Vec::new(), blames_data: false }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(Kind::Busy, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    pub fn tool(message: impl Into<String>) -> Self {
        Self::new(Kind::Tool, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn blames_data(mut self, blames_data: bool) -> Self {
        self.blames_data = blames_data;
        self
    }

    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The [`Failure`] inside `error`, wherever context was added around it.
pub fn failure_in(error: &anyhow::Error) -> Option<&Failure> {
    error.downcast_ref::<Failure>()
}

/// The kind of `error`: that of its [`Failure`], or [`Kind::Failed`].
pub fn kind_of(error: &anyhow::Error) -> Kind {
    failure_in(error).map_or(Kind::Failed, |failure| failure.kind)
}

/// Whether a file or folder was not there, of which nobody says what that means.
pub fn is_of_a_missing_file(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let is_missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        cause.downcast_ref().is_some_and(is_missing)
            || cause.downcast_ref() == Some(&rustix::io::Errno::NOENT)
    })
}

/// The exit code for `error`.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    kind_of(error).exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_kind_survives_added_context() {
        let error = Err::<(), _>(anyhow::Error::from(Failure::busy("taken"))).context("outer").unwrap_err();
        assert_eq!(exit_code(&error), 4);
    }

    #[test]
    fn no_kind_exits_with_10() {
        for kind in [Kind::Failed, Kind::Usage, Kind::Difference, Kind::Busy, Kind::NotFound, Kind::Refused] {
            assert_ne!(kind.exit_code(), 10);
        }
        assert_eq!(Kind::Interrupted(2).exit_code(), 130);
        assert_eq!(Kind::Interrupted(15).exit_code(), 143);
    }
}
