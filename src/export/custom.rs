//! A backup as an archive of `pg_dump -Fc`, made of its directory dump without a server.
//!
//! Both formats hold the same, in the same compression: only the framing differs (Postgres' `pg_backup_custom.c`). All
//! sizes follow from the files' sizes, so the positions of all data are known before the first byte is written, and
//! `pg_restore` can take it with parallel jobs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::custom_toc::{Compression, CustomEntry, CustomToc};
use super::zlib;
use crate::catalog::Backup;
use crate::files;
use crate::layout;

/// A line each for 100,000 objects and more.
const MAX_LISTING: u64 = 256 * 1024 * 1024;
/// Data comes in chunks, each with its length before it; `pg_restore` takes them of any size.
const CHUNK: usize = 64 * 1024;
/// `BLK_DATA`: a table's rows.
const ROWS: u8 = 1;
/// `BLK_BLOBS`: large objects, each behind its oid.
const LARGE_OBJECTS: u8 = 3;

/// Writes the archive of a backup.
pub fn write(backup: &Backup, out: &mut dyn Write) -> Result<()> {
    convert(backup.folder.join(layout::DUMP), out)
}

/// The archive of a dump in the directory format.
fn convert(dump: PathBuf, out: &mut dyn Write) -> Result<()> {
    let toc = CustomToc::parse(files::read_bounded(&dump.join("toc.dat"), MAX_LISTING)?)?;
    let archive = Archive { dump, toc };
    let blocks: Vec<Option<Block>> =
        archive.toc.entries.iter().map(|entry| archive.block(entry)).collect::<Result<_>>()?;
    let mut end = archive.toc.custom_size();
    let positions: Vec<Option<u64>> = blocks
        .iter()
        .map(|block| {
            let begin = end;
            end += block.as_ref()?.size;
            Some(begin)
        })
        .collect();
    let mut out = Counted { out: BufWriter::with_capacity(CHUNK, out), count: 0 };
    out.write_all(&archive.toc.custom(&positions))?;
    for (block, position) in blocks.iter().zip(positions) {
        let (Some(block), Some(position)) = (block, position) else { continue };
        if out.count != position {
            bail!("the backup changed while it was read");
        }
        archive.write_block(block, &mut out)?;
    }
    Ok(out.flush()?)
}

struct Archive {
    dump: PathBuf,
    toc: CustomToc,
}

/// All data of one entry.
struct Block {
    dump_id: i64,
    /// In the archive.
    size: u64,
    content: Content,
}

enum Content {
    /// The file without its suffix.
    Rows(String),
    /// The oids.
    LargeObjects(Vec<u32>),
}

impl Archive {
    fn block(&self, entry: &CustomEntry) -> Result<Option<Block>> {
        if entry.file_name.is_empty() {
            return Ok(None);
        }
        let int = self.int_size();
        let head = 1 + int;
        let (content, size) = if entry.has_large_objects {
            let oids = large_objects(&self.dump.join(&entry.file_name))?;
            let sizes = oids.iter().map(|oid| Ok(int + self.chunked_size(&large_object(*oid))?));
            let size = sizes.sum::<Result<u64>>()? + int;
            (Content::LargeObjects(oids), size)
        } else {
            (Content::Rows(entry.file_name.clone()), self.chunked_size(&entry.file_name)?)
        };
        Ok(Some(Block { dump_id: entry.dump_id, size: head + size, content }))
    }

    /// Bytes of an integer in the archive.
    fn int_size(&self) -> u64 {
        1 + self.toc.int_size as u64
    }

    fn open(&self, name: &str) -> Result<File> {
        let name = self.file(name);
        files::open_inside(&self.dump, &name).with_context(|| self.dump.join(&name).display().to_string())
    }

    fn file(&self, name: &str) -> String {
        let suffix = match self.toc.compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        };
        format!("{name}{suffix}")
    }

    /// Bytes of a file's content in the archive, with the lengths before the chunks and the zero behind the last.
    fn chunked_size(&self, name: &str) -> Result<u64> {
        let stored = self.open(name)?.metadata()?.len();
        let size = match self.toc.compression {
            Compression::Gzip => {
                zlib::size(stored).ok_or_else(|| anyhow!("{} is cut off", self.file(name)))?
            }
            Compression::None | Compression::Zstd => stored,
        };
        Ok(size + (size.div_ceil(CHUNK as u64) + 1) * self.int_size())
    }

    fn write_block(&self, block: &Block, out: &mut impl Write) -> Result<()> {
        match &block.content {
            Content::Rows(name) => {
                out.write_all(&[ROWS])?;
                out.write_all(&self.toc.int(block.dump_id))?;
                self.write_file(name, out)
            }
            Content::LargeObjects(oids) => {
                out.write_all(&[LARGE_OBJECTS])?;
                out.write_all(&self.toc.int(block.dump_id))?;
                for oid in oids {
                    // Postgres writes an oid as the signed integer of the same bits.
                    out.write_all(&self.toc.int(i64::from(oid.cast_signed())))?;
                    self.write_file(&large_object(*oid), out)?;
                }
                Ok(out.write_all(&self.toc.int(0))?)
            }
        }
    }

    fn write_file(&self, name: &str, out: &mut impl Write) -> Result<()> {
        let of = || self.file(name);
        let mut file = self.open(name)?;
        let mut chunks = Chunks { toc: &self.toc, out, chunk: Vec::with_capacity(CHUNK) };
        match self.toc.compression {
            Compression::Gzip => {
                let stored = file.metadata().with_context(of)?.len();
                zlib::write(&mut file, stored, &mut chunks).with_context(of)?;
            }
            // A zstd stream is the same in both formats, and nothing at all where there is nothing.
            Compression::None | Compression::Zstd => {
                io::copy(&mut file, &mut chunks).with_context(of)?;
            }
        }
        chunks.end().with_context(of)
    }
}

