//! What stores and lines do, and what somebody does to the objects: told in a sentence, and nothing wrong is taken for right.

use std::fs;

use serde_json::json;

use super::{fill_with_noise, key_pair, listed, set_remote, with_remote};
use crate::app::backups;
use crate::bench::{Service, dokku, flip_byte};
use crate::store::{Fault, SECRET_KEY};

#[test]
fn lines_that_break_and_stores_that_stumble_are_tried_again() {
    let (service, store) = with_remote("stumbles");
    fill_with_noise(&service, 9);
    let id = service.create();
    for fault in [
        Fault::Cut { bytes: 1_000_000, times: 2 },
        Fault::Answer { status: "500 Internal Server Error", code: "InternalError", times: 3 },
        Fault::Answer { status: "503 Slow Down", code: "SlowDown", times: 2 },
    ] {
        store.misbehave(fault.clone());
        service.pgbackup("push", &[&id]).ok();
        assert_eq!(listed(&service)[0]["status"], json!("whole"), "{fault:?}");
        store.objects("server1").iter().for_each(|object| fs::remove_file(object).unwrap());
    }
}

#[test]
fn what_is_wrong_with_a_remote_is_said() {
    let (service, store) = with_remote("wrong");
    let id = service.create();
    let check = |words: &str| {
        service.pgbackup("remote-check", &[]).fails(7, words);
        service.pgbackup("push", &[&id]).fails(7, words);
        assert_eq!(backups(&service)[0]["pushed"]["good"], json!(false));
    };
    for (status, code, words) in [
        ("403 Forbidden", "AccessDenied", "does not permit"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock"),
        ("403 Forbidden", "InvalidAccessKeyId", "does not know the access key"),
        ("404 Not Found", "NoSuchBucket", "no such bucket"),
    ] {
        store.misbehave(Fault::Answer { status, code, times: 1000 });
        check(words);
    }
    store.misbehave(Fault::None);
    set_remote(&service, &store, "another secret");
    check("signature");
    set_remote(&service, &store, SECRET_KEY);
    service.pgbackup("push", &[&id]).ok();
    service.pgbackup("remote-set", &["s3://cows", "--endpoint", "http://127.0.0.1:1", "--path-style"]).ok();
    service.pgbackup("remote-check", &[]).fails_with("s3://cows: ");
}

/// A backup at the remote, and none here.
fn only_there(service: &Service) -> String {
    let id = service.create();
    service.pgbackup("push", &[&id]).ok();
    dokku(&["--force", "pgbackup:delete", &service.name, &id]).ok();
    id
}

#[test]
fn objects_that_were_cut_changed_or_swapped_are_refused() {
    let (service, store) = with_remote("tampered");
    let (public, _) = key_pair();
    let (one, other) = (only_there(&service), only_there(&service));
    let part = |id: &str| {
        let objects = store.objects(&format!("server1/{}/{id}", service.name));
        objects.into_iter().find(|path| path.to_string_lossy().contains("-000001.")).unwrap()
    };
    let whole = fs::read(part(&one)).unwrap();
    fs::write(part(&one), &whole[..whole.len() - 1000]).unwrap();
    service.pgbackup("pull", &[&one]).fails(6, "bytes, and");
    fs::write(part(&one), &whole).unwrap();
    flip_byte(&part(&one), whole.len() / 2, 1);
    service.pgbackup("pull", &[&one]).fails(6, "is not what was sent");
    fs::remove_file(part(&one)).unwrap();
    service.pgbackup("pull", &[&one]).fails(6, "is missing");
    fs::copy(part(&other), store.folder.path().join("saved")).unwrap();
    // Another backup under this one's name, its index made to fit.
    let index = |id: &str| part(&other).parent().unwrap().parent().unwrap().join(id).join("index.toml");
    fs::copy(part(&other), part(&other).to_string_lossy().replace(&other, &one)).unwrap();
    let forged = fs::read_to_string(index(&other)).unwrap().replace(&other, &one);
    fs::write(index(&one), forged).unwrap();
    let refused = service.pgbackup("pull", &[&one]);
    assert_eq!(refused.code, 6, "{refused:?}");
    service.assert_nothing_left();
    assert_eq!(backups(&service).len(), 0);
    // One that is not encrypted does not pass for one that was.
    service.pgbackup("set", &["age-recipient", &public]).ok();
    service.pgbackup("pull", &[&other]).ok();
}
