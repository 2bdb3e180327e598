//! The push that follows a new backup: the report tells of it, and neither it nor what comes after it undoes the backup, or
//! the deploy.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::json;

use super::{fill_with_noise, sent_parts, with_input, with_remote};
use crate::app::{App, backups};
use crate::bench::dokku_command;
use crate::plugins::{Denied, Hook};
use crate::started::{Started, until};
use crate::store::Fault;

#[test]
fn the_report_of_a_backup_knows_that_it_was_pushed() {
    let (service, _store) = with_remote("report");
    service.pgbackup("set", &["push-on-create", "on"]).ok();
    let made = service.pgbackup("create", &["--format", "json"]).ok().json();
    assert_eq!(
        (&made["backup"]["pushed"]["good"], &made["backup"]["pushed"]["problem"]),
        (&json!(true), &json!(null))
    );
    let sql = service.pgbackup("export", &["--as", "sql"]).ok().stdout;
    let args = ["pgbackup:import", &service.name, "--format", "json"];
    let imported = with_input(dokku_command(&args), "import", &sql).ok().json();
    assert_eq!(imported["backup"]["pushed"]["good"], json!(true), "{imported}");
}

#[test]
fn settings_that_cannot_be_read_keep_nothing_back_in_silence() {
    let (service, store) = with_remote("settings");
    service.pgbackup("set", &["push-on-create", "on"]).ok();
    fs::write(service.root().join("pgbackup/settings.toml"), "push-on-create = 3\n").unwrap();
    let silent = service.pgbackup("create", &[]);
    let words = format!("nothing of {} was taken to its remote", service.name);
    assert!(silent.stderr.contains(&words), "{}", silent.stderr);
    assert!(store.objects("server1").is_empty());
}

#[test]
fn an_interrupt_of_the_push_is_told_after_the_backup() {
    let (service, store) = with_remote("cut-short");
    fill_with_noise(&service, 26);
    service.pgbackup("set", &["push-on-create", "on"]).ok();
    store.misbehave(Fault::Slow(12_000_000));
    let mut run = Started::pgbackup(&service, "create", &[]);
    let sent =
        || backups(&service).first().map_or(0, |one| sent_parts(&service, one["id"].as_str().unwrap()));
    until("the first part is there", || sent() > 0 || run.has_ended());
    assert!(run.signal(Signal::INT));
    let ended = run.end().fails(130, "interrupted");
    let id = backups(&service)[0]["id"].as_str().unwrap().to_owned();
    assert!(ended.stdout.contains(&format!("Backup {id} of {} made", service.name)), "{}", ended.stdout);
    store.misbehave(Fault::None);
    service.pgbackup("push", &["--all"]).ok();
}

#[test]
fn a_deploy_is_pushed_at_its_very_end_and_a_push_that_fails_is_no_failure_of_it() {
    let (service, store) = with_remote("deployed");
    let app = App::linked("deployed", &[&service]);
    service.pgbackup("set", &["push-on-create", "on"]).ok();
    fs::set_permissions(store.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (seen, there) =
        (tempfile::tempdir().unwrap(), store.folder.path().join("cows/server1").join(&service.name));
    fs::set_permissions(seen.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // After pgbackup's turn in each of the two triggers.
    let look = |trigger: &str| {
        let (there, seen) = (there.display(), seen.path().display());
        let script = format!(
            "[[ $1 != {} ]] || find {there} -name index.toml 2>/dev/null | wc -l >{seen}/{trigger}\n",
            app.name
        );
        Hook::new(&format!("zz-{trigger}"), trigger, &script)
    };
    let hooks = [look("core-post-deploy"), look("post-deploy")];
    app.deploy("One", &[("web", "1")]);
    drop(hooks);
    assert!(!store.objects("server1").is_empty());
    let after = |trigger: &str| fs::read_to_string(seen.path().join(trigger)).unwrap();
    assert_eq!((after("core-post-deploy").trim(), after("post-deploy").trim()), ("0", "1"));
    let file = service.root().join("pgbackup/remote.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("http://127.0.0.1", "http://127.0.0.1.2")).unwrap();
    app.commit("Two", &[("web", "2")]);
    let push = app.push().ok();
    assert!(push.stderr.contains("is not at the remote yet"), "{}", push.stderr);
    assert_eq!(backups(&service)[0]["pushed"]["good"], json!(false));
    let history = service.pgbackup("history", &["--format", "json"]).ok().json();
    assert_eq!((&history[0]["command"], &history[0]["good"]), (&json!("push"), &json!(false)), "{history}");
}

#[test]
fn a_plugin_for_access_that_fails_hides_the_apps_of_a_backup_that_is_made() {
    let (service, _store) = with_remote("no-access");
    let app = App::linked("no-access", &[&service]);
    let failing = Denied::by_failing(&app.name);
    let made = service.pgbackup("create", &["--format", "json"]).ok();
    assert!(made.stderr.contains("no apps are shown"), "{}", made.stderr);
    assert_eq!(made.json()["backup"]["apps"], json!([]));
    drop(failing);
    assert_eq!(backups(&service)[0]["apps"][0]["name"], json!(app.name));
}
