//! Deploys, through all triggers that dokku fires: what is backed up when, and which code a backup says was running.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::app::{App, backups, migration};
use crate::bench::{Run, Service, dokku, world};
use crate::started::Started;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn note(app: &App, old: &str, new: &str) -> Value {
    json!(format!("deploy {} {} → {}", app.name, &old[..7], &new[..7]))
}

/// What a new backup says that the app runs.
#[track_caller]
fn recorded_now(service: &Service) -> Value {
    let created = service.pgbackup("create", &["--format", "json"]).ok().json();
    created["backup"]["apps"][0].clone()
}

#[test]
fn a_push_is_backed_up_before_its_migration() {
    let service = Service::new("push");
    service.fill();
    let app = App::linked("push", &[&service]);
    let first = app.deploy("The herd", &[("web", "1")]);
    let script = migration(&service, "delete from cows");
    let second = app.commit("Sell all cows", &[("predeploy", &script)]);
    let push = app.push().ok();
    let found = backups(&service);
    assert_eq!(found.len(), 2, "one for each push: {found:?}");
    let newest = &found[0];
    assert_eq!((&newest["pool"], &newest["note"]), (&json!("deploy"), &note(&app, &first, &second)));
    assert_eq!(newest["rows"], 5100);
    assert_eq!(service.sql("select count(*) from cows"), "0");
    let record = &newest["apps"][0];
    assert_eq!((&record["commit"], &record["subject"]), (&json!(first), &json!("The herd")));
    assert_eq!((&record["source"], &record["branch"]), (&json!("git-push"), &json!("master")));
    assert_eq!((&record["commit_is_certain"], &record["image_tag"]), (&json!(true), &json!("latest")));
    assert!(record["deployed_at"].is_string() && record["authored_at"].is_string(), "{record}");
    assert_eq!(
        (&record["coming"]["commit"], &record["coming"]["subject"]),
        (&json!(second), &json!("Sell all cows"))
    );
    let remote: Vec<&str> = push.stderr.lines().filter(|line| line.contains("pgbackup:restore")).collect();
    let back = format!("dokku pgbackup:restore {} {}", service.name, text(&newest["id"]));
    assert!(
        matches!(remote.as_slice(), [line] if line.starts_with("remote: ") && line.contains(&back)),
        "{remote:?}"
    );
    let at =
        |words: &str| push.stderr.find(words).unwrap_or_else(|| panic!("no {words} in\n{}", push.stderr));
    assert!(at("Building") < at("Backing up") && at("Backing up") < at("Releasing"), "{}", push.stderr);
    service.pgbackup("restore", &[text(&newest["id"]), "--force"]).ok();
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    assert_eq!(recorded_now(&service)["commit"], json!(second));
}

#[test]
fn deploys_that_fail_leave_the_running_commit_as_it_was() {
    let service = Service::new("failing");
    let app = App::linked("failing", &[&service]);
    let first = app.deploy("Good", &[("web", "1")]);
    let count = |wanted: usize| assert_eq!(backups(&service).len(), wanted);
    count(1);
    app.commit("Does not build", &[("fail-build", "x")]);
    app.push().fails_with("App build failed");
    count(1);
    let bad = app.commit("Bad migration", &[("fail-build", ""), ("predeploy", "exit 3\n")]);
    app.push().fails_with("remote rejected");
    count(2);
    assert_eq!(backups(&service)[0]["note"], note(&app, &first, &bad));
    app.commit("Does not start", &[("predeploy", ""), ("fail-deploy", "x")]);
    app.push().fails_with("remote rejected");
    count(3);
    assert_eq!(recorded_now(&service)["commit"], json!(first));
    // Its containers run, though the push is refused.
    let runs = app.commit("Fails afterwards", &[("fail-deploy", ""), ("postdeploy", "exit 3\n")]);
    app.push().fails_with("remote rejected");
    let record = recorded_now(&service);
    assert_eq!((&record["commit"], &record["commit_is_certain"]), (&json!(runs), &json!(true)));
}

