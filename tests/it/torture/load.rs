//! A write load: pgbench, and an application that knows what must hold of its data and what it was told is written.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bench::Service;
use crate::session::Session;
use crate::started::until;

/// Transfers between accounts, whose sum never changes; a journal in which every transfer has a number; pgbench's tables.
const TABLES: &str = "create table accounts as select n as id, 1000 as balance from generate_series(1, 20) n;
create table journal (n bigint primary key);
create table pgbench_accounts as select n as aid, 0 as abalance from generate_series(1, 500) n;
create table pgbench_tellers as select n as tid, 0 as tbalance from generate_series(1, 10) n;
create table pgbench_history (tid int, aid int, delta int, mtime timestamptz)";

const TRANSACTION: &str = r"\set aid random(1, 500)
\set tid random(1, 10)
\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
update pgbench_tellers set tbalance = tbalance + :delta where tid = :tid;
insert into pgbench_history values (:tid, :aid, :delta, now());
end;
";

/// A question to which the answer is always `t`.
pub const INVARIANT: &str = "(select sum(balance) = 20000 from accounts)
and (select coalesce(sum(abalance), 0) from pgbench_accounts) = (select coalesce(sum(delta), 0) from pgbench_history)
and (select coalesce(sum(tbalance), 0) from pgbench_tellers) = (select coalesce(sum(delta), 0) from pgbench_history)";

/// Goes on until it is dropped, whatever happens to the server.
pub struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<Mutex<Vec<u64>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn on(service: &Service) -> Self {
        service.sql(TABLES);
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(Mutex::new(Vec::new()));
        let (database, container) = (service.database(), service.container());
        let application = {
            let (stop, written, container, database) =
                (Arc::clone(&stop), Arc::clone(&written), container.clone(), database.clone());
            std::thread::spawn(move || run_application(&container, &database, &stop, &written))
        };
        let bench = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || run_pgbench(&container, &database, &stop))
        };
        Load { stop, written, threads: vec![application, bench] }
    }

    /// The numbers whose writing was acknowledged, from the `from`th on.
    pub fn written(&self, from: usize) -> Vec<u64> {
        self.written.lock().unwrap()[from..].to_vec()
    }

    pub fn count(&self) -> usize {
        self.written.lock().unwrap().len()
    }

    /// Waits until the live database takes a new write.
    #[track_caller]
    pub fn await_write(&self) {
        let before = self.count();
        until("the live database takes writes", || self.count() > before + 1);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run_application(container: &str, database: &str, stop: &AtomicBool, written: &Mutex<Vec<u64>>) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut session = Session::of(container, database);
        loop {
            number += 1;
            let (from, to) = (1 + number % 20, 1 + (number * 7 + 3) % 20);
            let transfer = format!(
                "begin; update accounts set balance = balance - 1 where id = {from}; \
                 update accounts set balance = balance + 1 where id = {to}; insert into journal values ({number}); commit"
            );
            if stop.load(Ordering::Relaxed) || !session.try_run(&transfer) {
                break;
            }
            written.lock().unwrap().push(number);
            std::thread::sleep(Duration::from_millis(40));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn run_pgbench(container: &str, database: &str, stop: &AtomicBool) {
    let script = format!(
        "printf '%s' '{TRANSACTION}' >/tmp/transaction.sql; \
         exec pgbench --no-vacuum --rate=15 --time=100000 --file=/tmp/transaction.sql --username=postgres '{database}'"
    );
    while !stop.load(Ordering::Relaxed) {
        let mut child = Command::new("docker")
            .args(["exec", container, "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !stop.load(Ordering::Relaxed) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        std::thread::sleep(Duration::from_millis(100));
    }
}
