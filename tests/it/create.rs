//! `create`, `list`, `info` and `delete`, on a server where nothing is wrong and where something is.

use crate::bench::{Service, docker, dokku, mode, ssh};
use crate::session::Session;
use crate::started::{Started, until};

#[test]
fn a_backup_is_listed_with_what_it_holds() {
    let service = Service::new("create");
    service.fill();
    let created =
        service.pgbackup("create", &["--note", "before the big import", "--format", "json"]).ok().json();
    assert_eq!(created["backup"]["tables"], 2);
    assert_eq!(created["backup"]["rows"], 5100);
    let listed = service.pgbackup("list", &["--format", "json"]).ok().json();
    assert_eq!(listed[0]["id"], created["backup"]["id"]);
    assert_eq!(listed[0]["note"], "before the big import");
    assert_eq!(listed[0]["status"], "good");
    service.pgbackup("info", &["--rows"]).ok().says("5100");
    service.assert_nothing_left();
}

#[test]
fn everything_of_a_backup_is_private_and_dokkus() {
    let service = Service::new("modes");
    service.fill();
    let id = service.create();
    let folder = service.backup(&id);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("dump")), 0o700);
    for name in service.files(&id) {
        let path = folder.join(&name);
        assert_eq!(mode(&path), 0o600, "{name}");
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap());
        assert_ne!(owner, 0, "{name}: postgres:destroy removes the service root as dokku");
    }
}

#[test]
fn no_secret_is_in_a_manifest_or_in_the_trace() {
    let service = Service::new("secret");
    let password = std::fs::read_to_string(service.root().join("PASSWORD")).unwrap();
    let password = password.trim();
    let run = dokku(&["--trace", "pgbackup:create", &service.name]).ok();
    assert!(run.stderr.contains("pg_dump"), "the trace shows the tools:\n{}", run.stderr);
    assert!(!run.stderr.contains(password) && !run.stdout.contains(password));
    let id = service.pgbackup("info", &["--id"]).ok().stdout.trim().to_owned();
    let manifest = std::fs::read_to_string(service.backup(&id).join("manifest.toml")).unwrap();
    assert!(!manifest.contains(password));
}

/// What docker and the tools were told, of a run with `--trace`.
fn told(args: &[&str]) -> String {
    dokku(&[&["--trace"], args].concat()).ok().stderr
}

#[test]
fn a_gentle_run_has_one_job_and_low_weights_by_flag_and_by_setting() {
    let service = Service::new("gentle");
    service.pgbackup("set", &["jobs", "2"]).ok();
    let (create, verify) = (["pgbackup:create", &service.name], ["pgbackup:verify", &service.name]);
    let usual = told(&create);
    assert!(
        usual.contains("--jobs 2") && !usual.contains("--cpu-shares") && !usual.contains("--cpus"),
        "{usual}"
    );
    // Postgres's own programs, without the script of the image that looks for them.
    assert!(usual.contains("--env PATH=/usr/lib/postgresql/17/bin:"), "{usual}");
    let asked = told(&[&create[..], &["--gentle"]].concat());
    assert!(
        asked.contains("--jobs 1") && asked.contains("--cpu-shares 64") && asked.contains("--cpus 0."),
        "{asked}"
    );
    service.pgbackup("set", &["gentle", "on"]).ok();
    assert!(told(&create).contains("--cpu-shares 64"));
    let drill = told(&verify);
    // The throwaway server, and what restores into it and dumps it.
    assert_eq!(drill.matches("--cpu-shares 64").count(), 3, "{drill}");
    assert!(!drill.contains("--cpus"), "{drill}");
    let many = told(&[&create[..], &["--jobs", "3"]].concat());
    assert!(many.contains("--jobs 3") && many.contains("--cpu-shares 64"), "{many}");
}

/// Whoever waits for the service, or is refused, makes a gentle backup go on as quickly as it can.
#[test]
fn a_gentle_backup_hurries_when_somebody_waits_for_the_service() {
    let service = Service::new("hurry");
    service.fill();
    let held = Session::that_did(&service, "begin; lock table cows in access exclusive mode");
    let backup = Started::pgbackup(&service, "create", &["--gentle"]);
    let sidecar = format!("label=com.dokku.pgbackup.service={}", service.name);
    until("pg_dump runs", || !docker(&["ps", "--quiet", "--filter", &sidecar]).stdout.is_empty());
    let limit = || {
        let id = docker(&["ps", "--quiet", "--filter", &sidecar]).ok().stdout;
        let told = docker(&["inspect", "--format", "{{.HostConfig.NanoCpus}}", id.trim()]).ok().stdout;
        told.trim().parse::<u64>().unwrap()
    };
    assert!(limit() < 1_000_000_000, "a fortieth of the processors");
    service.pgbackup("prune", &[]).fails(4, "is busy");
    assert!(limit() >= 1_000_000_000, "all of them");
    drop(held);
    backup.end().ok();
}