#[test]
fn a_backup_that_fails_stops_the_deploy_unless_it_is_told_not_to() {
    let service = Service::new("required");
    let app = App::linked("required", &[&service]);
    let first = app.deploy("One", &[("predeploy", "echo migrating now\n")]);
    dokku(&["postgres:stop", &service.name]).ok();
    app.commit("Two", &[("web", "2")]);
    let refused = app.push().fails_with(&format!("the deploy of {} is stopped", app.name));
    assert!(!refused.stderr.contains("migrating now"), "{}", refused.stderr);
    for words in [
        format!("dokku postgres:start {}", service.name),
        format!("dokku pgbackup:set {} on-deploy warn", service.name),
    ] {
        assert!(refused.stderr.contains(&words), "{words} is not in\n{}", refused.stderr);
    }
    dokku(&["pgbackup:set", &service.name, "on-deploy", "warn"]).ok().says("Setting on-deploy to warn");
    let warned = app.push().ok();
    assert!(warned.stderr.contains("the deploy goes on without a backup"), "{}", warned.stderr);
    dokku(&["pgbackup:set", &service.name, "on-deploy", "off"]).ok();
    app.commit("Three", &[("web", "3")]);
    let silent = app.push().ok();
    assert!(!silent.stderr.contains("back") && silent.stderr.contains("migrating now"), "{}", silent.stderr);
    dokku(&["pgbackup:set", &service.name, "on-deploy"]).ok().says("Unsetting on-deploy");
    dokku(&["postgres:start", &service.name]).ok();
    app.commit("Four", &[("web", "4")]);
    app.push().ok();
    let found = backups(&service);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1]["apps"][0]["coming"]["commit"], json!(first));
}

/// One of pgbackup's entrypoints as dokku calls it in a deploy, on a server whose files are in `lib`.
fn hook(lib: &Path, name: &str, words: &[&str]) -> Command {
    let mut command = Command::new("sudo");
    command.args(["-u", "dokku", "env", "DOKKU_BUILD_ID=by-hand", "DOKKU_BUILD_SOURCE=config-redeploy"]);
    for (variable, folder) in [("DOKKU_LIB_ROOT", lib), ("DOKKU_ROOT", &world().join("home"))] {
        command.arg(format!("{variable}={}", folder.display()));
    }
    command.arg(world().join("plugins/enabled/pgbackup").join(name)).args(words);
    command
}

/// A folder of dokku's user for such files.
fn own_lib() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let opened = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), opened).unwrap();
    folder
}

#[test]
fn what_is_wrong_with_other_services_and_with_notes_stops_no_deploy() {
    let service = Service::new("sound");
    let app = App::linked("sound", &[&service]);
    let (lib, real) = (own_lib(), world().join("lib"));
    let lib = lib.path();
    // Of this server, another service's links, a property of the app and the notes of its deploys cannot be read.
    for folder in ["services/postgres/broken/LINKS", "data/pgbackup/apps", "config"] {
        fs::create_dir_all(lib.join(folder)).unwrap();
    }
    fs::create_dir_all(lib.join("config/apps").join(&app.name).join("deploy-source")).unwrap();
    fs::write(lib.join("data/pgbackup/apps").join(&app.name), "no folder").unwrap();
    symlink(real.join("config/pgbackup"), lib.join("config/pgbackup")).unwrap();
    symlink(service.root(), lib.join("services/postgres").join(&service.name)).unwrap();
    let words = ["dockerfile", &app.name, "/tmp"];
    let run = Run::of("post-build".into(), &hook(lib, "post-build", &words).output().unwrap()).ok();
    for words in [
        "the links of service broken cannot be read",
        "which code",
        "could not take note of this deploy",
        "Backing up",
    ] {
        assert!(run.stderr.contains(words), "{words} is not in\n{}", run.stderr);
    }
    let found = backups(&service);
    assert_eq!((found.len(), &found[0]["apps"][0].get("commit")), (1, &None));
}

#[test]
fn what_is_wrong_with_the_service_itself_is_a_matter_of_its_setting() {
    let lib = own_lib();
    let root = lib.path().join("services/postgres/unsound");
    for folder in ["DATABASE_NAME", "pgbackup"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("LINKS"), "cows\n").unwrap();
    let push = || {
        let ran = hook(lib.path(), "post-build", &["dockerfile", "cows", "/tmp"]).output().unwrap();
        Run::of("post-build".into(), &ran)
    };
    push().fails_with("the deploy of cows is stopped");
    fs::write(root.join("pgbackup/settings.toml"), "on-deploy = \"warn\"\n").unwrap();
    assert!(push().ok().stderr.contains("the deploy goes on without a backup"));
    fs::write(root.join("pgbackup/settings.toml"), "on-deploy = \"off\"\n").unwrap();
    assert!(!push().ok().stderr.contains("DATABASE_NAME"));
}

