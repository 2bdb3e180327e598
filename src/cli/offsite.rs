//! Arguments of the commands that take backups off the server and in from elsewhere. No logic.

use clap::{Args, ValueEnum};

use super::{Format, jobs, note};
use crate::encryption::Recipients;
use crate::service_name::ServiceName;

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest good one]
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// In which form
    #[arg(long = "as", value_name = "form", default_value = "tar")]
    pub form: Form,
    /// With --as sql: only this table, with all that belongs to it; may be repeated
    #[arg(long = "table", value_name = "schema.table")]
    pub tables: Vec<String>,
    /// Encrypt for this public key of age or ssh; may be repeated
    #[arg(long = "recipient", value_name = "key")]
    pub recipients: Vec<Recipients>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The backup's folder as it is
    Tar,
    /// Plain SQL, for psql
    Sql,
    /// An archive of `pg_dump` -Fc, for `pg_restore` and postgres:import
    Custom,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A note to remember the backup by
    #[arg(long, value_name = "text", value_parser = note)]
    pub note: Option<String>,
    /// Which database to take, of a dump that holds several
    #[arg(long, value_name = "name")]
    pub database: Option<String>,
    /// Keep what could be loaded though there were errors, and mark it
    #[arg(long)]
    pub allow_errors: bool,
    /// A file whose first line is the passphrase of a gpg-encrypted file [default: asked for on a terminal]
    #[arg(long, value_name = "file")]
    pub passphrase_file: Option<String>,
    /// Parallel jobs [default: the processors, at most 4]
    #[arg(long, value_name = "n", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct PushArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest good one]
    #[arg(value_name = "backup", conflicts_with = "all")]
    pub backup: Option<String>,
    /// Push every good backup that is not there yet
    #[arg(long)]
    pub all: bool,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct PullArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one [default: the newest there]
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// The private key for an encrypted backup: a file that user dokku can read, or - for standard input
    #[arg(long, value_name = "file")]
    pub identity: Option<String>,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct RemoteSetArgs {
    /// The Postgres service; with --global, there is none
    #[arg(value_name = "service", required = true)]
    pub service: Option<String>,
    /// The address of the remote
    #[arg(value_name = "address")]
    pub address: Option<String>,
    /// Set it for all services that have no remote of their own
    #[arg(long)]
    pub global: bool,
    /// The address of an S3-compatible store that is not AWS
    #[arg(long, value_name = "url")]
    pub endpoint: Option<String>,
    /// The store's region [default: us-east-1]
    #[arg(long, value_name = "name")]
    pub region: Option<String>,
    /// Name the bucket in the path, not in the host [default: where it must be]
    #[arg(long)]
    pub path_style: bool,
    /// Where the credentials come from
    #[arg(long, value_name = "source", default_value = "auto")]
    pub credentials: CredentialSource,
}

/// Where the credentials of a remote come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CredentialSource {
    /// Those of postgres:backup-auth where they exist, else those of the instance
    Auto,
    /// Two lines on standard input: the access key's id and the secret key
    Stdin,
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` of this command's environment
    Environment,
    /// The role of the machine that dokku runs on
    Instance,
}

#[derive(Debug, Args)]
pub struct RemoteArgs {
    /// The Postgres service
    #[arg(value_name = "service", required_unless_present = "global", conflicts_with = "global")]
    pub service: Option<ServiceName>,
    /// The remote of all services that have none of their own
    #[arg(long)]
    pub global: bool,
}
