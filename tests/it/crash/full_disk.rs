//! The backups' disk is full: told beforehand with figures where it can be known, and cleanly where it cannot.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::assert_sound;
use crate::bench::{Service, dokku};

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
