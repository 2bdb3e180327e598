//! Where a remote is: `s3://bucket/prefix`, or `file:///folder`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Longer is nobody's prefix.
const MAX_LENGTH: usize = 500;

/// A place for backups outside of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A bucket and the beginning of all keys in it, which may be empty.
    S3 { bucket: String, prefix: String },
    /// A folder that is mounted here.
    Folder(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH || text.chars().any(char::is_control) {
            return Err("an address is one line of at most 500 characters".to_owned());
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            if !is_bucket(bucket) {
                return Err(format!("{bucket:?} is not a name for a bucket"));
            }
            if !prefix.is_empty() && !prefix.split('/').all(is_plain) {
                return Err(format!(
                    "{prefix:?} cannot be a prefix: letters, digits and -_.= are, with / between"
                ));
            }
            return Ok(Address::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        match text.strip_prefix("file://") {
            Some(path) if path.starts_with('/') && !path.split('/').any(|part| part == "..") => {
                Ok(Address::Folder(PathBuf::from(path)))
            }
            _ => Err("an address like s3://bucket/prefix or file:///mnt/nas/folder is wanted".to_owned()),
        }
    }
}

/// What Amazon allows today, and the capitals and underscores that older buckets have.
fn is_bucket(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (3..=255).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('.')
}

fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
    !part.is_empty() && part != "." && part != ".." && part.chars().all(allowed)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Address::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Address::Folder(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("s3://cows", "s3://cows"),
            ("s3://cows/", "s3://cows"),
            ("s3://cows/a/b/", "s3://cows/a/b"),
            ("file:///mnt/nas/pg backup", "file:///mnt/nas/pg backup"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "cows",
            "s3://",
            "s3://a",
            "s3://cows/../x",
            "s3://cows/a//b",
            "file://mnt",
            "file:///a/../b",
            "gs://x",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
