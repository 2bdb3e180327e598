//! A remote: an S3-compatible store or a mounted folder, put to, read, listed. The only caller of `object_store`, and the
//! only place where anything is asynchronous.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use md5::{Digest, Md5};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};

use crate::checksum::hex;
use crate::error::Failure;
use crate::files;
use crate::interrupt::Interrupt;
use crate::service_name::ServiceName;

pub mod address;
pub mod endpoint;
mod explain;
pub mod place;

use address::Address;
use place::Place;

/// How often waiting looks for an interrupt.
const TICK: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request: a part at 50 kB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// For all attempts together. A connection that died without a word takes a whole [`REQUEST_TIMEOUT`] of it.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How hard a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Again and again for some minutes, with growing pauses.
    Work,
    /// Hardly: somebody waits to hear whether it works at all.
    Question,
}

/// An open remote.
#[derive(Debug)]
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Taken by the drop.
    runtime: Option<tokio::runtime::Runtime>,
    handle: tokio::runtime::Handle,
    interrupt: Interrupt,
    /// Its address, for messages.
    pub shown: String,
    /// Of a store that is not AWS.
    pub endpoint: Option<String>,
}

/// Something that lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name below the remote's prefix.
    pub key: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
}

impl Remote {
    pub fn open(place: &Place, patience: Patience, interrupt: Interrupt) -> Result<Self> {
        let address = place.check().and_then(|()| place.address()).map_err(|why| {
            Failure::failed(format!("the remote {} cannot be used: {why}", place.address))
                .hint("set it again: dokku pgbackup:remote-set <service>|--global <address>")
        })?;
        let (store, prefix): (Arc<dyn ObjectStore>, Path) = match &address {
            Address::S3 { bucket, prefix } => (
                Arc::new(s3(place, bucket, patience)?),
                Path::parse(prefix).map_err(|error| anyhow!("{error}"))?,
            ),
            Address::Folder(folder) => (Arc::new(mounted(place, folder, patience)?), Path::default()),
        };
        // Its threads come after the umask of `mounted`.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Remote {
            store,
            prefix,
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            interrupt,
            shown: address.to_string(),
            endpoint: place.endpoint.clone(),
        })
    }

    /// Runs one request. An interrupt ends it.
    ///
    /// The client unwraps what it believes cannot fail. What we know of that is kept from it (`Place::check`); should there
    /// be more, it ends a push, not the run that has just made a backup, nor a deploy. Where it was stays on stderr.
    fn wait<T>(&self, key: &str, request: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let waiting = async {
            let mut request = pin!(request);
            loop {
                match tokio::time::timeout(TICK, &mut request).await {
                    Ok(ended) => return ended.map_err(|error| explain::explain(&self.shown, key, &error)),
                    Err(_) => self.interrupt.check()?,
                }
            }
        };
        // Nothing of the request is used again.
        let ended = catch_unwind(AssertUnwindSafe(|| self.handle.block_on(waiting)));
        ended.unwrap_or_else(|_| Err(self.fault_of_the_client()))
    }

    fn fault_of_the_client(&self) -> anyhow::Error {
        Failure::tool(format!("the client for {} has a fault, which is told above", self.shown))
            .hint(format!(
                "set the remote again: dokku pgbackup:remote-set <service>|--global {}",
                self.shown
            ))
            .into()
    }

    fn path(&self, key: &str) -> Result<Path> {
        let whole =
            if self.prefix.as_ref().is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) };
        Path::parse(&whole).map_err(|error| anyhow!("{error}"))
    }

    /// Stores an object and looks at what is there afterwards.
    pub fn put(&self, key: &str, bytes: &Bytes) -> Result<()> {
        self.write(key, bytes)?;
        self.look_at(key, bytes)
    }

    /// Stores an object, and believes the answer.
    pub fn write(&self, key: &str, bytes: &Bytes) -> Result<()> {
        let path = self.path(key)?;
        self.wait(key, self.store.put(&path, bytes.clone().into())).map(drop)
    }

    /// Whether an object is there as it was sent: its size and its checksum. Where the store does not tell an MD5 (with some
    /// ways of encryption it cannot), the object is read back.
    fn look_at(&self, key: &str, bytes: &Bytes) -> Result<()> {
        let path = self.path(key)?;
        let found = self.wait(key, self.store.head(&path))?;
        if found.size != bytes.len() as u64 {
            return Err(self.not_as_sent(key));
        }
        let tag = found.e_tag.unwrap_or_default();
        if tag.trim_matches('"').eq_ignore_ascii_case(&hex(&Md5::digest(bytes))) {
            return Ok(());
        }
        let back = self.wait(key, async { self.store.get(&path).await?.bytes().await })?;
        if back == *bytes { Ok(()) } else { Err(self.not_as_sent(key)) }
    }

    fn not_as_sent(&self, key: &str) -> anyhow::Error {
        Failure::tool(format!("{key} is not at {} as it was sent", self.shown))
            .hint("push it again; if that happens twice, the store or the way to it is faulty")
            .into()
    }

    /// A whole object of at most `limit` bytes; `None` when it is not there.
    pub fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        self.wait(key, async {
            let found = match self.store.get(&path).await {
                Ok(found) => found,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            if found.meta.size > limit {
                return Ok(Some(Err(found.meta.size)));
            }
            found.bytes().await.map(|bytes| Some(Ok(bytes)))
        })?
        .map(|read| {
            read.map_err(|size| anyhow!("{key} at {} is larger than it can be ({size} bytes)", self.shown))
        })
        .transpose()
    }

    /// Everything below the folder `below`; with an empty one, everything in folders that are named as services are.
    /// Whatever else lies there is passed over: in the root of a disk is a lost+found that only root may read.
    pub fn list(&self, below: &str) -> Result<Vec<Object>> {
        if !below.is_empty() {
            return self.list_folder(below, &self.path(below)?);
        }
        let top = self.wait("", self.store.list_with_delimiter(Some(&self.prefix)))?;
        let mut found = Vec::new();
        for folder in &top.common_prefixes {
            if let Some(name) = folder.filename().filter(|name| name.parse::<ServiceName>().is_ok()) {
                found.extend(self.list_folder(name, folder)?);
            }
        }
        Ok(found)
    }

    fn list_folder(&self, key: &str, path: &Path) -> Result<Vec<Object>> {
        let found = self.wait(key, self.store.list(Some(path)).try_collect::<Vec<_>>())?;
        let skip = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        let object = |meta: object_store::ObjectMeta| {
            let key = meta.location.as_ref().get(skip..)?.to_owned();
            Some(Object { key, size: meta.size, modified: meta.last_modified })
        };
        Ok(found.into_iter().filter_map(object).collect())
    }

    /// The folders right below the remote's prefix; where there are none, those in the nearest folder above that has some.
    /// Also the place where they are.
    pub fn folders(&self) -> Result<(String, Vec<String>)> {
        let mut place = self.prefix.clone();
        loop {
            let found = self.wait("", self.store.list_with_delimiter(Some(&place)))?;
            let names = found.common_prefixes.iter().filter_map(Path::filename).map(str::to_owned);
            let names: Vec<String> = names.collect();
            if !names.is_empty() || place.as_ref().is_empty() {
                return Ok((place.to_string(), names));
            }
            let above = place.as_ref().rsplit_once('/').map_or("", |(above, _)| above);
            place = Path::parse(above).map_err(|error| anyhow!("{error}"))?;
        }
    }

    /// The remote's prefix in its bucket; empty for a folder and for a whole bucket.
    pub fn prefix(&self) -> &str {
        self.prefix.as_ref()
    }

    /// Removes an object; one that is not there is fine.
    pub fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        self.wait(key, async {
            match self.store.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                ended => ended,
            }
        })
    }

    /// Whether it can be reached and listed.
    pub fn reach(&self) -> Result<()> {
        self.wait("", self.store.list_with_delimiter(Some(&self.prefix))).map(drop)
    }
}

