//! Counting and hashing the rows of a table's data file, in one pass, in constant memory.
//!
//! The content hash of a table is the sum, modulo 2^128, of XXH3-128 (seed 0) over each row's bytes as COPY writes
//! them, without the newline. A sum does not depend on the rows' order and, unlike an XOR, counts duplicates.

use std::io::{self, Write};

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

/// What a table's rows add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowSum {
    pub rows: u64,
    pub hash: u128,
}

/// The line with which `pg_dump` ends a table's data.
const END: &[u8] = br"\.";

/// Takes the decompressed bytes of a data file, in pieces of any size.
#[derive(Debug, Default)]
pub struct RowHasher {
    sum: RowSum,
    /// A row that began in an earlier piece. Hashed as it comes: a row may be a gigabyte.
    open_row: Option<OpenRow>,
    ended: bool,
}

struct OpenRow {
    hash: Xxh3Default,
    length: usize,
    head: [u8; END.len()],
}

impl std::fmt::Debug for OpenRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenRow").field("length", &self.length).finish_non_exhaustive()
    }
}

impl OpenRow {
    fn new() -> Self {
        OpenRow { hash: Xxh3Default::new(), length: 0, head: [0; END.len()] }
    }

    fn extend(&mut self, bytes: &[u8]) {
        for (place, byte) in self.head.iter_mut().skip(self.length).zip(bytes) {
            *place = *byte;
        }
        self.length += bytes.len();
        self.hash.update(bytes);
    }

    fn is_end(&self) -> bool {
        self.length == END.len() && self.head == END
    }
}

impl RowHasher {
    fn update(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let Some(newline) = memchr::memchr(b'\n', bytes) else {
                self.open_row.get_or_insert_with(OpenRow::new).extend(bytes);
                return self.nothing_after_the_end(bytes);
            };
            let (piece, rest) = (&bytes[..newline], &bytes[newline + 1..]);
            self.nothing_after_the_end(piece)?;
            bytes = rest;
            if self.ended {
                continue;
            }
            let (is_end, hash) = match self.open_row.take() {
                None => (piece == END, xxh3_128(piece)),
                Some(mut row) => {
                    row.extend(piece);
                    (row.is_end(), row.hash.digest128())
                }
            };
            if is_end {
                self.ended = true;
            } else {
                self.sum.rows += 1;
                self.sum.hash = self.sum.hash.wrapping_add(hash);
            }
        }
        Ok(())
    }

    /// `pg_dump` writes empty lines behind the end; anything else there is rows that nobody would count.
    fn nothing_after_the_end(&self, piece: &[u8]) -> io::Result<()> {
        if self.ended && !piece.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "there is data behind the end marker"));
        }
        Ok(())
    }

    /// The sum, if the data had its end marker.
    pub fn finish(self) -> io::Result<RowSum> {
        if self.ended {
            return Ok(self.sum);
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the data has no end marker: it is cut off"))
    }
}

impl Write for RowHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum_of(data: &[u8], piece: usize) -> io::Result<RowSum> {
        let mut hasher = RowHasher::default();
        for chunk in data.chunks(piece.max(1)) {
            hasher.write_all(chunk)?;
        }
        hasher.finish()
    }

    fn file(rows: &[String]) -> Vec<u8> {
        let mut text: String = rows.iter().flat_map(|row| [row.as_str(), "\n"]).collect();
        text.push_str("\\.\n\n\n");
        text.into_bytes()
    }

    proptest! {
        #[test]
        fn neither_the_pieces_nor_the_order_matter(mut rows in prop::collection::vec("[^\n\\\\]{0,40}", 0..20), piece in 1usize..50) {
            let whole = sum_of(&file(&rows), usize::MAX).unwrap();
            prop_assert_eq!(whole.rows, rows.len() as u64);
            rows.reverse();
            prop_assert_eq!(sum_of(&file(&rows), piece).unwrap(), whole);
        }

        #[test]
        fn a_changed_byte_changes_the_hash(rows in prop::collection::vec("[a-z]{1,40}", 1..20), at: prop::sample::Index) {
            let data = file(&rows);
            let mut changed = data.clone();
            let at = at.index(data.len() - 5);
            changed[at] ^= 1;
            let same = sum_of(&changed, 7).is_ok_and(|sum| sum == sum_of(&data, 7).unwrap());
            prop_assert!(!same);
        }
    }

    #[test]
    fn duplicates_count() {
        let twice = sum_of(b"a\na\n\\.\n", 100).unwrap();
        let none = sum_of(b"\\.\n", 100).unwrap();
        assert_eq!((twice.rows, none.rows), (2, 0));
        assert_ne!(twice.hash, none.hash);
    }

    #[test]
    fn data_without_its_end_or_behind_it_is_an_error() {
        for data in [&b""[..], b"a\n", b"a\n\\.", b"a\n\\.\nb\n", b"a\n\\.\n\nb"] {
            assert!(sum_of(data, 100).is_err() && sum_of(data, 1).is_err(), "{data:?}");
        }
        assert_eq!(sum_of(b"\n\n\\.\n\n\n", 1).unwrap().rows, 2);
    }
}
