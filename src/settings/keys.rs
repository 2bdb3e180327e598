//! Every setting: its key, what it may be, its default, what it is for.

use std::path::Path;

use anyhow::Result;
use toml::Value;

use super::Room;
use crate::encryption::Recipients;
use crate::error::Failure;
use crate::nearest::nearest;
use crate::schedule::Schedule;
use crate::units;

/// More parallel jobs than this only load the server (and need a connection each).
pub(super) const DEFAULT_MAX_JOBS: usize = 4;
const MAX_JOBS: i64 = 64;
const MAX_KEPT: i64 = 10_000;
const MAX_SECONDS: i64 = 24 * 3600;
pub(super) const MAX_TEXT: usize = 2_000;
pub(super) const OFF: &str = "off";

/// Everything that can be set; help and docs/commands.md are made from it.
pub const KEYS: [Key; 26] = [
    Key::new(
        "jobs",
        Values::Number(1, MAX_JOBS),
        "the processors, at most 4",
        "parallel jobs of pg_dump and pg_restore",
    ),
    Key::new(
        "gentle",
        Values::OneOf(&["on", "off"]),
        "off",
        "back up and prove with one job that gives way to everything else on the machine",
    ),
    Key::new(
        "on-deploy",
        Values::OneOf(&["required", "warn", "off"]),
        "required",
        "when a deploy of a linked app cannot be backed up: stop it, warn, or (off) make no backup at all",
    ),
    Key::new("schedule", Values::Schedule, "off", "when to back up, as in 30 3 * * *"),
    Key::new(
        "verify-schedule",
        Values::Schedule,
        "off",
        "when to prove the newest backup by a drill, as in 0 5 * * mon",
    ),
    Key::new("keep-last", Values::Number(0, MAX_KEPT), "3", "newest scheduled backups to keep"),
    Key::new("keep-daily", Values::Number(0, MAX_KEPT), "7", "days of which a scheduled backup is kept"),
    Key::new("keep-weekly", Values::Number(0, MAX_KEPT), "4", "weeks of which a scheduled backup is kept"),
    Key::new("keep-monthly", Values::Number(0, MAX_KEPT), "6", "months of which a scheduled backup is kept"),
    Key::new("deploy-keep-last", Values::Number(0, MAX_KEPT), "5", "newest backups of deploys to keep"),
    Key::new(
        "max-size",
        Values::Size,
        "off",
        "what all backups of a service may take on the disk, as in 20 GB",
    ),
    Key::new("min-free", Values::Room, "10%", "what must stay free on the disk, as in 10% or 5 GB"),
    Key::new(
        "lock-timeout",
        Values::Number(1, MAX_SECONDS),
        "120",
        "seconds to wait for a table that somebody else has locked",
    ),
    Key::new(
        "final-backup",
        Values::OneOf(&["on", "required", "off"]),
        "on",
        "a last backup before postgres:destroy; required refuses to destroy without one",
    ),
    Key::new(
        "push-on-create",
        Values::OneOf(&["on", "off"]),
        "off",
        "take each new backup to the remote; what could not be taken is tried again by the next run",
    ),
    Key::new(
        "age-recipient",
        Values::Recipients,
        "off",
        "public keys for which everything that goes to the remote is encrypted",
    ),
    Key::new("remote-keep-last", Values::Number(0, MAX_KEPT), "3", "the same as keep-last for the remote"),
    Key::new("remote-keep-daily", Values::Number(0, MAX_KEPT), "7", "the same as keep-daily for the remote"),
    Key::new(
        "remote-keep-weekly",
        Values::Number(0, MAX_KEPT),
        "4",
        "the same as keep-weekly for the remote",
    ),
    Key::new(
        "remote-keep-monthly",
        Values::Number(0, MAX_KEPT),
        "12",
        "the same as keep-monthly for the remote",
    ),
    Key::new(
        "remote-deploy-keep-last",
        Values::Number(0, MAX_KEPT),
        "5",
        "the same as deploy-keep-last for the remote",
    ),
    Key::new("notify-command", Values::Program, "off", "a program that gets each event as JSON on its stdin"),
    Key::new("notify-url", Values::Address, "off", "an address that each event is posted to as JSON"),
    Key::new(
        "notify-failure-url",
        Values::Address,
        "off",
        "the same for failures, where they have an address of their own",
    ),
    Key::new(
        "notify-success",
        Values::OneOf(&["on", "off"]),
        "off",
        "tell also of backups and drills that went well",
    ),
    Key::new(
        "prometheus-textfile",
        Values::File,
        "off",
        "a file for node_exporter, written after each run; for all services",
    ),
];

