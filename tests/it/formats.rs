//! A backup of every format that was ever released is read for ever. What lies in tests/data/format-<n>/ was made by the
//! release and is never changed; a new format gets a folder and a test of its own.

use std::path::Path;
use std::process::Command;

use crate::bench::{Service, dokku};

/// The backup's service, which the manifest names.
const NAME: &str = "since-format-1";
const BACKUP: &str = "20261126T004133Z-emh6";

/// A service with the backups of `format` as if it had always had them.
fn service_with(format: &str, image_version: &str) -> Service {
    let service = Service { name: NAME.to_owned() };
    if service.root().exists() {
        dokku(&["--force", "postgres:destroy", NAME]);
    }
    dokku(&["postgres:create", NAME, "--image-version", image_version]).ok();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format);
    // git keeps no modes and no owner.
    let script = "cp -r \"$1\" \"$2\" && chown -R dokku:dokku \"$2\" && chmod -R u=rwX,go= \"$2\"";
    let own = service.root().join("pgbackup");
    let copied = Command::new("bash").args(["-ec", script, "-"]).args([kept, own]).status();
    assert!(copied.unwrap().success());
    service
}

#[test]
fn a_backup_of_format_1_is_listed_proven_compared_and_restored() {
    let service = service_with("format-1", "15");
    let listed = service.pgbackup("list", &["--format", "json"]).ok().json();
    let backup = &listed[0];
    assert_eq!((&backup["id"], &backup["note"]), (&BACKUP.into(), &"kept for ever".into()));
    assert_eq!((&backup["tables"], &backup["rows"]), (&3.into(), &5101.into()));
    assert_eq!(backup["verified"]["level"], "drill");
    assert_eq!(backup["pinned"]["note"], "a test wants it");
    service.pgbackup("info", &[BACKUP]).ok().says("v1.0 of the herd");
    service.pgbackup("verify", &[BACKUP]).ok().says("is good");
    service.pgbackup("restore", &[BACKUP, "--force"]).ok();
    let content = "select count(*), sum(milk), (select count(*) from farmers where mood = 'happy'),
  (select convert_from(lo_get(4242), 'UTF8')) from cows";
    assert_eq!(service.sql(content), "5000|82500.00|50|a large object");
    service.pgbackup("diff", &[BACKUP]).ok().says("All 3 tables have the same rows");
    service.pgbackup("history", &[]).ok().says(BACKUP);
}
