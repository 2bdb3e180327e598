//! Rows of COPY: the sum does not depend on how the bytes are cut, and says how many rows a reader finds.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use pgbackup::{copy_rows::RowHasher, copy_text};

fuzz_target!(|bytes: &[u8]| {
    let sum = |piece: usize| {
        let mut hasher = RowHasher::default();
        bytes.chunks(piece).try_for_each(|piece| hasher.write_all(piece)).and_then(|()| hasher.finish()).ok()
    };
    let whole = sum(usize::MAX);
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(sum(piece), whole);
    }
    let rows = copy_text::rows(bytes).count() as u64;
    // A newline behind a backslash is data for whoever reads it, but COPY never writes one.
    let is_written_by_copy = !bytes.windows(2).any(|two| two == b"\\\n");
    if let Some(whole) = whole.filter(|_| is_written_by_copy) {
        assert_eq!(whole.rows, rows);
    }
});
