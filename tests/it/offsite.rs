//! Remotes: backups go there whole, encrypted where that is wanted, and come back, whatever the store or the line does.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use age::secrecy::ExposeSecret;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::app::backups;
use crate::bench::{Run, Service, dokku, dokku_command, mode, ssh_command};
use crate::started::{Started, until};
use crate::store::{ACCESS_KEY, Fault, SECRET_KEY, Store};

mod after_create;
mod dead_server;
mod faults;
mod first_time;
mod instead;

/// Runs a command with something on its standard input.
fn with_input(mut command: std::process::Command, line: &str, input: &str) -> Run {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Run::of(line.to_owned(), &child.wait_with_output().unwrap())
}

fn set_remote(service: &Service, store: &Store, secret: &str) {
    let endpoint = store.endpoint();
    let args = [
        "pgbackup:remote-set",
        &service.name,
        "s3://cows/server1",
        "--endpoint",
        &endpoint,
        "--path-style",
        "--credentials",
        "stdin",
    ];
    with_input(dokku_command(&args), "remote-set", &format!("{ACCESS_KEY}\n{secret}\n")).ok();
}

/// A service with data, a store, and the store as its remote.
fn with_remote(label: &str) -> (Service, Store) {
    let (service, store) = (Service::new(label), Store::open());
    service.fill();
    set_remote(&service, &store, SECRET_KEY);
    (service, store)
}

/// Data that does not compress, so that a backup has several parts.
fn fill_with_noise(service: &Service, megabytes: usize) {
    service.sql("create extension pgcrypto");
    service.sql(&format!(
        "create table noise as select n, gen_random_bytes(1024) as bytes from generate_series(1, {}) n",
        megabytes * 1024
    ));
}

fn listed(service: &Service) -> Vec<Value> {
    let told = service.pgbackup("list", &["--remote", "--format", "json"]).ok().json();
    told.as_array().unwrap().clone()
}

/// How many parts a push that goes on has read back.
fn sent_parts(service: &Service, id: &str) -> usize {
    let journal = service.root().join("pgbackup/pushing").join(format!("{id}.jsonl"));
    fs::read_to_string(journal).map_or(0, |text| text.lines().count().saturating_sub(1))
}

fn contents(service: &Service, id: &str) -> Vec<(String, Vec<u8>)> {
    let own = |name: &String| !name.starts_with("pushed.toml") && !name.starts_with("verified.toml");
    let names = service.files(id).into_iter().filter(own);
    names.map(|name| (name.clone(), fs::read(service.backup(id).join(&name)).unwrap())).collect()
}

fn key_pair() -> (String, String) {
    let key = age::x25519::Identity::generate();
    (key.to_public().to_string(), key.to_string().expose_secret().to_owned())
}

#[test]
fn a_backup_goes_there_and_comes_back_byte_for_byte() {
    let (service, store) = with_remote("goes-there");
    let remote = service.root().join("pgbackup/remote.toml");
    assert_eq!(mode(&remote), 0o600);
    service.pgbackup("remote-check", &[]).ok().says("s3://cows/server1");
    assert_eq!(store.objects("server1").len(), 0, "the check leaves nothing");
    let id = service.create();
    let before = contents(&service, &id);
    let told = service.pgbackup("push", &["--format", "json"]).ok().json();
    assert_eq!((&told[0]["id"], &told[0]["remote"]), (&json!(id), &json!("s3://cows/server1")));
    let there = listed(&service);
    assert_eq!((there.len(), &there[0]["id"], &there[0]["status"]), (1, &json!(id), &json!("whole")));
    assert_eq!(backups(&service)[0]["pushed"]["good"], json!(true));
    service.pgbackup("verify", &[&id, "--level", "archive"]).ok();
    service.pgbackup("pull", &[&id]).fails(6, "is here already");
    dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
    let pulled = service.pgbackup("pull", &["--quiet"]).ok().stdout;
    assert_eq!(pulled.trim(), id);
    assert_eq!(contents(&service, &id), before);
    service.pgbackup("verify", &[&id]).ok();
    service.pgbackup("push", &["--all"]).ok().says("");
    service.assert_nothing_left();
    dokku(&["pgbackup:remote-unset", &service.name]).ok();
    assert!(!remote.exists());
    service.pgbackup("push", &[]).fails(6, "no remote is set");
}

