//! What is written beside a backup later (the last verification, the pin, the push) is under no checksum: damage to it
//! makes nothing good that was found bad, unpins nothing and hides nothing.

use std::fs;

use super::specimen::Specimen;
use crate::bench::flip_byte;
use crate::torture::dice::Dice;
use crate::torture::tally::{Tally, tries};

/// Without removing it.
fn spoil(specimen: &Specimen, record: &str, dice: &mut Dice, number: usize) {
    let path = specimen.file(record);
    let bytes = fs::read(&path).unwrap();
    match number % 4 {
        0 => fs::write(&path, "").unwrap(),
        1 => fs::write(&path, &bytes[..dice.index(bytes.len())]).unwrap(),
        2 => fs::write(&path, "\u{0}".repeat(bytes.len())).unwrap(),
        _ => flip_byte(&path, dice.index(bytes.len()), 1 << dice.index(8)),
    }
}

/// Each of the records in turn.
pub fn damaged(specimen: &Specimen, dice: &mut Dice) {
    failed_verification(specimen, dice);
    good_verification(specimen, dice);
    pin(specimen, dice);
}

fn failed_verification(specimen: &Specimen, dice: &mut Dice) {
    let mut tally = Tally::new("Damage", "the record of a failed verification is damaged");
    for number in 0..usize::try_from(tries(2)).unwrap() {
        flip_byte(&specimen.file("dump/toc.dat"), 100, 1);
        assert_eq!(specimen.run("verify", &["--level", "quick"]).code, 3);
        spoil(specimen, "verified.toml", dice, number);
        let text = fs::read_to_string(specimen.file("verified.toml")).unwrap_or_default();
        assert_ne!(specimen.status(), "good", "with this record:\n{text}");
        specimen.assert_refused("a damaged record of a bad backup");
        tally.saw("still not good");
        specimen.heal();
    }
}

fn good_verification(specimen: &Specimen, dice: &mut Dice) {
    let mut tally = Tally::new("Damage", "the record of a good verification is damaged");
    for number in 0..usize::try_from(tries(1)).unwrap() {
        specimen.run("verify", &["--level", "archive"]).ok();
        spoil(specimen, "verified.toml", dice, number);
        specimen.status();
        specimen.run("verify", &["--level", "quick"]).ok();
        assert_eq!(specimen.status(), "good");
        tally.saw("verified anew");
        specimen.heal();
    }
}

fn pin(specimen: &Specimen, dice: &mut Dice) {
    let mut tally = Tally::new("Damage", "the mark of a pinned backup is damaged");
    for number in 0..usize::try_from(tries(1)).unwrap() {
        specimen.run("pin", &[]).ok();
        spoil(specimen, "pinned.toml", dice, number);
        let shown = specimen.run("info", &["--format", "json"]).ok().json();
        assert!(shown["pinned"].is_object(), "{shown}");
        tally.saw("still pinned");
        specimen.heal();
    }
}