#[test]
fn hooks_of_one_deploy_that_run_side_by_side_make_one_backup() {
    let service = Service::new("parallel");
    service.fill();
    let app = App::linked("parallel", &[&service]);
    let lib = world().join("lib");
    let both = ["web", "worker"].map(|process| {
        let words = ["app", "5741d", &app.name, "deploy", process];
        Started::spawn(process.to_owned(), &mut hook(&lib, "post-container-create", &words))
    });
    both.into_iter().for_each(|hook| drop(hook.end().ok()));
    assert_eq!(backups(&service).len(), 1);
}

#[test]
fn one_setting_is_for_the_deploys_of_all_apps() {
    let service = Service::new("global");
    let app = App::linked("global", &[&service]);
    app.deploy("One", &[("web", "1")]);
    // A server of its own: the setting is for all that this one has.
    let lib = own_lib();
    fs::create_dir_all(lib.path().join("services/postgres")).unwrap();
    symlink(service.root(), lib.path().join("services/postgres").join(&service.name)).unwrap();
    dokku(&["postgres:stop", &service.name]).ok();
    let run = |name: &str, words: &[&str]| {
        Run::of(name.to_owned(), &hook(lib.path(), name, words).output().unwrap())
    };
    let build = ["dockerfile", &app.name, "/tmp"];
    run("post-build", &build).fails_with("is not running");
    run("subcommands/set", &["pgbackup:set", "--global", "on-deploy", "off"]).ok();
    assert!(!run("post-build", &build).ok().stderr.contains("is not running"));
    // The same without a build: settings that cannot be backed up before are not deployed.
    dokku(&["config:set", &app.name, "COLOUR=brown"])
        .fails_with(&format!("dokku postgres:start {}", service.name));
    dokku(&["postgres:start", &service.name]).ok();
    assert_eq!(backups(&service).len(), 1);
}

#[test]
fn a_sync_without_a_ref_is_recorded_by_its_commit() {
    let service = Service::new("branch");
    let app = App::linked("branch", &[&service]);
    let url = app.folder().display().to_string();
    let first = app.commit("One", &[("web", "1")]);
    dokku(&["git:sync", "--build", &app.name, &url]).ok();
    assert_eq!(recorded_now(&service)["commit"], json!(first));
    let second = app.commit("Two", &[("web", "2")]);
    dokku(&["git:sync", "--build", &app.name, &url]).ok();
    let found = backups(&service);
    assert_eq!(found[0]["note"], note(&app, &first, &second));
    let record = recorded_now(&service);
    assert_eq!((&record["commit"], &record["commit_is_certain"]), (&json!(second), &json!(true)));
}

#[test]
fn what_builds_nothing_is_backed_up_once_and_restarts_not_at_all() {
    let service = Service::new("net");
    let app = App::linked("net", &[&service]);
    // Three containers are made in each deploy.
    let first = app.deploy("One", &[("predeploy", "true\n"), ("release", "true\n")]);
    assert_eq!(backups(&service).len(), 1);
    dokku(&["config:set", &app.name, "COLOUR=brown"]).ok();
    let again = json!(format!("deploy {} {} again", app.name, &first[..7]));
    let found = backups(&service);
    assert_eq!((found.len(), &found[0]["note"]), (2, &again));
    assert_eq!(found[0]["apps"][0].get("coming"), None);
    dokku(&["config:set", "--no-restart", &app.name, "COLOUR=black"]).ok();
    dokku(&["ps:restart", &app.name]).ok();
    dokku(&["ps:stop", &app.name]).ok();
    dokku(&["postgres:stop", &service.name]).ok();
    dokku(&["ps:start", &app.name]).ok();
    dokku(&["postgres:start", &service.name]).ok();
    service.pgbackup("restore", &["--stop-apps", "--force"]).ok();
    assert_eq!(backups(&service).len(), 2);
    dokku(&["ps:rebuild", &app.name]).ok();
    let found = backups(&service);
    assert_eq!((found.len(), &found[0]["note"]), (3, &again));
    let record = recorded_now(&service);
    assert_eq!((&record["commit"], &record["source"]), (&json!(first), &json!("git-push")));
}

