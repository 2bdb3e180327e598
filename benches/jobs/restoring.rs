//! Restores, proofs, and what leaves the server and comes in.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{
    BARE_DUMP, BARE_RESTORE, dokku_ok, drop_bare, forget, inside, postgres_export, postgres_import,
    some_backup,
};
use crate::bench::{Service, docker, dokku_command, world};
use crate::shapes;
use crate::table::{Aim, Table};
use crate::timing::{Samples, seconds, side_by_side};

/// The database that a restore has put aside would fill the disk.
fn drop_previous(service: &Service) {
    for name in service.databases() {
        if name.contains("_previous_") {
            service.sql_in("template1", &format!("drop database \"{name}\""));
        }
    }
}

/// A restore of `service`; `checkpoint` first, so that nobody pays for what was written before.
fn restore_once(service: &Service) -> f64 {
    service.sql("checkpoint");
    let taken = seconds(|| drop(service.pgbackup("restore", &["--force"]).ok()));
    drop_previous(service);
    taken
}

pub fn restore(rounds: usize, table: &mut Table) {
    let service = shapes::mixed(17);
    some_backup(&service);
    inside(&service, BARE_DUMP);
    let [ours, bare] = side_by_side(
        rounds,
        [&mut || restore_once(&service), &mut || {
            drop_bare(&service);
            service.sql("checkpoint");
            seconds(|| drop(inside(&service, BARE_RESTORE)))
        }],
    );
    drop_bare(&service);
    inside(&service, "rm -rf /tmp/bare");
    table.ratio(
        "restore, 1.5 GB, with counts and swap",
        &ours,
        ("pg_restore -j2 inside the container", &bare),
        Aim::AtMost(1.08),
    );
}

