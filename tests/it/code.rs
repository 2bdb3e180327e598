//! What a restore says of the code, and that the commands it prints bring that code back.

use serde_json::json;

use crate::app::{App, migration};
use crate::bench::{Run, Service, dokku, world};

/// Runs the command that a restore's plan prints, as somebody would who copies it.
#[track_caller]
fn type_in(command: &str) -> Run {
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], "dokku", "{command}");
    dokku(&words[1..])
}

#[track_caller]
fn plan(service: &Service, backup: &str) -> serde_json::Value {
    service.pgbackup("restore", &[backup, "--dry-run", "--format", "json"]).ok().json()
}

/// Restores `backup` and brings the code back with the printed command; afterwards nothing is left to say.
#[track_caller]
fn comes_back(service: &Service, backup: &str) -> String {
    let told = plan(service, backup);
    let command =
        told["code"][0]["command"].as_str().unwrap_or_else(|| panic!("no command in {told:#}")).to_owned();
    let text = service.pgbackup("restore", &[backup, "--force"]).ok().stdout;
    assert_eq!(text.matches(command.as_str()).count(), 2, "in the plan and at the end:\n{text}");
    type_in(&command).ok();
    assert_eq!(plan(service, backup)["code"], json!([]), "after {command}");
    command
}

#[test]
fn pushed_code_comes_back_with_the_data() {
    let service = Service::new("pushed");
    service.fill();
    let app = App::linked("pushed", &[&service]);
    let first = app.deploy("Keep the cows", &[("web", "1")]);
    let id = service.create();
    let second = app.deploy("Sell all cows", &[("predeploy", &migration(&service, "delete from cows"))]);
    let text = service.pgbackup("restore", &[&id, "--dry-run"]).ok().stdout;
    for words in [
        format!("{} runs {} (Sell all cows)", app.name, &second[..7]),
        format!("the backup belongs to {} (Keep the cows), 1 commit earlier", &first[..7]),
    ] {
        assert!(text.contains(&words), "{words} is not in\n{text}");
    }
    let command = comes_back(&service, &id);
    assert!(command.starts_with("dokku git:sync --build ") && command.ends_with(&first), "{command}");
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    // Its developer goes on as before.
    app.commit("Next", &[("web", "3"), ("predeploy", "true\n")]);
    app.push().ok();
}

#[test]
fn synced_code_comes_back_without_its_origin() {
    let service = Service::new("synced");
    let app = App::linked("synced", &[&service]);
    let url = format!("file://{}", app.folder().display());
    let first = app.commit("One", &[("web", "1")]);
    dokku(&["git:sync", "--build", &app.name, &url, &first]).ok();
    let id = service.create();
    let second = app.commit("Two", &[("web", "2")]);
    dokku(&["git:sync", "--build", &app.name, &url, &second]).ok();
    // A private origin could not be read: its credentials are not kept.
    let command = comes_back(&service, &id);
    assert!(command.starts_with(&format!("dokku git:sync --build {} /", app.name)), "{command}");
    assert!(command.ends_with(&first) && !command.contains(&url), "{command}");
}

#[test]
fn images_and_archives_come_back() {
    let service = Service::new("images");
    let app = App::linked("images", &[&service]);
    dokku(&["git:from-image", &app.name, "example.com/cows:1"]).ok();
    let image = service.create();
    let archive = app.folder().join("cows.tar");
    app.commit("One", &[("web", "1")]);
    app.git(&["archive", "--output", archive.to_str().unwrap(), "HEAD"]);
    let url = format!("file://{}", archive.display());
    dokku(&["git:from-archive", "--archive-type", "tar", &app.name, &url]).ok();
    let archived = service.create();
    assert_eq!(comes_back(&service, &image), format!("dokku git:from-image {} example.com/cows:1", app.name));
    let command = comes_back(&service, &archived);
    assert!(command.starts_with(&format!("dokku git:sync --build {} /", app.name)), "{command}");
}

#[test]
fn a_commit_that_nobody_is_certain_of_is_told_with_a_question_mark() {
    let service = Service::new("doubt");
    let app = App::linked("doubt", &[&service]);
    let first = app.deploy("One", &[("web", "1")]);
    // As of an app that was deployed before there was a pgbackup, by a dokku that kept no record.
    let lib = world().join("lib");
    std::fs::remove_dir_all(lib.join("data/pgbackup/apps").join(&app.name)).unwrap();
    std::fs::remove_file(lib.join("config/apps").join(&app.name).join("deploy-source-metadata")).unwrap();
    let id = service.create();
    app.deploy("Two", &[("web", "2")]);
    let text = service.pgbackup("restore", &[&id, "--dry-run"]).ok().stdout;
    for words in
        [&format!("the backup belongs to {}? (One)", &first[..7]), "nobody is certain of", "compare it"]
    {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
}

#[test]
fn a_commit_that_dokku_lost_must_be_pushed_again() {
    let service = Service::new("lost");
    let app = App::linked("lost", &[&service]);
    app.deploy("One", &[("web", "1")]);
    let lost = "82eeec6fe1b2c3d4e5f60718293a4b5c6d7e8f90";
    dokku(&["git:deploy-record", &app.name, lost]).ok();
    let id = service.create();
    let again = app.commit("Two", &[("web", "2")]);
    app.push().ok();
    let told = plan(&service, &id);
    assert_eq!(told["code"][0]["running"]["commit"], json!(again));
    assert_eq!(told["code"][0]["command"], json!(format!("git push --force dokku {lost}:refs/heads/master")));
    service.pgbackup("diff", &[&id]).ok().says("does not have both commits");
}
