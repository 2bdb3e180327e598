//! Being asked to stop: SIGINT, SIGTERM, SIGHUP, and an ssh connection that went away; and input that is waited for meanwhile.
//!
//! A dropped ssh session without a terminal sends no signal; all it does is close the other end of stderr. So long
//! work looks at that too.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
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
        Err(Failure::new(Kind::Interrupted(code), why).hint("nothing half-done is left"))
    }
}

/// Input that is waited for without missing a signal: a plain read would go on behind it.
#[derive(Debug)]
pub struct Awaited<'a> {
    input: File,
    interrupt: &'a Interrupt,
}

impl<'a> Awaited<'a> {
    pub fn of(input: impl AsFd, interrupt: &'a Interrupt) -> io::Result<Self> {
        Ok(Awaited { input: File::from(input.as_fd().try_clone_to_owned()?), interrupt })
    }
}

impl Read for Awaited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        loop {
            self.interrupt.check().map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.input, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.input.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
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
