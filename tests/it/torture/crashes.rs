//! kill -9 of everything that takes part in a command, at random moments of each command, under a write load.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::dice::Dice;
use super::durations::Durations;
use super::engine;
use super::orders::{Command, Order};
use super::own_daemon;
use super::scene::Scene;
use super::tally::{Tally, is_campaign, is_wanted, tries};
use crate::bench::{Run, docker, dokku_command};
use crate::operations::destroyed::PLACE;
use crate::started::{Started, children, command_line, until};

/// More than a command takes in which something was killed, on a machine that does a lot else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longer than any run takes.
const NEVER: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Program,
    Client,
    Sidecar,
    Server,
    Daemon,
    Power,
}

impl Victim {
    fn name(self) -> &'static str {
        match self {
            Victim::Program => "pgbackup",
            Victim::Client => "its docker client",
            Victim::Sidecar => "a container of its own",
            Victim::Server => "the Postgres container",
            Victim::Daemon => "docker's daemon",
            Victim::Power => "the power",
        }
    }

    /// As the table of the campaign calls it.
    fn fault(self, command: Command) -> String {
        match self {
            Victim::Power => format!("power cut during or right after `{}`", command.name()),
            _ => format!("kill -9 of {} during `{}`", self.name(), command.name()),
        }
    }

    fn scene(self) -> Option<Scene> {
        if self == Victim::Power { Scene::on_a_disk("power") } else { Some(Scene::new("crashes")) }
    }

    fn can_be_struck_in(self, command: Command) -> bool {
        match self {
            Victim::Client | Victim::Daemon => command.asks_docker(),
            Victim::Sidecar => command.has_sidecars(),
            // The disk is that of the backups.
            Victim::Power => !command.swaps() && command != Command::RestoreTable,
            _ => true,
        }
    }

    /// Kills it as soon as it is there; false when the run ended before.
    fn strike(self, scene: &Scene, run: &mut Started, process: Option<Pid>, dice: &mut Dice) -> bool {
        match self {
            Victim::Program => process.is_some_and(strike_program),
            Victim::Client => process.is_some_and(|process| strike_client(run, process)),
            Victim::Sidecar => strike_sidecar(scene, run),
            Victim::Server => {
                let container = scene.service.container();
                let hit = engine::kill(&container);
                // As its restart policy would, but not later each time.
                std::thread::sleep(dice.moment(Duration::from_millis(500)));
                engine::start(&container);
                hit
            }
            Victim::Daemon => {
                own_daemon::restart();
                true
            }
            Victim::Power => {
                let disk = scene.disk.as_ref().unwrap();
                disk.cut();
                if !run.has_ended() {
                    process.map(strike_program);
                }
                disk.power_up(&scene.service);
                true
            }
        }
    }
}

fn strike_program(process: Pid) -> bool {
    let orphans = children(process);
    let hit = kill_process(process, Signal::KILL).is_ok();
    orphans.iter().for_each(|(pid, line)| settle(*pid, line));
    hit
}

