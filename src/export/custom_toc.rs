//! The table of contents of a directory dump as the custom format has it: other places of the data, all else as it was.
//!
//! Where an entry of the directory format names its file, one of the custom format has a byte and a position (`WriteHead`
//! of Postgres' `pg_backup_archiver.c`, `_WriteExtraToc` of `pg_backup_directory.c` and `pg_backup_custom.c`).

use std::ops::Range;

use crate::toc::{Reader, TocError};

/// Where the head has the format; the compression comes behind it.
const FORMAT_AT: usize = 10;
/// `archCustom`.
const CUSTOM: u8 = 1;
/// Since then the head has an algorithm, before it has gzip's level.
const ALGORITHM_SINCE: (u8, u8) = (1, 15);
/// `K_OFFSET_POS_SET`: the data is at that position.
const POSITION_SET: u8 = 2;
/// `K_OFFSET_NO_DATA`.
const NO_DATA: u8 = 3;

/// How all data of a dump is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What a dump's data files are called, and where the entries name them.
#[derive(Debug)]
pub struct CustomToc {
    bytes: Vec<u8>,
    pub int_size: usize,
    position_size: usize,
    pub compression: Compression,
    pub entries: Vec<CustomEntry>,
}

/// One entry, as far as its data goes.
#[derive(Debug, PartialEq, Eq)]
pub struct CustomEntry {
    pub dump_id: i64,
    /// Its file, without a suffix for the compression; empty when it has no data.
    pub file_name: String,
    pub has_large_objects: bool,
    /// The bytes in which the directory format names the file.
    named_at: Range<usize>,
}

impl CustomToc {
    /// Reads a `toc.dat`.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, TocError> {
        let mut reader = Reader::new(&bytes);
        reader.head()?;
        let compression = compression(&bytes, reader.version)?;
        let mut entries = Vec::new();
        for _ in 0..reader.int()? {
            let entry = reader.entry()?;
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
            if entry.has_data == entry.file_name.is_empty() || !entry.file_name.bytes().all(is_plain) {
                return reader.fail("an entry names no file that pg_dump would have written");
            }
            let length = 1 + reader.int_size + entry.file_name.len();
            entries.push(CustomEntry {
                dump_id: entry.dump_id,
                file_name: entry.file_name,
                has_large_objects: entry.kind == "BLOBS",
                named_at: reader.offset - length..reader.offset,
            });
        }
        reader.end()?;
        let (int_size, position_size) = (reader.int_size, reader.position_size);
        Ok(CustomToc { bytes, int_size, position_size, compression, entries })
    }

    /// Bytes of head and table of contents in a custom archive: where its data begins.
    pub fn custom_size(&self) -> u64 {
        let named: usize = self.entries.iter().map(|entry| entry.named_at.len()).sum();
        (self.bytes.len() - named + self.entries.len() * (1 + self.position_size)) as u64
    }

    /// Head and table of contents of a custom archive. There is a position for each entry that has data.
    pub fn custom(&self, positions: &[Option<u64>]) -> Vec<u8> {
        let mut custom = Vec::new();
        let mut copied = 0;
        for (entry, position) in self.entries.iter().zip(positions) {
            custom.extend(&self.bytes[copied..entry.named_at.start]);
            copied = entry.named_at.end;
            custom.push(if position.is_some() { POSITION_SET } else { NO_DATA });
            let low_first = position.unwrap_or(0).to_le_bytes();
            custom.extend(low_first.iter().chain(std::iter::repeat(&0)).take(self.position_size));
        }
        custom.extend(&self.bytes[copied..]);
        custom[FORMAT_AT] = CUSTOM;
        custom
    }

    /// An integer as the archive has it: a byte for the sign, then the lowest byte first.
    pub fn int(&self, value: i64) -> Vec<u8> {
        let low_first = value.unsigned_abs().to_le_bytes();
        let digits = low_first.into_iter().chain(std::iter::repeat(0)).take(self.int_size);
        std::iter::once(u8::from(value < 0)).chain(digits).collect()
    }
}

