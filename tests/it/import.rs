//! What others made becomes a backup like any other: every kind made by the real tools, and what is none is refused.

mod faults;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bench::{Run, Service, dokku_command, has_postgres, ssh_command};

/// Runs a command that is fed; one that does not read to the end is no failure here.
pub fn fed(mut command: Command, line: &str, input: &[u8]) -> Run {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    });
    Run::of(line.to_owned(), &output)
}

/// `dokku pgbackup:import <service> <args> < input`.
pub fn import(service: &Service, input: &[u8], args: &[&str]) -> Run {
    let command = dokku_command(&[&["pgbackup:import", &service.name], args].concat());
    fed(command, &format!("dokku pgbackup:import {} {}", service.name, args.join(" ")), input)
}

/// What a tool writes that gets `input`.
#[track_caller]
fn piped(tool: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool[0])
        .args(&tool[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{tool:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What a tool inside the service's container writes.
#[track_caller]
pub fn inside(service: &Service, command: &[&str]) -> Vec<u8> {
    piped(&[&["docker", "exec", "--user=postgres", &service.container()], command].concat(), b"")
}

#[track_caller]
pub fn pg_dump(service: &Service, args: &[&str]) -> Vec<u8> {
    inside(service, &[&["pg_dump", "--username=postgres"], args, &[&service.database()]].concat())
}

/// A tar of a `pg_dump -Fd` folder.
fn directory(service: &Service, how: &[&str]) -> Vec<u8> {
    pg_dump(service, &[&["--format=directory", "--file=/tmp/folder"], how].concat());
    let tar = inside(service, &["tar", "-C", "/tmp", "-cf", "-", "folder"]);
    inside(service, &["rm", "-r", "/tmp/folder"]);
    tar
}

fn tar_of(path: &str, content: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, content).unwrap();
    let top = path.split('/').next().unwrap();
    piped(&["tar", "-C", folder.path().to_str().unwrap(), "-cf", "-", top], b"")
}

/// What `postgres:backup` puts into S3.
pub fn tgz_of_postgres_backup(service: &Service) -> Vec<u8> {
    piped(&["gzip", "-c"], &tar_of("backup/export", &pg_dump(service, &["-Fc", "--no-acl", "--no-owner"])))
}

pub fn encrypted(bytes: &[u8], passphrase: &str) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let gpg = ["gpg", "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", passphrase];
    let home = ["--homedir", home.path().to_str().unwrap(), "--symmetric"];
    piped(&[&gpg[..], &home[..]].concat(), bytes)
}

/// A file that dokku's user can read.
fn readable(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file.path(), mode).unwrap();
    file
}

/// Imports it and looks at what was made: the herd, whole, in the pool of imports.
#[track_caller]
fn herd_comes_in(service: &Service, what: &str, input: &[u8], args: &[&str]) -> Value {
    let run = import(service, input, &[&["--format", "json"], args].concat());
    assert_eq!(run.code, 0, "{what}: {}{}", run.stdout, run.stderr);
    let made = run.json();
    let backup = &made["backup"];
    assert_eq!(backup["rows"], 5100, "{what}: {made}");
    assert_eq!((&backup["pool"], &backup["apps"]), (&"imported".into(), &serde_json::json!([])), "{what}");
    assert_eq!(backup["database"], service.database().as_str(), "{what}");
    assert_eq!(made["errors"], serde_json::json!([]), "{what}");
    service.assert_nothing_left();
    backup.clone()
}

/// The backup is proven, and brings the herd back.
#[track_caller]
fn herd_comes_back(service: &Service, backup: &Value) {
    let id = backup["id"].as_str().unwrap();
    service.pgbackup("verify", &[id, "--level", "drill"]).ok().says("is good");
    service.sql("drop table cows cascade; drop table farmers");
    service.pgbackup("restore", &[id, "--force"]).ok();
    assert_eq!(service.sql("select count(*), sum(milk) from cows"), "5000|82500.00");
    service.assert_nothing_left();
}

#[test]
fn archives_of_pg_dump_come_in() {
    let service = Service::new("archives");
    service.fill();
    let custom = pg_dump(&service, &["-Fc"]);
    let backup = herd_comes_in(&service, "custom", &custom, &[]);
    assert_eq!(backup["note"], "imported: an archive of pg_dump");
    assert_eq!(backup["import"]["kind"], "custom");
    assert_eq!(backup["import"]["size_bytes"], custom.len());
    assert!(backup["import"]["server_version"].as_str().unwrap().starts_with("17"));
    herd_comes_back(&service, &backup);
    let tar = herd_comes_in(&service, "tar", &pg_dump(&service, &["-Ft"]), &["--jobs", "4"]);
    assert_eq!(tar["import"]["kind"], "tar");
    let folder = directory(&service, &["--jobs=2"]);
    let folder = herd_comes_in(&service, "directory", &folder, &["--note", "from the old server"]);
    assert_eq!(
        (&folder["import"]["kind"], &folder["note"]),
        (&"directory".into(), &"from the old server".into())
    );
    let plain = directory(&service, &["--compress=0"]);
    herd_comes_in(&service, "directory without compression", &plain, &[]);
    service.pgbackup("diff", &[folder["id"].as_str().unwrap(), "--to", tar["id"].as_str().unwrap()]).ok();
    service.pgbackup("info", &["--import"]).ok().says("directory (tar)");
    let history = service.pgbackup("history", &["--format", "json"]).ok().json();
    assert_eq!((&history[0]["command"], &history[0]["good"]), (&"import".into(), &true.into()), "{history}");
}

