//! The only module that prints: dokku's line styles, failures, progress, confirmation, JSON.
//!
//! Results go to stdout, everything else to stderr.

pub mod data;
pub mod table;

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;

use crate::environment::Environment;
use crate::error::{self, Failure, Kind};
use crate::interrupt::{Awaited, Interrupt};
use crate::plain_text::{beginning, one_line, printable, printable_json};
use crate::progress::Progress;
use crate::units;

/// How often long work says how far it is where nobody watches a bar.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);
/// A bar that would be gone at once is not drawn.
const BAR_AFTER: Duration = Duration::from_millis(700);

/// Of what was typed, as much as it takes to know it again.
const LONGEST_COMPLAINT: usize = 400;

/// How often a confirmation may be mistyped.
const CHANCES: usize = 3;

/// More than anybody types as an answer.
const LONGEST_ANSWER: usize = 4096;

/// Where and how to print.
#[derive(Debug)]
pub struct Ui {
    quiet: bool,
    force: bool,
    colors: bool,
    /// Stands in our own marks until they are printed, so that no text of others can hold one.
    token: String,
    bars: bool,
    /// What stands before each line of a log.
    stamp: Option<fn() -> String>,
    current: Mutex<Current>,
}

/// The step that is going on.
#[derive(Debug)]
struct Current {
    since: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Ui {
    pub fn new(environment: &Environment, quiet: bool, force: bool) -> Self {
        let now = Instant::now();
        Ui {
            quiet: quiet || environment.quiet,
            force: force || environment.force,
            colors: !environment.no_color && io::stdout().is_terminal(),
            token: format!("{:016x}", RandomState::new().hash_one(())),
            bars: io::stderr().is_terminal(),
            stamp: None,
            current: Mutex::new(Current { since: now, told: now, bar: None }),
        }
    }

    /// Puts a time before each line, for runs that nobody watches.
    pub fn log_with(&mut self, stamp: fn() -> String) {
        self.stamp = Some(stamp);
        self.bars = false;
        self.colors = false;
    }

    fn stamped(&self, text: &str) -> String {
        let Some(stamp) = self.stamp else { return text.to_owned() };
        text.lines().map(|line| format!("{} {line}", stamp())).collect::<Vec<_>>().join("\n")
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A heading among results: `=====> text`.
    pub fn heading(&self, text: &str) {
        self.value(&format!("=====> {text}"));
    }

    /// A result, indented as dokku does: 7 spaces.
    pub fn detail(&self, text: &str) {
        self.value(format!("       {text}").trim_end());
    }

    /// Many of them at once.
    pub fn details(&self, lines: &[String]) {
        let text: Vec<String> = lines.iter().map(|line| one_line(&format!("       {line}"))).collect();
        self.result(&text.join("\n"));
    }

    /// Something that is wrong, among results: ` !     text`.
    pub fn problem(&self, text: &str) {
        self.value(&format!(" !     {text}"));
    }

    /// One line on stdout, whatever is in it.
    pub fn value(&self, text: &str) {
        self.result(&one_line(text));
    }

    /// Lines on stdout. A reader that went away (`| head`) is no failure of ours.
    pub fn result(&self, text: &str) {
        // A log needs no empty lines.
        if self.stamp.is_some() && text.is_empty() {
            return;
        }
        let _ = writeln!(io::stdout(), "{}", self.stamped(&self.colored(&printable(text))));
    }

    /// A result that must arrive as it is: JSON.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        let text = printable_json(&serde_json::to_string_pretty(value)?);
        let _ = writeln!(io::stdout(), "{text}");
        Ok(())
    }

    /// `text` in bold green or bold red where colours are wanted.
    pub fn mark(&self, good: bool, text: &str) -> String {
        if !self.colors {
            return text.to_owned();
        }
        let (code, token) = (if good { "1;32" } else { "1;31" }, &self.token);
        format!("\u{1b}{token}{code}m{text}\u{1b}{token}0m")
    }

    /// Our own marks, which have become text like any other, as the escape sequences that they stand for.
    fn colored(&self, text: &str) -> String {
        text.replace(&one_line(&format!("\u{1b}{}", self.token)), "\u{1b}[")
    }

    /// What goes wrong: one sentence, a tool's own words, a hint. Perhaps nobody is there to read it.
    pub fn failure(&self, error: &anyhow::Error) {
        self.clear_bar();
        let say = |text: String| {
            let _ = writeln!(io::stderr(), "{}", self.stamped(&one_line(&text)));
        };
        say(format!(" !     {error:#}"));
        let Some(failure) = error::failure_in(error) else { return };
        for line in &failure.details {
            say(format!("         {line}"));
        }
        for line in failure.hint.iter().flat_map(|hint| hint.lines()) {
            say(format!("       {line}"));
        }
    }

    /// A command line that was not understood, or a question for help or version.
    pub fn usage(&self, wrong: &clap::Error) -> ExitCode {
        use clap::error::ErrorKind;
        match wrong.kind() {
            ErrorKind::DisplayHelp => self.result(wrong.to_string().trim_end()),
            ErrorKind::DisplayVersion => self.result(concat!("pgbackup ", env!("CARGO_PKG_VERSION"))),
            _ => return Self::misunderstood(wrong),
        }
        ExitCode::SUCCESS
    }

    fn misunderstood(wrong: &clap::Error) -> ExitCode {
        let text = wrong.to_string();
        let is_wanted =
            |line: &&str| !line.is_empty() && !line.starts_with("tip:") && !line.starts_with("For more");
        let lines: Vec<&str> = text.lines().map(str::trim).filter(is_wanted).collect();
        let usage = lines.iter().position(|line| line.starts_with("Usage:")).unwrap_or(lines.len());
        let (what, usage) = lines.split_at(usage);
        // dokku reads ssh's command line with xargs, which runs echo: that answers --help and --version itself.
        let what =
            if text.contains("/bin/echo") { &["flags like --help do not come through ssh"] } else { what };
        let what = what.join(" ");
        let what = beginning(what.trim_start_matches("error: "), LONGEST_COMPLAINT);
        let _ = writeln!(io::stderr(), " !     {}", one_line(&what));
        for line in usage {
            let _ = writeln!(io::stderr(), "       {}", printable(line));
        }
        let _ = writeln!(
            io::stderr(),
            "       See the commands and their flags with: dokku pgbackup:help [<command>]"
        );
        ExitCode::from(Kind::Usage.exit_code())
    }

    /// Whether nobody is asked for confirmation.
    pub fn is_forced(&self) -> bool {
        self.force
    }

    /// Asks to type `word`, as dokku's own destructive commands do. `--force` answers for the user.
    pub fn confirm(&self, warning: &str, word: &str, interrupt: &Interrupt) -> Result<()> {
        if self.force {
            return Ok(());
        }
        let _ = writeln!(io::stderr(), " !     {}", one_line(warning));
        let mut input = Awaited::of(io::stdin(), interrupt)?;
        for _ in 0..CHANCES {
            let _ = writeln!(io::stderr(), " !     To proceed, type \"{word}\"");
            let _ = write!(io::stderr(), "> ");
            let line = Self::typed(&mut input, interrupt)?;
            if line.trim() == word {
                return Ok(());
            }
            if line.is_empty() {
                let _ = writeln!(io::stderr());
                return Err(Failure::refused("not confirmed: there is nobody to ask")
                    .hint("nothing was changed; over ssh, ask for a terminal (ssh -t), or say --force")
                    .into());
            }
        }
        Err(Failure::refused("not confirmed").hint("nothing was changed").into())
    }

    /// A line of standard input, for what must not be in a command line.
    pub fn read_line(&self, interrupt: &Interrupt) -> Result<String> {
        let line = Self::typed(&mut Awaited::of(io::stdin(), interrupt)?, interrupt)?;
        Ok(line.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// One line, with its end if it has one. A plain read would not notice a Ctrl-C: the signal is caught.
    fn typed(input: &mut Awaited<'_>, interrupt: &Interrupt) -> Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') && line.len() < LONGEST_ANSWER {
            match input.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => line.push(byte[0]),
                Err(error) => {
                    interrupt.check()?;
                    return Err(error.into());
                }
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Asks on the terminal for what must not be shown, whatever standard input is; `None` where there is no terminal.
    pub fn ask_secret(&self, question: &str, interrupt: &Interrupt) -> Result<Option<String>> {
        Ok(self.ask_secrets(&[question], interrupt)?.and_then(|answers| answers.into_iter().next()))
    }

    /// Several of them, which may be pasted in one go; an empty answer ends it.
    pub fn ask_secrets(&self, questions: &[&str], interrupt: &Interrupt) -> Result<Option<Vec<String>>> {
        let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
            return Ok(None);
        };
        self.clear_bar();
        let Ok(_hidden) = Hidden::begin(&terminal) else { return Ok(None) };
        let mut answers = Vec::new();
        for question in questions {
            let _ = write!(&terminal, "{question}: ");
            let answer = Self::typed(&mut Awaited::of(&terminal, interrupt)?, interrupt)?;
            answers.push(answer.trim_end_matches(['\n', '\r']).to_owned());
            if answer.trim().is_empty() {
                break;
            }
        }
        Ok(Some(answers))
    }

    fn say(&self, prefix: &str, text: &str) {
        self.clear_bar();
        // Nobody reads it any more: interrupt.rs notices and stops the work.
        let _ = writeln!(io::stderr(), "{}", self.stamped(&format!("{prefix}{}", one_line(text))));
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear_bar(&self) {
        if let Some(bar) = self.current().bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Ui {
    fn step(&self, text: &str) {
        if !self.quiet {
            self.say("-----> ", text);
        }
        let now = Instant::now();
        *self.current() = Current { since: now, told: now, bar: None };
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            self.say("       ", text);
        }
    }

    fn warn(&self, text: &str) {
        self.say(" !     ", text);
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        if self.quiet {
            return;
        }
        let mut current = self.current();
        let elapsed = current.since.elapsed();
        if self.bars {
            if elapsed > BAR_AFTER {
                // It was a guess, from the backup before.
                let total = total.filter(|total| done <= *total);
                let bar = current.bar.get_or_insert_with(|| new_bar(total));
                if total.is_none() && bar.length().is_some() {
                    bar.finish_and_clear();
                    *bar = new_bar(None);
                }
                bar.set_position(done);
            }
        } else if current.told.elapsed() > PROGRESS_EVERY {
            current.told = Instant::now();
            drop(current);
            self.say("       ", &progress_line(done, total, elapsed));
        }
    }

    fn done(&self) {
        self.clear_bar();
    }
}

fn new_bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "       {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "       {spinner} {decimal_bytes} {decimal_bytes_per_sec}, {elapsed}",
        ),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// `1.2 GB of about 3.4 GB, 95.0 MB/s, about 24 s left`.
fn progress_line(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = done * 1000 / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate_text = format!("{}/s", units::bytes(rate));
    match total {
        Some(total) if total > done && rate > 0 => {
            let left = units::duration(Duration::from_secs((total - done) / rate));
            format!("{} of about {}, {rate_text}, about {left} left", units::bytes(done), units::bytes(total))
        }
        _ => format!("{}, {rate_text}", units::bytes(done)),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Hidden { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Prints a command line that is about to be run (`--trace`).
pub fn trace(line: &str) {
    let _ = writeln!(io::stderr(), " ?     {}", one_line(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_of_our_own_are_coloured() {
        let mut ui = Ui::new(&Environment::read(), false, false);
        assert_eq!(ui.mark(false, "BAD"), "BAD");
        ui.colors = true;
        let line = format!("{} \u{1b}[1;31mBAD\u{1b}[0m", ui.mark(true, "good"));
        assert_eq!(ui.colored(&one_line(&line)), "\u{1b}[1;32mgood\u{1b}[0m \\u{1b}[1;31mBAD\\u{1b}[0m");
        assert_ne!(ui.token, Ui::new(&Environment::read(), false, false).token);
    }

    #[test]
    fn progress_says_rate_and_time_left() {
        let line = progress_line(1_000_000_000, Some(3_000_000_000), Duration::from_secs(10));
        assert_eq!(line, "1.0 GB of about 3.0 GB, 100.0 MB/s, about 20 s left");
        assert_eq!(progress_line(0, None, Duration::ZERO), "0 B, 0 B/s");
    }
}
