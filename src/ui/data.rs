//! Standard output as a stream of bytes, for results that are files.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Failure, Kind};
use crate::interrupt::Interrupt;

/// A pipe with room takes this much without blocking (pipe(7), `PIPE_BUF`).
const PIECE: usize = 4096;
/// How often a write that nobody takes is interrupted to see whether the run was.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Writes as the other end reads; a run that is interrupted does not wait for it. Nothing is held back here, so there is
/// nothing to flush.
#[derive(Debug)]
pub struct DataOut {
    interrupt: Interrupt,
    /// The most that is written at once.
    piece: usize,
}

impl DataOut {
    /// Refuses a terminal. `example` is a file's name for the hint.
    pub fn open(interrupt: &Interrupt, example: &str) -> Result<Self> {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(Failure::refused("the export is data, and standard output is a terminal")
                .hint(format!("type the same with a file behind it: > {example}"))
                .into());
        }
        let is_file = stdout.as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
        let piece = if is_file.is_ok_and(|metadata| metadata.is_file()) { usize::MAX } else { PIECE };
        Ok(DataOut { interrupt: interrupt.clone(), piece })
    }
}

impl Write for DataOut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stdout = rustix::stdio::stdout();
        loop {
            self.interrupt.check().map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], Some(&LOOK_EVERY)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match rustix::io::write(stdout, &bytes[..bytes.len().min(self.piece)]) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::PIPE) => {
                    let gone = Failure::new(Kind::Failed, "nobody reads the export any more");
                    return Err(io::Error::other(gone.hint("what came out until then is not whole")));
                }
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
