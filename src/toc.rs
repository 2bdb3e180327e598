//! Reading `toc.dat`, the table of contents that `pg_dump -Fd` writes: which object is in which file, word for word.
//!
//! `pg_restore --list` prints the same, but with names that cannot be told apart from their surroundings. The format is
//! that of `ReadHead` and `ReadToc` in Postgres' `src/bin/pg_dump/pg_backup_archiver.c`, versions 1.12 (Postgres 9.0)
//! to 1.16 (17 and 18).

use std::fmt;

/// What `pg_dump` says of the whole dump, and its objects in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    pub database: String,
    pub server_version: String,
    pub dump_version: String,
    pub entries: Vec<Entry>,
}

/// One object of the dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub dump_id: i64,
    pub has_data: bool,
    /// The object's kind: `TABLE`, `TABLE DATA`, `SEQUENCE SET`, `ACL`, `COMMENT`, …
    pub kind: String,
    pub schema: String,
    pub name: String,
    pub owner: String,
    pub definition: String,
    pub copy_statement: String,
    pub table_access_method: String,
    /// Dump ids of what must be there before it.
    pub dependencies: Vec<i64>,
    /// The data file's name without its compression suffix; empty when there is none.
    pub file_name: String,
}

/// What is wrong with `toc.dat`, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocError {
    pub offset: usize,
    pub what: String,
}

impl fmt::Display for TocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the dump's table of contents cannot be read at byte {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for TocError {}

const OLDEST: (u8, u8) = (1, 12);
const NEWEST: (u8, u8) = (1, 16);

/// Reads a whole `toc.dat`. Everything must be understood, to the last byte.
pub fn parse(bytes: &[u8]) -> Result<Toc, TocError> {
    let mut reader = Reader::new(bytes);
    let toc = reader.toc()?;
    reader.end()?;
    Ok(toc)
}

/// Reads the table of contents with which an archive in one file begins; its data follow.
pub fn parse_beginning(bytes: &[u8]) -> Result<Toc, TocError> {
    Reader::new(bytes).toc()
}

/// `archCustom` in `pg_backup_archiver.h`.
const CUSTOM: u8 = 1;

