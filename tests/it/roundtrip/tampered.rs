//! Backups that were changed and sealed again: only a comparison of what they hold, or a real restore, can tell.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use pgbackup::digest::{Depth, Digester, Treatment};
use pgbackup::fingerprint::Fingerprint;
use pgbackup::manifest::read_toc;

use crate::bench::Service;
use crate::verify::reseal;

const EGGS: &str = "
create role farmhand;
create table eggs (id serial primary key, weight int not null default 1000);
insert into eggs (weight) values (7), (8), (9);
create index eggs_by_weight on eggs (weight);
grant select on eggs to farmhand;
create table chicks (egg int references eggs);
insert into chicks values (1), (2);
select lo_from_bytea(4242, 'an egg');
";

/// Replaces `old` by `new`, which must be there once.
#[track_caller]
fn replace(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(old.as_bytes())).collect();
    let [place] = places[..] else { panic!("{old:?} is there {} times", places.len()) };
    [&bytes[..place], new.as_bytes(), &bytes[place + old.len()..]].concat()
}

/// Changes what a data file holds, and compresses it again.
fn change_data(path: &Path, old: &str, new: &str) {
    let bytes = fs::read(path).unwrap();
    let mut plain = Vec::new();
    if path.extension().unwrap() == "zst" {
        plain = zstd::decode_all(&bytes[..]).unwrap();
    } else {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
    }
    let changed = replace(&plain, old, new);
    let packed = if path.extension().unwrap() == "zst" {
        zstd::encode_all(&changed[..], 3).unwrap()
    } else {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&changed).unwrap();
        encoder.finish().unwrap()
    };
    fs::write(path, packed).unwrap();
}

/// Changes definitions to others of the same length.
fn change_definitions(folder: &Path, changes: &[(&str, &str)]) {
    let path = folder.join("dump/toc.dat");
    let mut bytes = fs::read(&path).unwrap();
    for (old, new) in changes {
        assert_eq!(old.len(), new.len());
        bytes = replace(&bytes, old, new);
    }
    fs::write(&path, bytes).unwrap();
}

/// The file with a table's rows.
fn data_file(folder: &Path, table: &str) -> PathBuf {
    let toc = read_toc(folder).unwrap();
    let entry = toc.entries.iter().find(|entry| entry.kind == "TABLE DATA" && entry.name == table).unwrap();
    let with = |suffix: &str| folder.join("dump").join(format!("{}.{suffix}", entry.file_name));
    if with("zst").exists() { with("zst") } else { with("gz") }
}

/// Takes the fingerprint anew, so that the backup agrees with itself.
pub fn cover_up(service: &Service, id: &str) {
    let folder = service.backup(id);
    let mut digester = Digester::start(&folder, Treatment::reading(Depth::Content, 1));
    service
        .files(id)
        .into_iter()
        .filter(|name| name.starts_with("dump/"))
        .for_each(|name| digester.complete(&name));
    let digests = digester.finish(|_| Ok(())).unwrap();
    let fingerprint = Fingerprint::assemble(&read_toc(&folder).unwrap(), &digests).unwrap();
    fs::write(folder.join("fingerprint.toml"), toml::to_string(&fingerprint).unwrap()).unwrap();
    let names = service.files(id).into_iter();
    let sealed =
        names.filter(|name| !["manifest.toml", "SHA256SUMS", "verified.toml"].contains(&name.as_str()));
    let size: u64 = sealed.map(|name| fs::metadata(folder.join(name)).unwrap().len()).sum();
    let mut manifest: toml::Table =
        fs::read_to_string(folder.join("manifest.toml")).unwrap().parse().unwrap();
    manifest["dump"]["size_bytes"] = toml::Value::Integer(size.try_into().unwrap());
    fs::write(folder.join("manifest.toml"), manifest.to_string()).unwrap();
    reseal(service, id);
}

#[test]
fn what_a_restore_gives_otherwise_is_named() {
    let service = Service::new("otherwise");
    service.sql(EGGS);
    let id = service.create();
    let folder = service.backup(&id);
    change_data(&data_file(&folder, "eggs"), "2\t8\n", "2\t08\n");
    change_definitions(
        &folder,
        &[
            ("DEFAULT 1000 NOT NULL", "DEFAULT 0999 NOT NULL"),
            ("CREATE INDEX eggs_by_weight", "--EATE INDEX eggs_by_weight"),
            ("GRANT SELECT ON TABLE public.eggs", "--ANT SELECT ON TABLE public.eggs"),
        ],
    );
    cover_up(&service, &id);
    service.pgbackup("verify", &["--level", "archive"]).ok();
    service
        .pgbackup("verify", &[])
        .fails(3, "is not good")
        .says("table public.eggs: content differs (3 rows)")
        .says("table public.eggs: is defined otherwise")
        .says("index public.eggs_by_weight: is missing")
        .says("acl public.TABLE eggs: is missing");
    service.assert_nothing_left();
}

#[test]
fn rows_that_break_a_constraint_are_a_difference_and_not_restored() {
    let service = Service::with("broken", 15, &[]);
    service.sql(EGGS);
    let id = service.create();
    change_data(&data_file(&service.backup(&id), "chicks"), "1\n", "4\n");
    cover_up(&service, &id);
    service.pgbackup("verify", &[]).fails(3, "is not good").says("chicks_egg_fkey");
    service.pgbackup("restore", &[&id, "--force"]).fails(7, "chicks_egg_fkey");
    assert_eq!(service.sql("select min(egg) from chicks"), "1");
    service.assert_nothing_left();
}

#[test]
fn rows_sequences_and_large_objects_that_were_changed_are_named() {
    let service = Service::new("changed");
    service.sql(EGGS);
    let id = service.create();
    let folder = service.backup(&id);
    change_data(&data_file(&folder, "eggs"), "2\t8\n", "2\t9\n");
    change_data(&folder.join("dump/blob_4242.dat.zst"), "egg", "EGG");
    change_definitions(&folder, &[("'public.eggs_id_seq', 3, true", "'public.eggs_id_seq', 4, true")]);
    reseal(&service, &id);
    service.pgbackup("verify", &["--level", "quick"]).ok();
    service
        .pgbackup("verify", &[])
        .fails(3, "is not good")
        .says("table public.eggs: content differs (3 rows)")
        .says("sequence public.eggs_id_seq: 3 expected, 4 found")
        .says("large objects: content differs");
}

#[test]
fn a_definition_that_was_changed_is_found() {
    let service = Service::new("definition");
    service.sql(EGGS);
    let id = service.create();
    change_definitions(&service.backup(&id), &[("DEFAULT 1000 NOT NULL", "DEFAULT 2000 NOT NULL")]);
    reseal(&service, &id);
    service
        .pgbackup("verify", &["--level", "archive"])
        .fails(3, "is not good")
        .says("schema: its definitions are not the ones that were fingerprinted");
}
