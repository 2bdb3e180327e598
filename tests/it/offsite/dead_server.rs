//! The server is gone: with the bucket and the key alone, the data comes back on another one.

use super::{key_pair, with_input, with_remote};
use crate::bench::{Service, dokku, dokku_command};

#[test]
fn a_service_of_a_dead_server_comes_back_from_the_bucket_and_the_key() {
    let (dead, store) = with_remote("dead");
    let (public, secret) = key_pair();
    dead.pgbackup("set", &["age-recipient", &public]).ok();
    let id = dead.create();
    dead.pgbackup("push", &[]).ok();
    let name = dead.name.clone();
    drop(dead);
    let new = Service::new("reborn");
    super::set_remote(&new, &store, crate::store::SECRET_KEY);
    let line = ["pgbackup:restore", &new.name, "--from-remote", &name, "--identity", "-", "--force"];
    let run = with_input(dokku_command(&line), "restore --from-remote", &secret).ok();
    assert!(run.stdout.contains(&id), "{}", run.stdout);
    assert_eq!(new.sql("select count(*) from cows"), "5000");
    new.assert_nothing_left();
    dokku(&["pgbackup:restore", &new.name, "--from-remote", &name, "--force"]).fails(6, "--identity");
    dokku(&["pgbackup:restore", &new.name, "--from-remote", "nobody-db", "--force"]).fails(5, "nobody-db");
    new.assert_nothing_left();
}