impl Drop for Remote {
    /// Dropped as it is, the runtime would wait for a folder that no longer answers, or for a name that nobody resolves.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn mounted(place: &Place, folder: &std::path::Path, patience: Patience) -> Result<LocalFileSystem> {
    if !folder.is_dir() {
        return Err(Failure::refused(format!("the remote's folder {} is not there", folder.display()))
            .hint("is it mounted? make it for user dokku, or set another one: dokku pgbackup:remote-set <service>|--global <address>")
            .into());
    }
    // Whoever only asks may be about to make it a remote.
    if patience == Patience::Work && !place.is_marked()? {
        return Err(Failure::refused(format!(
            "the remote's folder {} is there, but nothing of a remote is in it",
            folder.display()
        ))
        .hint("is it mounted? if it is new: dokku pgbackup:remote-check <service>|--global")
        .into());
    }
    files::write_for_us_alone();
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| anyhow!("{error}"))?;
    Ok(store.with_fsync(true).with_automatic_cleanup(true))
}

fn s3(place: &Place, bucket: &str, patience: Patience) -> Result<AmazonS3> {
    // Only the first one counts, and it is the only one there is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (max_retries, retry_timeout) = match patience {
        Patience::Work => (8, RETRY_TIMEOUT),
        Patience::Question => (1, Duration::from_secs(15)),
    };
    let timeout = if patience == Patience::Work { REQUEST_TIMEOUT } else { Duration::from_secs(20) };
    let client = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(timeout)
        .with_allow_http(place.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(place.region())
        .with_virtual_hosted_style_request(!place.names_bucket_in_path())
        .with_client_options(client)
        .with_retry(RetryConfig { backoff: BackoffConfig::default(), max_retries, retry_timeout });
    if let Some(endpoint) = &place.endpoint {
        builder =
            builder.with_endpoint(endpoint::with_bucket(endpoint, bucket, place.names_bucket_in_path()));
    }
    if let Some(credentials) = &place.credentials {
        builder = builder
            .with_access_key_id(&credentials.access_key_id)
            .with_secret_access_key(&credentials.secret_access_key);
        if let Some(token) = &credentials.session_token {
            builder = builder.with_token(token);
        }
    }
    builder.build().context("the remote's settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &std::path::Path) -> Place {
        Place {
            address: format!("file://{}", folder.display()),
            endpoint: None,
            region: None,
            path_style: false,
            credentials: None,
            instance_role: false,
        }
    }

    fn open(place: &Place, patience: Patience) -> Result<Remote> {
        Remote::open(place, patience, Interrupt::default())
    }

    #[test]
    fn a_folder_without_a_mark_is_no_remote_to_work_with() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let error = open(&place, Patience::Work).unwrap_err().to_string();
        assert!(error.contains("nothing of a remote is in it"), "{error}");
        open(&place, Patience::Question).unwrap().reach().unwrap();
        place.mark().unwrap();
        place.mark().unwrap();
        assert_eq!(open(&place, Patience::Work).unwrap().list("").unwrap(), []);
    }

    #[test]
    fn what_is_no_service_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        place.mark().unwrap();
        let remote = open(&place, Patience::Work).unwrap();
        let bytes = Bytes::from_static(b"x");
        for key in ["db/1/part", "db/1/index.toml", "lost+found/x", ".hidden/x", "file"] {
            remote.put(key, &bytes).unwrap();
        }
        let keys = |below: &str| {
            let mut keys: Vec<String> =
                remote.list(below).unwrap().into_iter().map(|object| object.key).collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(""), ["db/1/index.toml", "db/1/part"]);
        assert_eq!(keys("db"), keys(""));
        assert_eq!(keys("none"), Vec::<String>::new());
    }

    #[test]
    fn a_panic_of_the_client_is_a_failure_of_the_remote() {
        let folder = tempfile::tempdir().unwrap();
        let remote = open(&place(folder.path()), Patience::Question).unwrap();
        let error = remote.wait("x", async { panic!("as if") }).map(|(): ()| ()).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 7);
        assert!(error.to_string().contains("has a fault"), "{error}");
        remote.reach().unwrap();
    }

    #[test]
    fn no_address_makes_the_client_panic() {
        let (endpoints, buckets) = (
            [
                "http://a.invalid",
                "http://127.1:1",
                "http://[::1]:1",
                "http://localhost:1/a/b",
                "http://my_x:1",
            ],
            ["cows", "Cows", "my_cows", "my.cows", "cows-", "xn--cows", "0x1", "127", "...", "a..b"],
        );
        for endpoint in endpoints {
            for bucket in buckets {
                let place = Place {
                    address: format!("s3://{bucket}/x"),
                    endpoint: Some(endpoint.to_owned()),
                    credentials: Some(place::Credentials {
                        access_key_id: "id".into(),
                        secret_access_key: "secret".into(),
                        session_token: None,
                    }),
                    ..place(std::path::Path::new("/"))
                };
                let Ok(remote) = open(&place, Patience::Question) else { continue };
                let request = remote.store.list_with_delimiter(Some(&remote.prefix));
                let asked = remote.handle.block_on(async {
                    let request = pin!(request);
                    tokio::time::timeout(Duration::from_millis(20), request).await
                });
                assert!(!matches!(asked, Ok(Ok(_))));
            }
        }
    }

    #[test]
    fn a_remote_that_does_not_answer_can_be_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let remote = open(&place(folder.path()), Patience::Question).unwrap();
        remote.handle.spawn_blocking(|| std::thread::sleep(Duration::from_secs(60)));
        let since = std::time::Instant::now();
        drop(remote);
        assert!(since.elapsed() < Duration::from_secs(10));
    }
}