#[test]
fn code_that_comes_by_sync_image_or_archive_is_recorded_with_its_source() {
    let service = Service::new("sources");
    let app = App::linked("sources", &[&service]);
    let first = app.commit("One", &[("web", "1")]);
    let url = format!("file://{}", app.folder().display());
    dokku(&["git:sync", "--build", &app.name, &url, &first]).ok();
    let second = app.commit("Two", &[("web", "2")]);
    dokku(&["git:sync", "--build", &app.name, &url, &second]).ok();
    // dokku's repository stood at the second commit already when this was made.
    assert_eq!(backups(&service)[0]["note"], note(&app, &first, &second));
    let broken = app.commit("Broken", &[("fail-build", "x")]);
    assert_ne!(dokku(&["git:sync", "--build", &app.name, &url, &broken]).code, 0);
    let record = recorded_now(&service);
    assert_eq!((&record["commit"], &record["commit_is_certain"]), (&json!(second), &json!(true)));
    assert_eq!((&record["source"], &record["origin"]), (&json!("git-sync"), &json!(url)));
    dokku(&["git:from-image", &app.name, "example.com/cows:1.2"]).ok();
    let wanted = json!(format!("deploy {} {} → example.com/cows:1.2", app.name, &second[..7]));
    assert_eq!(backups(&service)[0]["note"], wanted);
    let record = recorded_now(&service);
    assert_eq!(
        (&record["source"], &record["origin"]),
        (&json!("docker-image"), &json!("example.com/cows:1.2"))
    );
    assert_eq!(record["commit"].as_str().map(str::len), Some(40));
    let archive = app.folder().join("cows.tar.gz");
    app.git(&["archive", "--format=tar.gz", "--output", archive.to_str().unwrap(), &second]);
    let url = format!("file://{}?token=secret", archive.display());
    dokku(&["git:from-archive", "--archive-type", "tar.gz", &app.name, &url]).ok();
    let record = recorded_now(&service);
    assert_eq!(
        (&record["source"], &record["origin"]),
        (&json!("tar.gz"), &json!(url.replace("?token=secret", "")))
    );
}

#[test]
fn every_linked_service_is_backed_up() {
    let (one, two) = (Service::new("one"), Service::new("two"));
    let app = App::linked("both", &[&one, &two]);
    let commit = app.deploy("One", &[("web", "1")]);
    for service in [&one, &two] {
        let found = backups(service);
        assert_eq!(found.len(), 1, "{}", service.name);
        assert_eq!(found[0]["apps"][0]["coming"]["commit"], json!(commit));
    }
    // One that cannot be backed up stops the deploy of both.
    dokku(&["postgres:stop", &two.name]).ok();
    app.commit("Two", &[("web", "2")]);
    app.push().fails_with(&format!("service {} is not running", two.name));
    dokku(&["postgres:start", &two.name]).ok();
}

#[test]
fn two_pushes_at_once_have_a_backup_each() {
    let service = Service::new("crowd");
    service.fill();
    let apps = [App::linked("left", &[&service]), App::linked("right", &[&service])];
    let commits: Vec<String> = apps.iter().map(|app| app.commit("One", &[("web", "1")])).collect();
    let pushes: Vec<Started> = apps
        .iter()
        .map(|app| Started::spawn(format!("push {}", app.name), &mut app.push_command()))
        .collect();
    pushes.into_iter().for_each(|push| drop(push.end().ok()));
    let found = backups(&service);
    assert_eq!(found.len(), 2);
    let mut coming: Vec<(String, String)> = found
        .iter()
        .flat_map(|backup| backup["apps"].as_array().unwrap())
        .filter(|app| app.get("coming").is_some())
        .map(|app| (text(&app["name"]).to_owned(), text(&app["coming"]["commit"]).to_owned()))
        .collect();
    coming.sort();
    let wanted: Vec<(String, String)> =
        apps.iter().zip(commits).map(|(app, commit)| (app.name.clone(), commit)).collect();
    assert_eq!(coming, wanted);
    service.assert_nothing_left();
}

#[test]
fn two_pushes_of_one_app_end_with_the_right_commit() {
    let service = Service::new("twice");
    let app = App::linked("twice", &[&service]);
    app.deploy("One", &[("predeploy", "sleep 1\n")]);
    let second = app.commit("Two", &[("web", "2")]);
    let mut push = Started::spawn("the first push".into(), &mut app.push_command());
    push.until_it_says("Building");
    app.push().fails_with("deploy lock");
    push.end().ok();
    assert_eq!(backups(&service).len(), 2);
    assert_eq!(recorded_now(&service)["commit"], json!(second));
}

