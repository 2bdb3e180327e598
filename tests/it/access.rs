//! Who may not use a service is told the same of it, word for word, as of one that does not exist; and nothing that is
//! for all services tells of it, nor of an app that is not to be seen.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::app::App;
use crate::bench::{Run, Service, dokku, ssh_command, world};
use crate::plugins::Denied;

/// The name of the key of somebody who may not see everything.
const GUEST: &str = "guest";

/// What can be said to pgbackup of a service (`%`), its backup (`@`), and one that the guest may use (`=`).
const ABOUT_A_SERVICE: &[&str] = &[
    "create %",
    "create % --format json --note x --jobs 1",
    "create % --scheduled",
    "list %",
    "list % --format json",
    "list % --remote",
    "list % --destroyed",
    "list %-20260101T000000Z --destroyed",
    "info %",
    "info % @",
    "info % --format json",
    "info % --rows",
    "verify %",
    "verify % @ --level quick",
    "verify % --all --format json",
    "verify % --scheduled",
    "restore % --force",
    "restore % @ --dry-run --format json",
    "restore % --table cows",
    "restore % --stop-apps --force",
    "restore = --to % --force",
    "restore = --to % --dry-run",
    "restore % --to = --force",
    "restore = --from-remote %",
    "restore = @ --from-remote % --dry-run",
    "restore = --from-destroyed %",
    "restore = --from-destroyed %-20260101T000000Z",
    "restore % --from-destroyed =",
    "undo % --force",
    "delete % @ --force",
    "delete % @ --remote --force",
    "delete --destroyed % --force",
    "delete --destroyed %-20260101T000000Z",
    "diff %",
    "diff % @ --fast",
    "diff % @ --to @",
    "practice % --app %-qa",
    "prune %",
    "prune % --dry-run --format json",
    "pin % @",
    "unpin % @",
    "schedule %",
    "schedule % 30 3 * * *",
    "schedule % --verify --off",
    "report %",
    "report % --health",
    "report % --format json",
    "report % --format prometheus",
    "doctor %",
    "doctor % --format json",
    "history %",
    "history % --format json",
    "set % jobs 2",
    "set % jobs",
    "export %",
    "export % --as sql",
    "import %",
    "push %",
    "push % --all",
    "pull %",
    "pull % @",
    "remote-set % file:///mnt/nas",
    "remote-unset %",
    "remote-check %",
];

/// What tells of all services, or of one that the guest may use beside the others.
const ABOUT_ALL: &[&str] = &[
    "list",
    "list --format json",
    "list --destroyed",
    "list --destroyed --format json",
    "list --remote",
    "list = --remote",
    "report",
    "report --format json",
    "report --format prometheus",
    "doctor",
    "doctor --format json",
    "doctor =",
    "history =",
    "create =",
    "create = --scheduled",
    "info = @",
    "verify = @",
    "restore = @ --dry-run",
    "diff = @",
    "export = @",
    "pull = @",
    "delete = @ --remote --force",
    "pin = @",
    "schedule = 30 3 * * *",
    "schedule = --off",
    "remote-check =",
    "practice --cleanup %-qa",
    "help list",
];

/// All of them in the campaign; every second one, which is one of each command, in the tests.
fn sample<'a>(lines: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let all = std::env::var_os("PGBACKUP_TORTURE").is_some();
    lines.iter().step_by(if all { 1 } else { 2 }).copied()
}

fn as_guest(line: &str) -> Run {
    let mut command = ssh_command(&format!("pgbackup:{line}"));
    let output = command.env("SSH_NAME_OF_KEY", GUEST).stdin(Stdio::null()).output().unwrap();
    Run::of(line.to_owned(), &output)
}

/// What is left of a service of that name that was destroyed long ago.
fn destroyed_before(service: &Service, id: &str) {
    let left = world().join(format!("lib/data/pgbackup/destroyed/{}-20260101T000000Z", service.name));
    let script = "mkdir -p \"$1\" && cp -a \"$2\" \"$1\"";
    let mut command = Command::new("sudo");
    command.args(["-u", "dokku", "bash", "-c", script, "-"]);
    let made = command.args([&left.join("pgbackup/backups"), &service.backup(id)]).status();
    assert!(made.unwrap().success());
}

/// Everything that there can be of a service: backups here and at a remote, pinned ones, a schedule, a history, settings
/// that nobody can read, and backups of one that was destroyed before.
fn with_everything(service: &Service, remote: &Path) -> String {
    let remote = format!("file://{}", remote.display());
    service.fill();
    dokku(&["pgbackup:remote-set", &service.name, &remote]).ok();
    let id = service.create();
    service.pgbackup("push", &[]).ok();
    service.pgbackup("pin", &[&id]).ok();
    dokku(&["pgbackup:schedule", &service.name, "30 3 * * *"]).ok();
    destroyed_before(service, &id);
    id
}

