//! `toc.dat`, and everything that is made of it: objects, bookkeeping tables, a fingerprint.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgbackup::{bookkeeping, fingerprint::Fingerprint, schema, toc};

fuzz_target!(|bytes: &[u8]| {
    let _ = toc::parse_beginning(bytes);
    let Ok(toc) = toc::parse(bytes) else { return };
    assert!(toc.entries.iter().all(|entry| !entry.file_name.contains('/')));
    let _ = schema::objects(&toc).iter().map(|object| object.describe().len()).sum::<usize>();
    let _ = bookkeeping::find(&toc);
    let _ = Fingerprint::assemble(&toc, &[]);
});