#[test]
fn scripts_of_pg_dump_come_in() {
    let service = Service::new("scripts");
    service.fill();
    for how in [
        &[][..],
        &["--create"],
        &["--clean"],
        &["--clean", "--create"],
        &["--inserts", "--rows-per-insert=500"],
    ] {
        let script = pg_dump(&service, how);
        let backup = herd_comes_in(&service, &format!("{how:?}"), &script, &[]);
        assert_eq!(backup["import"]["kind"], "sql");
        if how.is_empty() {
            herd_comes_back(&service, &backup);
        }
    }
}

#[test]
fn compressed_ones_come_in_several_layers_deep() {
    let service = Service::new("layers");
    service.fill();
    let script = pg_dump(&service, &[]);
    let backup = herd_comes_in(&service, "bzip2", &piped(&["bzip2", "-c"], &script), &[]);
    assert_eq!(backup["import"]["wrapped"], serde_json::json!(["bzip2"]));
    let layered = tar_of("dump/herd.sql.xz", &piped(&["xz", "-c"], &script));
    let layered = piped(&["zstd", "-c"], &piped(&["gzip", "-c"], &layered));
    let backup = herd_comes_in(&service, "layers", &layered, &[]);
    assert_eq!(backup["import"]["wrapped"], serde_json::json!(["zstd", "gzip", "tar", "xz"]));
    // gzip takes what stands behind another for its continuation.
    let (one, other) = script.split_at(script.len() / 2);
    let members = [piped(&["gzip", "-c"], one), piped(&["gzip", "-c"], other)].concat();
    herd_comes_in(&service, "members", &members, &[]);
    let much = (0..6).fold(script, |bytes, _| piped(&["gzip", "-c"], &bytes));
    import(&service, &much, &[]).fails(6, "wrapped more than 5 times");
    service.assert_nothing_left();
}

#[test]
fn clusters_come_in_one_database_of_them() {
    let service = Service::new("clusters");
    service.fill();
    service.sql(
        "create role milker login password 'secret'; create role reader; grant reader to milker;
alter table cows owner to milker; grant select on farmers to reader;",
    );
    let all = ["pg_dumpall", "--username=postgres"];
    let one = herd_comes_in(&service, "one database", &inside(&service, &all), &[]);
    assert_eq!(one["import"]["kind"], "cluster");
    let clean = inside(&service, &[&all[..], &["--clean", "--if-exists"]].concat());
    herd_comes_in(&service, "with --clean", &clean, &[]);
    let roles =
        std::fs::read_to_string(service.backup(one["id"].as_str().unwrap()).join("roles.sql")).unwrap();
    assert!(roles.contains("SCRAM-SHA-256") && roles.contains("GRANT reader TO milker"), "{roles}");

    service.sql("create database \"my other \"\"herd\"");
    service.sql_in("my other \"herd", "create table goats (id int); insert into goats values (1), (2)");
    let several = inside(&service, &all);
    import(&service, &several, &[]).fails(6, "there are 2 databases in the dump").fails(6, "my other \"herd");
    import(&service, &several, &["--database", "none"]).fails(5, "no database none in the dump");
    let other =
        import(&service, &several, &["--database", "my other \"herd", "--format", "json"]).ok().json();
    assert_eq!((&other["backup"]["rows"], &other["backup"]["tables"]), (&2.into(), &1.into()));
    let herd = herd_comes_in(&service, "of several", &several, &["--database", &service.database()]);
    service.sql("drop owned by milker, reader");
    service.sql("drop role milker, reader");
    service.pgbackup("restore", &[herd["id"].as_str().unwrap(), "--force"]).ok();
    assert_eq!(
        service.sql("select tableowner, has_table_privilege('reader', 'farmers', 'select') from pg_tables where tablename = 'cows'"),
        "milker|t"
    );
    service.sql("drop database \"my other \"\"herd\"");
    service.assert_nothing_left();
}

