//! What an import takes something for, by its beginning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgbackup::import::recognise::{Found, recognise};

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(recognise(bytes) == Found::Empty, bytes.is_empty());
});
