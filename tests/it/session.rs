//! A psql that stays connected: what it began goes on until the test says otherwise.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::bench::{Service, connection_string};

/// A connection to one database of a service.
pub struct Session {
    child: Child,
    /// `None` once it is closed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Session {
    pub fn open(service: &Service, database: &str) -> Self {
        Self::of(&service.container(), database)
    }

    /// The same by the name of the server's container.
    pub fn of(container: &str, database: &str) -> Self {
        let psql = ["psql", "--username=postgres", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only"];
        let mut child = Command::new("docker")
            .args(["exec", "--interactive", container])
            .args(psql)
            .args(["--set=ON_ERROR_STOP=1", "--dbname", &connection_string(database)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Session { child, stdin, stdout }
    }

    /// Opens one to the live database and runs `script` to its end; a transaction in it stays open.
    #[track_caller]
    pub fn that_did(service: &Service, script: &str) -> Self {
        let mut session = Self::open(service, &service.database());
        session.run(script);
        session
    }

    /// Runs `script` to its end.
    #[track_caller]
    pub fn run(&mut self, script: &str) {
        assert!(self.try_run(script), "the session ended in: {script}");
    }

    /// The same; false when the connection is gone.
    pub fn try_run(&mut self, script: &str) -> bool {
        self.ask(&format!("{script};")).is_some()
    }

    /// Runs `script`, whole lines of psql, to its end and gives the lines of the answer; `None` when the connection is gone.
    pub fn ask(&mut self, script: &str) -> Option<Vec<String>> {
        let stdin = self.stdin.as_mut()?;
        writeln!(stdin, "{script}\n\\echo that is done").ok()?;
        let (mut answer, mut line) = (Vec::new(), String::new());
        while self.stdout.read_line(&mut line).is_ok_and(|count| count > 0) {
            if line.trim_end() == "that is done" {
                return Some(answer);
            }
            answer.push(line.trim_end().to_owned());
            line.clear();
        }
        None
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // psql ends when its script does; what was open is undone.
        self.stdin = None;
        let _ = self.child.wait();
    }
}
