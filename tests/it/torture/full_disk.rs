//! The backups' disk is full: told beforehand with figures where it can be known, and cleanly where it cannot.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::assert_sound;
use crate::bench::{Run, Service, dokku, dokku_command};

/// A small file system where a service's backups go.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    pub fn mount(service: &Service, size: &str) -> Self {
        let folder = service.root().join("pgbackup");
        fs::create_dir_all(&folder).unwrap();
        let options = format!("size={size},mode=0700,uid={0},gid={0}", "dokku");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).status();
        assert!(mounted.unwrap().success());
        SmallDisk { folder }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

#[test]
fn too_little_space_is_told_beforehand_with_figures() {
    let service = Service::new("small");
    service.fill();
    let _disk = SmallDisk::mount(&service, "1m");
    service.pgbackup("create", &[]).fails(6, "too little space").fails(6, "1.0 MB are free");
    service.assert_nothing_left();
    assert_eq!(fs::read_dir(service.backups()).unwrap().count(), 0);
}

#[test]
fn a_dump_that_outgrows_the_disk_fails_and_leaves_nothing() {
    let service = Service::new("outgrown");
    service.fill();
    // As large in the dump as in the database: a tenth of it is expected.
    service.sql(
        "create table junk (id int, bytes bytea);
insert into junk select n, (select string_agg(uuid_send(gen_random_uuid()), '') from generate_series(1, 500) where n > 0)
  from generate_series(1, 2500) n",
    );
    let _disk = SmallDisk::mount(&service, "12m");
    dokku(&["pgbackup:set", &service.name, "min-free", "off"]).ok();
    // Refused by us at the reserve or by the disk at its end, whichever is seen first.
    let run = service.pgbackup("create", &[]);
    assert!(run.code == 6 || run.code == 7, "{}", run.stderr);
    assert!(run.stderr.contains("full"), "{}", run.stderr);
    service.assert_nothing_left();
    assert_eq!(fs::read_dir(service.backups()).unwrap().count(), 0);
    service.sql("truncate junk");
    service.create();
    // Now it is known what the next one will take.
    service.sql("insert into junk select n, '' from generate_series(1, 10) n");
    assert_sound(&service);
}

#[test]
fn on_a_full_disk_and_without_docker_a_backup_can_be_deleted() {
    let service = Service::new("stuffed");
    service.sql("create table t (a int)");
    let disk = SmallDisk::mount(&service, "2m");
    dokku(&["pgbackup:set", &service.name, "min-free", "off"]).ok();
    let (first, second) = (service.create(), service.create());
    let fill = "truncate -s 0 lock; head -c 10M /dev/zero >filler 2>/dev/null; ! echo x >lock 2>/dev/null";
    let filled = Command::new("bash").args(["-c", fill]).current_dir(&disk.folder).status().unwrap();
    assert!(filled.success(), "the disk has room for a note");
    let delete = ["--force", "pgbackup:delete", &service.name, &first];
    let run = dokku_command(&delete).env("DOCKER_HOST", "tcp://127.0.0.1:1").output().unwrap();
    let run = Run::of("delete".to_owned(), &run).ok();
    assert!(run.stderr.contains("containers that killed runs may have left stay"), "{}", run.stderr);
    fs::remove_file(disk.folder.join("filler")).unwrap();
    service.pgbackup("verify", &[&second, "--level", "quick"]).ok();
}
