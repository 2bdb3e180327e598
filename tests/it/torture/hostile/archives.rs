//! Backups and dumps that were made to do harm to whoever restores, exports or imports them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::tally::Tally;
use super::{CAMPAIGN, Canary, assert_plain, run};
use crate::bench::{Service, connection_string, docker, dokku_command};
use crate::import::import;
use crate::roundtrip::cover_up;

/// `psql` as a user runs it on a script, inside the service's container.
pub fn psql(service: &Service, database: &str) -> Command {
    let mut command = Command::new("docker");
    command.args([
        "exec",
        "--interactive",
        "--user=postgres",
        &service.container(),
        "psql",
        "--username=postgres",
    ]);
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--dbname",
        &connection_string(database),
    ]);
    command
}

/// Nor was the command run inside the service's container.
pub fn assert_silent_inside(service: &Service, canary: &Canary) {
    let path = canary.path.to_str().unwrap();
    // Its folder is not in there, so a name without one is looked for, too.
    docker(&["exec", &service.container(), "test", "!", "-e", path]).ok();
    docker(&["exec", &service.container(), "test", "!", "-e", "/tmp/sings"]).ok();
}

/// Puts `new` in the place of the text `old` wherever the table of contents has it, with its length.
fn retell(folder: &Path, old: &str, new: &str) {
    let told =
        |text: &str| [&[0][..], &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat();
    let path = folder.join("dump/toc.dat");
    let bytes = fs::read(&path).unwrap();
    let (old, new) = (told(old), told(new));
    let at = bytes.windows(old.len()).position(|window| window == old).expect("the table of contents has it");
    fs::write(&path, [&bytes[..at], &new, &bytes[at + old.len()..]].concat()).unwrap();
}

const COMMENT: &str = "COMMENT ON TABLE public.eggs IS 'eggs';\n";

/// A service with one table that has a comment, and its backup.
fn backed_up(label: &str) -> (Service, String) {
    let service = Service::new(label);
    service
        .sql("create table eggs (id int); insert into eggs values (1), (2); comment on table eggs is 'eggs'");
    let id = service.create();
    (service, id)
}

#[test]
fn a_backup_that_names_files_elsewhere_gives_none_of_them() {
    let (service, id) = backed_up("elsewhere");
    let mut tally = Tally::new(CAMPAIGN, "a backup whose table of contents names files elsewhere");
    let folder = service.backup(&id);
    let secret = service.root().join("secret.dat");
    fs::write(&secret, "1\tSECRET\n\\.\n\n\n").unwrap();
    let toc = pgbackup::manifest::read_toc(&folder).unwrap();
    let file = toc.entries.iter().find(|entry| entry.kind == "TABLE DATA").unwrap().file_name.clone();
    retell(&folder, &file, "../../../../secret.dat");
    crate::verify::reseal(&service, &id);
    for args in [
        &["export", "--as", "custom"][..],
        &["export", "--as", "sql"],
        &["verify", "--level", "archive"],
        &["verify"],
        &["restore", "--force"],
        &["restore", "--table", "eggs"],
        &["diff"],
        &["info"],
    ] {
        let ended =
            run(dokku_command(&[]).arg(format!("pgbackup:{}", args[0])).arg(&service.name).args(&args[1..]));
        assert_plain(&ended);
        assert!(
            !ended.stdout.contains("SECRET") && !ended.stderr.contains("SECRET"),
            "{args:?}\n{}",
            ended.stdout
        );
        assert!(ended.code != 0 || ["info", "export"].contains(&args[0]), "{args:?}");
        tally.saw("nothing of them came out");
    }
    assert_eq!(service.sql("select count(*) from eggs"), "2");
    fs::remove_file(secret).unwrap();
    service.assert_nothing_left();
}

#[test]
fn commands_for_psql_in_a_backup_are_not_run_by_anybody() {
    let (service, id) = backed_up("commands");
    let canary = Canary::new();
    let mut tally =
        Tally::new(CAMPAIGN, "a backup with psql's \\! and COPY TO PROGRAM among its definitions");
    retell(&service.backup(&id), COMMENT, "x\n\\! touch /tmp/sings\n\\o | touch /tmp/sings\n");
    cover_up(&service, &id);
    let script = run(&mut dokku_command(&["pgbackup:export", &service.name, "--as", "sql"])).ok().stdout;
    assert!(script.contains("\\! touch"));
    service.sql_in("template1", "create database taken");
    let loaded = crate::import::fed(psql(&service, "taken"), "psql", script.as_bytes());
    assert_ne!(loaded.code, 0, "psql took it");
    assert_silent_inside(&service, &canary);
    tally.saw("psql refuses the script");
    service.sql_in("template1", "drop database taken");
    let made = import(&service, script.as_bytes(), &[]);
    assert_plain(&made);
    assert_ne!(made.code, 0, "{}", made.stdout);
    tally.saw("import refuses it");
    for (args, code) in [(&["verify", &id][..], 3), (&["restore", &id, "--force"], 7)] {
        let ended = service.pgbackup(args[0], &args[1..]);
        assert_plain(&ended);
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        tally.saw("refused, the live database is as it was");
    }
    assert_silent_inside(&service, &canary);
    assert_eq!(service.sql("select count(*) from eggs"), "2");
    service.assert_nothing_left();
}

#[test]
fn an_import_runs_its_programs_where_they_reach_nothing() {
    let (service, _) = backed_up("reach");
    let mut tally = Tally::new(CAMPAIGN, "a dump that runs programs, wrapped or odd in its tar");
    let piped = |script: &str| {
        let output = Command::new("sh").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let before = service.pgbackup("list", &["--format", "json"]).ok().json().as_array().unwrap().len();
    for (what, words, script) in [
        (
            "six layers of gzip",
            "wrapped more than 5 times",
            "echo 'SELECT 1;' | gzip | gzip | gzip | gzip | gzip | gzip",
        ),
        (
            "a pipe in a tar",
            "neither a file nor a folder",
            "d=$(mktemp -d); mkfifo $d/toc.dat; tar -C $d -cf - .; rm -r $d",
        ),
        (
            "a device in a tar",
            "neither a file nor a folder",
            "tar -cf - -P --transform=s,.*,toc.dat, /dev/zero",
        ),
        (
            "a link in a tar, and a file through it",
            "neither a file nor a folder",
            "d=$(mktemp -d); ln -s /tmp $d/a; tar -C $d -cf $d/t a; rm $d/a; mkdir $d/a; echo x > $d/a/x; tar -C $d -rf $d/t a/x; cat $d/t; rm -r $d",
        ),
    ] {
        let ended = import(&service, &piped(script), &[]);
        assert_plain(&ended);
        ended.fails(6, words);
        tally.saw(&format!("{what}: refused"));
    }
    let programs = "SET a.b = 1;
\\! touch /backup/sings /tmp/sings
COPY (SELECT 1) TO PROGRAM 'touch /tmp/sings; touch /backup/sings';
CREATE TABLE taken (id int);
";
    let ended = import(&service, programs.as_bytes(), &["--allow-errors"]);
    assert_plain(&ended);
    ended.ok();
    docker(&["exec", &service.container(), "test", "!", "-e", "/tmp/sings"]).ok();
    tally.saw("run where they reach nothing");
    let after = service.pgbackup("list", &["--format", "json"]).ok().json().as_array().unwrap().len();
    assert_eq!(after, before + 1);
    service.assert_nothing_left();
}
