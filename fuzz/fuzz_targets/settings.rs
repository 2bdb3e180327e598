//! `settings.toml`: what is taken is a value that its setting may have.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pgbackup::settings::{self, Key};

fuzz_target!(|text: &str| {
    let Ok(found) = settings::parse(Path::new("settings.toml"), text) else { return };
    assert!(found.keys().all(|name| Key::find(name).is_ok()));
});
