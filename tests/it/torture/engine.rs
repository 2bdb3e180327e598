//! docker's daemon, asked directly: its command line takes a tenth of a second for what must hit a moment.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

/// HTTP/1.0, whose answers come in one piece; `None` where no daemon answers.
fn ask(method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket()).ok()?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The names of pgbackup's containers for a service that run now.
pub fn sidecars(service: &str) -> Vec<String> {
    let filters = format!("%7B%22label%22%3A%5B%22com.dokku.pgbackup.service%3D{service}%22%5D%7D");
    let Some((200, body)) = ask("GET", &format!("/containers/json?filters={filters}")) else {
        return Vec::new();
    };
    let listed: Value = serde_json::from_str(&body).unwrap();
    let name = |one: &Value| one["Names"][0].as_str().unwrap().trim_start_matches('/').to_owned();
    listed.as_array().unwrap().iter().map(name).collect()
}

/// kill -9 of a container; false when it was gone already.
pub fn kill(container: &str) -> bool {
    ask("POST", &format!("/containers/{container}/kill?signal=KILL")).is_some_and(|(code, _)| code == 204)
}

/// Starts a container that ended. It may still be ending.
pub fn start(container: &str) {
    crate::started::until(&format!("{container} is started again"), || {
        ask("POST", &format!("/containers/{container}/start")).is_some_and(|(code, _)| code == 204)
    });
}
