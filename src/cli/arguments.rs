//! Arguments of the commands about backups. No logic.

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::{Format, jobs, note};
use crate::manifest::Level;
use crate::service_name::ServiceName;

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A note to remember the backup by
    #[arg(long, value_name = "text", value_parser = note)]
    pub note: Option<String>,
    /// Parallel jobs [default: the processors, at most 4]
    #[arg(long, value_name = "n", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Give way to the service: one job, a trickle of CPU and disk
    #[arg(long)]
    pub gentle: bool,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
    /// Run as cron does: the pool is scheduled, lines have times
    #[arg(long, hide = true)]
    pub scheduled: bool,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// The Postgres service [default: all, a line each]
    #[arg(value_name = "service")]
    pub service: Option<ServiceName>,
    /// List what destroyed services left; with a name, the backups of that one
    #[arg(long)]
    pub destroyed: bool,
    /// List the backups of the remote; of all services there when none is named
    #[arg(long, conflicts_with = "destroyed")]
    pub remote: bool,
    /// How to print the list
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest good one]
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// How to print the result [default: stdout]
    #[arg(long)]
    pub format: Option<Format>,
    /// The one value to print, when a flag names one
    #[arg(skip)]
    pub key: Option<&'static str>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest]
    #[arg(value_name = "backup", conflicts_with = "all")]
    pub backup: Option<String>,
    /// How closely to look
    #[arg(long, default_value = "drill", value_parser = PossibleValuesParser::new(["quick", "archive", "drill"]))]
    pub level: String,
    /// Verify all backups of the service
    #[arg(long)]
    pub all: bool,
    /// Parallel jobs [default: the processors, at most 4]
    #[arg(long, value_name = "n", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Give way to the service: one job, low weight of CPU and disk
    #[arg(long)]
    pub gentle: bool,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
    /// Run as cron does: lines have times
    #[arg(long, hide = true)]
    pub scheduled: bool,
}

impl VerifyArgs {
    pub fn level(&self) -> Level {
        match self.level.as_str() {
            "quick" => Level::Quick,
            "archive" => Level::Archive,
            _ => Level::Drill,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The Postgres service that was backed up
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest good one]
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// Restore into this service instead
    #[arg(long, value_name = "service")]
    pub to: Option<ServiceName>,
    /// Take the backup from what a destroyed service left
    #[arg(long, value_name = "name", conflicts_with_all = ["to", "tables"])]
    pub from_destroyed: Option<String>,
    /// Take the backup of this service, which need not exist here, from the remote
    #[arg(long, value_name = "service", conflicts_with_all = ["to", "tables", "from_destroyed"])]
    pub from_remote: Option<ServiceName>,
    /// The private key for an encrypted backup: a file, or - for standard input
    #[arg(long, value_name = "file", requires = "from_remote")]
    pub identity: Option<String>,
    /// Restore only this table, into a schema of its own; may be repeated
    #[arg(long = "table", value_name = "schema.table", conflicts_with_all = ["to", "stop_apps"])]
    pub tables: Vec<String>,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stop the linked apps first and start those afterwards whose code fits the backup
    #[arg(long)]
    pub stop_apps: bool,
    /// Parallel jobs [default: the processors, at most 4]
    #[arg(long, value_name = "n", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// How to print plan and result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest good one]
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// Compare with this later backup, not with the live database
    #[arg(long, value_name = "backup")]
    pub to: Option<String>,
    /// Count rows, do not compare their content
    #[arg(long)]
    pub fast: bool,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The Postgres service
    #[arg(value_name = "service", required_unless_present = "destroyed")]
    pub service: Option<ServiceName>,
    /// The backups' ids, or the beginnings of them
    #[arg(value_name = "backup", required_unless_present = "destroyed")]
    pub backups: Vec<String>,
    /// Delete them at the remote, and leave what is here
    #[arg(long, conflicts_with = "destroyed")]
    pub remote: bool,
    /// Delete all backups of this destroyed service
    #[arg(long, value_name = "name", conflicts_with_all = ["service", "backups"])]
    pub destroyed: Option<String>,
}

#[derive(Debug, Args)]
pub struct PracticeArgs {
    /// The Postgres service that was backed up
    #[arg(value_name = "service", required_unless_present = "cleanup")]
    pub service: Option<ServiceName>,
    /// A backup's id or the beginning of one [default: the newest good one]
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// The app to make
    #[arg(long, value_name = "new-app", required_unless_present = "cleanup")]
    pub app: Option<String>,
    /// The service to make [default: the new app's name and -db]
    #[arg(long = "service", value_name = "new-service", id = "new-service")]
    pub new_service: Option<ServiceName>,
    /// Put the new app at this commit [default: the backup's]
    #[arg(long, value_name = "sha")]
    pub commit: Option<String>,
    /// Whose code to take, when the backup knows several apps
    #[arg(long, value_name = "app")]
    pub from_app: Option<String>,
    /// The new service's image [default: the backup's]
    #[arg(long, value_name = "image")]
    pub image: Option<String>,
    /// The version of that image [default: the backup's]
    #[arg(long, value_name = "version")]
    pub image_version: Option<String>,
    /// Parallel jobs [default: the processors, at most 4]
    #[arg(long, value_name = "n", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Remove what a practice run made, by the name of its app
    #[arg(long, value_name = "new-app", conflicts_with_all = ["service", "app"])]
    pub cleanup: Option<String>,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct SetArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: Option<String>,
    /// What to set
    #[arg(value_name = "key")]
    pub key: Option<String>,
    /// To what [default: the setting's default]
    #[arg(value_name = "value")]
    pub value: Option<String>,
    /// Set it for all services that have no setting of their own
    #[arg(long)]
    pub global: bool,
}

#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// The words behind `dokku`, the last one being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct TriggerArgs {
    pub name: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command, with or without pgbackup: in front
    #[arg(value_name = "command")]
    pub command: Option<String>,
    /// Accepted as dokku's own help does
    #[arg(long, hide = true)]
    pub all: bool,
}
