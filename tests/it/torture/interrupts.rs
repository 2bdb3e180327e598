//! Every way to ask a run to stop, at random moments of each command: at once everything is gone, and the exit code says
//! how it ended.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::dice::Dice;
use super::durations::Durations;
use super::orders::{Command, Order};
use super::scene::Scene;
use super::tally::{Tally, tries};
use crate::bench::{dokku_command, ssh_command};
use crate::operations::destroyed::PLACE;
use crate::started::pgbackup_below;

/// What is promised on a machine that has nothing else to do.
const AT_ONCE: Duration = Duration::from_secs(3);
/// The same on one that is loaded.
const AT_THE_LATEST: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Int,
    Term,
    Hup,
    /// An ssh connection without a terminal: nothing but closed pipes.
    Ssh,
    /// `| head -1`: what is printed goes nowhere, and the work goes on.
    Head,
    /// Ctrl-Z, and then the terminal is closed.
    Stopped,
}

impl Way {
    const ALL: [Way; 6] = [Way::Int, Way::Term, Way::Hup, Way::Ssh, Way::Head, Way::Stopped];

    fn name(self) -> &'static str {
        match self {
            Way::Int => "SIGINT",
            Way::Term => "SIGTERM",
            Way::Hup => "SIGHUP",
            Way::Ssh => "a closed ssh connection",
            Way::Head => "a closed standard output",
            Way::Stopped => "a stopped and closed terminal",
        }
    }

    /// What a run may end with that did not come to its end.
    fn code(self) -> i32 {
        match self {
            Way::Int => 130,
            Way::Head => 0,
            _ => 143,
        }
    }
}

/// Whether a process catches SIGHUP by now. Before that it has done nothing, and the kernel ends it with a code of its own.
fn listens(process: Pid) -> bool {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// A run whose pipes the test holds.
struct Talk {
    child: Child,
    /// `None` when it was over before it was seen.
    process: Option<Pid>,
}

impl Talk {
    fn begin(order: &Order, way: Way) -> Self {
        let mut command = if way == Way::Ssh {
            ssh_command(&order.args.join(" "))
        } else {
            dokku_command(&order.args.iter().map(String::as_str).collect::<Vec<_>>())
        };
        if let Some(input) = &order.stdin {
            command.stdin(File::open(input).unwrap());
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        loop {
            let process = pgbackup_below(child.id()).filter(|process| listens(*process));
            if process.is_some() || child.try_wait().unwrap().is_some() {
                return Talk { child, process };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn ask(&mut self, way: Way) {
        let send = |signal| {
            let _ = self.process.map(|process| kill_process(process, signal));
        };
        match way {
            Way::Int => send(Signal::INT),
            Way::Term => send(Signal::TERM),
            Way::Hup => send(Signal::HUP),
            Way::Head => drop(self.child.stdout.take()),
            Way::Ssh => drop((self.child.stdout.take(), self.child.stderr.take())),
            Way::Stopped => {
                send(Signal::TSTP);
                std::thread::sleep(Duration::from_millis(300));
                send(Signal::HUP);
                send(Signal::CONT);
            }
        }
    }

    /// The exit code and what it said, where that could still be heard.
    fn end(mut self) -> (i32, String) {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }
}

fn assert_lock_is_free(scene: &Scene) {
    if let Ok(file) = File::open(scene.service.root().join("pgbackup/lock")) {
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}

/// `None` when it had ended before it was asked.
fn attempt(
    scene: &mut Scene,
    command: Command,
    way: Way,
    durations: &mut Durations,
    dice: &mut Dice,
) -> Option<String> {
    let _place = command.is_about_destroyed().then(|| PLACE.lock());
    let order = command.prepare(scene);
    let before = scene.look();
    let delay = dice.moment(durations.of(command));
    let mut run = Talk::begin(&order, way);
    let started = Instant::now();
    while started.elapsed() < delay && !run.has_ended() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let was_running = !run.has_ended();
    run.ask(way);
    let asked = Instant::now();
    let (code, said) = run.end();
    let took = asked.elapsed();
    if !was_running || way == Way::Head {
        durations.set(command, started.elapsed());
    }
    let what = format!(
        "{way:?} in {} after {delay:?}, which ended {took:?} later with {code}:\n{said}",
        order.args.join(" ")
    );
    assert!([0, way.code()].contains(&code) || command == Command::Move, "{what}");
    assert!(way == Way::Head || took < AT_THE_LATEST, "{what}");
    if command == Command::Move || command == Command::BringBack {
        scene.create();
    }
    scene.service.assert_nothing_left();
    assert_lock_is_free(scene);
    let swapped = scene.assert_database(&before, command.swaps());
    assert!(!command.swaps() || swapped == (code == 0), "{what}");
    scene.assert_list();
    if command == Command::RestoreTable {
        scene.assert_copies();
    }
    scene.assert_backups(&order);
    was_running.then(|| outcome(way, code, took))
}

fn outcome(way: Way, code: i32, took: Duration) -> String {
    match code {
        _ if way == Way::Head => "went on to its end".to_owned(),
        0 => "came to its end all the same".to_owned(),
        _ if took < AT_ONCE => "all gone within 3 s".to_owned(),
        _ => "all gone, but later than 3 s".to_owned(),
    }
}

#[test]
fn asked_to_stop_at_any_moment_everything_is_gone_at_once() {
    let wanted = tries(1);
    let mut dice = Dice::of("interrupts");
    let mut durations = Durations::default();
    let mut tallies: Vec<Tally> = Way::ALL
        .map(|way| Tally::new("Interrupts", &format!("{} at a random moment of any command", way.name())))
        .into();
    let mut scene = Scene::new("interrupts");
    for turn in 0..wanted {
        if turn > 0 && turn.is_multiple_of(4) {
            drop(scene);
            scene = Scene::new("interrupts");
        }
        // In the tests each command is asked once; in the campaign in each way.
        for (at, command) in Command::ALL.into_iter().enumerate() {
            for (number, way) in Way::ALL.into_iter().enumerate() {
                if wanted == 1 && at % Way::ALL.len() != number {
                    continue;
                }
                if let Some(outcome) = attempt(&mut scene, command, way, &mut durations, &mut dice) {
                    tallies[number].saw(&outcome);
                }
            }
        }
    }
}