fn compression(bytes: &[u8], version: (u8, u8)) -> Result<Compression, TocError> {
    let mut reader = Reader::new(bytes);
    reader.head()?;
    reader.offset = FORMAT_AT + 1;
    if version < ALGORITHM_SINCE {
        return Ok(if reader.int()? == 0 { Compression::None } else { Compression::Gzip });
    }
    // `pg_compress_algorithm`; 2 is LZ4, with which no backup is made.
    match reader.byte()? {
        0 => Ok(Compression::None),
        1 => Ok(Compression::Gzip),
        3 => Ok(Compression::Zstd),
        _ => reader.fail("its compression is not one that this pgbackup converts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn int(value: i32) -> Vec<u8> {
        let mut bytes = vec![u8::from(value < 0)];
        bytes.extend(value.unsigned_abs().to_le_bytes());
        bytes
    }

    fn text(value: &str) -> Vec<u8> {
        [int(i32::try_from(value.len()).unwrap()), value.as_bytes().to_vec()].concat()
    }

    /// A table of contents of that minor version; `places` are what follows the entries, as either format has it.
    fn toc(minor: u8, format: u8, name: &str, places: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = [b"PGDMP".to_vec(), vec![1, minor, 0, 4, 8, format]].concat();
        bytes.extend(if minor >= 15 { vec![3] } else { int(-1) });
        bytes.extend([int(7).repeat(7), text("db"), text("17.6"), text("17.6")].concat());
        bytes.extend(int(i32::try_from(places.len()).unwrap()));
        for (index, place) in places.iter().enumerate() {
            let has_data = index % 2;
            bytes.extend(
                [int(i32::try_from(index).unwrap() - 1), int(i32::try_from(has_data).unwrap())].concat(),
            );
            bytes.extend([text("0"), text("1"), text(name), text("TABLE DATA"), int(3), text("")].concat());
            bytes.extend([int(-1), text("COPY"), text(name), int(-1)].concat());
            bytes.extend(if minor >= 14 { int(-1) } else { Vec::new() });
            bytes.extend(if minor >= 16 { int(0) } else { Vec::new() });
            bytes.extend([text("postgres"), text("false"), text("6"), int(-1), place.clone()].concat());
        }
        bytes
    }

    fn position(state: u8, position: u64) -> Vec<u8> {
        [vec![state], position.to_le_bytes().to_vec()].concat()
    }

    proptest! {
        #[test]
        fn only_the_places_of_the_data_change(minor in 12u8..17, name in ".*", at: [u64; 3]) {
            let none = |index: usize| if index == 0 { int(-1) } else { text("") };
            let files: Vec<Vec<u8>> = (0..6).map(|n| if n % 2 == 0 { none(n) } else { text(&format!("{n}.dat")) }).collect();
            let read = CustomToc::parse(toc(minor, 3, &name, &files)).unwrap();
            let positions: Vec<Option<u64>> = (0..6).map(|n| (n % 2 == 1).then(|| at[n / 2])).collect();
            let places: Vec<Vec<u8>> =
                positions.iter().map(|at| at.map_or_else(|| position(3, 0), |at| position(2, at))).collect();
            let custom = read.custom(&positions);
            prop_assert_eq!(custom.len() as u64, read.custom_size());
            prop_assert_eq!(custom, toc(minor, 1, &name, &places));
            prop_assert_eq!(read.entries[3].file_name.as_str(), "3.dat");
            prop_assert_eq!(read.compression, if minor >= 15 { Compression::Zstd } else { Compression::Gzip });
        }

        #[test]
        fn integers_are_as_they_are_read(value: i32) {
            let read = CustomToc::parse(toc(16, 3, "t", &[])).unwrap();
            prop_assert_eq!(read.int(i64::from(value)), int(value));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0usize..200, flip: u8) {
            let _ = CustomToc::parse(bytes);
            let mut changed = toc(16, 3, "t", &[text(""), text("1.dat")]);
            let at = at % changed.len();
            changed[at] ^= flip;
            if let Ok(read) = CustomToc::parse(changed) {
                let _ = read.custom(&[None, Some(7)]);
            }
        }
    }

    #[test]
    fn a_file_elsewhere_or_none_where_data_is_said_to_be_is_refused() {
        for place in [text("../1.dat"), text("/etc/passwd"), text("ü.dat"), text(""), int(-1)] {
            assert!(CustomToc::parse(toc(16, 3, "t", &[text(""), place])).is_err());
        }
        assert!(CustomToc::parse(toc(16, 3, "t", &[text("0.dat")])).is_err());
    }
}