fn large_object(oid: u32) -> String {
    format!("blob_{oid}.dat")
}

/// The oids in a list of large objects: a line each, `16501 blob_16501.dat`.
fn large_objects(list: &Path) -> Result<Vec<u32>> {
    let text = String::from_utf8(files::read_bounded(list, MAX_LISTING)?);
    let wrong = || anyhow!("{} is no list of large objects", list.display());
    let oid = |line: &str| {
        let (oid, file) = line.split_once(' ')?;
        let oid: u32 = oid.parse().ok().filter(|oid| *oid != 0)?;
        (file == large_object(oid)).then_some(oid)
    };
    text.map_err(|_| wrong())?.lines().map(|line| oid(line).ok_or_else(wrong)).collect()
}

/// Cuts what is written into chunks of one size, but for the last.
struct Chunks<'a, W> {
    toc: &'a CustomToc,
    out: &'a mut W,
    chunk: Vec<u8>,
}

impl<W: Write> Chunks<'_, W> {
    fn send(&mut self) -> io::Result<()> {
        self.out.write_all(&self.toc.int(i64::try_from(self.chunk.len()).unwrap_or(i64::MAX)))?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.send()?;
        }
        // A chunk of no length is the end.
        self.send()
    }
}

impl<W: Write> Write for Chunks<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend(&bytes[..count]);
        if self.chunk.len() == CHUNK {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Knows at which position of the archive it is.
struct Counted<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(value: usize) -> Vec<u8> {
        [vec![0], u32::try_from(value).unwrap().to_le_bytes().to_vec()].concat()
    }

    fn text(value: &str) -> Vec<u8> {
        [int(value.len()), value.as_bytes().to_vec()].concat()
    }

    fn entry(dump_id: usize, kind: &str, place: &[u8]) -> Vec<u8> {
        let about = [int(dump_id), int(1), text("0"), text("0"), text("t"), text(kind), int(3)].concat();
        let body = [text(""), text(""), text("COPY"), text("public"), text(""), text(""), int(0)].concat();
        let end = [1, 1, 0, 0, 0];
        [about, body, text("postgres"), text("false"), end.to_vec(), place.to_vec()].concat()
    }

    fn toc(format: u8, rows: &[u8], objects: &[u8]) -> Vec<u8> {
        let head = [&b"PGDMP\x01\x10\x00\x04\x08"[..], &[format, 0]].concat();
        let names = [int(0).repeat(7), text("db"), text("18.1"), text("18.1"), int(2)].concat();
        [head, names, entry(7, "TABLE DATA", rows), entry(9, "BLOBS", objects)].concat()
    }

    fn place(position: usize) -> Vec<u8> {
        [vec![2], (position as u64).to_le_bytes().to_vec()].concat()
    }

    #[test]
    fn the_archive_holds_the_files_at_the_positions_that_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| files::write_private(&folder.path().join(name), bytes).unwrap();
        let rows = vec![b'r'; 2 * CHUNK + 3];
        put("toc.dat", &toc(3, &text("7.dat"), &text("blobs_9.toc")));
        put("7.dat", &rows);
        put("blobs_9.toc", b"5 blob_5.dat\n4000000000 blob_4000000000.dat\n");
        put("blob_5.dat", b"");
        put("blob_4000000000.dat", &vec![b'o'; CHUNK]);

        let chunk = |bytes: &[u8]| [int(bytes.len()), bytes.to_vec()].concat();
        let of_rows =
            [vec![ROWS], int(7), chunk(&rows[..CHUNK]), chunk(&rows[..CHUNK]), chunk(b"rrr"), int(0)]
                .concat();
        // The oid as a signed integer: 4000000000 - 2^32.
        let oid = [vec![1], 294_967_296u32.to_le_bytes().to_vec()].concat();
        let objects = [int(5), int(0), oid, chunk(&vec![b'o'; CHUNK]), int(0), int(0)].concat();
        let of_objects = [vec![LARGE_OBJECTS], int(9), objects].concat();
        let begin = toc(1, &place(0), &place(0)).len();
        let expected = [toc(1, &place(begin), &place(begin + of_rows.len())), of_rows, of_objects].concat();

        let mut archive = Vec::new();
        convert(folder.path().to_owned(), &mut archive).unwrap();
        assert!(archive == expected);
        for (name, list) in [
            ("a", "5 ../blob_5.dat\n"),
            ("b", "0 blob_0.dat\n"),
            ("c", "blob_5.dat\n"),
            ("d", "5 blob_6.dat\n"),
        ] {
            put(name, list.as_bytes());
            assert!(large_objects(&folder.path().join(name)).is_err(), "{list}");
        }
    }
}
