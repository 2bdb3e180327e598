//! Every path of ours and of dokku-postgres that we use; nobody else joins paths.
//!
//! ```text
//! $DOKKU_LIB_ROOT/services/postgres/<service>/     the service root: LINKS, PASSWORD, DATABASE_NAME, … (not ours)
//!     pgbackup/
//!         lock                                     held by the one writer
//!         settings.toml                            this service's settings
//!         backups/<backup id>/                     manifest.toml SHA256SUMS fingerprint.toml roles.sql dump/ verified.toml
//!         backups/.pending-<backup id>/            being made
//!         backups/.deleted-<backup id>/            being removed
//!         scratch/<backup id>-<random>/            of a drill or a restore of single tables that is going on
//! $DOKKU_LIB_ROOT/config/pgbackup/settings.toml    settings for all services
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
pub const PENDING_PREFIX: &str = ".pending-";
pub const DELETED_PREFIX: &str = ".deleted-";

/// Whether a file of a backup is the record of its verification, or one that is being written.
pub fn is_verification(name: &str) -> bool {
    name.strip_prefix('.').unwrap_or(name).starts_with(VERIFIED)
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

    pub fn service(&self, name: &ServiceName) -> ServiceLayout {
        ServiceLayout { root: self.services().join(name.as_str()) }
    }

    pub fn global_settings(&self) -> PathBuf {
        self.lib_root.join("config/pgbackup/settings.toml")
    }

    /// A property that dokku's apps plugin keeps of an app (`plugins/common/property.go`).
    pub fn app_property(&self, app: &str, property: &str) -> PathBuf {
        self.lib_root.join("config/apps").join(app).join(property)
    }
}

/// The folders and files of one service.
#[derive(Debug, Clone)]
pub struct ServiceLayout {
    root: PathBuf,
}

impl ServiceLayout {
    /// The service root, which dokku-postgres owns.
    pub fn root(&self) -> &Path {
        &self.root
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

    pub fn scratch(&self) -> PathBuf {
        self.own().join("scratch")
    }
}