#[test]
fn backups_of_dokku_postgres_come_in_also_encrypted() {
    let service = Service::new("tgz");
    service.fill();
    let tgz = tgz_of_postgres_backup(&service);
    let backup = herd_comes_in(&service, "tgz", &tgz, &[]);
    assert_eq!(backup["import"]["wrapped"], serde_json::json!(["gzip", "tar"]));
    let sealed = encrypted(&tgz, "correct horse");
    let passphrase = readable("correct horse\nbattery\n");
    let file = passphrase.path().to_str().unwrap();
    let backup = herd_comes_in(&service, "tgz.gpg", &sealed, &["--passphrase-file", file]);
    assert_eq!(backup["import"]["wrapped"], serde_json::json!(["gpg", "gzip", "tar"]));
    herd_comes_back(&service, &backup);

    let wrong = readable("wrong horse");
    import(&service, &sealed, &["--passphrase-file", wrong.path().to_str().unwrap()])
        .fails(6, "the passphrase is wrong");
    service.assert_nothing_left();
    import(&service, &sealed, &["--passphrase-file", "/no/such/file"]).fails(6, "cannot be read");
    // ssh has no terminal, nor has a test that is its session's first.
    let line = format!("pgbackup:import {}", service.name);
    let mut alone = Command::new("setsid");
    let ssh = ssh_command(&line);
    alone.arg("--wait").arg(ssh.get_program()).args(ssh.get_args());
    alone.envs(ssh.get_envs().filter_map(|(name, value)| Some((name, value?))));
    fed(alone, &line, &sealed).fails(6, "--passphrase-file");
    let mut damaged = sealed;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    import(&service, &damaged, &["--passphrase-file", file]).fails(6, "damaged");
    service.assert_nothing_left();
}

#[test]
fn it_comes_in_over_ssh_byte_for_byte() {
    let service = Service::new("ssh");
    service.fill();
    let line = format!("pgbackup:import {} --quiet", service.name);
    let run = fed(ssh_command(&line), &line, &pg_dump(&service, &["-Fc"])).ok();
    let id = run.stdout.trim();
    service.pgbackup("verify", &[id, "--level", "archive"]).ok();
    service.pgbackup("info", &[id, "--rows"]).ok().says("5100");
}

#[test]
fn a_backup_of_pgbackup_comes_in_and_is_checked() {
    let service = Service::new("own");
    service.fill();
    service.sql("create role milker login password 'secret'; alter table cows owner to milker");
    let id = service.create();
    let folder = service.backups();
    let folder = folder.to_str().unwrap();
    let tar = piped(&["tar", "-C", folder, "-cf", "-", &id], b"");
    let backup = herd_comes_in(&service, "tar", &piped(&["gzip", "-c"], &tar), &[]);
    assert_eq!(backup["import"]["kind"], "pgbackup");
    let same = service
        .pgbackup("diff", &[&id, "--to", backup["id"].as_str().unwrap(), "--format", "json"])
        .ok()
        .json();
    assert_eq!(same["tables"], serde_json::json!([]), "{same}");
    herd_comes_back(&service, &backup);
    // A byte of a file in it, not of a header of tar.
    let mut damaged = tar;
    let zstd = damaged.windows(4).rposition(|bytes| bytes == b"\x28\xb5\x2f\xfd").unwrap();
    damaged[zstd + 20] ^= 1;
    import(&service, &damaged, &[]).fails(6, "is damaged");
    service.assert_nothing_left();
}

#[test]
fn what_is_too_new_for_the_service_is_refused() {
    let (old, new) = (Service::with("old", 15, &[]), Service::new("new"));
    new.fill();
    for dump in [pg_dump(&new, &["-Fc"]), pg_dump(&new, &[]), pg_dump(&new, &["-Ft"])] {
        import(&old, &dump, &[]).fails(6, "Postgres 17").fails(6, "Postgres 15");
        old.assert_nothing_left();
    }
    old.fill();
    herd_comes_in(&new, "from 15", &pg_dump(&old, &["-Fc"]), &[]);
    herd_comes_in(&new, "from 15", &pg_dump(&old, &[]), &[]);
    herd_comes_in(&old, "into 15", &directory(&old, &[]), &[]);
    if has_postgres(18) {
        let newest = Service::with("newest", 18, &[]);
        herd_comes_in(&newest, "into 18", &pg_dump(&new, &[]), &[]);
    }
}

#[test]
fn the_dumps_own_encoding_comes_along() {
    let service = Service::new("latin");
    service.sql("create database latin encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0");
    service.sql_in("latin", "create table t (a text); insert into t values ('Käse')");
    for form in ["-Fc", "-Fp"] {
        let dump = inside(&service, &["pg_dump", "--username=postgres", form, "--create", "latin"]);
        let id = import(&service, &dump, &["--quiet"]).ok().stdout.trim().to_owned();
        let manifest = std::fs::read_to_string(service.backup(&id).join("manifest.toml")).unwrap();
        assert!(manifest.contains("encoding = \"LATIN1\""), "{manifest}");
        service.pgbackup("verify", &[&id]).ok();
    }
}
