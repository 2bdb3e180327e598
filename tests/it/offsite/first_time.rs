//! What somebody meets who sets a remote for the first time: addresses that cannot work, keys typed at a terminal, a key that
//! is not set yet.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::json;

use super::{key_pair, listed, set_remote, with_input, with_remote};
use crate::app::backups;
use crate::bench::{Service, dokku, dokku_command, world};
use crate::store::{ACCESS_KEY, SECRET_KEY, Store};

fn set(service: &Service, args: &[&str], input: &str) -> crate::bench::Run {
    let all = [&["pgbackup:remote-set", &service.name], args, &["--credentials", "stdin"]].concat();
    with_input(dokku_command(&all), "remote-set", input)
}

#[test]
fn an_ip_address_has_the_bucket_in_the_path_whatever_was_asked_for() {
    let (service, store) = (Service::new("ip-address"), Store::open());
    let keys = format!("{ACCESS_KEY}\n{SECRET_KEY}\n");
    let endpoint = store.endpoint();
    set(&service, &["s3://cows/x", "--endpoint", &endpoint], &keys).ok().says("127.0.0.1 is an IP address");
    service.pgbackup("remote-check", &[]).ok();
    service.pgbackup("remote-set", &["s3://My_Cows"]).ok().says("My_Cows cannot be part of a host's name");
    for wrong in
        ["http://", "https://:9000", "http://key:secret@minio", "http://1.2.3.4.5", "http://xn--a", "minio"]
    {
        set(&service, &["s3://cows/x", "--endpoint", wrong], &keys).fails(2, "endpoint");
    }
    set(&service, &["s3://cows", "--region", "eu central"], &keys).fails(2, "is no region");
    let kept = fs::read_to_string(service.root().join("pgbackup/remote.toml")).unwrap();
    let refused = set(&service, &["s3://cows"], "ключ\nsecret\n").fails(2, "access key's id");
    assert!(!refused.stderr.contains("secret\n"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(service.root().join("pgbackup/remote.toml")).unwrap(), kept);
}

#[test]
fn a_remote_that_cannot_be_is_told_and_costs_no_backup() {
    let (service, _store) = with_remote("cannot-be");
    let file = service.root().join("pgbackup/remote.toml");
    let good = fs::read_to_string(&file).unwrap();
    service.pgbackup("set", &["push-on-create", "on"]).ok();
    for broken in ["http://a b", "http://1.2.3.4.5"] {
        let lines = good.lines().map(|line| match line.split_once(" = ") {
            Some(("endpoint", _)) => format!("endpoint = {broken:?}\n"),
            _ => format!("{line}\n"),
        });
        fs::write(&file, lines.collect::<String>()).unwrap();
        service.pgbackup("remote-check", &[]).fails(1, "pgbackup:remote-set <service>|--global");
        let made = service.pgbackup("create", &[]).ok();
        assert!(made.stderr.contains("is not at the remote yet"), "{}", made.stderr);
        assert_eq!(backups(&service)[0]["pushed"]["good"], json!(false));
        assert_eq!(dokku(&["pgbackup:doctor", &service.name]).code, 1);
    }
    let history = service.pgbackup("history", &["--format", "json"]).ok().json();
    let failed = history.as_array().unwrap().iter().find(|event| event["command"] == json!("push")).unwrap();
    assert_eq!(failed["good"], json!(false), "{failed}");
}

#[test]
fn keys_that_are_pasted_at_a_terminal_are_not_shown() {
    let service = Service::new("pasted");
    let line = format!("{} pgbackup:remote-set {} s3://cows --credentials stdin", program(), service.name);
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--echo", "always", "--command", &line, "/dev/null"])
        .env("DOKKU_STANDIN_ROOT", world())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (mut said, mut buffer) = (String::new(), [0; 1000]);
    while !said.contains("key's id") {
        let count = output.read(&mut buffer).unwrap();
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    input.write_all(format!("{ACCESS_KEY}\n{SECRET_KEY}\n").as_bytes()).unwrap();
    output.read_to_string(&mut said).unwrap();
    assert!(script.wait().unwrap().success(), "{said}");
    assert!(!said.contains(SECRET_KEY) && said.contains("Setting the remote"), "{said}");
    let kept = fs::read_to_string(service.root().join("pgbackup/remote.toml")).unwrap();
    assert!(kept.contains(SECRET_KEY) && kept.contains(ACCESS_KEY));
}

fn program() -> String {
    dokku_command(&[]).get_program().to_string_lossy().into_owned()
}

#[test]
fn nothing_goes_unencrypted_to_where_it_is_encrypted() {
    let (service, store) = with_remote("plain");
    let (public, _) = key_pair();
    service.pgbackup("set", &["age-recipient", &public]).ok();
    service.create();
    service.pgbackup("push", &[]).ok();
    service.pgbackup("set", &["age-recipient", ""]).ok();
    let plain = service.create();
    let refused =
        service.pgbackup("push", &[&plain]).fails(6, "nothing goes unencrypted to s3://cows/server1");
    let hint = format!("dokku pgbackup:set {} age-recipient", service.name);
    assert!(refused.stderr.contains(&hint), "{}", refused.stderr);
    // Another service, which has nothing there yet, as on a new server.
    let other = Service::new("plain-too");
    set_remote(&other, &store, SECRET_KEY);
    other.pgbackup("set", &["push-on-create", "on"]).ok();
    let made = other.pgbackup("create", &[]).ok();
    assert!(
        made.stderr.contains("nothing goes unencrypted") && made.stderr.contains("age-recipient"),
        "{made:?}"
    );
    assert_eq!(listed(&other).len(), 0);
    let is_plain = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".tar");
    assert!(!store.objects("").iter().any(is_plain), "{:?}", store.objects(""));
    // With the key it goes there, and without one to an address of its own.
    service.pgbackup("set", &["age-recipient", &public]).ok();
    service.pgbackup("push", &[&plain]).ok().says("encrypted");
    let endpoint = store.endpoint();
    let keys = format!("{ACCESS_KEY}\n{SECRET_KEY}\n");
    set(&other, &["s3://cows/open", "--endpoint", &endpoint], &keys).ok();
    other.pgbackup("push", &[]).ok();
    other.pgbackup("push", &["--all"]).ok();
}
