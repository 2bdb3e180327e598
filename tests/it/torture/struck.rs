//! Containers that die under a run: the sidecar, the throwaway server, the Postgres server itself.

use std::time::Instant;

use super::{assert_sound, container, fill_waiting, hold_dumps, in_the_middle};
use crate::bench::{Service, docker};
use crate::started::{Started, until};

/// With a good backup, at which a restore waits.
fn waiting_service(label: &str) -> Service {
    let service = Service::new(label);
    fill_waiting(&service);
    service.create();
    service
}

fn await_server(service: &Service) {
    let question = [
        "exec",
        &service.container(),
        "psql",
        "--host=localhost",
        "--username=postgres",
        "--command=select 1",
    ];
    let password =
        format!("PGPASSWORD={}", std::fs::read_to_string(service.root().join("PASSWORD")).unwrap().trim());
    let args = [&["exec", "--env", &password], &question[1..]].concat();
    until("the server answers again", || docker(&args).code == 0);
}

fn assert_untouched(service: &Service) {
    service.assert_nothing_left();
    assert_sound(service);
    assert_eq!(service.databases(), [service.database()]);
}

#[test]
fn a_killed_sidecar_is_a_tool_that_failed() {
    let service = waiting_service("sidecar");
    let held = hold_dumps(&service);
    let run = in_the_middle(&service, "create");
    docker(&["kill", &container(&service, ".dump")]).ok();
    run.end().fails(7, "pg_dump failed");
    service.assert_nothing_left();
    drop(held);
    let run = in_the_middle(&service, "restore");
    docker(&["kill", &container(&service, ".restore")]).ok();
    run.end().fails(7, "pg_restore failed on");
    assert_untouched(&service);
    service.create();
}

/// Memory that ran out says nothing about the backup.
#[test]
fn a_drill_whose_containers_are_killed_does_not_call_the_backup_bad() {
    let service = waiting_service("drill");
    for victim in [".restore", ".drill"] {
        let run = in_the_middle(&service, "verify");
        docker(&["kill", &container(&service, victim)]).ok();
        run.end().fails(7, "");
        service.assert_nothing_left();
        let listed = service.pgbackup("list", &["--format", "json"]).ok().json();
        assert_eq!(listed[0]["status"], "good", "{listed}");
        assert_eq!(listed[0]["verified"], serde_json::json!(null), "{listed}");
    }
    assert_untouched(&service);
}

#[test]
fn a_server_that_is_restarted_meanwhile_fails_create_and_restore_and_nothing_is_left() {
    let service = waiting_service("restarted");
    for command in ["create", "restore"] {
        let held = (command == "create").then(|| hold_dumps(&service));
        let run = in_the_middle(&service, command);
        docker(&["restart", "--time", "5", &service.container()]).ok();
        let ended = run.end();
        drop(held);
        await_server(&service);
        ended.fails(7, &format!("failed on {}: ", service.name));
        assert_untouched(&service);
    }
    service.create();
}

/// Late in the run, where the swap is.
#[test]
fn a_server_that_is_restarted_around_the_swap_has_the_one_database_or_the_other_and_the_exit_code_says_which()
{
    let service = Service::new("around");
    service.fill().sql("create table marks (at int)");
    service.create();
    let started = Instant::now();
    service.pgbackup("restore", &["--force"]).ok();
    let duration = started.elapsed();
    for (moment, part) in [60, 75, 90].into_iter().enumerate() {
        service.sql(&format!("insert into marks values ({moment})"));
        let run = Started::pgbackup(&service, "restore", &["--force"]);
        std::thread::sleep(duration * part / 100);
        docker(&["restart", "--time", "5", &service.container()]).ok();
        let ended = run.end();
        await_server(&service);
        let marks = service.sql(&format!("select count(*) from marks where at = {moment}"));
        match ended.code {
            0 => assert_eq!(marks, "0", "{}", ended.stderr),
            7 => assert_eq!(marks, "1", "{}", ended.stderr),
            other => panic!("{other}: {}{}", ended.stdout, ended.stderr),
        }
        service.assert_nothing_left();
        assert_sound(&service);
    }
    service.pgbackup("restore", &["--force"]).ok();
    assert_eq!(service.databases().len(), 2);
}

#[test]
fn a_server_that_is_gone_meanwhile_is_told_and_what_is_left_is_cleared_when_it_is_back() {
    let service = waiting_service("gone");
    let run = in_the_middle(&service, "restore");
    docker(&["stop", "--time", "5", &service.container()]).ok();
    run.end().fails(7, &format!("failed on {}: ", service.name));
    docker(&["start", &service.container()]).ok();
    await_server(&service);
    service.create();
    assert_untouched(&service);
}
