//! Damage: whatever becomes of a backup's files, `verify` finds it, `restore` refuses it, nothing else takes it for good,
//! and the backups beside it stay.

mod lies;
mod records;
mod specimen;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::{Mode, mkfifoat};

use super::dice::Dice;
use super::tally::{Tally, is_campaign, tries};
use crate::bench::{dokku, flip_byte};
use specimen::Specimen;

/// Something that happens to one stored file. `other` is the file of the same role in another backup.
type Damage = (&'static str, fn(file: &Path, other: &Path, dice: &mut Dice));

const DAMAGES: [Damage; 10] = [
    ("a stored file is deleted", |file, _, _| fs::remove_file(file).unwrap()),
    ("a stored file is emptied", |file, _, _| fs::write(file, "").unwrap()),
    ("a stored file is cut off at a random point", |file, _, dice| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..dice.index(bytes.len())]).unwrap();
    }),
    ("a stored file goes on behind its end", |file, _, dice| {
        let mut bytes = fs::read(file).unwrap();
        bytes.extend((0..=dice.index(9)).map(|_| b'\n'));
        fs::write(file, bytes).unwrap();
    }),
    ("a stored file is swapped with another backup's", |file, other, _| {
        assert_ne!(fs::read(file).unwrap(), fs::read(other).unwrap(), "{} is the same", file.display());
        fs::copy(other, file).unwrap();
    }),
    ("a stored file may be read or written by others", |file, _, dice| {
        let mode = *dice.one_of(&[0o604, 0o640, 0o644, 0o620, 0o602, 0o666, 0o777]);
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }),
    ("a stored file may be read by nobody", |file, _, _| {
        fs::set_permissions(file, fs::Permissions::from_mode(0o0)).unwrap();
    }),
    ("a stored file belongs to somebody else", |file, _, dice| {
        chown(file, Some(*dice.one_of(&[0, 65534])), None).unwrap();
        // Half of them can be read all the same.
        let mode = *dice.one_of(&[0o600, 0o644]);
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }),
    ("a stored file is a link to the same bytes elsewhere", |file, _, _| {
        let elsewhere = file.with_extension("elsewhere");
        let beside = file.ancestors().find(|folder| folder.ends_with("backups")).unwrap().parent().unwrap();
        let target = beside.join(elsewhere.file_name().unwrap());
        fs::rename(file, &target).unwrap();
        symlink(target, file).unwrap();
    }),
    ("a stored file is a pipe that nobody writes to", |file, _, _| {
        fs::remove_file(file).unwrap();
        mkfifoat(rustix::fs::CWD, file, Mode::RUSR | Mode::WUSR).unwrap();
    }),
];

#[test]
fn whatever_becomes_of_a_backup_is_found_refused_and_survived() {
    let mut dice = Dice::of("damage");
    let specimen = Specimen::new("damage");
    damaged_files(&specimen, &mut dice);
    flipped_bits(&specimen, &mut dice);
    damaged_folders(&specimen);
    records::damaged(&specimen, &mut dice);
    specimen.assert_good();
}

#[test]
fn whatever_a_manifest_says_is_found_refused_or_survived() {
    let specimen = Specimen::new("lies");
    lies::found_and_refused(&specimen);
    lies::missing_keys(&specimen);
    lies::keys_of_a_later_one(&specimen);
    lies::absurd(&specimen);
    lies::giants(&specimen);
    specimen.assert_good();
}

fn damaged_files(specimen: &Specimen, dice: &mut Dice) {
    let files = specimen.sealed_files();
    for (fault, damage) in DAMAGES {
        let mut tally = Tally::new("Damage", fault);
        let candidates: Vec<&String> =
            files.iter().filter(|name| !fault.contains("swapped") || specimen.differs(name)).collect();
        // Every file in turn, from one that chance says.
        let first = dice.index(candidates.len());
        for number in 0..usize::try_from(tries(1)).unwrap() {
            let name = candidates[(first + number) % candidates.len()];
            damage(&specimen.file(name), &specimen.others_file(name), dice);
            specimen.assert_found(&format!("{fault}: {name}"), number);
            tally.saw("found, refused");
            specimen.heal();
        }
    }
}