fn strike_client(run: &mut Started, process: Pid) -> bool {
    while !run.has_ended() {
        for (pid, line) in children(process) {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            if line.first().is_some_and(|word| word.ends_with("docker"))
                && kill_process(pid, Signal::KILL).is_ok()
            {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

fn strike_sidecar(scene: &Scene, run: &mut Started) -> bool {
    while !run.has_ended() {
        if engine::sidecars(&scene.service.name).iter().any(|name| engine::kill(name)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Waits until docker has done what the killed run had just asked it for: nobody can clear what is not there yet.
fn settle(orphan: u32, line: &[String]) {
    let name = line.iter().position(|word| word == "--name").and_then(|at| line.get(at + 1));
    until("the orphaned docker command is done or its container is there", || {
        command_line(orphan).is_empty()
            || name.is_some_and(|name| {
                docker(&["container", "inspect", "--format", "{{.State.Running}}", name]).stdout.trim()
                    == "true"
            })
    });
}

/// A run that went to its end, or was struck.
struct Try {
    ended: Run,
    hit: bool,
    lived: Duration,
    left: Vec<String>,
}

/// Runs it and strikes after `delay`.
fn run(scene: &Scene, order: &Order, victim: Victim, delay: Duration, dice: &mut Dice) -> Try {
    let args: Vec<&str> = order.args.iter().map(String::as_str).collect();
    let mut command = dokku_command(&args);
    if let Some(input) = &order.stdin {
        command.stdin(File::open(input).unwrap());
    }
    let mut run = Started::spawn(format!("dokku {}", args.join(" ")), &mut command);
    // A quick one may be over before it is seen.
    let process = run.process();
    let started = Instant::now();
    while started.elapsed() < delay && !run.has_ended() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The power also fails after what was told as done.
    let hit = (victim == Victim::Power || !run.has_ended()) && victim.strike(scene, &mut run, process, dice);
    let struck = Instant::now();
    while !run.has_ended() {
        assert!(struck.elapsed() < PATIENCE, "{} does not end after {victim:?} was killed", run.line());
        std::thread::sleep(Duration::from_millis(2));
    }
    let (ended, lived) = (run.end(), started.elapsed());
    // A process that has just ended takes a signal, too.
    let hit = hit && (victim != Victim::Program || ended.code != 0);
    Try { ended, hit, lived, left: Vec::new() }
}

/// One try with everything that must hold after it; `None` when the run had ended before it could be struck.
fn attempt(
    scene: &mut Scene,
    command: Command,
    victim: Victim,
    (durations, measure): (&mut Durations, bool),
    dice: &mut Dice,
) -> Option<String> {
    let _place = command.is_about_destroyed().then(|| PLACE.lock());
    let order = command.prepare(scene);
    let before = scene.look();
    let longest = durations.of(command);
    let delay = match victim {
        Victim::Power => dice.moment(longest * 3 / 2),
        _ if measure => NEVER,
        _ => dice.moment(longest),
    };
    let mut tried = run(scene, &order, victim, delay, dice);
    if !tried.hit {
        durations.set(command, tried.lived);
    }
    let swapped = scene.assert_database(&before, command.swaps());
    if !matches!(victim, Victim::Program | Victim::Power) && tried.hit && command.swaps() {
        assert_eq!(
            swapped,
            tried.ended.code == 0,
            "the exit code lies:\n{}{}",
            tried.ended.stdout,
            tried.ended.stderr
        );
    }
    if command.makes() && tried.ended.code == 0 {
        scene.assert_told(&tried.ended);
    }
    tried.left = scene.leftovers();
    let listed = scene.assert_list();
    if command == Command::RestoreTable {
        scene.assert_copies();
    }
    let cleared = scene.service.pgbackup(next_run(&tried.left, dice), &[]).ok();
    for name in &tried.left {
        let told = listed.stderr.contains(name) || cleared.stderr.contains(name);
        assert!(told, "{name} is not told of in\n{}{}", listed.stderr, cleared.stderr);
    }
    scene.assert_backups(&order);
    if command == Command::Push {
        scene.assert_remote(&order);
    }
    // Its last line may be half of one.
    scene.service.pgbackup("history", &["--format", "json"]).ok().json();
    tried.hit.then(|| outcome(command, victim, &tried))
}

/// Every run clears, and databases every run that asks the server. In the campaign most are of the quickest command, or a
/// try would take twice as long.
fn next_run(left: &[String], dice: &mut Dice) -> &'static str {
    let asks_server =
        !is_campaign() || left.iter().any(|name| name.contains("_restoring_")) || dice.below(4) == 0;
    if asks_server { "create" } else { "prune" }
}

/// In the words of the table, if it is one that may be.
fn outcome(command: Command, victim: Victim, tried: &Try) -> String {
    let told = || format!("{}\n{}{}", tried.ended.line, tried.ended.stdout, tried.ended.stderr);
    let code = tried.ended.code;
    if victim == Victim::Power && code == 0 {
        return "after its end: what was told was kept".to_owned();
    }
    if matches!(victim, Victim::Program | Victim::Power) {
        assert_ne!(code, 0, "{}", told());
        return if tried.left.is_empty() { "nothing was left" } else { "the next run cleared what was left" }
            .to_owned();
    }
    // The other plugin does not let it end well.
    if command == Command::Move {
        return "done, or the destroy was refused".to_owned();
    }
    match code {
        0 => "done all the same".to_owned(),
        6 | 7 => {
            assert!(tried.ended.stderr.contains(" !     "), "{}", told());
            "it failed and said so".to_owned()
        }
        _ => panic!("exit code {code} when {victim:?} was killed: {}", told()),
    }
}

/// In the tests a few of those that the victim can be struck in, in the campaign all.
fn commands(victim: Victim, sample: usize, dice: &mut Dice) -> Vec<Command> {
    let wanted = Command::ALL.into_iter().filter(|command| is_wanted(command.name()));
    let all = wanted.filter(|command| victim.can_be_struck_in(*command));
    let count = if tries(1) == 1 { sample } else { usize::MAX };
    dice.some(all.collect(), count)
}

/// One of so many is not struck, to see how long it takes by now.
const MEASURED: u32 = 10;

/// So many hits in each command, of which one service sees at most this many.
const PER_SCENE: u32 = 40;

/// `sample` is how many commands the tests try.
fn campaign(victim: Victim, sample: usize) {
    let wanted = tries(1);
    let mut dice = Dice::of(&format!("{victim:?}"));
    let mut durations = Durations::default();
    let mut scene: Option<(Scene, u32)> = None;
    for command in commands(victim, sample, &mut dice) {
        let mut tally = Tally::new("Crashes", &victim.fault(command));
        let (mut hits, mut attempts) = (0, 0);
        while hits < wanted && attempts < 3 * wanted {
            attempts += 1;
            if scene.as_ref().is_none_or(|(_, used)| *used >= PER_SCENE) {
                drop(scene.take());
                let Some(new) = victim.scene() else { return };
                scene = Some((new, 0));
            }
            let (here, used) = scene.as_mut().unwrap();
            *used += 1;
            let measure = wanted > 1 && attempts % MEASURED == 1;
            if let Some(outcome) = attempt(here, command, victim, (&mut durations, measure), &mut dice) {
                hits += 1;
                tally.saw(&outcome);
            }
        }
        // A single try may come too late.
        let enough = wanted == 1 || hits * 2 >= wanted;
        assert!(enough, "{}: {hits} of {attempts} were struck before their end", command.name());
    }
    if let Some((scene, _)) = scene {
        scene.service.pgbackup("verify", &[]).ok();
    }
}

#[test]
fn kill_9_of_pgbackup_costs_nothing_that_was_good() {
    campaign(Victim::Program, 4);
}

#[test]
fn kill_9_of_the_docker_client_costs_nothing_that_was_good() {
    campaign(Victim::Client, 2);
}

#[test]
fn kill_9_of_a_sidecar_costs_nothing_that_was_good() {
    campaign(Victim::Sidecar, 2);
}

#[test]
fn kill_9_of_the_server_costs_nothing_that_was_good() {
    campaign(Victim::Server, 2);
}

#[test]
fn a_power_cut_costs_nothing_that_was_good() {
    campaign(Victim::Power, 2);
}

/// With a daemon of its own, which takes a minute to be furnished: in the campaign only.
#[test]
fn kill_9_of_the_daemon_costs_nothing_that_was_good() {
    if !is_campaign() {
        return;
    }
    if own_daemon::is_ours() {
        campaign(Victim::Daemon, 0);
    } else {
        own_daemon::run_with_it("torture::crashes::kill_9_of_the_daemon_costs_nothing_that_was_good");
    }
}
