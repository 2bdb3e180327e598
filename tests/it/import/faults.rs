//! What is no dump, is cut off, does not fit, or is meant to do harm: one sentence, and nothing is left.

use std::process::Command;

use rustix::process::Signal;

use super::{import, pg_dump};
use crate::bench::{Run, Service, docker, dokku, dokku_command};
use crate::started::Started;

/// It was refused in one sentence with what can be done, and nothing was made.
#[track_caller]
fn refused(service: &Service, run: Run, words: &str) {
    let run = run.fails(6, words);
    assert_eq!(run.stderr.matches(" !     ").count(), 1, "{}", run.stderr);
    assert_eq!(service.pgbackup("list", &["--format", "json"]).ok().json(), serde_json::json!([]));
    service.assert_nothing_left();
}

#[test]
fn what_is_no_dump_is_told_by_name() {
    let service = Service::new("none");
    let random: Vec<u8> =
        (0u32..40_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    for (input, words) in [
        (&b""[..], "no data came on standard input"),
        (&random, "no dump of Postgres"),
        (&vec![0; 100_000], "no dump of Postgres"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"),
        (b"-- MySQL dump 10.13\nCREATE TABLE `cows` (a int);", "MySQL"),
        (b"age-encryption.org/v1\n-> X25519 x", "encrypted with age"),
        (b"PGDMP", "no dump of Postgres"),
    ] {
        refused(&service, import(&service, input, &[]), words);
    }
    let nothing = Command::new("gzip").arg("-c").stdin(std::process::Stdio::null()).output().unwrap().stdout;
    refused(&service, import(&service, &nothing, &[]), "nothing in it");
    dokku(&["pgbackup:import", "no-such-db"]).fails(5, "does not exist");
}

#[test]
fn what_is_cut_off_or_changed_is_refused() {
    let service = Service::new("cut");
    service.fill();
    let script = pg_dump(&service, &[]);
    let tar = pg_dump(&service, &["-Ft"]);
    let custom = pg_dump(&service, &["-Fc"]);
    for (what, whole) in [
        ("script", script.clone()),
        ("tar", tar.clone()),
        ("custom", custom),
        ("gzip", super::piped(&["gzip", "-c"], &script)),
        ("xz", super::piped(&["xz", "-c"], &script)),
        ("bzip2", super::piped(&["bzip2", "-c"], &script)),
        ("zstd", super::piped(&["zstd", "-c"], &script)),
        ("directory", super::directory(&service, &[])),
        ("tgz", super::tgz_of_postgres_backup(&service)),
    ] {
        // A tar's last tenth may be nothing but padding.
        for cut in [whole.len() / 3, whole.len() / 2] {
            let run = import(&service, &whole[..cut], &["--allow-errors"]);
            assert_eq!(run.code, 6, "{what} at {cut}: {}{}", run.stdout, run.stderr);
            refused(&service, run, "cut off");
        }
    }
    let mut changed = super::piped(&["gzip", "-c"], &tar);
    let at = changed.len() - 5;
    changed[at] ^= 1;
    refused(&service, import(&service, &changed, &[]), "damaged");
}

#[test]
fn tars_that_lead_elsewhere_are_refused() {
    let service = Service::new("tars");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    std::fs::write(folder.path().join("x"), "x").unwrap();
    std::fs::write(folder.path().join("y"), "y").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    std::fs::hard_link(folder.path().join("x"), folder.path().join("hard")).unwrap();
    let tar = |args: &[&str]| super::piped(&[&["tar", "-C", path, "-cf", "-"], args].concat(), b"");
    refused(&service, import(&service, &tar(&["--transform=s,^,../,", "x"]), &[]), "leads out of its folder");
    refused(&service, import(&service, &tar(&["-P", "--transform=s,^,/tmp/,", "x"]), &[]), "leads out");
    refused(&service, import(&service, &tar(&["link"]), &[]), "neither a file nor a folder");
    refused(&service, import(&service, &tar(&["x", "hard"]), &[]), "neither a file nor a folder");
    refused(&service, import(&service, &tar(&["x", "y"]), &[]), "a tar of 2 files");
}

#[test]
fn what_unpacks_to_more_than_there_is_room_for_is_stopped() {
    let service = Service::new("bomb");
    let _disk = crate::torture::full_disk::small_disk(&service, 40);
    dokku(&["pgbackup:set", &service.name, "min-free", "10 MB"]).ok();
    let zeros = |head: &str| {
        let script = format!("{{ printf '{head}'; head -c 300M /dev/zero; }} | gzip -c");
        super::piped(&["sh", "-c", &script], b"")
    };
    let custom = zeros("PGDMP\\001\\020\\000\\004\\010\\001");
    refused(&service, import(&service, &custom, &[]), "there is too little space");
    refused(&service, import(&service, &super::piped(&["gzip", "-c"], &custom), &[]), "too little space");
    let sealed = super::encrypted(&custom, "x");
    let passphrase = super::readable("x");
    let args = ["--passphrase-file", passphrase.path().to_str().unwrap()];
    refused(&service, import(&service, &sealed, &args), "too little space");
    let tar = "d=$(mktemp -d); truncate -s 300M $d/zeros; tar -C $d -cf - zeros | gzip -c; rm -r $d";
    refused(&service, import(&service, &super::piped(&["sh", "-c", tar], b""), &[]), "more than it may");
}

/// A script of a herd with some of it that no server takes, as of another provider.
fn with_errors(service: &Service) -> Vec<u8> {
    let script = String::from_utf8(pg_dump(service, &[])).unwrap();
    script
        .replace(
            "CREATE TABLE public.farmers",
            "CREATE SCHEMA heroku_ext;
CREATE EXTENSION IF NOT EXISTS pg_stat_heroku WITH SCHEMA heroku_ext;
CREATE TABLE public.broken (a nothing_of_that_name);
CREATE TABLE public.farmers",
        )
        .into_bytes()
}

#[test]
fn errors_are_told_one_by_one_and_kept_only_when_allowed() {
    let service = Service::new("errors");
    service.fill();
    let script = with_errors(&service);
    let run = import(&service, &script, &[]).fails(7, "there were 2 errors").fails(7, "--allow-errors");
    assert!(run.stderr.contains("1. line") && run.stderr.contains("2. line"), "{}", run.stderr);
    assert!(run.stderr.contains("pg_stat_heroku") && run.stderr.contains("nothing_of_that_name"));
    assert_eq!(service.pgbackup("list", &["--format", "json"]).ok().json(), serde_json::json!([]));
    service.assert_nothing_left();

    let made = import(&service, &script, &["--allow-errors", "--format", "json"]).ok().json();
    let import_record = &made["backup"]["import"];
    assert_eq!((&made["backup"]["rows"], &import_record["errors"]), (&5100.into(), &2.into()), "{made}");
    assert_eq!(made["errors"], import_record["first_errors"]);
    service.pgbackup("list", &[]).ok().says("[2 errors]");
    service.pgbackup("info", &[]).ok().says("2 errors").says("Not loaded: line");
    service.pgbackup("verify", &[]).ok();

    let many = [&b"SET a = 1;\n"[..], "SELECT nothing;\n".repeat(30).as_bytes()].concat();
    let run = import(&service, &many, &[]).fails(7, "there were 30 errors").fails(7, "and 10 more");
    assert!(run.stderr.contains("20. ") && !run.stderr.contains("21. "), "{}", run.stderr);
}

#[test]
fn archives_of_another_provider_come_in_with_its_roles() {
    let service = Service::new("heroku");
    service.fill();
    service.sql(
        "create role u7abc; create role heroku_reader; create schema heroku_ext authorization u7abc;
alter table cows owner to u7abc; grant select on cows to heroku_reader;",
    );
    let dump = pg_dump(&service, &["-Fc"]);
    service.sql(
        "drop owned by heroku_reader; reassign owned by u7abc to postgres; drop role u7abc, heroku_reader",
    );
    let made = import(&service, &dump, &["--format", "json"]).ok().json();
    assert_eq!(made["backup"]["rows"], 5100);
    service.pgbackup("restore", &["--force"]).ok();
    let owner = "select tableowner, (select rolcanlogin from pg_roles where rolname = tableowner) from pg_tables where tablename = 'cows'";
    assert_eq!(service.sql(owner), "u7abc|f");
}

#[test]
fn a_script_can_do_no_harm() {
    let service = Service::new("hostile");
    service.fill();
    let marker = tempfile::tempdir().unwrap();
    let path = marker.path().join("marker");
    std::fs::write(&path, "here").unwrap();
    let script = format!(
        "SET a.b = 1;
\\! rm -rf {path} /backup/*; touch /backup/x /etc/x; echo nothing > /dev/tcp/127.0.0.1/22
COPY (SELECT 1) TO PROGRAM 'rm -rf {path}; id > /tmp/was-here';
CREATE TABLE public.kept (id int);
INSERT INTO public.kept VALUES (1);
\\o /backup/out
SELECT 1;
\\o
",
        path = path.display()
    );
    let made = import(&service, script.as_bytes(), &["--allow-errors", "--format", "json"]).ok().json();
    assert_eq!(made["backup"]["rows"], 1);
    assert!(path.exists());
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    docker(&["exec", &service.container(), "test", "!", "-e", "/tmp/was-here"]).ok();
    service.assert_nothing_left();
}

#[test]
fn an_interrupt_while_it_waits_for_data_or_loads_leaves_nothing() {
    let service = Service::new("stopped-import");
    let mut command = dokku_command(&["pgbackup:import", &service.name]);
    // Nothing comes in, and the other end stays open.
    let (input, _open) = std::io::pipe().unwrap();
    command.stdin(input);
    let mut run = Started::spawn("import".into(), &mut command);
    run.until_it_says("Reading a dump");
    run.signal(Signal::INT);
    run.end().fails(130, "interrupted");
    service.assert_nothing_left();

    let script = "SELECT 1;\nSELECT pg_sleep(600);\n";
    let file = super::readable(script);
    let mut command = dokku_command(&["pgbackup:import", &service.name]);
    command.stdin(std::fs::File::open(file.path()).unwrap());
    let mut run = Started::spawn("import".into(), &mut command);
    run.until_it_says("into a throwaway server");
    let label = format!("label=com.dokku.pgbackup.service={}", service.name);
    crate::started::until("psql runs", || {
        docker(&["ps", "--filter", &label, "--format", "{{.Names}}"]).ok().stdout.contains(".load")
    });
    run.signal(Signal::TERM);
    run.end().fails(143, "");
    service.assert_nothing_left();

    // What a kill -9 leaves, the next run names and clears.
    let mut command = dokku_command(&["pgbackup:import", &service.name]);
    command.stdin(std::fs::File::open(file.path()).unwrap());
    let mut run = Started::spawn("import".into(), &mut command);
    run.until_it_says("into a throwaway server");
    crate::started::until("psql runs", || {
        docker(&["ps", "--filter", &label, "--format", "{{.Names}}"]).ok().stdout.contains(".load")
    });
    run.signal(Signal::KILL);
    run.end();
    let next = service.pgbackup("create", &[]).ok();
    assert!(next.stderr.contains("that a killed run had left"), "{}", next.stderr);
    service.assert_nothing_left();
}
