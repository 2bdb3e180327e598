//! Messages and metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::JoinHandle;

use serde_json::Value;

use super::SERVER;
use crate::bench::{Service, dokku, dokku_command};

/// A program for `notify-command` that does as `script` says.
pub fn program(folder: &Path, script: &str) -> String {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.join("notify");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Takes one request, answers with `status`, and gives path and body.
fn take_request(listener: TcpListener, status: &'static str) -> JoinHandle<(String, String)> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).unwrap();
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break;
            }
        }
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    })
}

#[test]
fn a_program_hears_of_failures_and_of_success_where_that_is_wanted() {
    let service = Service::new("program");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let notify = program(folder.path(), &format!("cat >>{0}; echo >>{0}", log.display()));
    dokku(&["pgbackup:set", &service.name, "notify-command", &notify]).ok();
    let told = || -> Vec<Value> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let id = service.create();
    assert!(told().is_empty(), "success is not told by default");
    dokku(&["postgres:stop", &service.name]).ok();
    service.pgbackup("create", &[]).fails(6, "is not running");
    dokku(&["postgres:start", &service.name]).ok();
    assert_eq!(told()[0]["event"], "backup-failed");
    assert!(told()[0]["message"].as_str().unwrap().contains("is not running"));
    crate::bench::flip_byte(&service.backup(&id).join("roles.sql"), 10, 1);
    service.pgbackup("verify", &["--level", "quick"]).fails(3, "");
    assert_eq!(
        (&told()[1]["event"], &told()[1]["backup"]),
        (&"verification-failed".into(), &id.as_str().into())
    );
    dokku(&["pgbackup:set", &service.name, "notify-success", "on"]).ok();
    service.create();
    assert_eq!(told()[2]["event"], "backup-made");
    // A drill of the schedule that cannot begin.
    let verify = ["pgbackup:verify", service.name.as_str(), "--scheduled"];
    let run = dokku_command(&verify).env("DOCKER_HOST", "tcp://127.0.0.1:1").output().unwrap();
    assert!(!run.status.success());
    assert_eq!(told()[3]["event"], "verification-failed");
    // One that fails, and one that is not there.
    program(folder.path(), "echo no mail today >&2; exit 3");
    let run = service.pgbackup("create", &[]).ok();
    assert!(run.stderr.contains("could not be told: no mail today"), "{}", run.stderr);
    dokku(&["pgbackup:set", &service.name, "notify-command", "/no/such/program"]).ok();
    service.pgbackup("create", &[]).ok();
}

#[test]
fn addresses_are_posted_to_and_failures_may_have_their_own() {
    let service = Service::new("address");
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (good, bad) = (listen(), listen());
    let url = |listener: &TcpListener, path: &str| format!("http://{}{path}", listener.local_addr().unwrap());
    dokku(&["pgbackup:set", &service.name, "notify-url", &url(&good, "/ping/secret")]).ok();
    dokku(&["pgbackup:set", &service.name, "notify-failure-url", &url(&bad, "/fail")]).ok();
    dokku(&["pgbackup:set", &service.name, "notify-success", "on"]).ok();
    let heard = take_request(good, "200 OK");
    let run = dokku(&["--trace", "pgbackup:create", &service.name]).ok();
    assert!(!run.stderr.contains("/ping/secret"), "{}", run.stderr);
    let (line, body) = heard.join().unwrap();
    assert_eq!(line, "POST /ping/secret HTTP/1.1");
    let message: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&message["event"], &message["service"]),
        (&"backup-made".into(), &service.name.as_str().into())
    );
    dokku(&["postgres:stop", &service.name]).ok();
    let heard = take_request(bad, "500 Broken");
    let run = service.pgbackup("create", &[]).fails(6, "is not running");
    assert_eq!(heard.join().unwrap().0, "POST /fail HTTP/1.1");
    assert!(run.stderr.contains("could not be told"), "{}", run.stderr);
    dokku(&["postgres:start", &service.name]).ok();
}

#[test]
fn metrics_are_written_whole_for_others_to_read() {
    let _server = SERVER.lock();
    let service = Service::new("metrics");
    service.fill();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let file = folder.path().join("pgbackup.prom");
    dokku(&["pgbackup:set", "--global", "prometheus-textfile", file.to_str().unwrap()]).ok();
    let id = service.create();
    let text = fs::read_to_string(&file).unwrap();
    let other = Service::new("unmetered");
    other.create();
    let name = other.name.clone();
    assert!(fs::read_to_string(&file).unwrap().contains(&name));
    other.destroy();
    assert!(!fs::read_to_string(&file).unwrap().contains(&name), "a service that is gone");
    dokku(&["pgbackup:set", "--global", "prometheus-textfile"]).ok();
    let value = |metric: &str| -> f64 {
        let prefix = format!("{metric}{{service=\"{}\"}} ", service.name);
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {prefix} in\n{text}")).parse().unwrap()
    };
    assert!((value("pgbackup_backups") - 1.0).abs() < f64::EPSILON);
    assert!(
        value("pgbackup_last_success_timestamp_seconds") > 1.7e9
            && value("pgbackup_last_size_bytes") > 1000.0
    );
    assert_eq!(crate::bench::mode(&file), 0o644);
    let same = service.pgbackup("report", &["--format", "prometheus"]).ok().stdout;
    assert!(same.contains("# TYPE pgbackup_backups gauge") && !same.contains(&id));
}
