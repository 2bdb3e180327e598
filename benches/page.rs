//! The measured table in docs/performance.md, with the machine that it was measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::table::Table;

const BEGIN: &str = "<!-- made by make bench -->\n";
const END: &str = "<!-- until here -->";

fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned()
}

/// What the figures depend on.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let field = |name: &str| {
        cpus.lines().find_map(|line| line.strip_prefix(name)?.split_once(": ")).map(|pair| pair.1)
    };
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let kilobytes: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    format!(
        "Measured on {count} processors ({}), {:.0} GB of memory, Linux {}, docker {}, on {}.\n\n",
        field("model name").unwrap_or("of a kind that it does not tell"),
        kilobytes as f64 / 1e6,
        first_line("uname", &["-r"]),
        first_line("docker", &["version", "--format", "{{.Server.Version}}"]),
        first_line("date", &["+%Y-%m-%d"])
    )
}

/// Puts the rows between the marks, in place of those of the same jobs; the others stay.
pub fn write(table: &Table) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark where the table begins");
    let (old, after) = rest.split_once(END).expect("the mark where the table ends");
    let rows = merged(old, &table.markdown());
    fs::write(&path, format!("{before}{BEGIN}{}{rows}{END}{after}", machine())).unwrap();
}

/// A row is known by its job and by what that is compared with.
fn merged(old: &str, new: &str) -> String {
    let key = |row: &str| {
        let mut cells = row.split(" | ");
        (cells.next().map(str::to_owned), cells.nth(1).map(str::to_owned))
    };
    let mut rows: Vec<&str> = old.lines().filter(|line| line.starts_with('|')).collect();
    for row in new.lines() {
        match rows.iter_mut().find(|known| key(known) == key(row)) {
            Some(known) => *known = row,
            None => rows.push(row),
        }
    }
    rows.join("\n") + "\n"
}