/// Goes through the bytes of a table of contents: its head, the number of entries, each of them, the end.
pub struct Reader<'a> {
    bytes: &'a [u8],
    pub offset: usize,
    /// Bytes of an integer without its sign.
    pub int_size: usize,
    /// Bytes of a position in an archive.
    pub position_size: usize,
    pub version: (u8, u8),
    /// Of what stands behind each entry of a custom archive: where its data are.
    place_size: Option<usize>,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, offset: 0, int_size: 4, position_size: 8, version: NEWEST, place_size: None }
    }

    fn toc(&mut self) -> Result<Toc, TocError> {
        let mut toc = self.head()?;
        let count = self.int()?;
        for _ in 0..count {
            toc.entries.push(self.entry()?);
        }
        Ok(toc)
    }

    pub fn end(&self) -> Result<(), TocError> {
        if self.offset == self.bytes.len() { Ok(()) } else { self.fail("there is something behind its end") }
    }

    pub fn head(&mut self) -> Result<Toc, TocError> {
        if self.take(5)? != b"PGDMP" {
            self.offset = 0;
            return self.fail("it does not begin with PGDMP");
        }
        self.version = (self.byte()?, self.byte()?);
        let _revision = self.byte()?;
        if self.version < OLDEST || self.version > NEWEST {
            let (major, minor) = self.version;
            return self.fail(&format!("its format {major}.{minor} is not one that this pgbackup knows"));
        }
        self.int_size = usize::from(self.byte()?);
        if !(1..=8).contains(&self.int_size) {
            return self.fail("its integers have an impossible size");
        }
        self.position_size = usize::from(self.byte()?);
        if self.byte()? == CUSTOM {
            // `WriteOffset` puts a byte before it that says whether it is known.
            self.place_size = Some(1 + self.position_size);
        }
        if self.version >= (1, 15) {
            let _compression_algorithm = self.byte()?;
        } else {
            let _compression_level = self.int()?;
        }
        for _time_part in 0..7 {
            self.int()?;
        }
        let (database, server_version, dump_version) = (self.text()?, self.text()?, self.text()?);
        Ok(Toc { database, server_version, dump_version, entries: Vec::new() })
    }

    pub fn entry(&mut self) -> Result<Entry, TocError> {
        let mut entry = Entry { dump_id: self.int()?, has_data: self.int()? != 0, ..Entry::default() };
        let _table_oid = self.text()?;
        let _oid = self.text()?;
        entry.name = self.text()?;
        entry.kind = self.text()?;
        let _section = self.int()?;
        entry.definition = self.text()?;
        let _drop_statement = self.text()?;
        entry.copy_statement = self.text()?;
        entry.schema = self.text()?;
        let _tablespace = self.text()?;
        if self.version >= (1, 14) {
            entry.table_access_method = self.text()?;
        }
        if self.version >= (1, 16) {
            let _relation_kind = self.int()?;
        }
        entry.owner = self.text()?;
        let _with_oids = self.text()?;
        // Dump ids, ended by a null.
        while let Some(dependency) = self.optional_text()? {
            match dependency.parse() {
                Ok(id) => entry.dependencies.push(id),
                Err(_) => return self.fail("an entry depends on what is no number"),
            }
        }
        match self.place_size {
            Some(size) => drop(self.take(size)?),
            None => entry.file_name = self.text()?,
        }
        if entry.file_name.contains(['/', '\\', '\0']) || entry.file_name.starts_with('.') {
            return self.fail("an entry's file is not one of the dump's folder");
        }
        Ok(entry)
    }

    /// A sign byte, then `int_size` bytes, the lowest first (`WriteInt`).
    pub fn int(&mut self) -> Result<i64, TocError> {
        let negative = self.byte()? != 0;
        let size = self.int_size;
        let value = self
            .take(size)?
            .iter()
            .rev()
            .try_fold(0i64, |value, byte| value.checked_mul(256).map(|value| value | i64::from(*byte)));
        match value {
            Some(value) if negative => Ok(-value),
            Some(value) => Ok(value),
            None => self.fail("a number is too large"),
        }
    }

    /// A length, then that many bytes; a negative length is a null (`WriteStr`).
    fn optional_text(&mut self) -> Result<Option<String>, TocError> {
        let length = self.int()?;
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        // Lossy only for databases in other encodings than UTF-8; both sides of every comparison lose the same.
        Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned()))
    }

    fn text(&mut self) -> Result<String, TocError> {
        Ok(self.optional_text()?.unwrap_or_default())
    }

    pub fn byte(&mut self) -> Result<u8, TocError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Result<&[u8], TocError> {
        match self.bytes[self.offset..].get(..count) {
            Some(taken) => {
                self.offset += count;
                Ok(taken)
            }
            None => self.fail("it ends too early"),
        }
    }

    pub fn fail<T>(&self, what: &str) -> Result<T, TocError> {
        Err(TocError { offset: self.offset, what: what.to_owned() })
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

    /// A table of contents as Postgres 17 writes it, with one table's data.
    fn sample() -> Vec<u8> {
        let head = [b"PGDMP\x01\x10\x00\x04\x08\x03\x00".to_vec(), int(0).repeat(7)].concat();
        let names = [text("db"), text("17.6"), text("17.6"), int(1)].concat();
        let about =
            [int(7), int(1), text("0"), text("16385"), text("we\"ird ta\nble"), text("TABLE DATA"), int(3)];
        let body =
            [text(""), text(""), text("COPY x FROM stdin;\n"), text("public"), int(-1), int(-1), int(0)];
        let tail = [text("postgres"), text("false"), text("6"), int(-1), text("7.dat")];
        [head, names, about.concat(), body.concat(), tail.concat()].concat()
    }

    #[test]
    fn names_come_out_word_for_word() {
        let toc = parse(&sample()).unwrap();
        assert_eq!((toc.database.as_str(), toc.server_version.as_str()), ("db", "17.6"));
        let entry = &toc.entries[0];
        assert_eq!(entry.name, "we\"ird ta\nble");
        assert_eq!((entry.dump_id, entry.has_data, entry.file_name.as_str()), (7, true, "7.dat"));
        assert_eq!(entry.dependencies, [6]);
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        let told = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        let begins = "the dump's table of contents cannot be read at byte";
        assert_eq!(told(b"PGDUMP"), format!("{begins} 0: it does not begin with PGDMP"));
        assert_eq!(told(b"PGDMP\x01"), format!("{begins} 6: it ends too early"));
        let longer = [sample(), vec![0]].concat();
        assert!(told(&longer).ends_with(": there is something behind its end"));
        assert_eq!(parse_beginning(&longer).unwrap(), parse(&sample()).unwrap());
    }

    #[test]
    fn formats_and_sizes_that_nobody_writes_are_refused() {
        let with = |at: usize, byte: u8| {
            let mut changed = sample();
            changed[at] = byte;
            parse(&changed).unwrap_err().what
        };
        for (minor, format) in [(11, "1.11"), (17, "1.17")] {
            assert!(with(6, minor).contains(&format!("its format {format} is not one")));
        }
        for size in [0, 9] {
            assert_eq!(with(8, size), "its integers have an impossible size");
        }
    }

    #[test]
    fn numbers_have_a_sign_and_a_size() {
        let read = |bytes: &[u8], int_size| {
            let mut reader = Reader::new(bytes);
            reader.int_size = int_size;
            reader.int().map_err(|error| error.what)
        };
        assert_eq!(read(&[0, 1, 2], 2), Ok(0x201));
        assert_eq!(read(&[1, 1, 2], 2), Ok(-0x201));
        assert_eq!(read(&[0, 255, 255, 255, 255, 255, 255, 255, 127], 8), Ok(i64::MAX));
        assert_eq!(read(&[0, 0, 0, 0, 0, 0, 0, 0, 255], 8), Err("a number is too large".to_owned()));
    }

    /// Up to 1.13 entries have no access method, up to 1.15 no relation kind; up to 1.14 the level of compression is a
    /// number.
    #[test]
    fn older_formats_have_fewer_fields() {
        for minor in 12..=16 {
            let compression = if minor >= 15 { vec![0] } else { int(-1) };
            let head =
                [b"PGDMP\x01".to_vec(), vec![minor, 0, 4, 8, 3], compression, int(0).repeat(7)].concat();
            let names = [text("db"), text("12.1"), text("12.1"), int(1)].concat();
            let about = [int(7), int(0), text("0"), text("1"), text("cows"), text("TABLE"), int(2)].concat();
            let body = [text("CREATE"), text("DROP"), text(""), text("public"), text("")].concat();
            let method = if minor >= 14 { text("heap") } else { vec![] };
            let kind = if minor >= 16 { int(114) } else { vec![] };
            let tail = [text("boss"), text("false"), int(-1), text("")].concat();
            let toc = parse(&[head, names, about, body, method, kind, tail].concat()).unwrap();
            let entry = &toc.entries[0];
            assert_eq!((entry.schema.as_str(), entry.owner.as_str()), ("public", "boss"), "1.{minor}");
            assert_eq!(entry.table_access_method, if minor >= 14 { "heap" } else { "" });
            assert!(!entry.has_data);
        }
    }

    #[test]
    fn an_archive_in_one_file_has_places_instead_of_names() {
        let whole = sample();
        let mut archive = whole[..whole.len() - text("7.dat").len()].to_vec();
        archive[10] = CUSTOM;
        archive.extend([2; 9]);
        let toc = parse(&archive).unwrap();
        assert_eq!(
            (toc.entries[0].name.as_str(), toc.entries[0].file_name.as_str()),
            ("we\"ird ta\nble", "")
        );
    }

    #[test]
    fn no_file_is_elsewhere() {
        for name in ["../.", "/etc/", "..", "a/b", ".x", "a\0b"] {
            let whole = sample();
            let changed = [&whole[..whole.len() - 10], &text(name)[..]].concat();
            assert!(parse(&changed).unwrap_err().what.contains("not one of the dump's folder"), "{name}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(parse(&[whole, vec![0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0usize..200, flip: u8) {
            let _ = parse(&bytes);
            let mut changed = sample();
            let at = at % changed.len();
            changed[at] ^= flip;
            let _ = parse(&changed);
        }
    }
}
