//! What clients notice of a swap: those that write all the time, those that hold on to the database, and a crowd.

mod client;

use std::io::Write;
use std::time::{Duration, Instant};

use client::{Ack, Client, Kind, assert_kept, longest_gap};

use crate::bench::Service;
use crate::session::Session;

/// Loose, because machines are noisy; the figure itself is printed.
const LONGEST_OUTAGE: f64 = 2.0;

fn herd_with_ledger(label: &str, more: &[&str]) -> Service {
    let service = Service::with(label, 17, more);
    service.fill().sql("create table ledger (client text, n int, primary key (client, n))");
    service.create();
    service
}

fn previous(service: &Service) -> String {
    let mut names = service.databases();
    names.retain(|name| name.contains("_previous_"));
    assert_eq!(names.len(), 1, "{names:?}");
    names.remove(0)
}

/// Also for those who run the tests without `--nocapture`.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs a command while the clients write, and for a while more; what was acknowledged from just before it on.
fn watched(service: &Service, clients: &[Client], command: &str, args: &[&str]) -> Vec<Vec<Ack>> {
    let before: Vec<usize> = clients.iter().map(|client| client.acknowledged().len()).collect();
    let run = service.pgbackup(command, args).ok().json();
    clients.iter().for_each(|client| client.write_more(30));
    let swap = run["result"]["swap_seconds"].as_f64().or(run["swap_seconds"].as_f64()).unwrap();
    let since = |(client, from): (&Client, usize)| client.acknowledged().split_off(from.saturating_sub(1));
    let acks: Vec<Vec<Ack>> = clients.iter().zip(before).map(since).collect();
    for (client, acks) in clients.iter().zip(&acks) {
        let gap = longest_gap(acks);
        tell(&format!(
            "{command}: longest gap between two writes of {}: {:.0} ms (the swap by pgbackup's own clock: {:.0} ms)",
            client.kind.describe(),
            gap * 1000.0,
            swap * 1000.0
        ));
        assert!(gap < LONGEST_OUTAGE, "{gap} s of {command} for {}", client.kind.describe());
    }
    acks
}

#[test]
fn a_restore_and_an_undo_cost_writers_a_moment_and_not_one_row() {
    let service = herd_with_ledger("outage", &[]);
    let clients = [Kind::Connecting, Kind::Connected].map(|kind| Client::start(&service, kind));
    clients.iter().for_each(|client| client.write_more(30));
    let before: Vec<Ack> = clients.iter().flat_map(Client::acknowledged).collect();
    let quiet: Vec<f64> = clients.iter().map(|client| longest_gap(&client.acknowledged())).collect();
    tell(&format!("before: longest gaps {:.0} ms and {:.0} ms", quiet[0] * 1000.0, quiet[1] * 1000.0));

    watched(&service, &clients, "restore", &["--force", "--format", "json"]);
    let original = previous(&service);
    assert_kept(&before, &[client::ledger(&service, &original)]);
    let so_far: Vec<Ack> = clients.iter().flat_map(Client::acknowledged).collect();
    assert_kept(
        &so_far,
        &[client::ledger(&service, &original), client::ledger(&service, &service.database())],
    );

    watched(&service, &clients, "undo", &["--format", "json"]);
    let all: Vec<Ack> = clients.into_iter().flat_map(Client::stop).collect();
    let (live, restored) =
        (client::ledger(&service, &service.database()), client::ledger(&service, &previous(&service)));
    assert_kept(&before, std::slice::from_ref(&live));
    assert!(restored.is_disjoint(&live), "a row is in both databases");
    assert!(!restored.is_empty(), "nothing was written between restore and undo");
    assert_kept(&all, &[live, restored]);
    service.assert_nothing_left();
}

#[test]
fn sessions_that_hold_on_to_the_database_and_a_crowd_at_its_door_do_not_stop_a_swap() {
    let service = herd_with_ledger("crowd", &[]);
    let comment = format!("begin; comment on database {} is 'held'", service.database());
    let holders = [
        "begin; lock table cows in access exclusive mode",
        "begin; insert into ledger values ('idle in transaction', 1)",
        "begin; declare milk cursor for select * from farmers; fetch milk",
        "listen moo; create temp table mine (id int)",
        // Weak, and yet in the way of the rename's own lock.
        &comment,
    ];
    for (command, args) in [("restore", &["--force"][..]), ("undo", &[])] {
        let sessions = holders.map(|script| Session::that_did(&service, script));
        let crowd = [(); 4].map(|()| Client::start(&service, Kind::Knocking));
        let started = Instant::now();
        service.pgbackup(command, args).ok();
        tell(&format!("{command} with {} sessions and a crowd: {:?}", holders.len(), started.elapsed()));
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        crowd.iter().for_each(|client| client.write_more(5));
        crowd.into_iter().for_each(|client| drop(client.stop()));
        for mut session in sessions {
            assert!(!session.try_run("select 1"), "a session of the previous database lives on");
        }
        assert_eq!(service.sql("select count(*) from ledger"), "0");
        assert_eq!(service.sql("select count(*) from cows"), "5000");
    }
    service.assert_nothing_left();
}

#[test]
fn a_prepared_transaction_is_a_refusal_and_not_an_outage() {
    let service = herd_with_ledger("prepared", &["--config-options", "-c max_prepared_transactions=5"]);
    let prepare = |gid: &str| {
        service.sql(&format!("begin; insert into ledger values ('{gid}', 1); prepare transaction '{gid}'"))
    };
    prepare("milk run");
    service.pgbackup("restore", &["--force"]).fails(6, "prepared transactions");
    service.sql("commit prepared 'milk run'");
    service.pgbackup("restore", &["--force"]).ok();
    // In the live database, then in the one that would come back.
    prepare("hay run");
    service.pgbackup("undo", &[]).fails(6, "prepared transactions").fails(6, "hay run");
    service.sql("rollback prepared 'hay run'");
    let previous = previous(&service);
    service.sql_in(&previous, "begin; delete from ledger; prepare transaction 'old run'");
    service.pgbackup("undo", &[]).fails(6, "old run");
    service.sql_in(&previous, "rollback prepared 'old run'");
    service.pgbackup("undo", &[]).ok();
    assert_eq!(service.sql("select client from ledger"), "milk run");
}

/// Such a session is nobody's that pgbackup may end.
#[test]
fn a_session_of_another_database_that_is_in_the_way_fails_the_swap_and_changes_nothing() {
    let service = herd_with_ledger("elsewhere", &[]);
    let mut elsewhere = Session::open(&service, "postgres");
    elsewhere.run(&format!("begin; comment on database {} is 'held from elsewhere'", service.database()));
    let started = Instant::now();
    service.pgbackup("restore", &["--force"]).fails(7, "the databases could not be swapped");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    service.assert_nothing_left();
    assert_eq!(service.databases(), [service.database()]);
    service.sql("insert into ledger values ('after', 1)");
    elsewhere.run("commit");
    service.pgbackup("restore", &["--force"]).ok();
}
