//! Backup ids: the UTC second a backup was started and four random characters, so that ids sort by time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const SUFFIX_LENGTH: usize = 4;
/// Without characters that are misread for one another (0/o, 1/l/i).
const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";

/// `20261122T235901Z-k3f9`. No dots or colons, so that a double click selects it whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    /// The id of a backup started at `now`; `random` gives the suffix.
    pub fn new(now: DateTime<Utc>, random: [u8; SUFFIX_LENGTH]) -> Self {
        let suffix: String =
            random.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect();
        BackupId(format!("{}-{suffix}", now.format(TIME_FORMAT)))
    }

    /// The second in which the backup was started.
    pub fn time(&self) -> DateTime<Utc> {
        let (time, _) = self.0.split_at(self.0.len() - SUFFIX_LENGTH - 1);
        NaiveDateTime::parse_from_str(time, TIME_FORMAT).map(|naive| naive.and_utc()).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not a backup id (they look like 20261122T235901Z-k3f9)");
        let (time, suffix) = text.split_once('-').ok_or_else(wrong)?;
        let well_formed = time.len() == 16
            && suffix.len() == SUFFIX_LENGTH
            && suffix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !well_formed || NaiveDateTime::parse_from_str(time, TIME_FORMAT).is_err() {
            return Err(wrong());
        }
        Ok(BackupId(text.to_owned()))
    }
}

impl TryFrom<String> for BackupId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> String {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_id_reads_back_and_keeps_its_second(second in 0i64..4_000_000_000, random: [u8; 4]) {
            let now = Utc.timestamp_opt(second, 0).unwrap();
            let id = BackupId::new(now, random);
            prop_assert_eq!(id.as_str().parse::<BackupId>().unwrap(), id.clone());
            prop_assert_eq!(id.time(), now);
        }

        #[test]
        fn parsing_anything_never_panics(text in ".*") {
            let _ = text.parse::<BackupId>();
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "",
            "..",
            "20261122T235901Z",
            "20261122T235901Z-",
            "20261399T235901Z-k3f9",
            "../../etc",
            "20261122T235901Z-k3f9/",
            "20261122T235901Z-K3F9",
            " 20261122T235901Z-k3f9",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text:?}");
        }
    }
}
