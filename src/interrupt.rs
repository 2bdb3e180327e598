//! Being asked to stop: SIGINT, SIGTERM, SIGHUP, and an ssh connection that went away.
//!
//! A dropped ssh session without a terminal sends no signal; all it does is close the other end of stderr. So long
//! work looks at that too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Failure, Kind};

/// Set once in `main`, asked by every loop that waits.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Catches the three signals from now on.
    pub fn install() -> std::io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number.unsigned_abs() as usize)?;
        }
        Ok(Interrupt { signal })
    }

    /// Fails when the work should stop now.
    pub fn check(&self) -> Result<(), Failure> {
        let signal = match self.signal.load(Ordering::Relaxed) {
            0 if stderr_hung_up() => SIGHUP,
            0 => return Ok(()),
            number => i32::try_from(number).unwrap_or(SIGINT),
        };
        // Exit codes are 130 and 143 only: a lost connection is a polite request to end, too.
        let (why, code) = match signal {
            SIGINT => ("interrupted", SIGINT),
            SIGHUP => ("the connection was closed", SIGTERM),
            _ => ("asked to stop", SIGTERM),
        };
        Err(Failure::new(Kind::Interrupted(code), format!("{why}; nothing half-done is left")))
    }
}

/// Whether nobody can read our stderr any more (a pipe or socket whose other end is closed).
fn stderr_hung_up() -> bool {
    let stderr = rustix::stdio::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::empty())];
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut fds, Some(&no_wait)).unwrap_or(0);
    ready > 0 && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