fn flipped_bits(specimen: &Specimen, dice: &mut Dice) {
    let mut tally = Tally::new("Damage", "one bit of a stored file is flipped");
    let files = specimen.sealed_files();
    let places = if is_campaign() { 5 * tries(0) } else { 6 };
    for number in 0..usize::try_from(places).unwrap() {
        // As many in each file: most of a backup's bytes are in few of them.
        let name = &files[number % files.len()];
        let size = usize::try_from(fs::metadata(specimen.file(name)).unwrap().len()).unwrap();
        let (at, bit) = (dice.index(size), dice.index(8));
        flip_byte(&specimen.file(name), at, 1 << bit);
        specimen.assert_found(&format!("bit {bit} of byte {at} of {name}"), number);
        tally.saw("found, refused");
        specimen.heal();
    }
}

fn damaged_folders(specimen: &Specimen) {
    let (folder, dump) = (specimen.folder(), specimen.file("dump"));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let damages: [(&str, &dyn Fn()); 7] = [
        ("the dump's folder is gone", &|| fs::remove_dir_all(&dump).unwrap()),
        ("the dump's folder is empty", &|| {
            fs::remove_dir_all(&dump).unwrap();
            fs::create_dir(&dump).unwrap();
        }),
        ("others may look into the dump's folder", &|| mode(&dump, 0o755)),
        ("nobody may look into the dump's folder", &|| mode(&dump, 0o0)),
        ("others may look into the backup's folder", &|| mode(&folder, 0o755)),
        ("nobody may look into the backup's folder", &|| mode(&folder, 0o0)),
        ("a file too many is in the backup's folder", &|| fs::write(dump.join("99.dat"), "x").unwrap()),
    ];
    for (number, (fault, damage)) in damages.into_iter().enumerate() {
        let mut tally = Tally::new("Damage", fault);
        // A few times, as there is nothing random in it.
        for turn in 0..tries(1).min(7) {
            damage();
            specimen.assert_found(fault, number + usize::try_from(turn).unwrap());
            tally.saw("found, refused");
            specimen.heal();
        }
    }
}

#[test]
fn a_damaged_newest_backup_never_costs_the_last_good_one() {
    let mut dice = Dice::of("retention");
    let specimen = Specimen::in_pool("retention", &["--scheduled"]);
    let service = specimen.service.name.as_str();
    for (key, value) in [("last", "1"), ("daily", "0"), ("weekly", "0"), ("monthly", "0")] {
        dokku(&["pgbackup:set", service, &format!("keep-{key}"), value]).ok();
    }
    let files = specimen.sealed_files();
    let planned = specimen.service.pgbackup("prune", &["--dry-run"]).ok();
    assert!(planned.stdout.contains("1 of 2 backups would go"), "{}", planned.stdout);
    let mut tally = Tally::new("Damage", "the newest backup is damaged unnoticed, and older ones are pruned");
    for number in 0..tries(2) {
        let name = dice.one_of(&files).clone();
        let size = usize::try_from(fs::metadata(specimen.file(&name)).unwrap().len()).unwrap();
        flip_byte(&specimen.file(&name), dice.index(size), 1 << dice.index(8));
        let run = specimen.service.pgbackup("prune", &[]).ok();
        assert!(
            specimen.others_file("manifest.toml").exists(),
            "{name} {number}: {}{}",
            run.stdout,
            run.stderr
        );
        assert_ne!(specimen.status(), "good", "{name}");
        tally.saw("the last good one stays");
        specimen.heal();
    }
    specimen.assert_good();
    specimen.service.pgbackup("prune", &[]).ok();
    assert!(!specimen.others_file("manifest.toml").exists(), "without damage it goes");
}
