//! Clients of a service that never rest. They run inside its container: starting one from outside takes too long to see
//! a short outage.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::bench::{Service, docker};
use crate::started::until;

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A connection for each write.
    Connecting,
    /// One connection for as long as it lasts, then the next one.
    Connected,
    /// A connection for each of the simplest queries; writes nothing.
    Knocking,
}

/// A write that the server said it has committed, or an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack {
    pub client: String,
    pub n: u32,
    /// Seconds of the epoch.
    pub at: f64,
}

/// $1 the database, $2 the client's name. It ends when somebody makes the file of its name.
const CONNECTING: &str = r#"
n=0
while [ ! -e "/tmp/$2" ]; do
  n=$((n + 1))
  if psql -qAtX -U postgres -d "$1" -c "insert into ledger values ('$2', $n)" >/dev/null 2>&1; then
    echo "$2 $n $EPOCHREALTIME"
  fi
done
"#;

const CONNECTED: &str = r#"
trap '' PIPE
n=0
while [ ! -e "/tmp/$2" ]; do
  coproc server { exec psql -qAtX -U postgres -d "$1" 2>/dev/null; }
  pid=$server_PID to=${server[1]} from=${server[0]}
  while [ ! -e "/tmp/$2" ]; do
    n=$((n + 1))
    echo "insert into ledger values ('$2', $n) returning n;" 2>/dev/null >&"$to" || break
    read -r answer <&"$from" || break
    [ "$answer" = "$n" ] && echo "$2 $n $EPOCHREALTIME"
  done 2>/dev/null
  kill "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
done
"#;

const KNOCKING: &str = r#"
n=0
while [ ! -e "/tmp/$2" ]; do
  n=$((n + 1))
  psql -qAtX -U postgres -d "$1" -c "select" >/dev/null 2>&1 && echo "$2 $n $EPOCHREALTIME"
done
"#;

impl Kind {
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Connecting => "a client that connects for each",
            Kind::Connected => "a client that stays connected while it can",
            Kind::Knocking => "a client that only asks",
        }
    }

    fn script(self) -> &'static str {
        match self {
            Kind::Connecting => CONNECTING,
            Kind::Connected => CONNECTED,
            Kind::Knocking => KNOCKING,
        }
    }
}

/// A running client.
pub struct Client {
    pub kind: Kind,
    name: String,
    container: String,
    child: Child,
    acks: Arc<Mutex<Vec<Ack>>>,
    reader: Option<JoinHandle<()>>,
}

impl Client {
    pub fn start(service: &Service, kind: Kind) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("client{number}");
        let mut child = Command::new("docker")
            .args(["exec", &service.container(), "bash", "-c", kind.script(), "client"])
            .args([&service.database(), &name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let acks = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&acks);
        let reader = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                heard.lock().unwrap().push(parse(&line));
            }
        });
        Client { kind, name, container: service.container(), child, acks, reader: Some(reader) }
    }

    pub fn acknowledged(&self) -> Vec<Ack> {
        self.acks.lock().unwrap().clone()
    }

    /// Waits for that many more acknowledgements.
    pub fn write_more(&self, count: usize) {
        let wanted = self.acknowledged().len() + count;
        until("the client goes on", || self.acks.lock().unwrap().len() >= wanted);
    }

    /// Ends it; everything that was acknowledged.
    pub fn stop(mut self) -> Vec<Ack> {
        self.end();
        self.acknowledged()
    }

    fn end(&mut self) {
        if let Some(reader) = self.reader.take() {
            docker(&["exec", &self.container, "touch", &format!("/tmp/{}", self.name)]);
            let _ = self.child.wait();
            let _ = reader.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

fn parse(line: &str) -> Ack {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default();
    Ack { client: word().to_owned(), n: word().parse().unwrap(), at: word().parse().unwrap() }
}

/// Seconds of the longest time between two of them.
pub fn longest_gap(acks: &[Ack]) -> f64 {
    acks.windows(2).map(|pair| pair[1].at - pair[0].at).fold(0.0, f64::max)
}

/// Who wrote which numbers, as a database has it.
pub fn ledger(service: &Service, database: &str) -> HashSet<(String, u32)> {
    let answer = service.sql_in(database, "select client, n from ledger");
    let row = |line: &str| {
        let (client, n) = line.split_once('|').unwrap();
        (client.to_owned(), n.parse().unwrap())
    };
    answer.lines().map(row).collect()
}

/// Every write that was acknowledged is in one of the databases.
#[track_caller]
pub fn assert_kept(acks: &[Ack], databases: &[HashSet<(String, u32)>]) {
    let is_lost = |ack: &&Ack| !databases.iter().any(|rows| rows.contains(&(ack.client.clone(), ack.n)));
    let lost: Vec<&Ack> = acks.iter().filter(is_lost).collect();
    assert!(!acks.is_empty() && lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acks.len());
}