#[test]
fn an_app_without_a_service_is_none_of_our_business() {
    let app = App::new("alone");
    let docker = app.folder().join("docker");
    let log = app.folder().join("calls");
    fs::write(&docker, format!("#!/bin/sh\necho \"$@\" >>{}\nexec docker \"$@\"\n", log.display())).unwrap();
    app.git(&["config", "core.excludesFile", "/dev/null"]);
    Command::new("chmod").arg("755").arg(&docker).status().unwrap();
    app.commit("One", &[("web", "1")]);
    let mut push = app.push_command();
    let pushed = Run::of("git push".into(), &push.env("DOCKER_BIN", &docker).output().unwrap()).ok();
    assert!(!pushed.stderr.to_lowercase().contains("back"), "{}", pushed.stderr);
    assert!(!log.exists(), "{}", fs::read_to_string(&log).unwrap());
}

#[test]
fn the_refs_of_a_push_are_left_to_dokku() {
    let service = Service::new("refs");
    let app = App::linked("refs", &[&service]);
    app.commit("One", &[("web", "1")]);
    app.git(&["branch", "other"]);
    // Both refs stand on the stdin that all hooks share.
    let push = Run::of("git push".into(), &app.push_command().arg("other").output().unwrap()).ok();
    assert!(push.stderr.contains("you must push to master"), "{}", push.stderr);
    assert_eq!(backups(&service).len(), 1);
}

#[test]
fn another_apps_commit_is_found_inside_a_push() {
    let service = Service::new("other");
    let (app, other) = (App::linked("pushed", &[&service]), App::linked("other", &[&service]));
    let commit = other.deploy("What the other one runs", &[("web", "1")]);
    // As of an app that was deployed before there was a pgbackup.
    fs::remove_dir_all(world().join("lib/data/pgbackup/apps").join(&other.name)).unwrap();
    app.deploy("One", &[("web", "1")]);
    let newest = &backups(&service)[0];
    let record =
        newest["apps"].as_array().unwrap().iter().find(|record| record["name"] == other.name).unwrap();
    assert_eq!((&record["commit"], &record["commit_is_certain"]), (&json!(commit), &json!(true)));
    assert_eq!(record["subject"], "What the other one runs");
}

#[test]
fn a_record_goes_with_its_app() {
    let service = Service::new("renamed");
    let app = App::linked("renamed", &[&service]);
    let commit = app.deploy("One", &[("web", "1")]);
    let new = format!("{}-new", app.name);
    dokku(&["apps:rename", &app.name, &new]).ok();
    let record = recorded_now(&service);
    assert_eq!(
        (&record["name"], &record["commit"], &record["commit_is_certain"]),
        (&json!(new), &json!(commit), &json!(true))
    );
    let records = world().join("lib/data/pgbackup/apps");
    assert!(records.join(&new).exists() && !records.join(&app.name).exists());
    dokku(&["apps:rename", &new, &app.name]).ok();
    assert!(!records.join(&new).exists());
}

#[test]
fn settings_are_checked_and_kept_beside_what_somebody_wrote() {
    let service = Service::new("settings");
    let path = service.root().join("pgbackup/settings.toml");
    dokku(&["pgbackup:set", &service.name, "on-deploy", "maybe"]).fails(2, "allowed: required, warn, off");
    dokku(&["pgbackup:set", &service.name, "colour", "blue"]).fails(2, "the settings are:");
    dokku(&["pgbackup:set", &service.name]).fails(2, "which setting?");
    dokku(&["pgbackup:set", "no-such-db", "jobs", "2"]).fails(5, "does not exist");
    dokku(&["pgbackup:set", &service.name, "jobs", "2"]).ok();
    assert_eq!(crate::bench::mode(&path), 0o600);
    fs::write(&path, "jobs = 2 # a slow disk\non-deploy = \"sometimes\"\n").unwrap();
    service.pgbackup("create", &[]).fails(1, "line 2: on-deploy must be required, warn, off");
    dokku(&["pgbackup:set", &service.name, "jobs", "3"]).fails(1, "line 2");
    fs::write(&path, "jobs = 2 # a slow disk\n").unwrap();
    dokku(&["pgbackup:set", &service.name, "on-deploy", "off"]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), "jobs = 2 # a slow disk\non-deploy = \"off\"\n");
}
