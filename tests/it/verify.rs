//! `verify` finds every difference, and leaves nothing behind.

use std::fs;

use crate::bench::{Service, flip_byte};

#[test]
fn a_good_backup_passes_every_level_and_the_list_says_so() {
    let service = Service::new("verify");
    service.fill();
    service.create();
    for level in ["quick", "archive", "drill"] {
        service.pgbackup("verify", &["--level", level]).ok().says("is good");
        service.pgbackup("list", &[]).ok().says(&format!("{level} just now"));
    }
    let report = service.pgbackup("verify", &["--format", "json"]).ok().json();
    assert_eq!(report["tables"][0]["name"], "public.cows");
    assert_eq!(report["tables"][0]["found_rows"], 5000);
    assert_eq!(report["good"], true);
    service.pgbackup("verify", &["--level", "quick"]).ok();
    service.pgbackup("list", &[]).ok().says("drill just now");
    service.assert_nothing_left();
}

/// A backup whose checksums fit and whose content does not: only the fingerprint can tell.
#[test]
fn content_that_was_changed_and_sealed_again_is_found() {
    let service = Service::new("sealed");
    service.fill();
    let id = service.create();
    let fingerprint = service.backup(&id).join("fingerprint.toml");
    let text = fs::read_to_string(&fingerprint).unwrap();
    // All in all as many, as the manifest says.
    fs::write(
        &fingerprint,
        text.replace("rows = 5000", "rows = 4999").replace("rows = 100\n", "rows = 101\n"),
    )
    .unwrap();
    reseal(&service, &id);
    service.pgbackup("verify", &[&id, "--level", "quick"]).ok();
    service
        .pgbackup("verify", &[&id, "--level", "archive"])
        .fails(3, "is not good")
        .says("table public.cows: 4999 rows expected, 5000 found");
    let live = service.sql("select count(*) from cows");
    service.pgbackup("restore", &[&id, "--force"]).fails(3, "is not what the backup says");
    assert_eq!(service.sql("select count(*) from cows"), live);
    service.assert_nothing_left();
}

/// Writes `SHA256SUMS` anew, as somebody would who covers a change up.
pub fn reseal(service: &Service, id: &str) {
    let script = "cd \"$1\" && find . -type f ! -name SHA256SUMS ! -name verified.toml -printf '%P\\n' | sort | xargs sha256sum > SHA256SUMS";
    let folder = service.backup(id);
    let sealed = std::process::Command::new("sh").args(["-c", script, "seal"]).arg(folder).status().unwrap();
    assert!(sealed.success());
}

#[test]
fn all_backups_are_verified_and_the_bad_one_is_named() {
    let service = Service::new("all");
    let (first, second) = (service.create(), service.create());
    flip_byte(&service.backup(&first).join("roles.sql"), 5, 1);
    let run = service.pgbackup("verify", &["--all", "--level", "archive"]).fails(3, &first);
    assert!(run.stdout.contains(&format!("{second} of {} is good", service.name)), "{}", run.stdout);
    service.pgbackup("list", &[]).ok().says("quick FAILED just now");
    // The newest good one is restored by default, and a known bad one is not taken for it.
    flip_byte(&service.backup(&second).join("roles.sql"), 5, 1);
    service.pgbackup("verify", &[&second, "--level", "quick"]).fails(3, &second);
    service.pgbackup("restore", &["--force"]).fails(5, "has no good backup");
}

#[test]
fn an_image_that_is_gone_is_a_plain_sentence() {
    let service = Service::new("image");
    let id = service.create();
    claim_image(&service, &id, "postgres:no-such-tag");
    service
        .pgbackup("verify", &[&id])
        .fails(6, "the image postgres:no-such-tag that the backup was made with is not on this server");
    service.assert_nothing_left();
}

/// Makes a backup say that it was made with another image.
pub fn claim_image(service: &Service, id: &str, image: &str) {
    let manifest = service.backup(id).join("manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let changed: String = text
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("image", _)) => format!("image = \"{image}\"\n"),
            Some(("image_id", _)) => "image_id = \"sha256:0000\"\n".to_owned(),
            _ => format!("{line}\n"),
        })
        .collect();
    fs::write(&manifest, changed).unwrap();
    reseal(service, id);
}