/// One setting.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub values: Values,
    pub default: &'static str,
    pub about: &'static str,
}

/// What a setting may be. All but numbers can be `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// From and to, both included.
    Number(i64, i64),
    OneOf(&'static [&'static str]),
    /// Cron expressions.
    Schedule,
    /// Bytes.
    Size,
    /// Bytes, or a part of the disk.
    Room,
    /// The absolute path of a program.
    Program,
    /// The absolute path of a file.
    File,
    /// http or https.
    Address,
    /// Public keys of age or ssh.
    Recipients,
}

impl Key {
    const fn new(name: &'static str, values: Values, default: &'static str, about: &'static str) -> Self {
        Key { name, values, default, about }
    }

    /// The key of that name.
    pub fn find(name: &str) -> Result<&'static Key> {
        KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
            let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            let hint = match nearest(name, names.iter().copied()) {
                Some(meant) => format!("did you mean {meant}? all of them: dokku pgbackup:help set"),
                None => format!("the settings are: {}", names.join(", ")),
            };
            Failure::usage(format!("there is no setting {name:?}")).hint(hint).into()
        })
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        match self.values {
            Values::Number(from, to) => format!("a number from {from} to {to}"),
            Values::OneOf(values) => values.join(", "),
            Values::Schedule => "cron expressions with ; between them, or off".to_owned(),
            Values::Size => "a size like 20 GB, or off".to_owned(),
            Values::Room => "a size like 5 GB, a part of the disk like 10%, or off".to_owned(),
            Values::Program => "an absolute path, or off".to_owned(),
            Values::File => "an absolute path that ends in .prom, or off".to_owned(),
            Values::Address => "an http or https address, or off".to_owned(),
            Values::Recipients => "public keys (age1…, ssh-ed25519 …) with ; between them, or off".to_owned(),
        }
    }

    /// Why `text` is no value of it.
    pub(super) fn complaint(&self, text: &str) -> Option<String> {
        let unless = |fine: bool| (!fine).then(|| format!("{} must be {}", self.name, self.allowed()));
        let is_plain = !text.chars().any(char::is_control) && text.len() <= MAX_TEXT;
        match self.values {
            Values::Number(from, to) => {
                unless(text.parse().is_ok_and(|number| (from..=to).contains(&number)))
            }
            Values::OneOf(values) => unless(values.contains(&text)),
            _ if text == OFF => None,
            Values::Schedule => text.parse::<Schedule>().err().map(|why| format!("{}: {why}", self.name)),
            Values::Size => unless(units::parse_bytes(text).is_some()),
            Values::Room => unless(room(text).is_some()),
            Values::Recipients => text.parse::<Recipients>().err().map(|why| format!("{}: {why}", self.name)),
            Values::Program => unless(is_plain && text.starts_with('/')),
            // node_exporter passes everything else over.
            Values::File => unless(
                is_plain
                    && text.starts_with('/')
                    && Path::new(text).extension().is_some_and(|end| end == "prom"),
            ),
            Values::Address => {
                let is_address = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
                unless(is_plain && is_address && !text.contains(char::is_whitespace))
            }
        }
    }

    /// A value as it is typed on a command line.
    pub(super) fn parse(&self, text: &str) -> Result<Value> {
        if self.complaint(text).is_none() {
            return Ok(match self.values {
                Values::Number(..) => text.parse().map(Value::Integer)?,
                _ => Value::String(text.to_owned()),
            });
        }
        let explains = matches!(self.values, Values::Schedule | Values::Recipients);
        let why = self.complaint(text).filter(|_| explains);
        Err(Failure::usage(why.unwrap_or_else(|| format!("{} cannot be {text:?}", self.name)))
            .hint(format!("allowed: {}", self.allowed()))
            .into())
    }

    /// Whether it can only be set for all services.
    pub fn is_global(&self) -> bool {
        self.values == Values::File
    }

    /// Whether its value may hold a secret, as addresses of webhooks do.
    pub fn is_secret(&self) -> bool {
        self.values == Values::Address
    }
}

/// `10%`, `5 GB`.
pub(super) fn room(text: &str) -> Option<Room> {
    match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse().ok().filter(|percent| *percent <= 90).map(Room::Percent),
        None => units::parse_bytes(text).map(Room::Bytes),
    }
}
