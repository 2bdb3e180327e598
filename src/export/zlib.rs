//! What a gzip file holds as a zlib stream (RFC 1950, RFC 1952), without compressing it again: the compressed data is the
//! same in both, only what is before and behind it differs.

use std::io::{self, Read, Write};

use flate2::{Decompress, FlushDecompress, Status};

/// `gzip`'s head as zlib's `gzopen` writes it, without a name or other additions.
const GZIP_HEAD: usize = 10;
/// CRC-32 and length of the content.
const GZIP_TAIL: usize = 8;
/// Deflate with a window of 32 KiB, compressed quickly, no dictionary.
const ZLIB_HEAD: [u8; 2] = [0x78, 0x01];
/// The Adler-32 of the content.
const ZLIB_TAIL: usize = 4;
const PIECE: usize = 64 * 1024;

/// Bytes of the zlib stream for a gzip file of `size` bytes; `None` when it is too short for one.
pub fn size(size: u64) -> Option<u64> {
    let content = size.checked_sub((GZIP_HEAD + GZIP_TAIL) as u64)?;
    Some(content + (ZLIB_HEAD.len() + ZLIB_TAIL) as u64)
}

/// Writes the content of the gzip file `input`, which has `stored` bytes, as a zlib stream.
pub fn write(mut input: impl Read, stored: u64, out: &mut dyn Write) -> io::Result<()> {
    let content = stored.checked_sub((GZIP_HEAD + GZIP_TAIL) as u64);
    let mut left = content.ok_or_else(|| damaged("it is cut off"))?;
    let mut head = [0; GZIP_HEAD];
    input.read_exact(&mut head)?;
    if head[..4] != [0x1f, 0x8b, 8, 0] {
        return Err(damaged("it does not begin as gzip does"));
    }
    out.write_all(&ZLIB_HEAD)?;
    let mut inflated = Inflated::new();
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let count = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        input.read_exact(&mut piece[..count])?;
        inflated.look_at(&piece[..count])?;
        out.write_all(&piece[..count])?;
        left -= count as u64;
    }
    let mut tail = [0; GZIP_TAIL];
    input.read_exact(&mut tail)?;
    let length = u64::from(u32::from_le_bytes([tail[4], tail[5], tail[6], tail[7]]));
    if !inflated.ended || inflated.inflate.total_out() % (1 << 32) != length {
        return Err(damaged("it is cut off, or has more than one part"));
    }
    out.write_all(&inflated.adler.value().to_be_bytes())
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The content, looked at for its checksum only.
struct Inflated {
    inflate: Decompress,
    buffer: Vec<u8>,
    adler: Adler,
    ended: bool,
}

impl Inflated {
    fn new() -> Self {
        let adler = Adler { a: 1, b: 0 };
        Inflated { inflate: Decompress::new(false), buffer: vec![0; PIECE], adler, ended: false }
    }

    fn look_at(&mut self, mut piece: &[u8]) -> io::Result<()> {
        loop {
            if self.ended {
                let whole = piece.is_empty();
                return if whole { Ok(()) } else { Err(damaged("there is something behind its content")) };
            }
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(piece, &mut self.buffer, FlushDecompress::None)?;
            let since = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            let taken = since(self.inflate.total_in(), before.0);
            let made = since(self.inflate.total_out(), before.1);
            self.adler.add(&self.buffer[..made]);
            piece = &piece[taken..];
            self.ended = status == Status::StreamEnd;
            if !self.ended && piece.is_empty() && made < self.buffer.len() {
                return Ok(());
            }
            if !self.ended && taken == 0 && made == 0 {
                return Err(damaged("it cannot be decompressed"));
            }
        }
    }
}

/// Adler-32 (RFC 1950, section 9).
struct Adler {
    a: u32,
    b: u32,
}

impl Adler {
    /// The largest prime below 2^16.
    const BASE: u32 = 65_521;
    /// So many bytes do not overflow before the remainder is taken.
    const AT_ONCE: usize = 5552;

    fn add(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(Self::AT_ONCE) {
            for byte in part {
                self.a += u32::from(*byte);
                self.b += self.a;
            }
            self.a %= Self::BASE;
            self.b %= Self::BASE;
        }
    }

    fn value(&self) -> u32 {
        self.b << 16 | self.a
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use proptest::prelude::*;

    fn gzip(content: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn converted(gzip: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        write(gzip, gzip.len() as u64, &mut out)?;
        Ok(out)
    }

    fn inflated(zlib: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        flate2::read::ZlibDecoder::new(zlib).read_to_end(&mut content).unwrap();
        content
    }

    proptest! {
        #[test]
        fn the_content_is_the_same(words in proptest::collection::vec(any::<u16>(), 0..2000), times in 1usize..100, level in 0u32..10) {
            let content: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>().repeat(times);
            let stored = gzip(&content, level);
            let zlib = converted(&stored).unwrap();
            prop_assert_eq!(size(stored.len() as u64), Some(zlib.len() as u64));
            prop_assert_eq!(inflated(&zlib), content);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0usize..60, flip: u8) {
            let _ = converted(&bytes);
            let mut changed = gzip(b"a cow and another cow and one cow more", 1);
            let at = at % changed.len();
            changed[at] ^= flip;
            let _ = converted(&changed);
        }
    }

    #[test]
    fn nothing_is_a_stream_too() {
        assert_eq!(inflated(&converted(&gzip(b"", 1)).unwrap()), b"");
    }

    #[test]
    fn what_is_not_one_whole_file_is_an_error() {
        let whole = gzip(&[7; 5000], 1);
        for length in 0..whole.len() {
            assert!(converted(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(converted(&[whole.clone(), whole].concat()).is_err());
    }
}
