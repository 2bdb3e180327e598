//! Hostile words in every place of the command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::super::tally::{Tally, tries};
use super::{CAMPAIGN, Canary, Tallies, assert_plain, run};
use crate::bench::{Service, dokku_command, ssh_command};

/// Each place for a word: `S` is the service, `H` the hostile word.
const PLACES: [&str; 46] = [
    "create H",
    "create no-such-db --note H",
    "create S --jobs H",
    "create S --format H",
    "list H",
    "list H --destroyed",
    "list H --remote",
    "info S H",
    "info H",
    "verify S H",
    "verify S --level H",
    "restore S H --force",
    "restore H --force",
    "restore S --to H --force",
    "restore S --table H",
    "restore S --from-destroyed H --force",
    "restore S --from-remote H --force",
    "restore S --identity H --from-remote no-such-db --force",
    "diff S H",
    "diff S --to H",
    "undo H --force",
    "export S H",
    "export S --as H",
    "export S --recipient H",
    "delete S H --force",
    "delete --destroyed H --force",
    "pin S H",
    "unpin S H",
    "practice S --app H",
    "practice --cleanup H --force",
    "practice S --app qa --service H",
    "practice S --app qa --from-app H",
    "set S H",
    "set S schedule H",
    "set S min-free H",
    "set S notify-command H",
    "set S notify-url H",
    "set S age-recipient H",
    "set S prometheus-textfile H",
    "report H",
    "history H",
    "push S H",
    "pull H",
    "import S --database H",
    "remote-set S H",
    "help H",
];

/// What each word is, and the word.
fn words(canary: &Canary) -> Vec<(&'static str, OsString)> {
    let command = canary.command();
    let text = |text: String| OsString::from(text);
    vec![
        ("shell metacharacters", text(format!("x; {command}; #"))),
        ("shell metacharacters", text(format!("$({command})"))),
        ("shell metacharacters", text(format!("`{command}`"))),
        ("shell metacharacters", text(format!("x' | {command} & '\"\\"))),
        ("newlines", text(format!("x\n{command}\n !     forged"))),
        ("newlines", text("x\r\n=====> forged\u{2028}x".to_owned())),
        ("paths that lead out", text("..".to_owned())),
        ("paths that lead out", text("../../../../etc/passwd".to_owned())),
        ("paths that lead out", text("/etc/passwd".to_owned())),
        ("leading dashes", text("-rf".to_owned())),
        ("leading dashes", text("--no-such-flag=x".to_owned())),
        ("10,000 characters", text("x".repeat(10_000))),
        ("bytes that are no UTF-8", OsStr::from_bytes(b"x\xff\xfe\x9b2J").to_owned()),
        ("escape sequences", text("x\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{7f}".to_owned())),
        ("escape sequences", text("\u{1b}[1;31mx\u{1b}[0m\u{202e}x\u{2066}\u{200f}".to_owned())),
        ("SQL and patterns", text("x'; drop table cows; --%s%n{}\"*?[".to_owned())),
    ]
}

fn placed(place: &str, service: &Service, word: &OsStr) -> Vec<OsString> {
    let mut parts = place.split(' ');
    let command = format!("pgbackup:{}", parts.next().unwrap_or_default());
    let rest = parts.map(|part| match part {
        "S" => OsString::from(&service.name),
        "H" => word.to_owned(),
        part => part.into(),
    });
    std::iter::once(OsString::from(command)).chain(rest).collect()
}

#[test]
fn no_word_on_the_command_line_is_more_than_a_word() {
    let service = Service::new("typed");
    service.fill();
    service.create();
    let canary = Canary::new();
    let words = words(&canary);
    // In the tests each word and half of the places; in the campaign each word in each place.
    let rounds = usize::try_from(tries(1)).unwrap().min(words.len());
    let every = if rounds > 1 { 1 } else { 2 };
    let mut tallies = Tallies::default();
    for (at, place) in PLACES.iter().enumerate().step_by(every) {
        for round in 0..rounds {
            let (what, word) = &words[(at / every + round) % words.len()];
            let mut command = dokku_command(&[]);
            let ended = run(command.args(placed(place, &service, word)));
            canary.assert_silent(&ended);
            assert_plain(&ended);
            let code = ended.code;
            assert!(
                code != 0 || place.contains("pull"),
                "{place} with {what}: {}{}",
                ended.stdout,
                ended.stderr
            );
            tallies.saw(format!("{what} on the command line"), "refused in one sentence");
        }
    }
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    service.assert_nothing_left();
}

/// sshd hands over one line, which dokku's own parser takes apart: what it leaves whole must stay a word.
#[test]
fn no_word_that_comes_by_ssh_is_more_than_a_word() {
    let service = Service::new("typed-ssh");
    let canary = Canary::new();
    let mut tally = Tally::new(CAMPAIGN, "hostile words by ssh");
    let words = words(&canary);
    let quotable =
        words.iter().filter_map(|(_, word)| word.to_str()).filter(|word| !word.contains(['\'', '\n', '\r']));
    for (at, word) in quotable.enumerate() {
        for place in PLACES.iter().skip(at % 12).step_by(12).take(usize::try_from(tries(1)).unwrap()) {
            let line: Vec<String> = placed(place, &service, word.as_ref())
                .iter()
                .map(|word| format!("'{}'", word.to_str().unwrap()))
                .collect();
            let ended = run(&mut ssh_command(&line.join(" ")));
            canary.assert_silent(&ended);
            assert_plain(&ended);
            assert_ne!(ended.code, 0, "{}", ended.line);
            tally.saw("refused in one sentence");
        }
    }
    service.assert_nothing_left();
}
