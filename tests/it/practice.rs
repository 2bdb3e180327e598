//! `practice`: a second app and service with a backup's data and code, and nothing left of it afterwards.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::app::{App, backups};
use crate::bench::{Service, docker, dokku, world};
use crate::plugins::{Denied, Hook};
use crate::started::{Started, until};

fn exists(app: &str) -> (bool, bool) {
    let service = world().join("lib/services/postgres").join(format!("{app}-db"));
    (world().join("home").join(app).exists(), service.exists())
}

#[track_caller]
fn assert_gone(app: &str) {
    assert_eq!(exists(app), (false, false));
    assert!(!world().join("lib/data/pgbackup/practice").join(format!("{app}.toml")).exists());
    let name = format!("name=dokku.postgres.{app}-db");
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &name]).ok().stdout, "");
}

/// The commit of dokku's repository of an app.
fn head(app: &str) -> String {
    let repository = world().join("home").join(app);
    let output = std::process::Command::new("git")
        .args(["-c", "safe.directory=*", "--git-dir"])
        .arg(&repository)
        .args(["rev-parse", "HEAD"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_practice_run_ends_with_a_second_app_and_its_cleanup_with_none() {
    let service = Service::new("practice");
    service.fill();
    let app = App::linked("practice", &[&service]);
    let first = app.deploy("One", &[("web", "1")]);
    let id = service.create();
    let second = app.deploy("Two", &[("web", "2"), ("db/migrate/002_milk.rb", "x")]);
    service.sql("delete from cows");
    let before = (backups(&service).len(), head(&app.name), service.databases());
    let copy = format!("{}-qa", app.name);
    let told = service.pgbackup("practice", &[&id, "--app", &copy, "--format", "json"]).ok().json();
    assert_eq!((&told["code"]["commit"], &told["rows"]), (&json!(first), &json!(5100)));
    assert_eq!(told["migration_files_to_running"], json!(["db/migrate/002_milk.rb"]));
    assert_eq!(head(&copy), first);
    let target = Service { name: format!("{copy}-db") };
    assert_eq!(target.sql("select count(*) from cows"), "5000");
    assert_eq!(target.databases(), [target.database()]);
    assert_eq!(fs::read_to_string(target.root().join("LINKS")).unwrap().trim(), copy);
    std::mem::forget(target);
    dokku(&["ps:report", &copy, "--deployed"]).ok().says("false");
    dokku(&["ps:rebuild", &copy]).ok();
    dokku(&["ps:report", &copy, "--running"]).ok().says("true");
    assert_eq!(
        (backups(&service).len(), head(&app.name), service.databases()),
        before,
        "production was only read"
    );
    service.pgbackup("practice", &["--app", &copy]).fails(6, &format!("pgbackup:practice --cleanup {copy}"));
    dokku(&["pgbackup:practice", "--cleanup", &copy]).fails(6, "not confirmed");
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    assert_gone(&copy);
    // Under another name, the app can still lend its code.
    let renamed = format!("{}-new", app.name);
    dokku(&["apps:rename", &app.name, &renamed]).ok();
    service.pgbackup("practice", &[&id, "--app", &copy]).fails(6, "is not there any more");
    service.pgbackup("practice", &[&id, "--app", &copy, "--from-app", &renamed, "--quiet"]).ok();
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    dokku(&["apps:rename", &renamed, &app.name]).ok();
    // The other commit, and the result in words.
    let text = service.pgbackup("practice", &[&id, "--app", &copy, "--commit", &second[..10]]).ok().stdout;
    for words in
        ["1 migration file", "db/migrate/002_milk.rb", &format!("dokku ps:rebuild {copy}"), "config:export"]
    {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert_eq!(head(&copy), second);
    // The first build's backup knows what the data belongs to, and what is coming.
    dokku(&["ps:rebuild", &copy]).ok();
    let target = Service { name: format!("{copy}-db") };
    let note = format!("deploy {copy} {} → {}", &first[..7], &second[..7]);
    assert_eq!(backups(&target)[0]["note"], json!(note));
    std::mem::forget(target);
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    assert_gone(&copy);
}

#[test]
fn what_practice_did_not_make_is_not_removed() {
    let service = Service::new("foreign");
    let app = App::linked("foreign", &[&service]);
    app.deploy("One", &[("web", "1")]);
    let copy = format!("{}-qa", app.name);
    for name in [app.name.as_str(), "no-such-app", "../x"] {
        dokku(&["--force", "pgbackup:practice", "--cleanup", name])
            .fails(5, "was not made by a practice run");
    }
    service.pgbackup("practice", &["--app", &app.name]).fails(6, "exists already");
    service.pgbackup("practice", &["--app", &copy, "--service", &service.name]).fails(6, "exists already");
    service.pgbackup("practice", &["--app", "Not A Name"]).fails(2, "is not a name for an app");
    service.pgbackup("practice", &["--app", &copy]).ok();
    // Somebody else's app has the name now.
    dokku(&["--force", "apps:destroy", &copy]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    dokku(&["apps:create", &copy]).ok();
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy])
        .fails(6, "is not the one that the practice run made");
    dokku(&["--force", "apps:destroy", &copy]).ok();
    // Somebody else uses the service.
    let other = App::new("other");
    dokku(&["postgres:link", &format!("{copy}-db"), &other.name, "--no-restart"]).ok();
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy])
        .fails(6, &format!("linked to {}", other.name));
    dokku(&["postgres:unlink", &format!("{copy}-db"), &other.name, "--no-restart"]).ok();
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    assert_gone(&copy);
    // Somebody else's service has the name now, and is linked to nothing.
    service.pgbackup("practice", &["--app", &copy]).ok();
    dokku(&["--force", "apps:destroy", &copy]).ok();
    dokku(&["--force", "postgres:destroy", &format!("{copy}-db")]).ok();
    dokku(&["postgres:create", &format!("{copy}-db"), "--image-version", "17"]).ok();
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy])
        .fails(6, "is not the one that the practice run made");
    assert_eq!(exists(&copy), (false, true));
    dokku(&["--force", "postgres:destroy", &format!("{copy}-db")]).ok();
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    assert_gone(&copy);
}