#[test]
fn the_parts_are_a_tar_stream_that_anybody_can_read() {
    let (service, store) = with_remote("by-hand");
    let id = service.create();
    service.pgbackup("push", &[]).ok();
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cat {}/cows/server1/{}/{id}/part-* | tar -x -C {} && cd {}/{id} && sha256sum --check --quiet SHA256SUMS",
        store.folder.path().display(),
        service.name,
        folder.path().display(),
        folder.path().display()
    );
    let run = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn nothing_leaves_the_server_readable_when_there_is_a_recipient() {
    let (service, store) = with_remote("encrypted");
    let ((public, secret), (_, wrong)) = (key_pair(), key_pair());
    service.pgbackup("set", &["age-recipient", &secret]).fails(2, "private key");
    service.pgbackup("set", &["age-recipient", &public]).ok();
    let id = service.create();
    service.pgbackup("push", &[]).ok().says("encrypted");
    for object in store.objects("server1") {
        let bytes = fs::read(&object).unwrap();
        let is_index = object.file_name().unwrap() == "index.toml";
        assert!(is_index || bytes.starts_with(b"age-encryption.org/v1"), "{}", object.display());
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("postgres") && !text.contains("sha256sum"), "{}", object.display());
    }
    let before = contents(&service, &id);
    dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
    service.pgbackup("pull", &[]).fails(6, "--identity");
    let line = format!("pgbackup:pull {} --identity -", service.name);
    with_input(ssh_command(&line), &line, &wrong).fails(6, "does not fit");
    with_input(ssh_command(&line), &line, "moo").fails(2, "no private key");
    service.pgbackup("pull", &["--identity", "/nowhere/key.txt"]).fails(6, "--identity - --force < key.txt");
    service.assert_nothing_left();
    with_input(ssh_command(&line), &line, &format!("# mine\n{secret}\n")).ok();
    assert_eq!(contents(&service, &id), before);
}

#[test]
fn keys_of_ssh_lock_and_unlock() {
    let (service, _store) = with_remote("ssh-keys");
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    for kind in ["ed25519", "rsa"] {
        let _ = fs::remove_file(&key);
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", "", "-C", "berta@barn", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        service.pgbackup("set", &["age-recipient", public.trim()]).ok();
        let id = service.create();
        service.pgbackup("push", &[&id]).ok().says("encrypted");
        dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
        let line = format!("pgbackup:pull {} {id} --identity -", service.name);
        with_input(ssh_command(&line), &line, &fs::read_to_string(&key).unwrap()).ok();
    }
}

#[test]
fn each_new_backup_goes_up_by_itself_and_a_failure_is_made_good_by_the_next() {
    let (service, store) = with_remote("by-itself");
    service.pgbackup("set", &["push-on-create", "on"]).ok();
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), open).unwrap();
    let (program, told_of) = (folder.path().join("tell"), folder.path().join("told"));
    fs::write(&program, format!("#!/bin/sh\ncat >>{}\n", told_of.display())).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    service.pgbackup("set", &["notify-command", program.to_str().unwrap()]).ok();
    store.misbehave(Fault::Answer { status: "403 Forbidden", code: "AccessDenied", times: 1000 });
    let run = service.pgbackup("create", &["--note", "first"]).ok();
    assert!(run.stderr.contains("is not at the remote yet"), "{}", run.stderr);
    let event: Value = serde_json::from_str(&fs::read_to_string(&told_of).unwrap()).unwrap();
    assert_eq!(event["event"], json!("push-failed"), "{event}");
    let told = service.pgbackup("list", &[]).ok();
    assert!(told.stderr.contains("does not permit") || told.stdout.contains("does not permit"), "{told:?}");
    let doctor = dokku(&["pgbackup:doctor", &service.name]);
    assert_eq!(doctor.code, 1);
    let said = format!("{}{}", doctor.stdout, doctor.stderr);
    assert!(said.contains("its remote does not work") && said.contains("the last push failed"), "{said}");
    store.misbehave(Fault::None);
    service.pgbackup("create", &["--note", "second"]).ok();
    assert_eq!(listed(&service).len(), 2);
    assert!(backups(&service).iter().all(|backup| backup["pushed"]["good"] == json!(true)));
}

#[test]
fn the_remote_keeps_what_its_own_policy_says() {
    let (service, _store) = with_remote("policy");
    for (key, value) in [
        ("push-on-create", "on"),
        ("keep-last", "1"),
        ("keep-daily", "0"),
        ("keep-weekly", "0"),
        ("keep-monthly", "0"),
        ("remote-keep-last", "2"),
        ("remote-keep-daily", "0"),
        ("remote-keep-weekly", "0"),
        ("remote-keep-monthly", "0"),
    ] {
        service.pgbackup("set", &[key, value]).ok();
    }
    let mut made = Vec::new();
    for _ in 0..4 {
        service.pgbackup("create", &["--scheduled"]).ok();
        made.push(backups(&service)[0]["id"].clone());
    }
    assert_eq!(backups(&service).len(), 1);
    let there: Vec<Value> = listed(&service).iter().map(|backup| backup["id"].clone()).collect();
    assert_eq!(there, [made[3].clone(), made[2].clone()]);
}

