//! `manifest.toml` and `SHA256SUMS`: what is read can be written and reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgbackup::manifest::{Manifest, format_checksums, parse_checksums};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        let again = Manifest::parse(manifest.to_toml().unwrap().as_bytes()).unwrap();
        assert_eq!(again, manifest);
        let _ = manifest.apps.iter().map(|app| app.short_commit(7).len()).sum::<usize>();
    }
    if let Ok(sums) = std::str::from_utf8(bytes).map_err(drop).and_then(|text| parse_checksums(text).map_err(drop)) {
        assert!(sums.iter().all(|sum| !sum.name.starts_with('/') && !sum.name.split('/').any(|part| part == "..")));
        assert_eq!(parse_checksums(&format_checksums(&sums)).ok().as_ref(), Some(&sums).filter(|sums| !sums.is_empty()));
    }
});
