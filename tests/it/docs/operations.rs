//! docs/operations.md: its script is run, and is told what it says.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::tables::{assert_fields, named_in_tables};
use super::{commands_in, document, section};
use crate::bench::Service;

/// What operations.md says of messages, metrics and pools, and its script.
#[test]
fn operations_md_tells_what_is_told() {
    let page = document("docs/operations.md");
    let service = Service::new("told");
    let told = |args: &[&str]| {
        service.pgbackup("set", args).ok();
    };
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let (event, mail) = (folder.path().join("event"), folder.path().join("mail"));
    let sendmail = program("sendmail", &format!("#!/bin/sh\ncat >{}\n", mail.display()));
    let script = commands_in(section(&page, "Who is told"));
    let script = script.split("install --directory").next().unwrap();
    assert!(script.starts_with("#!/bin/sh\n"), "{script}");
    let script = script.replace("event=$(cat)", &format!("event=$(tee {})", event.display()));
    told(&["notify-command", &program("mail-it", &script.replace("/usr/sbin/sendmail", &sendmail))]);
    told(&["notify-success", "on"]);

    let id = service.create();
    let message: Value = serde_json::from_str(&fs::read_to_string(&event).unwrap()).unwrap();
    let who_is_told = section(&page, "Who is told");
    assert_fields(&named_in_tables(who_is_told, "JSON field"), &[&message]);
    let mail = fs::read_to_string(&mail).unwrap();
    assert!(mail.contains(&format!(": backup-made, {}\n", service.name)), "{mail}");
    assert!(mail.contains(&format!("\n\na backup was made\n\nbackup: {id}\n")), "{mail}");

    service.pgbackup("verify", &[]).ok();
    let text = service.pgbackup("report", &["--format", "prometheus"]).ok().stdout;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let metrics: BTreeSet<String> =
        samples.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())).collect();
    assert_eq!(named_in_tables(who_is_told, "metric"), metrics);
}
