//! What is said of a remote where something else is than was looked for: other prefixes, other services, other versions.

use std::fs;

use serde_json::json;

use super::{listed, set_remote, with_input, with_remote};
use crate::bench::{Service, dokku, dokku_command};
use crate::plugins::Denied;
use crate::store::{ACCESS_KEY, SECRET_KEY};

#[test]
fn a_mistyped_prefix_service_or_id_is_answered_with_what_is_there() {
    let (service, store) = with_remote("instead");
    let ids = [service.create(), service.create()];
    service.pgbackup("push", &["--all"]).ok();
    let name = service.name.clone();
    let list = |of: &str| dokku(&["pgbackup:list", of, "--remote"]);
    let hidden = format!("{name}-hidden");
    fs::create_dir(store.folder.path().join("cows/server1").join(&hidden)).unwrap();
    fs::copy(
        store.objects("server1")[0].clone(),
        store.folder.path().join("cows/server1").join(&hidden).join("x"),
    )
    .unwrap();
    let _denied = Denied::to("default", &hidden);
    service.pgbackup("restore", &["--from-remote", &name, &ids[0][..8], "--force"]).fails(2, &ids[1]);
    let endpoint = store.endpoint();
    let other = Service::new("instead-of-it");
    set_remote(&other, &store, SECRET_KEY);
    let told = list(&other.name).ok().says(&format!("none of {}; there are: {name}", other.name));
    assert!(!told.stdout.contains(&hidden), "{}", told.stdout);
    let set = |address: &str| {
        let args = ["pgbackup:remote-set", &name, address, "--endpoint", &endpoint, "--credentials", "stdin"];
        with_input(dokku_command(&args), "remote-set", &format!("{ACCESS_KEY}\n{SECRET_KEY}\n")).ok();
    };
    set("s3://cows/server");
    list(&name).ok().says("nothing is below server/; the bucket has: server1/");
    set("s3://cows/server1/deeper/still");
    list(&name).ok().says(&format!("nothing is below server1/deeper/still/; server1/ has: {name}/"));
    set("s3://cows");
    list(&name).ok().says("there are: server1");
    assert_eq!(listed(&service), Vec::<serde_json::Value>::new());
}

#[test]
fn a_server_that_is_too_old_is_known_before_anything_is_fetched() {
    let (service, store) = with_remote("newer");
    let id = service.create();
    service.pgbackup("push", &[]).ok();
    assert!(listed(&service)[0]["postgres_version"].as_str().unwrap().starts_with("17."));
    let told = service.pgbackup("list", &["--remote"]).ok();
    assert!(told.stdout.contains("POSTGRES") && told.stdout.contains(" 17."), "{}", told.stdout);
    let old = Service::with("older", 15, &[]);
    set_remote(&old, &store, SECRET_KEY);
    let restore = || old.pgbackup("restore", &["--from-remote", &service.name, &id, "--force"]);
    let refused = restore().fails(6, "older Postgres 15");
    assert!(refused.stderr.contains("--image-version 17"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("Fetching"), "{}", refused.stderr);
    // An index that an older pgbackup wrote does not tell.
    let objects = store.objects("server1");
    let index = objects.iter().find(|path| path.ends_with("index.toml")).unwrap();
    let text = fs::read_to_string(index).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("server_version_num")).collect();
    assert!(lines.len() < text.lines().count());
    fs::write(index, lines.join("\n")).unwrap();
    assert_eq!(listed(&service)[0]["postgres_version"], json!(null));
    assert!(restore().fails(6, "older Postgres 15").stderr.contains("Fetching"));
    dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
    service.pgbackup("pull", &[]).ok();
}
