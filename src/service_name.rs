//! Service names, checked once at the edge so that they can be used in paths and container names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A dokku-postgres service name: `^[A-Za-z0-9_-]+$`, as its `is_valid_service_name` demands, and no leading dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// Linux's limit for one path component.
const MAX_LENGTH: usize = 255;

impl ServiceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > MAX_LENGTH || text.starts_with('-') || !text.bytes().all(allowed) {
            let shown: String = text.chars().take(60).collect();
            return Err(format!(
                "{shown:?} is not a service name (letters, digits, _ and - are allowed, not - at the start)"
            ));
        }
        Ok(ServiceName(text.to_owned()))
    }
}

impl TryFrom<String> for ServiceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> String {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for text in ["", ".", "..", "a/b", "-rf", "a b", "a\nb", "ä", "a;b", "$(x)", &"x".repeat(256)] {
            assert!(text.parse::<ServiceName>().is_err(), "{text:?}");
        }
        for text in ["happycows-db", "a", "A_1-b", "0"] {
            assert_eq!(text.parse::<ServiceName>().unwrap().as_str(), text);
        }
    }
}