#[test]
fn who_is_faster_keeps_what_he_made() {
    let service = Service::new("faster");
    let app = App::linked("faster", &[&service]);
    app.deploy("One", &[("web", "1")]);
    let copy = format!("{}-qa", app.name);
    // Somebody makes the app, and then the service, between the second look and the creation.
    let script =
        format!("[[ $1 != {copy} || -e $DOKKU_ROOT/$1 ]] || git init --quiet --bare \"$DOKKU_ROOT/$1\"\n");
    let hook = Hook::new(&format!("00-faster-{copy}"), "app-create", &script);
    let run = service.pgbackup("practice", &["--app", &copy]).fails(7, "already taken");
    assert!(run.stderr.contains(&format!("dokku apps:destroy {copy}")), "{}", run.stderr);
    drop(hook);
    assert_eq!(exists(&copy), (true, false));
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).fails(5, "was not made by a practice run");
    dokku(&["--force", "apps:destroy", &copy]).ok();
    let root = format!("$DOKKU_LIB_ROOT/services/postgres/{copy}-db");
    let script = format!("[[ $1 != {copy} ]] || {{ mkdir \"{root}\" && echo other >\"{root}/LINKS\"; }}\n");
    let hook = Hook::new(&format!("zz-faster-{copy}"), "post-create", &script);
    service.pgbackup("practice", &["--app", &copy]).fails(7, "already exists");
    drop(hook);
    assert_eq!(exists(&copy), (false, true), "only the app is its own work");
    fs::remove_dir_all(world().join("lib/services/postgres").join(format!("{copy}-db"))).unwrap();
    assert_gone(&copy);
}

#[test]
fn while_one_makes_it_nobody_else_makes_or_removes_it() {
    let service = Service::new("while");
    let app = App::linked("while", &[&service]);
    app.deploy("One", &[("web", "1")]);
    let copy = format!("{}-qa", app.name);
    let mut first = Started::pgbackup(&service, "practice", &["--app", &copy]);
    first.until_it_says("Making the service");
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).fails(4, "is busy");
    let refused = service.pgbackup("practice", &["--app", &copy]);
    assert!(refused.code == 4 || refused.code == 6, "{}", refused.stderr);
    first.end().ok();
    assert_eq!(exists(&copy), (true, true));
    // Who may not use them is not told of them.
    for name in [copy.clone(), format!("{copy}-db")] {
        let denied = Denied::to("default", &name);
        dokku(&["--force", "pgbackup:practice", "--cleanup", &copy])
            .fails(5, "was not made by a practice run");
        drop(denied);
    }
    // dokku forgets when it made an app before the app is gone; and another plugin is busy with it for a moment.
    fs::remove_file(world().join("lib/config/apps").join(&copy).join("created-at")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let opened = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), opened).unwrap();
    let busy = folder.path().join("busy");
    let script = format!("[[ $1 != {copy} || -e {0} ]] || {{ touch {0}; exit 1; }}\n", busy.display());
    let hook = Hook::new(&format!("00-busy-{copy}"), "pre-delete", &script);
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    drop(hook);
    assert!(busy.exists(), "it was tried twice");
    assert_gone(&copy);
}

#[test]
fn a_practice_run_that_fails_leaves_nothing_behind() {
    let service = Service::new("fails");
    let app = App::linked("fails", &[&service]);
    app.deploy("One", &[("web", "1")]);
    let copy = format!("{}-qa", app.name);
    service.pgbackup("practice", &["--app", &copy, "--image-version", "99"]).fails(7, "postgres:99");
    assert_gone(&copy);
    service.pgbackup("practice", &["--app", &copy, "--image-version", "15"]).fails(6, "Postgres 17");
    assert_gone(&copy);
    service.pgbackup("practice", &["--app", &copy, "--commit", "0123456"]).fails(5, "has no commit");
    assert_gone(&copy);
    let asked = |signal: Signal| {
        let mut run = Started::pgbackup(&service, "practice", &["--app", &copy]);
        run.until_it_says("Restoring into the new database");
        run.signal(signal);
        run.end()
    };
    let stopped = asked(Signal::INT).fails(130, "interrupted");
    assert!(!stopped.stderr.contains("--cleanup"), "it could not clear up:\n{}", stopped.stderr);
    assert_gone(&copy);
    assert_ne!(asked(Signal::KILL).code, 0);
    until("the killed run's pg_restore has ended", || {
        let label = format!("label=com.dokku.pgbackup.service={copy}-db");
        docker(&["ps", "--quiet", "--filter", &label]).ok().stdout.is_empty()
    });
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    assert_gone(&copy);
}

#[test]
fn a_practice_run_of_an_image_is_built_from_that_image() {
    let service = Service::new("image");
    let app = App::linked("image", &[&service]);
    dokku(&["git:from-image", &app.name, "example.com/cows:1"]).ok();
    service.create();
    let copy = format!("{}-qa", app.name);
    let told = service.pgbackup("practice", &["--app", &copy, "--format", "json"]).ok().json();
    let command = format!("dokku git:from-image {copy} example.com/cows:1");
    assert_eq!(told["build_command"], json!(command));
    dokku(&command.split(' ').skip(1).collect::<Vec<_>>()).ok();
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    assert_gone(&copy);
}
