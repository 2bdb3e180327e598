//! Every path of ours and of dokku-postgres that we use; nobody else joins paths.
//!
//! ```text
//! $DOKKU_LIB_ROOT/services/postgres/<service>/     the service root: LINKS, PASSWORD, DATABASE_NAME, … (not ours)
//!     pgbackup/
//!         lock                                     held by the one writer
//!         settings.toml                            this service's settings
//!         schedule-since                           empty; changed when a schedule was set last (also beside the settings
//!                                                  for all services)
//!         remote.toml                              this service's remote, with its credentials
//!         remote.toml.before-destroy-<time>        an older one, after a destroy that did not happen
//!         settings.toml.before-destroy-<time>      older settings, after a destroy that did not happen
//!         history.jsonl                            what was done, a line for each run
//!         pushing/<backup id>.jsonl                parts of a backup that are at the remote already
//!         backups/<backup id>/                     manifest.toml SHA256SUMS fingerprint.toml roles.sql dump/; verified.toml pinned.toml pushed.toml
//!         backups/.pending-<backup id>/            being made
//!         backups/.deleted-<backup id>/            being removed
//!         scratch/<backup id>-<random>/            of a drill or a restore of single tables that is going on
//! $DOKKU_LIB_ROOT/config/pgbackup/settings.toml    settings for all services
//! $DOKKU_LIB_ROOT/config/pgbackup/remote.toml      the remote of all services
//! $DOKKU_LIB_ROOT/data/pgbackup/
//!     apps/<app>/deployed.toml                     which code the app runs
//!     apps/<app>/deploy-<key>.toml                 a deploy that is going on
//!     apps/<app>/lock                              held by the one hook of a deploy that backs up
//!     practice/<app>.toml                          what a practice run has made
//!     practice/<app>.lock                          held by the practice run that makes or removes it
//!     destroyed/<service>-<time>/pgbackup/         what a destroyed service had in its folder pgbackup/
//!     destroyed/.deleted-<service>-<time>/         being removed
//! ```

use std::path::{Path, PathBuf};

use crate::backup_id::BackupId;
use crate::service_name::ServiceName;

pub const MANIFEST: &str = "manifest.toml";
pub const CHECKSUMS: &str = "SHA256SUMS";
pub const FINGERPRINT: &str = "fingerprint.toml";
pub const ROLES: &str = "roles.sql";
pub const DUMP: &str = "dump";
pub const VERIFIED: &str = "verified.toml";
pub const PINNED: &str = "pinned.toml";
pub const PUSHED: &str = "pushed.toml";
pub const PENDING_PREFIX: &str = ".pending-";
pub const DELETED_PREFIX: &str = ".deleted-";
pub const DEPLOY_PREFIX: &str = "deploy-";

/// Whether a file of a backup is one of those that come after it was made (or one of them that is being written).
pub fn is_later_record(name: &str) -> bool {
    let name = name.strip_prefix('.').unwrap_or(name);
    [VERIFIED, PINNED, PUSHED].iter().any(|record| name.starts_with(record))
}

/// Beside the file of settings that it is in: changed when a schedule was set last.
pub fn schedule_since(settings: &Path) -> PathBuf {
    settings.with_file_name("schedule-since")
}

/// The folders that belong to the whole server.
#[derive(Debug, Clone)]
pub struct Layout {
    lib_root: PathBuf,
}

impl Layout {
    pub fn new(lib_root: &Path) -> Self {
        Layout { lib_root: lib_root.to_owned() }
    }

    /// Where dokku-postgres keeps its services, a folder each.
    pub fn services(&self) -> PathBuf {
        self.lib_root.join("services/postgres")
    }

    /// The backups of services that were destroyed, a folder each.
    pub fn destroyed(&self) -> PathBuf {
        self.lib_root.join("data/pgbackup/destroyed")
    }

    /// One of them, laid out as in the service that it was.
    pub fn destroyed_service(&self, name: &str) -> ServiceLayout {
        ServiceLayout { root: self.destroyed().join(name) }
    }

    pub fn service(&self, name: &ServiceName) -> ServiceLayout {
        ServiceLayout { root: self.services().join(name.as_str()) }
    }

    pub fn global_settings(&self) -> PathBuf {
        self.lib_root.join("config/pgbackup/settings.toml")
    }

