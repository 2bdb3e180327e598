//! The comparisons, and what several of them do.

mod dumping;
mod instant;
mod load;
mod restoring;

use std::fs;
use std::process::{Command, Stdio};

use crate::bench::{Run, Service, docker, dokku, dokku_command};
use crate::table::Table;
use crate::timing::seconds;

/// A comparison: so many rounds, into that table.
type Job = fn(usize, &mut Table);

pub const ALL: [(&str, Job); 14] = [
    ("create, 17", dumping::create_on_17),
    ("create, 15", dumping::create_on_15),
    ("create, one table", dumping::create_of_one_table),
    ("create, small", dumping::create_of_little),
    ("second backup", dumping::second_backup),
    ("restore", restoring::restore),
    ("outage", restoring::outage),
    ("drill", restoring::drill),
    ("archive", restoring::archive),
    ("export and import", restoring::export_and_import),
    ("push and pull", restoring::push_and_pull),
    ("instant", instant::instant),
    ("memory", load::memory),
    ("load", load::load),
];

/// A new backup; nothing of it is shared with an earlier one.
fn first_backup(service: &Service) -> f64 {
    forget(service);
    seconds(|| drop(service.create()))
}

/// Without the time that dokku itself takes to delete them.
fn forget(service: &Service) {
    let _ = fs::remove_dir_all(service.backups());
}

/// The newest backup, made if there is none.
fn some_backup(service: &Service) -> String {
    let found = service.pgbackup("info", &["--id"]);
    if found.code == 0 { found.stdout.trim().to_owned() } else { service.create() }
}

/// Runs a script of sh in the service's container; `$1` is the database.
fn inside(service: &Service, script: &str) -> Run {
    docker(&[
        "exec",
        "--user",
        "postgres",
        &service.container(),
        "sh",
        "-ec",
        script,
        "sh",
        &service.database(),
    ])
    .ok()
}

/// `pg_dump` as quick as it can be, where nothing is in its way: the limit.
const BARE_DUMP: &str =
    "rm -rf /tmp/bare; exec pg_dump -h localhost -U postgres -Fd -j2 -Z zstd:3 -f /tmp/bare \"$1\"";

/// `pg_restore` of what [`BARE_DUMP`] has left, into a new database.
const BARE_RESTORE: &str = "psql -qXU postgres -d template1 -c 'drop database if exists bare' -c 'create database bare template template0'
exec pg_restore -h localhost -U postgres -j2 -d bare /tmp/bare";

fn drop_bare(service: &Service) {
    inside(service, "psql -qXU postgres -d template1 -c 'drop database if exists bare'");
}

/// `dokku postgres:export`, into a file; its size in bytes.
fn postgres_export(service: &Service, into: &std::path::Path) -> u64 {
    let file = fs::File::create(into).unwrap();
    let status = dokku_command(&["postgres:export", &service.name]).stdout(file).status();
    assert!(status.unwrap().success());
    fs::metadata(into).unwrap().len()
}

/// `dokku postgres:import`, from a file.
fn postgres_import(service: &Service, from: &std::path::Path) {
    let output = dokku_command(&["postgres:import", &service.name])
        .stdin(fs::File::open(from).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Bytes that a folder takes on the disk; shared ones count once.
fn disk_usage(folder: &std::path::Path) -> f64 {
    let output = Command::new("du")
        .arg("-s")
        .arg("--block-size=1")
        .arg(folder)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().parse().unwrap()
}

fn dokku_ok(args: &[&str]) {
    dokku(args).ok();
}

fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / 1e6)
}