#[test]
fn a_mounted_folder_is_a_remote_too() {
    let service = Service::new("mounted");
    service.fill();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file://{}/nas", folder.path().display());
    service.pgbackup("remote-set", &["ftp://x"]).fails(2, "file:///mnt/nas");
    service.pgbackup("remote-set", &[&address]).ok();
    service.pgbackup("remote-check", &[]).fails(6, "is it mounted");
    fs::create_dir(folder.path().join("nas")).unwrap();
    let check = service.pgbackup("remote-check", &[]).fails_with("does not permit");
    let nas = folder.path().join("nas");
    for words in ["Deleting: not tried", &format!("chown dokku:dokku {}", nas.display())] {
        assert!(check.stderr.contains(words), "{words} is not in\n{}", check.stderr);
    }
    let owned = std::process::Command::new("chown").args(["-R", "dokku:dokku"]).arg(folder.path()).status();
    assert!(owned.unwrap().success());
    service.pgbackup("remote-check", &[]).ok();
    let id = service.create();
    service.pgbackup("push", &[]).ok();
    let index = folder.path().join("nas").join(&service.name).join(&id).join("index.toml");
    assert_eq!(mode(&index), 0o600);
    assert_eq!(mode(index.parent().unwrap()), 0o700);
    dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
    service.pgbackup("pull", &[]).ok();
    service.pgbackup("verify", &[&id, "--level", "archive"]).ok();
}

#[test]
fn the_credentials_of_postgres_backup_auth_are_taken_as_they_are() {
    let (service, store) = (Service::new("backup-auth"), Store::open());
    let folder = service.root().join("backup");
    fs::create_dir(&folder).unwrap();
    for (name, text) in [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("ENDPOINT_URL", &store.endpoint()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    let owned = std::process::Command::new("chown").args(["-R", "dokku:dokku"]).arg(&folder).status();
    assert!(owned.unwrap().success());
    service.pgbackup("remote-set", &["s3://cows", "--path-style"]).ok();
    service.pgbackup("remote-check", &[]).ok();
}

#[test]
fn an_interrupted_push_goes_on_where_it_stopped() {
    let (service, store) = with_remote("goes-on");
    fill_with_noise(&service, 26);
    let id = service.create();
    store.misbehave(Fault::Slow(12_000_000));
    let mut run = Started::pgbackup(&service, "push", &[]);
    until("the first part is there", || sent_parts(&service, &id) > 0 || run.has_ended());
    assert!(run.signal(Signal::KILL));
    assert_ne!(run.end().code, 0);
    assert_eq!(listed(&service)[0]["status"], json!("not whole"));
    service.pgbackup("pull", &[&id]).fails(6, "not taken there to its end");
    store.misbehave(Fault::None);
    let told = service.pgbackup("push", &["--format", "json"]).ok().json();
    assert!(told[0]["resumed_parts"].as_u64().unwrap() >= 1, "{told}");
    dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
    service.pgbackup("pull", &[]).ok();
    service.pgbackup("verify", &[&id, "--level", "archive"]).ok();
    // The same for what is encrypted: its parts are files of their own.
    let (public, secret) = key_pair();
    service.pgbackup("set", &["age-recipient", &public]).ok();
    let id = service.create();
    store.misbehave(Fault::Slow(12_000_000));
    let mut run = Started::pgbackup(&service, "push", &[]);
    until("the first part is there", || sent_parts(&service, &id) > 0 || run.has_ended());
    run.signal(Signal::INT);
    run.end().fails(130, "interrupted");
    store.misbehave(Fault::None);
    let told = service.pgbackup("push", &["--format", "json"]).ok().json();
    assert!(told[0]["resumed_parts"].as_u64().unwrap() >= 1, "{told}");
    dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
    let line = format!("pgbackup:pull {} {id} --identity -", service.name);
    with_input(ssh_command(&line), &line, &secret).ok();
}

#[test]
fn a_push_and_a_pull_take_little_memory() {
    const MOST: u64 = 64_000_000;
    // A gigabyte takes the same: PGBACKUP_TEST_NOISE_MB=1000 shows it.
    let megabytes = std::env::var("PGBACKUP_TEST_NOISE_MB").map_or(30, |text| text.parse().unwrap());
    let (service, _store) = with_remote("memory");
    let (public, secret) = key_pair();
    service.pgbackup("set", &["age-recipient", &public]).ok();
    fill_with_noise(&service, megabytes);
    let id = service.create();
    let pushed = Started::pgbackup(&service, "push", &[]).peak_memory();
    dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
    // Where user dokku can read it.
    let key = service.root().join("key.txt");
    fs::write(&key, secret).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let pulled = Started::pgbackup(&service, "pull", &["--identity", key.to_str().unwrap()]).peak_memory();
    eprintln!(
        "{megabytes} MB of noise: push {} MB, pull {} MB of memory",
        pushed / 1_000_000,
        pulled / 1_000_000
    );
    assert!(pushed > 0 && pushed < MOST && pulled > 0 && pulled < MOST, "push {pushed}, pull {pulled}");
}
