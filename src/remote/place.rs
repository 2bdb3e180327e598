//! `remote.toml`: which remote a service has, and with which credentials. The file belongs to dokku alone.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::endpoint;
use crate::error::Failure;
use crate::files;
use crate::layout::{Layout, ServiceLayout};

const MAX_SIZE: u64 = 64 * 1024;
/// The region of a store that has none.
const DEFAULT_REGION: &str = "us-east-1";
/// Lies in a folder that is a remote. The folder that something was mounted on, and is not any more, has none.
const MARK: &str = ".pgbackup-remote";

/// A remote as it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Place {
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// That it was asked for; see [`Place::only_in_path`].
    #[serde(default)]
    pub path_style: bool,
    /// Without them: those of `postgres:backup-auth`, else those of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Ask the instance even where `postgres:backup-auth` stored some.
    #[serde(default)]
    pub instance_role: bool,
}

/// An access key of the store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Of temporary ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Those that travel in the lines above a request. The secret key only signs it.
    fn check(&self) -> Result<(), String> {
        let keys =
            [("access key's id", Some(&self.access_key_id)), ("session token", self.session_token.as_ref())];
        let is_key = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        match keys.iter().find(|(_, key)| key.is_some_and(|key| !is_key(key))) {
            Some((what, _)) => Err(format!("the {what} is empty, or something in it is in no key")),
            None => Ok(()),
        }
    }
}

impl Place {
    /// What the file at `path` says; `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let broken = |why: String| {
            Failure::failed(format!("the remote in {} cannot be used: {why}", path.display()))
                .hint("set it again with: dokku pgbackup:remote-set <service>|--global <address>")
        };
        let bytes = files::read_bounded(path, MAX_SIZE)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| broken(error.to_string()))?;
        let place: Self = toml::from_str(text).map_err(|error| broken(error.message().to_owned()))?;
        place.address().map_err(broken)?;
        Ok(Some(place))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            files::create_private_folders(folder)?;
        }
        files::write_atomic(path, toml::to_string(self)?.as_bytes())
    }

    pub fn address(&self) -> Result<Address, String> {
        self.address.parse()
    }

    /// Why the bucket can only be named in the path, whatever was asked for.
    pub fn only_in_path(&self) -> Option<String> {
        match self.address() {
            Ok(Address::S3 { bucket, .. }) => endpoint::only_in_path(self.endpoint.as_deref(), &bucket),
            _ => None,
        }
    }

    pub fn names_bucket_in_path(&self) -> bool {
        self.path_style || self.only_in_path().is_some()
    }

    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(DEFAULT_REGION)
    }

    /// Whether the client can be given all of it: it panics where it cannot make a request of what it was given.
    pub fn check(&self) -> Result<(), String> {
        let Address::S3 { bucket, .. } = self.address()? else { return Ok(()) };
        endpoint::check_all(self.endpoint.as_deref(), self.region(), &bucket, self.names_bucket_in_path())?;
        self.credentials.as_ref().map_or(Ok(()), Credentials::check)
    }

    fn mark_file(&self) -> Option<PathBuf> {
        match self.address() {
            Ok(Address::Folder(folder)) => Some(folder.join(MARK)),
            _ => None,
        }
    }

    /// Whether the folder is known to be a remote; a store always is.
    pub fn is_marked(&self) -> Result<bool> {
        self.mark_file().map_or(Ok(true), |mark| files::exists(&mark))
    }

    /// Makes the folder known as a remote, where that is needed.
    pub fn mark(&self) -> Result<()> {
        match self.mark_file() {
            Some(mark) if !files::exists(&mark)? => {
                files::write_atomic(&mark, b"backups of dokku pgbackup are in this folder\n")
            }
            _ => Ok(()),
        }
    }

    /// With what `postgres:backup-auth` stored for the service, where nothing else was said. Its files have had the same
    /// names in both generations of dokku-postgres.
    #[must_use]
    pub fn with_stored(mut self, service: Option<&ServiceLayout>) -> Self {
        let Some(service) = service.filter(|_| self.credentials.is_none() && !self.instance_role) else {
            return self;
        };
        let stored = |name: &str| {
            let bytes = files::read_bounded(&service.postgres_backup(name), MAX_SIZE).ok()?;
            let text = String::from_utf8(bytes).ok()?.trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        let (Some(access_key_id), Some(secret_access_key)) =
            (stored("AWS_ACCESS_KEY_ID"), stored("AWS_SECRET_ACCESS_KEY"))
        else {
            return self;
        };
        self.credentials = Some(Credentials { access_key_id, secret_access_key, session_token: None });
        self.region = self.region.or_else(|| stored("AWS_DEFAULT_REGION"));
        self.endpoint = self.endpoint.or_else(|| stored("ENDPOINT_URL"));
        self
    }
}

/// The remote of `service`, or else the one of all services; `None` when there is neither.
pub fn of(layout: &Layout, service: Option<&ServiceLayout>) -> Result<Option<Place>> {
    let own = service.map_or(Ok(None), |service| Place::read(&service.remote()))?;
    let place = if own.is_some() { own } else { Place::read(&layout.global_remote())? };
    Ok(place.map(|place| place.with_stored(service)))
}

/// Where `remote-set` writes.
pub fn file(layout: &Layout, service: Option<&ServiceLayout>) -> PathBuf {
    service.map_or_else(|| layout.global_remote(), ServiceLayout::remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_its_own_or_the_common_remote_with_stored_credentials() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let service = layout.service(&"db".parse().unwrap());
        assert_eq!(of(&layout, Some(&service)).unwrap(), None);
        let place = |address: &str| Place {
            address: address.into(),
            endpoint: None,
            region: None,
            path_style: false,
            credentials: None,
            instance_role: false,
        };
        place("s3://common").write(&layout.global_remote()).unwrap();
        let auth = service.postgres_backup("AWS_ACCESS_KEY_ID");
        files::create_private_folders(auth.parent().unwrap()).unwrap();
        files::write_private(&auth, b"AKIA\n").unwrap();
        files::write_private(&service.postgres_backup("AWS_SECRET_ACCESS_KEY"), b"s3cret\n").unwrap();
        files::write_private(&service.postgres_backup("ENDPOINT_URL"), b"https://x.example.com\n").unwrap();
        let found = of(&layout, Some(&service)).unwrap().unwrap();
        assert_eq!(
            (found.address.as_str(), found.endpoint.as_deref()),
            ("s3://common", Some("https://x.example.com"))
        );
        assert!(!format!("{found:?}").contains("s3cret"));
        place("s3://own").write(&service.remote()).unwrap();
        assert_eq!(of(&layout, Some(&service)).unwrap().unwrap().address, "s3://own");
        assert_eq!(of(&layout, None).unwrap().unwrap().credentials, None);
        files::write_atomic(&service.remote(), b"address = 3").unwrap();
        assert!(of(&layout, Some(&service)).unwrap_err().to_string().contains("remote.toml"));
    }
}
