//! Postgres versions: what a server can do, and which can take another's dump.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `server_version_num`: 170006 is 17.6, 150018 is 15.18 (Postgres manual, "Preset Options").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PgVersion(pub u32);

impl PgVersion {
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }

    /// `pg_dump -Z zstd` exists since 16.
    pub fn has_zstd(self) -> bool {
        self.major() >= 16
    }

    /// A dump restores into the same or a newer major version, not into an older one.
    pub fn can_restore_into(self, target: PgVersion) -> bool {
        self.major() <= target.major()
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major(), self.0 % 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_and_compare_by_major() {
        assert_eq!(PgVersion(170_006).to_string(), "17.6");
        assert!(PgVersion(150_018).can_restore_into(PgVersion(170_000)));
        assert!(PgVersion(170_006).can_restore_into(PgVersion(170_001)));
        assert!(!PgVersion(170_006).can_restore_into(PgVersion(150_018)));
        assert!(!PgVersion(150_018).has_zstd());
    }
}
