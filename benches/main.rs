//! The measured comparisons: pgbackup beside what its user would otherwise run, in alternation, in one run.
//!
//! `make bench` runs all of them. Their databases are made once and stay in the world of `PGBACKUP_TEST_WORLD`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "not the program"
)]

#[allow(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/it/bench.rs"]
mod bench;
#[allow(dead_code, reason = "tests use it")]
#[path = "../tests/it/plugins.rs"]
mod plugins;
#[allow(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/it/started.rs"]
mod started;

mod jobs;
mod page;
mod shapes;
mod table;
mod timing;

use table::Table;

/// What was asked for.
struct Plan {
    rounds: usize,
    /// Only jobs with this in their name.
    filter: String,
    /// Put the table into docs/performance.md.
    write: bool,
}

impl Plan {
    fn from_arguments() -> Self {
        let mut plan = Plan { rounds: 5, filter: String::new(), write: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // From cargo.
                "--bench" => {}
                "--write" => plan.write = true,
                "--rounds" => {
                    plan.rounds = arguments.next().and_then(|text| text.parse().ok()).expect("--rounds <n>");
                }
                filter => filter.clone_into(&mut plan.filter),
            }
        }
        plan
    }
}

fn main() {
    let plan = Plan::from_arguments();
    let mut table = Table::default();
    for (name, job) in jobs::ALL {
        if name.contains(&plan.filter) {
            println!("-----> {name}");
            job(plan.rounds, &mut table);
        }
    }
    println!("\n{}", table.plain());
    if plan.write {
        page::write(&table);
    }
}
