//! What is to take no time: measured by hyperfine, which knows how to measure milliseconds.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::forget;
use crate::bench::world;
use crate::shapes;
use crate::table::{Aim, Table};
use crate::timing::Samples;

/// Both commands as user dokku with the environment that dokku gives a plugin; seconds.
fn hyperfine(commands: [&str; 2]) -> [Samples; 2] {
    let results = tempfile::tempdir().unwrap();
    let json = results.path().join("results.json");
    assert!(Command::new("chmod").arg("0777").arg(results.path()).status().unwrap().success());
    let set = |name: &str, below: &str| format!("{name}={}", world().join(below).display());
    let output = Command::new("sudo")
        .args([
            "-u",
            "dokku",
            "env",
            "DOKKU_QUIET_OUTPUT=1",
            &set("DOKKU_LIB_ROOT", "lib"),
            &set("DOKKU_ROOT", "home"),
        ])
        .args([set("PLUGIN_PATH", "plugins"), set("PLUGIN_ENABLED_PATH", "plugins/enabled")])
        .args(["hyperfine", "--shell=none", "--style=none", "--warmup=5", "--runs=50", "--export-json"])
        .arg(&json)
        .args(commands)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    [0, 1].map(|index| {
        let times = told["results"][index]["times"].as_array().unwrap();
        Samples::of(times.iter().map(|time| time.as_f64().unwrap()).collect())
    })
}

/// So many copies of one backup, each with an id of its own.
fn multiply(backups: &Path, id: &str, count: u32) {
    let script = "cd \"$1\"
for ((i = 0; i < $3; i++)); do
  id=$(printf '20250101T%02d%02d%02dZ-aaaa' $((i / 3600)) $((i / 60 % 60)) $((i % 60)))
  cp -al \"$2\" \"$id\"
  rm \"$id/manifest.toml\"
  sed \"s/^id = .*/id = \\\"$id\\\"/\" \"$2/manifest.toml\" >\"$id/manifest.toml\"
done
chown -R dokku:dokku .";
    let made = Command::new("bash")
        .args(["-ec", script, "bash"])
        .arg(backups)
        .args([id, &count.to_string()])
        .status();
    assert!(made.unwrap().success());
}

pub fn instant(_: usize, table: &mut Table) {
    let plugin = world().join("plugins/enabled/pgbackup").display().to_string();
    let [ours, nothing] = hyperfine([&format!("{plugin}/post-build herokuish no-such-app"), "true"]);
    table.difference("deploy hook, app without a service", &ours, ("true", &nothing), Aim::AtMost(15.0));
    let [ours, nothing] = hyperfine([&format!("{plugin}/commands help"), "true"]);
    table.difference("commands help", &ours, ("true", &nothing), Aim::AtMost(10.0));

    let service = shapes::empty();
    forget(&service);
    let id = service.create();
    multiply(&service.backups(), &id, 1000);
    let ls = format!("ls -l {}", service.backups().display());
    let [ours, listed] =
        hyperfine([&format!("{plugin}/subcommands/list pgbackup:list {}", service.name), &ls]);
    table.difference("list of 1,000 backups", &ours, ("ls -l", &listed), Aim::AtMost(30.0));
    forget(&service);
}
