//! Arguments of the commands with which a server is looked after. No logic.

use clap::{Args, ValueEnum};

use super::{Format, note};
use crate::service_name::ServiceName;

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// Show what would go and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to print the result
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct PinArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one
    #[arg(value_name = "backup")]
    pub backup: String,
    /// Why it is kept
    #[arg(long, value_name = "text", value_parser = note)]
    pub note: Option<String>,
}

#[derive(Debug, Args)]
pub struct UnpinArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A backup's id or the beginning of one
    #[arg(value_name = "backup")]
    pub backup: String,
}

#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// Cron expressions: minute, hour, day, month, day of the week
    #[arg(value_name = "cron")]
    pub crons: Vec<String>,
    /// When to prove the newest backup by a drill
    #[arg(long)]
    pub verify: bool,
    /// Do it by itself no more
    #[arg(long, conflicts_with = "crons")]
    pub off: bool,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The Postgres service [default: all]
    #[arg(value_name = "service")]
    pub service: Option<ServiceName>,
    /// How to print the report [default: stdout]
    #[arg(long)]
    pub format: Option<ReportFormat>,
    /// The one value to print, when a flag names one
    #[arg(skip)]
    pub key: Option<&'static str>,
}

/// How `pgbackup:report` is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Stdout,
    Json,
    Prometheus,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The Postgres service [default: all]
    #[arg(value_name = "service")]
    pub service: Option<ServiceName>,
    /// How to print what was found
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The Postgres service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// How many runs to show
    #[arg(long, value_name = "n", default_value_t = 30)]
    pub limit: usize,
    /// How to print the history
    #[arg(long, default_value = "stdout")]
    pub format: Format,
}
