//! Telling somebody: an event as JSON to a program and to an address. That it fails is a warning, never more.

use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Failure;
use crate::host::Host;
use crate::process::Tool;
use crate::settings::Notify;

/// Seconds that a program or an address may take.
const PATIENCE: u64 = 15;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    BackupMade,
    BackupFailed,
    VerificationGood,
    VerificationFailed,
    PushFailed,
    Overdue,
}

impl Happening {
    pub fn is_success(self) -> bool {
        matches!(self, Happening::BackupMade | Happening::VerificationGood)
    }
}

/// What is told (docs/operations.md).
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    pub event: Happening,
    pub service: String,
    /// The server's name.
    pub host: String,
    pub at: DateTime<Utc>,
    pub backup: Option<String>,
    pub pool: Option<String>,
    pub message: String,
}

/// Tells everybody who is to be told.
pub fn tell(host: &Host<'_>, notify: &Notify, message: &Message) {
    if message.event.is_success() && !notify.of_success {
        return;
    }
    let Ok(json) = serde_json::to_string(message) else { return };
    if let Some(program) = &notify.command {
        warn(host, &program.display().to_string(), run(host, &Tool::new(program), &json));
    }
    let url = if message.event.is_success() {
        notify.url.as_ref()
    } else {
        notify.failure_url.as_ref().or(notify.url.as_ref())
    };
    if let Some(url) = url {
        warn(host, &shown(url), post(host, url, &json));
    }
}

fn warn(host: &Host<'_>, whom: &str, told: Result<()>) {
    if let Err(error) = told {
        host.progress.warn(&format!("{whom} could not be told: {error}"));
    }
}

/// With a limit of its own: a program that hangs must not hold up a backup.
fn run(host: &Host<'_>, tool: &Tool, json: &str) -> Result<()> {
    let started = Instant::now();
    let limit = Duration::from_secs(PATIENCE + 5);
    let output = tool.clone().input(json).start()?.wait_for_itself(|| {
        host.check()?;
        if started.elapsed() > limit {
            return Err(Failure::tool(format!("no answer in {} seconds", limit.as_secs())).into());
        }
        Ok(())
    })?;
    if output.success() {
        return Ok(());
    }
    let words = output.last_words(1).join("");
    Err(Failure::tool(if words.is_empty() { output.ending() } else { words }).into())
}

/// By curl, which dokku needs itself. The address may be a secret, so it travels in curl's configuration, on its stdin.
fn post(host: &Host<'_>, url: &str, json: &str) -> Result<()> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let lines = [
        "silent".to_owned(),
        "show-error".to_owned(),
        "fail".to_owned(),
        format!("max-time = {PATIENCE}"),
        "output = \"/dev/null\"".to_owned(),
        "header = \"Content-Type: application/json\"".to_owned(),
        format!("url = {}", quoted(url)),
        format!("data-raw = {}", quoted(json)),
    ];
    run(host, &Tool::new("curl").args(["--config", "-"]), &format!("{}\n", lines.join("\n")))
}

/// An address without what may be a secret in it.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        assert_eq!(
            shown("https://user:pw@hc.example.com:8443/ping/1234?x=y"),
            "https://hc.example.com:8443/…"
        );
        for url in ["http://example.com", "http://example.com?key=1", "http://example.com#1/x@y"] {
            assert_eq!(shown(url), "http://example.com/…");
        }
    }
}
