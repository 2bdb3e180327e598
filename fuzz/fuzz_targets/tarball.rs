//! A tar that comes from elsewhere: whatever is unpacked is below its folder, and no more than is allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgbackup::{files, tarball};

fuzz_target!(|bytes: &[u8]| {
    let whole = tarball::check(bytes).is_ok();
    let root = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = root.path().join("inside");
    std::fs::create_dir(&folder).unwrap();
    let limits = tarball::Limits { bytes: 100_000, files: 20 };
    if let Ok(names) = tarball::unpack(bytes, &folder, limits) {
        assert!(whole);
        let found = files::plain_files(&folder).unwrap();
        assert!(found.iter().map(|(name, _)| name).eq(names.iter()));
        assert!(found.iter().map(|(_, size)| size).sum::<u64>() <= limits.bytes);
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
});
