//! The data files of a dump: how they are called, decompressed and summed up.

use std::io::{self, Write};

use xxhash_rust::xxh3::Xxh3Default;
use zstd::stream::{raw, zio};

use crate::copy_rows::{RowHasher, RowSum};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Rows(RowSum),
    LargeObject {
        oid: u32,
        bytes: u64,
        hash: u128,
    },
    /// Neither rows nor a large object, or not looked into.
    Other,
    /// It cannot be decompressed to its end or is cut off; why.
    Damaged(String),
}

/// Where a file's stored bytes go: through its decompressor into what sums it up.
#[expect(clippy::large_enum_variant, reason = "there is one for each file being read")]
pub(super) enum Sink {
    Plain(Summer),
    Gzip(Box<flate2::write::GzDecoder<Summer>>),
    Zstd(Box<zio::Writer<Summer, raw::Decoder<'static>>>),
    Other,
}

impl Sink {
    pub fn for_file(name: &str) -> io::Result<Self> {
        let (stem, compression) = stem_of(name);
        let Some(summer) = Summer::for_stem(stem) else { return Ok(Sink::Other) };
        Ok(match compression {
            None => Sink::Plain(summer),
            Some("gz") => Sink::Gzip(Box::new(flate2::write::GzDecoder::new(summer))),
            Some(_) => Sink::Zstd(Box::new(zio::Writer::new(summer, raw::Decoder::new()?))),
        })
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Plain(summer) => summer.write_all(bytes),
            Sink::Gzip(decoder) => decoder.write_all(bytes),
            Sink::Zstd(decoder) => decoder.write_all(bytes),
            Sink::Other => Ok(()),
        }
    }

    /// `size`: of the stored bytes.
    pub fn finish(self, size: u64) -> io::Result<Content> {
        match self {
            // pg_dump's zstd writes no frame for an empty large object.
            Sink::Zstd(decoder) if size == 0 => decoder.into_inner().0.finish(),
            Sink::Plain(summer) => summer.finish(),
            Sink::Gzip(decoder) => decoder.finish()?.finish(),
            Sink::Zstd(mut decoder) => {
                decoder.finish()?;
                decoder.into_inner().0.finish()
            }
            Sink::Other => Ok(Content::Other),
        }
    }
}

/// `3345.dat` and `zst` of `dump/3345.dat.zst`.
pub(super) fn stem_of(name: &str) -> (&str, Option<&str>) {
    let name = name.rsplit('/').next().unwrap_or(name);
    match name.rsplit_once('.') {
        Some((stem, suffix @ ("gz" | "zst"))) => (stem, Some(suffix)),
        _ => (name, None),
    }
}

/// Whether it is the file of a table or of a large object.
pub(super) fn holds_data(name: &str) -> bool {
    Summer::for_stem(stem_of(name).0).is_some()
}

/// What sums up a file's decompressed bytes.
#[expect(clippy::large_enum_variant, reason = "there is one for each file being read")]
pub(super) enum Summer {
    Rows(RowHasher),
    LargeObject { oid: u32, bytes: u64, hash: Box<Xxh3Default> },
}

impl Summer {
    /// `3345.dat` is a table's rows, `blob_16501.dat` a large object; everything else is neither.
    fn for_stem(stem: &str) -> Option<Self> {
        let stem = stem.strip_suffix(".dat")?;
        if let Some(oid) = stem.strip_prefix("blob_") {
            let hash = Box::new(Xxh3Default::new());
            return Some(Summer::LargeObject { oid: oid.parse().ok()?, bytes: 0, hash });
        }
        stem.parse::<u32>().ok()?;
        Some(Summer::Rows(RowHasher::default()))
    }

    fn finish(self) -> io::Result<Content> {
        Ok(match self {
            Summer::Rows(rows) => Content::Rows(rows.finish()?),
            Summer::LargeObject { oid, bytes, hash } => {
                Content::LargeObject { oid, bytes, hash: hash.digest128() }
            }
        })
    }
}

impl Write for Summer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Summer::Rows(rows) => rows.write(buffer),
            Summer::LargeObject { bytes, hash, .. } => {
                hash.update(buffer);
                *bytes += buffer.len() as u64;
                Ok(buffer.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