#[test]
fn what_cannot_be_backed_up_says_why_and_what_to_type() {
    dokku(&["pgbackup:create", "no-such-db"]).fails(5, "Postgres service no-such-db does not exist");
    dokku(&["pgbackup:create", "../etc"]).fails(2, "is not a service name");
    dokku(&["pgbackup:create"]).fails(2, "required arguments");
    let service = Service::new("stopped");
    dokku(&["postgres:stop", &service.name]).ok();
    service.pgbackup("create", &[]).fails(6, &format!("dokku postgres:start {}", service.name));
    dokku(&["postgres:start", &service.name]).ok();
    service.sql_in("template1", &format!("drop database \"{}\" with (force)", service.database()));
    service.pgbackup("create", &[]).fails(7, "does not exist");
    assert_eq!(service.pgbackup("list", &["--format", "json"]).ok().json(), serde_json::json!([]));
}

#[test]
fn a_backup_that_had_to_wait_is_as_old_as_its_data() {
    let service = Service::new("waits");
    let app = crate::app::App::linked("waits", &[&service]);
    app.commit("One", &[("web", "1")]);
    service.create();
    let lock = std::fs::File::open(service.root().join("pgbackup/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut push = crate::started::Started::spawn("git push".into(), &mut app.push_command());
    push.until_it_says("waiting for it");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let freed =
        std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"]).output().unwrap().stdout;
    drop(lock);
    push.end().ok();
    let newest = &crate::app::backups(&service)[0];
    assert!(newest["created_at"].as_str().unwrap() >= String::from_utf8_lossy(&freed).trim(), "{newest}");
}

#[test]
fn unchanged_files_are_shared_with_the_backup_before() {
    let service = Service::new("shared");
    service.fill();
    let first = service.create();
    service.sql("create table more (id int); insert into more values (1)");
    let second = service.pgbackup("create", &["--format", "json"]).ok().json();
    assert!(second["shared_bytes"].as_u64().unwrap() > 5_000, "{second}");
    service.pgbackup("delete", &[&first, "--force"]).ok();
    service.pgbackup("verify", &["--level", "archive"]).ok();
}

#[test]
fn backups_are_found_by_a_beginning_of_their_id_and_deleted_for_good() {
    let service = Service::new("delete");
    let (first, second) = (service.create(), service.create());
    service.pgbackup("info", &[&first[..21], "--id"]).ok().says(&first);
    service.pgbackup("info", &["20"]).fails(2, "stands for 2 backups");
    service.pgbackup("info", &["1999"]).fails(5, "has no backup");
    service.pgbackup("delete", &[&first]).fails(6, "not confirmed");
    service.pgbackup("delete", &[&first, "1999", "--force"]).fails(5, "has no backup");
    service.pgbackup("delete", &[&first, "--force"]).ok();
    assert!(!service.backup(&first).exists());
    assert!(service.backup(&second).exists());
}

#[test]
fn it_works_the_same_over_ssh() {
    let service = Service::new("ssh");
    let name = &service.name;
    ssh(&format!("pgbackup:create {name} --note \"a note\"")).ok();
    ssh(&format!("--quiet pgbackup:list {name}")).ok().says("a note");
    ssh("pgbackup:help restore").ok().says("dokku pgbackup:restore happycows-db --dry-run");
    ssh("pgbackup:info no-such-db").fails(5, "does not exist");
}

#[test]
fn broken_and_pending_folders_are_told_and_never_stop_the_list() {
    let service = Service::new("broken");
    let (good, broken) = (service.create(), service.create());
    std::fs::remove_file(service.backup(&broken).join("manifest.toml")).unwrap();
    std::fs::create_dir(service.backups().join(".pending-20260101T000000Z-aaaa")).unwrap();
    let run = service.pgbackup("list", &[]).ok().says(&good).says("is broken: its manifest.toml is missing");
    assert!(run.stdout.contains("is unfinished"), "{}", run.stdout);
    service.pgbackup("verify", &[&broken]).fails(3, "is not good");
    service.pgbackup("restore", &[&broken, "--force"]).fails(6, "is not whole");
    service.pgbackup("delete", &[&broken, "--force"]).ok();
    service.assert_nothing_left();
}
