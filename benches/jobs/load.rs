//! What the machine and the service feel: memory, and transactions that a busy service still makes.

use std::process::{Command, Stdio};

use super::{first_backup, forget, some_backup};
use crate::bench::Service;
use crate::shapes;
use crate::started::Started;
use crate::table::{Aim, Table};
use crate::timing::Samples;

pub fn memory(_: usize, table: &mut Table) {
    let service = shapes::mixed(17);
    forget(&service);
    let drop_previous = || {
        for name in service.databases() {
            if name.contains("_previous_") {
                service.sql_in("template1", &format!("drop database \"{name}\""));
            }
        }
    };
    for (what, command, args) in [
        ("create", "create", &[][..]),
        ("restore", "restore", &["--force"]),
        ("drill", "verify", &[]),
        ("diff", "diff", &[]),
        ("export --as custom", "export", &["--as", "custom"]),
    ] {
        let bytes = Started::pgbackup(&service, command, args).peak_memory() as f64;
        let text = format!("{:.0} MB", bytes / 1e6);
        table.add(
            &format!("memory of {what}, 1.5 GB"),
            &text,
            ("–", "–"),
            (bytes / 1e6, " MB"),
            Aim::AtMost(48.0),
        );
        drop_previous();
    }
}

/// Transactions a second of pgbench, while `beside` is done again and again. Twenty seconds, of a gentle backup too, which
/// goes on longer.
fn transactions(service: &Service, mut beside: impl FnMut()) -> f64 {
    let pgbench = ["exec", &service.container(), "pgbench", "-n", "-c", "4", "-T", "20", "-U", "postgres"];
    service.sql("checkpoint");
    let mut running = Command::new("docker")
        .args(pgbench)
        .arg(service.database())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while running.try_wait().unwrap().is_none() {
        beside();
    }
    let output = running.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap_or_else(|| panic!("{text}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

pub fn load(rounds: usize, table: &mut Table) {
    let service = shapes::busy();
    some_backup(&service);
    let idle = || std::thread::sleep(std::time::Duration::from_millis(20));
    let (mut alone, mut usual, mut gentle) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(transactions(&service, idle));
        usual.push(transactions(&service, || _ = first_backup(&service)));
        gentle.push(transactions(&service, || {
            forget(&service);
            service.pgbackup("create", &["--gentle"]).ok();
        }));
    }
    let [alone, usual, gentle] = [alone, usual, gentle].map(Samples::of);
    let rate = |samples: &Samples| format!("{:.0} a second", samples.median());
    for (what, samples, aim) in
        [("create", &usual, Aim::None), ("create --gentle", &gentle, Aim::AtLeast(0.85))]
    {
        table.add(
            &format!("transactions beside {what}"),
            &rate(samples),
            ("pgbench -c 4 alone", &rate(&alone)),
            (samples.median() / alone.median(), " times"),
            aim,
        );
    }
}
