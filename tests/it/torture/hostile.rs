//! Hostile input: what others wrote reaches no shell, steers no terminal and leads to no file elsewhere, wherever it comes
//! in: on the command line, in a backup's folder, in a dump.

mod archives;
mod folders;
mod shown;
mod typed;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::tally::Tally;
use crate::bench::{Run, Service, dokku_command};
use crate::started::Started;

const CAMPAIGN: &str = "Hostile input";

/// Longer than any command takes on the most loaded machine.
const FOREVER: Duration = Duration::from_secs(600);

/// docs/exit-codes.md, without the interrupts.
const CODES: [i32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// A file that is there when somebody's text was taken for a command.
struct Canary {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Canary {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let path = folder.path().join("sings");
        Canary { _folder: folder, path }
    }

    /// A command line that would make it.
    fn command(&self) -> String {
        format!("touch {}", self.path.display())
    }

    #[track_caller]
    fn assert_silent(&self, run: &Run) {
        assert!(!self.path.exists(), "a text was run as a command: {}", run.line);
    }
}

/// What steers a terminal or turns the direction of writing.
fn steers(character: char) -> bool {
    (character.is_control() && character != '\n' && character != '\t')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Runs a command that must come to an end by itself.
#[track_caller]
fn run(command: &mut Command) -> Run {
    let line = format!("{command:?}");
    let line: String =
        line.rsplit_once("support/dokku").map_or(line.as_str(), |(_, end)| end).chars().take(300).collect();
    let mut started = Started::spawn(line.clone(), command);
    let began = Instant::now();
    while !started.has_ended() {
        assert!(began.elapsed() < FOREVER, "it never ends: {line}");
        std::thread::sleep(Duration::from_millis(10));
    }
    started.end()
}

/// `list S` → `dokku pgbackup:list <service>`; `B` is a backup.
fn command(service: &Service, id: &str, line: &str) -> Command {
    let words = line.split(' ').map(|word| match word {
        "S" => service.name.clone(),
        "B" => id.to_owned(),
        word => word.to_owned(),
    });
    let mut words: Vec<String> = words.collect();
    words[0] = format!("pgbackup:{}", words[0]);
    dokku_command(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The tallies of several faults, each begun when it is first counted.
#[derive(Default)]
struct Tallies {
    by_fault: BTreeMap<String, Tally>,
}

impl Tallies {
    fn saw(&mut self, fault: String, outcome: &str) {
        let begin = |fault: &String| Tally::new(CAMPAIGN, fault);
        self.by_fault.entry(fault).or_insert_with_key(begin).saw(outcome);
    }
}

/// Nothing of what was printed steers, and a failure is one sentence with a documented code.
#[track_caller]
fn assert_plain(run: &Run) {
    for text in [&run.stdout, &run.stderr] {
        let found = text.chars().find(|character| steers(*character));
        assert_eq!(found, None, "{}\n{text:?}", run.line);
    }
    assert!(CODES.contains(&run.code), "{} ended with {}\n{}", run.line, run.code, run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}\n{}", run.line, run.stderr);
    if run.code != 0 {
        let sentences = run.stderr.lines().filter(|line| line.starts_with(" !     ")).count()
            + run.stdout.lines().filter(|line| line.starts_with(" !     ")).count();
        assert!(sentences > 0, "{}\n{}", run.line, run.stderr);
        let longest = run.stderr.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest < 1500, "{}: a sentence of {longest} characters", run.line);
    }
}
