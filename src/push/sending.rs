//! The tar stream cut into parts; threads encrypt, store and check them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use crate::catalog::Backup;
use crate::checksum::sha256_hex;
use crate::dokku::Service;
use crate::encryption::Recipients;
use crate::files;
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::offsite::{self, Part};
use crate::remote::Remote;
use crate::settings::Settings;
use crate::tarball;

use super::journal::{Journal, Sent};

/// Bytes of the tar stream in a part. A few of them are in memory at once.
pub(super) const PART: usize = 4 * 1024 * 1024;
/// Parts on their way at once: one connection seldom fills a line.
const AT_ONCE: usize = 2;

/// A piece of the tar stream on its way to a sender.
type Piece = (usize, Vec<u8>);

/// Sends every part that the journal does not know; all of them, in their order.
pub(super) fn send_all(
    host: &Host<'_>,
    service: &Service,
    backup: &Backup,
    remote: &Remote,
    settings: &Settings,
    journal: &Journal,
) -> Result<Vec<Part>> {
    let total = tarball::size(backup)?;
    let sender = Sender {
        remote,
        folder: offsite::folder(&service.name, &backup.id),
        recipients: settings.recipients.as_ref(),
        journal,
        writing: Mutex::new(()),
    };
    let stop = AtomicBool::new(false);
    let (pieces, queue) = sync_channel::<Piece>(0);
    let (report, reports) = mpsc::channel();
    let queue = Arc::new(Mutex::new(queue));
    let mut done = journal.done.clone();
    std::thread::scope(|scope| {
        let interrupt = host.docker.interrupt();
        let splitter = Splitter { piece: Vec::new(), number: 1, skip: &journal.done, pieces, interrupt };
        let reading = scope.spawn(move || tarball::write(backup, splitter)?.finish());
        for _ in 0..AT_ONCE {
            let (queue, report, sender, stop) = (Arc::clone(&queue), report.clone(), &sender, &stop);
            scope.spawn(move || {
                while let Some((number, piece)) = next_piece(&queue) {
                    let sent = sender.send(number, piece);
                    if sent.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    // One that fails stops the other, too.
                    if report.send((number, sent)).is_err() || stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        // Only the senders hold the queue now: when they stop, whoever reads the files hears of it.
        drop((report, queue));
        let mut failure = None;
        for (number, sent) in reports {
            match sent {
                Ok(part) => drop(done.insert(number, part)),
                Err(error) => drop(failure.get_or_insert(error)),
            }
            let bytes = (done.len() as u64).saturating_mul(PART as u64).min(total);
            host.progress.bytes(bytes, Some(total));
        }
        let read = reading.join().map_err(|_| anyhow!("the thread that reads the backup panicked"))?;
        host.check()?;
        match (failure, read) {
            (Some(error), _) | (None, Err(error)) => Err(error),
            (None, Ok(count)) if done.len() == count => Ok(done.into_values().collect()),
            (None, Ok(count)) => Err(anyhow!("{} of {count} parts were sent", done.len())),
        }
    })
}

fn next_piece(queue: &Mutex<Receiver<Piece>>) -> Option<Piece> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Cuts what is written into pieces, and hands on those that are wanted.
struct Splitter<'a> {
    piece: Vec<u8>,
    number: usize,
    skip: &'a BTreeMap<usize, Part>,
    pieces: SyncSender<Piece>,
    /// What is passed over is read all the same, and that may be much.
    interrupt: &'a Interrupt,
}

impl Splitter<'_> {
    fn hand_on(&mut self) -> io::Result<()> {
        self.interrupt.check().map_err(io::Error::other)?;
        if self.skip.contains_key(&self.number) {
            self.piece.clear();
        } else {
            let piece = std::mem::take(&mut self.piece);
            let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody sends any more");
            self.pieces.send((self.number, piece)).map_err(gone)?;
        }
        self.number += 1;
        Ok(())
    }

    /// How many parts there are.
    fn finish(mut self) -> Result<usize> {
        if !self.piece.is_empty() {
            self.hand_on()?;
        }
        Ok(self.number - 1)
    }
}

impl Write for Splitter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve_exact(PART);
        }
        let count = bytes.len().min(PART - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PART {
            self.hand_on()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends one piece: encrypted, stored, read back, written down.
struct Sender<'a> {
    remote: &'a Remote,
    folder: String,
    recipients: Option<&'a Recipients>,
    journal: &'a Journal,
    writing: Mutex<()>,
}

impl Sender<'_> {
    fn send(&self, number: usize, piece: Vec<u8>) -> Result<Part> {
        let (bytes, suffix) = match self.recipients {
            None => (piece, offsite::PLAIN),
            Some(recipients) => {
                let mut writer = recipients.encrypt(Vec::with_capacity(piece.len() + 64 * 1024))?;
                writer.write_all(&piece)?;
                drop(piece);
                (writer.finish().context("encrypting")?, offsite::ENCRYPTED)
            }
        };
        let part = Part {
            name: format!("part-{}-{number:06}{suffix}", self.journal.series),
            size: bytes.len() as u64,
            sha256: sha256_hex(&bytes),
        };
        self.remote.put(&format!("{}/{}", self.folder, part.name), &Bytes::from(bytes))?;
        let line = serde_json::to_string(&Sent { number, part: part.clone() })?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        files::append_line(&self.journal.path, &line)?;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_into_pieces_and_known_ones_are_passed_over() {
        let (pieces, queue) = sync_channel(10);
        let part = Part { name: "part-000002.tar".into(), size: 1, sha256: String::new() };
        let skip = BTreeMap::from([(2, part)]);
        let interrupt = Interrupt::default();
        let mut splitter =
            Splitter { piece: Vec::new(), number: 1, skip: &skip, pieces, interrupt: &interrupt };
        splitter.write_all(&vec![1; PART]).unwrap();
        splitter.write_all(&vec![2; PART]).unwrap();
        splitter.write_all(&[3; 10]).unwrap();
        assert_eq!(splitter.finish().unwrap(), 3);
        let sent: Vec<(usize, usize, u8)> =
            queue.into_iter().map(|(number, piece)| (number, piece.len(), piece[0])).collect();
        assert_eq!(sent, [(1, PART, 1), (3, 10, 3)]);
    }
}