    /// The remote of all services that have none of their own.
    pub fn global_remote(&self) -> PathBuf {
        self.lib_root.join("config/pgbackup/remote.toml")
    }

    /// A property that one of dokku's plugins keeps of an app, or of all (`--global`) (`plugins/common/property.go`).
    pub fn app_property(&self, plugin: &str, app: &str, property: &str) -> PathBuf {
        self.lib_root.join("config").join(plugin).join(app).join(property)
    }

    /// What we know of an app's deploys.
    pub fn app(&self, app: &str) -> PathBuf {
        self.lib_root.join("data/pgbackup/apps").join(app)
    }

    /// Which code the app runs.
    pub fn deployed(&self, app: &str) -> PathBuf {
        self.app(app).join("deployed.toml")
    }

    /// A deploy of the app that is going on.
    pub fn deploy(&self, app: &str, key: &str) -> PathBuf {
        self.app(app).join(format!("{DEPLOY_PREFIX}{key}.toml"))
    }

    pub fn deploy_lock(&self, app: &str) -> PathBuf {
        self.app(app).join("lock")
    }

    /// Where each practice run writes down what it makes.
    pub fn practices(&self) -> PathBuf {
        self.lib_root.join("data/pgbackup/practice")
    }

    pub fn practice(&self, app: &str) -> PathBuf {
        self.practices().join(format!("{app}.toml"))
    }

    pub fn practice_lock(&self, app: &str) -> PathBuf {
        self.practices().join(format!("{app}.lock"))
    }
}

/// The folders and files of one service.
#[derive(Debug, Clone)]
pub struct ServiceLayout {
    root: PathBuf,
}

impl ServiceLayout {
    /// A folder that is laid out like a service root.
    pub fn at(root: PathBuf) -> Self {
        ServiceLayout { root }
    }

    /// The service root, which dokku-postgres owns.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// dokku-postgres' own: what the server stores. Often a disk of its own.
    pub fn server_data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub fn own(&self) -> PathBuf {
        self.root.join("pgbackup")
    }

    pub fn lock(&self) -> PathBuf {
        self.own().join("lock")
    }

    pub fn settings(&self) -> PathBuf {
        self.own().join("settings.toml")
    }

    /// dokku-postgres writes it when it makes the service.
    pub fn database_name(&self) -> PathBuf {
        self.root().join("DATABASE_NAME")
    }

    /// The settings from before a destroy that did not happen, where there are newer ones.
    pub fn settings_before(&self, time: &str) -> PathBuf {
        self.own().join(format!("settings.toml.before-destroy-{time}"))
    }

    pub fn backups(&self) -> PathBuf {
        self.own().join("backups")
    }

    pub fn backup(&self, id: &BackupId) -> PathBuf {
        self.backups().join(id.as_str())
    }

    pub fn pending(&self, id: &BackupId) -> PathBuf {
        self.backups().join(format!("{PENDING_PREFIX}{id}"))
    }

    pub fn deleted(&self, name: &str) -> PathBuf {
        self.backups().join(format!("{DELETED_PREFIX}{name}"))
    }

    /// What was done to the service, a line of JSON for each run.
    pub fn history(&self) -> PathBuf {
        self.own().join("history.jsonl")
    }

    /// The service's remote and its credentials.
    pub fn remote(&self) -> PathBuf {
        self.own().join("remote.toml")
    }

    /// What `postgres:backup-auth` stored (dokku-postgres and dokku-datastore: the service's folder `backup`).
    pub fn postgres_backup(&self, name: &str) -> PathBuf {
        self.root.join("backup").join(name)
    }

    /// Pushes that are going on, or were interrupted.
    pub fn pushing(&self) -> PathBuf {
        self.own().join("pushing")
    }

    /// Which parts of a backup are at the remote already.
    pub fn push_journal(&self, id: &BackupId) -> PathBuf {
        self.pushing().join(format!("{id}.jsonl"))
    }

    /// What was known of backups at the remote while they were here.
    pub fn known_offsite(&self) -> PathBuf {
        self.pushing().join("known.toml")
    }

    /// Held by the one run that pushes.
    pub fn push_lock(&self) -> PathBuf {
        self.pushing().join("lock")
    }

    pub fn scratch(&self) -> PathBuf {
        self.own().join("scratch")
    }
}