/// Asks for a row of each of two tables all the time, with a connection each; says when it got both. `$1` is the database.
const ASKING: &str = "while [ ! -e /tmp/enough ]; do
  answer=$(psql -qAtX -U postgres -d \"$1\" -c 'select kind from events where id = 42' -c 'select aid from pgbench_accounts where aid = 4200000' 2>/dev/null)
  [ \"$answer\" = \"$2\" ] && echo \"$EPOCHREALTIME\"
done";

/// Seconds for which a client that asks all the time got no answer while `work` was done.
fn longest_silence(service: &Service, work: impl FnOnce()) -> f64 {
    let container = service.container();
    docker(&["exec", &container, "rm", "-f", "/tmp/enough"]).ok();
    let wanted = service.sql("select kind from events where id = 42; select 4200000");
    let mut client = Command::new("docker")
        .args(["exec", &container, "bash", "-c", ASKING, "client", &service.database(), &wanted])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let answers = BufReader::new(client.stdout.take().unwrap());
    let listening = std::thread::spawn(move || {
        let times: Vec<f64> = answers.lines().map(|line| line.unwrap().parse().unwrap()).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    work();
    std::thread::sleep(std::time::Duration::from_secs(1));
    docker(&["exec", &container, "touch", "/tmp/enough"]).ok();
    client.wait().unwrap();
    listening.join().unwrap()
}

pub fn outage(rounds: usize, table: &mut Table) {
    let service = shapes::mixed(17);
    some_backup(&service);
    let file = tempfile::NamedTempFile::new().unwrap();
    postgres_export(&service, file.path());
    let [ours, theirs] = side_by_side(
        rounds,
        [
            &mut || {
                let silence =
                    longest_silence(&service, || drop(service.pgbackup("restore", &["--force"]).ok()));
                drop_previous(&service);
                silence
            },
            &mut || longest_silence(&service, || postgres_import(&service, file.path())),
        ],
    );
    table.add(
        "restore, without an answer for",
        &ours.to_string(),
        ("–", "–"),
        (ours.median() * 1e3, " ms"),
        Aim::AtMost(200.0),
    );
    table.speedup(
        "restore, without an answer for",
        &ours,
        ("dokku postgres:import", &theirs),
        Aim::AtLeast(100.0),
    );
}

/// What a careful person would run by hand: a server of its own, without fsync, a restore into it and a dump of it.
fn bare_drill(dump: &Path) -> f64 {
    let script = "set -e
initdb -D /tmp/data -U postgres -A trust --no-sync >/dev/null
pg_ctl -D /tmp/data -w -o '-c fsync=off -c full_page_writes=off -c max_wal_size=8GB -c maintenance_work_mem=128MB -c unix_socket_directories=/tmp -c listen_addresses=' -l /tmp/log start >/dev/null
psql -qX -h /tmp -U postgres -c 'create database bare template template0'
pg_restore -h /tmp -U postgres -j2 --no-owner --no-acl -d bare /dump
pg_dump -h /tmp -U postgres -Fd -j2 -Z zstd:1 -f /tmp/again bare";
    let mount = format!("{}:/dump:ro", dump.display());
    let container = ["run", "--rm", "--network", "none", "--shm-size", "1g", "--user", "postgres"];
    let what = ["--volume", &mount, "--entrypoint", "sh", "postgres:17", "-c", script];
    seconds(|| drop(docker(&[&container[..], &what].concat()).ok()))
}

/// A copy of a dump that the image's own user may read; the backup itself is dokku's alone.
fn open_copy(dump: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir_in("/var/tmp").unwrap();
    let copied = Command::new("cp").arg("-r").arg(dump).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let opened = Command::new("chmod").args(["-R", "go+rX"]).arg(copy.path()).status();
    assert!(opened.unwrap().success());
    copy
}

pub fn drill(rounds: usize, table: &mut Table) {
    let service = shapes::mixed(17);
    let copy = open_copy(&service.backup(&some_backup(&service)).join("dump"));
    let dump = copy.path().join("dump");
    let [ours, bare] = side_by_side(
        rounds,
        [&mut || seconds(|| drop(service.pgbackup("verify", &[]).ok())), &mut || bare_drill(&dump)],
    );
    table.ratio(
        "verify (drill), 1.5 GB",
        &ours,
        ("pg_restore -j2 and pg_dump -j2 in a throwaway container", &bare),
        Aim::AtMost(1.10),
    );
}

pub fn archive(rounds: usize, table: &mut Table) {
    let service = shapes::mixed(17);
    let dump = service.backup(&some_backup(&service)).join("dump");
    let decompress = || {
        let line = format!("zstd -dcq -T1 {}/*.zst >/dev/null", dump.display());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    };
    let [ours, theirs] = side_by_side(
        2 * rounds,
        [&mut || seconds(|| drop(service.pgbackup("verify", &["--level", "archive"]).ok())), &mut || {
            seconds(decompress)
        }],
    );
    table.ratio("verify --level archive, 1.5 GB", &ours, ("zstd -dc on one core", &theirs), Aim::AtMost(1.0));
}

pub fn export_and_import(rounds: usize, table: &mut Table) {
    let service = shapes::mixed(17);
    some_backup(&service);
    let (ours_file, theirs_file) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let export = |form: &str| {
        let file = std::fs::File::create(ours_file.path()).unwrap();
        let status = dokku_command(&["pgbackup:export", &service.name, "--as", form]).stdout(file).status();
        assert!(status.unwrap().success());
    };
    let times: [Samples; 4] = side_by_side(
        rounds,
        [
            &mut || seconds(|| export("tar")),
            &mut || seconds(|| export("custom")),
            &mut || seconds(|| export("sql")),
            &mut || seconds(|| _ = postgres_export(&service, theirs_file.path())),
        ],
    );
    let theirs = &times[3];
    for (form, ours) in ["tar", "custom", "sql"].iter().zip(&times) {
        table.speedup(
            &format!("export --as {form} of a backup, 1.5 GB"),
            ours,
            ("dokku postgres:export", theirs),
            Aim::None,
        );
    }
    let import = || {
        let file = std::fs::File::open(theirs_file.path()).unwrap();
        let output = dokku_command(&["pgbackup:import", &service.name]).stdin(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let [ours, theirs] = side_by_side(
        rounds,
        [&mut || seconds(import), &mut || seconds(|| postgres_import(&service, theirs_file.path()))],
    );
    table.ratio(
        "import, as a proven backup",
        &ours,
        ("dokku postgres:import, into the live database", &theirs),
        Aim::None,
    );
    forget(&service);
}

pub fn push_and_pull(rounds: usize, table: &mut Table) {
    let service = shapes::mixed(17);
    let remote = world().join("bench-remote");
    let made = Command::new("install").args(["-d", "-o", "dokku", "-g", "dokku"]).arg(&remote).status();
    assert!(made.unwrap().success());
    dokku_ok(&["pgbackup:remote-set", &service.name, &format!("file://{}", remote.display())]);
    let id = some_backup(&service);
    let folder = service.backup(&id);
    let copy = tempfile::tempdir_in(world()).unwrap();
    let push = || {
        let _ = std::fs::remove_dir_all(remote.join(&service.name));
        seconds(|| drop(service.pgbackup("push", &[&id]).ok()))
    };
    let copied = || {
        let _ = std::fs::remove_dir_all(copy.path().join("copy"));
        let line =
            format!("cp -r {} {} && sync -f {1}", folder.display(), copy.path().join("copy").display());
        seconds(|| assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success()))
    };
    let [ours, theirs] = side_by_side(rounds, [&mut { push }, &mut { copied }]);
    table.ratio(
        "push to a folder, each part checked there",
        &ours,
        ("cp -r of the backup", &theirs),
        Aim::None,
    );
    let [ours] = side_by_side(
        rounds,
        [&mut || {
            dokku_ok(&["--force", "pgbackup:delete", &service.name, &id]);
            seconds(|| drop(service.pgbackup("pull", &[&id]).ok()))
        }],
    );
    table.ratio("pull from a folder, verified", &ours, ("cp -r of the backup", &theirs), Aim::None);
    dokku_ok(&["--force", "pgbackup:remote-unset", &service.name]);
}