/// What a run says of `name`, as if it were `other`; without the times of a scheduled one.
fn told(run: &Run, name: &str, other: &str) -> (i32, String, String) {
    let times = regex::Regex::new(r"(?m)^\d{4}-\d\d-\d\dT\S+ ").unwrap();
    let text = |text: &str| times.replace_all(&text.replace(name, other), "").into_owned();
    (run.code, text(&run.stdout), text(&run.stderr))
}

#[test]
fn a_service_that_is_not_the_users_is_told_of_as_if_it_did_not_exist() {
    let (theirs, own) = (Service::new("theirs"), Service::new("own"));
    let remote = tempfile::tempdir().unwrap();
    let owned = Command::new("chown").args(["-R", "dokku:dokku"]).arg(remote.path()).status();
    assert!(owned.unwrap().success());
    let id = with_everything(&theirs, remote.path());
    dokku(&["pgbackup:remote-set", &own.name, &format!("file://{}", remote.path().display())]).ok();
    own.sql("create table t (a int)");
    let absent = theirs.name.replace("theirs", "absent");
    let line = |line: &str, name: &str| line.replace('%', name).replace('@', &id).replace('=', &own.name);
    let denied = Denied::to(GUEST, &theirs.name);
    for about in sample(ABOUT_A_SERVICE) {
        let (denied, missing) = std::thread::scope(|scope| {
            let denied = scope.spawn(|| as_guest(&line(about, &theirs.name)));
            let missing = as_guest(&line(about, &absent));
            (denied.join().unwrap(), missing)
        });
        assert_ne!(denied.code, 0, "{about}: {}", denied.stdout);
        assert_eq!(told(&denied, &theirs.name, &absent), told(&missing, &absent, &absent), "{about}");
    }
    // Now there is even something to complain of.
    let settings = theirs.root().join("pgbackup/settings.toml");
    fs::write(&settings, "jobs = never\n").unwrap();
    for about in sample(ABOUT_ALL) {
        let run = as_guest(&line(about, &theirs.name));
        let leaks =
            |text: &str| text.lines().any(|line| line.contains(&theirs.name) && !line.contains("-qa"));
        assert!(!leaks(&run.stdout) && !leaks(&run.stderr), "{about}:\n{}{}", run.stdout, run.stderr);
    }
    drop(denied);
    fs::remove_file(settings).unwrap();
    let left = format!("{}-20260101T000000Z", theirs.name);
    dokku(&["--force", "pgbackup:delete", "--destroyed", &left]).ok();
    assert_eq!(crate::app::backups(&theirs)[0]["id"], id.as_str(), "nothing was done to it");
}

#[test]
fn an_app_that_the_user_may_not_see_is_not_named() {
    let service = Service::new("see");
    service.fill();
    let (seen, hidden) = (App::linked("seen", &[&service]), App::linked("hidden", &[&service]));
    let id = service.create();
    let denied = Denied::to(GUEST, &hidden.name);
    for about in [
        "list %",
        "list % --format json",
        "info %",
        "info % --format json",
        "restore % --dry-run",
        "restore % --dry-run --format json",
        "diff %",
        "diff % --format json",
        "create %",
        "create % --format json",
        "report %",
        "report % --format json",
        "report % --linked-apps",
    ] {
        let run = as_guest(&about.replace('%', &service.name)).ok();
        assert!(run.stdout.contains(&seen.name), "{}\n{}", run.line, run.stdout);
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(!told.contains(&hidden.name), "{}\n{told}", run.line);
    }
    for about in
        ["history %", "doctor %", "verify % --level quick", "report", "doctor", "restore % --force", "undo %"]
    {
        let run = as_guest(&about.replace('%', &service.name));
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(!told.contains(&hidden.name), "{}\n{told}", run.line);
    }
    let absent = hidden.name.replace("hidden", "absent");
    for about in ["practice % @ --app qa-of-nobody --from-app $", "practice --cleanup $"] {
        let line = |app: &str| about.replace('%', &service.name).replace('@', &id).replace('$', app);
        let (denied, missing) = (as_guest(&line(&hidden.name)), as_guest(&line(&absent)));
        let told = denied.stderr.replace(&hidden.name, &absent);
        assert_eq!((denied.code, told), (missing.code, missing.stderr), "{about}");
    }
    drop(denied);
}
