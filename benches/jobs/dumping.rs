//! Making backups.

use super::{BARE_DUMP, disk_usage, first_backup, forget, inside, megabytes, postgres_export};
use crate::bench::Service;
use crate::shapes;
use crate::table::{Aim, Table};
use crate::timing::{Samples, seconds, side_by_side};

const EXPORT: &str = "dokku postgres:export";

/// Of one service: our backup, a bare dump and dokku's export; and the bytes of the first and the last.
fn three_ways(service: &Service, rounds: usize) -> ([Samples; 3], f64, f64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut exported = 0;
    let times = side_by_side(
        rounds,
        [&mut || first_backup(service), &mut || seconds(|| drop(inside(service, BARE_DUMP))), &mut || {
            seconds(|| exported = postgres_export(service, file.path()))
        }],
    );
    inside(service, "rm -rf /tmp/bare");
    let info = service.pgbackup("info", &["--format", "json"]).ok().json();
    let ours = info["size_bytes"].as_f64().unwrap();
    (times, ours, exported as f64)
}

pub fn create_on_17(rounds: usize, table: &mut Table) {
    let service = shapes::mixed(17);
    let ([ours, bare, export], our_bytes, their_bytes) = three_ways(&service, rounds);
    table.ratio(
        "create, 1.5 GB, Postgres 17",
        &ours,
        ("pg_dump -Fd -j2 -Z zstd:3 inside the container", &bare),
        Aim::AtMost(1.10),
    );
    table.speedup("create, 1.5 GB, Postgres 17", &ours, (EXPORT, &export), Aim::AtLeast(2.7));
    table.add(
        "bytes of it",
        &megabytes(our_bytes),
        (EXPORT, &megabytes(their_bytes)),
        (our_bytes / their_bytes, " times"),
        Aim::AtMost(0.68),
    );
}

pub fn create_on_15(rounds: usize, table: &mut Table) {
    let service = shapes::mixed(15);
    let file = tempfile::NamedTempFile::new().unwrap();
    let [ours, export] = side_by_side(
        rounds,
        [&mut || first_backup(&service), &mut || seconds(|| _ = postgres_export(&service, file.path()))],
    );
    table.speedup("create, 1.5 GB, Postgres 15 (gzip)", &ours, (EXPORT, &export), Aim::AtLeast(2.2));
}

pub fn create_of_one_table(rounds: usize, table: &mut Table) {
    let service = shapes::one_table();
    let ([ours, bare, export], ..) = three_ways(&service, rounds);
    table.ratio(
        "create, one table of 3 GB",
        &ours,
        ("pg_dump -Fd -j2 -Z zstd:3 inside the container", &bare),
        Aim::None,
    );
    table.speedup("create, one table of 3 GB", &ours, (EXPORT, &export), Aim::None);
}

pub fn create_of_little(rounds: usize, table: &mut Table) {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (what, service, aim) in [
        ("create, an empty database", shapes::empty(), Aim::AtMost(2.0)),
        ("create, 500 small tables", shapes::few_hundred_tables(), Aim::AtMost(2.0)),
        ("create, 5,000 small tables", shapes::thousands_of_tables(), Aim::None),
    ] {
        let [ours, export] = side_by_side(
            2 * rounds,
            [&mut || first_backup(&service), &mut || seconds(|| _ = postgres_export(&service, file.path()))],
        );
        table.ratio(what, &ours, (EXPORT, &export), aim);
    }
}

pub fn second_backup(_: usize, table: &mut Table) {
    let service = shapes::hundred_tables();
    forget(&service);
    service.create();
    let first = disk_usage(&service.backups());
    service.sql("update t7 set a = md5(a) where id % 10 = 0");
    service.create();
    let more = disk_usage(&service.backups()) - first;
    table.add(
        "a second backup, 1 % of the tables changed",
        &format!("{:.1} MB more", more / 1e6),
        ("the first", &megabytes(first)),
        (100.0 * more / first, " %"),
        Aim::AtMost(3.0),
    );
}
