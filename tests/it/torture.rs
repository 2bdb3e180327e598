//! The campaign, a sample of it in each run of the tests and all of it in `make torture`: what happens to a run from
//! outside: kill -9, power cuts, signals, containers that die, other runs, a full disk. Afterwards the live database is as
//! it was, no unfinished thing is taken for good, and nothing is left that the next run can't clear.

mod asked;
mod crashes;
mod damage;
mod dice;
mod disk;
mod durations;
mod engine;
mod failing_disk;
pub mod full_disk;
mod hostile;
mod interrupts;
mod killed;
mod load;
mod meanwhile;
mod oddities;
mod orders;
mod own_daemon;
mod races;
mod scene;
mod server_disk;
mod side_by_side;
mod slow_disk;
mod small_disk;
mod struck;
mod tally;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::bench::{Run, Service, docker};
use crate::session::Session;
use crate::started::{Started, until};

/// Nothing takes longer, however loaded the machine is: who has not ended then waits for somebody who waits for it.
const LONGEST_RUN: Duration = Duration::from_secs(600);

/// With a table at which every restore waits until [`let_go`]; it is dumped as quickly as any.
fn fill_waiting(service: &Service) {
    service.fill();
    service.sql(
        "create function wait() returns boolean language plpgsql as 'begin return true; end';
create table stile (id int, check (wait()));
insert into stile values (1);
create or replace function wait() returns boolean language plpgsql as $$ begin
  for i in 1..2000 loop
    if (pg_catalog.pg_stat_file('/tmp/go', true)).size is not null then return true; end if;
    perform pg_catalog.pg_sleep(0.05);
  end loop;
  raise exception 'nobody let it go';
end $$",
    );
}

/// Lets the restores on the server in that container go on.
fn let_go(container: &str) {
    docker(&["exec", container, "touch", "/tmp/go"]).ok();
}

/// As long as it lives, a dump of the service waits at its first table.
fn hold_dumps(service: &Service) -> Session {
    Session::that_did(service, "begin; lock table cows in access exclusive mode")
}

/// A run that is at a point where it stays: a create behind [`hold_dumps`], others with [`fill_waiting`].
fn in_the_middle(service: &Service, command: &str) -> Started {
    match command {
        "create" => {
            let run = Started::pgbackup(service, "create", &[]);
            until("pg_dump runs", || has_container(service, ".dump"));
            run
        }
        "verify" => {
            let mut run = Started::pgbackup(service, "verify", &[]);
            run.until_it_says("Restoring into it");
            until("pg_restore runs", || has_container(service, ".restore"));
            run
        }
        _ => {
            let mut run = Started::pgbackup(service, command, &["--force"]);
            run.until_it_says("Restoring into the new database");
            until("pg_restore runs", || has_container(service, ".restore"));
            run
        }
    }
}

/// The folder of the backup that is being made.
fn pending_backup(service: &Service) -> Option<PathBuf> {
    let entries = fs::read_dir(service.backups()).unwrap().flatten();
    entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/.pending-"))
}

/// The names of pgbackup's containers that run for a service.
fn containers(service: &Service) -> Vec<String> {
    engine::sidecars(&service.name)
}

fn has_container(service: &Service, ending: &str) -> bool {
    containers(service).iter().any(|name| name.ends_with(ending))
}

/// The one of them whose name ends like this.
#[track_caller]
fn container(service: &Service, ending: &str) -> String {
    let names = containers(service);
    names
        .iter()
        .find(|name| name.ends_with(ending))
        .unwrap_or_else(|| panic!("no {ending} among {names:?}"))
        .clone()
}

/// Whether a container is a drill's throwaway server.
fn is_drill(name: &str) -> bool {
    name.rsplit('.').next() == Some("drill")
}

/// What a run that was not allowed to clean up may have left, by the names it is told under.
fn leftovers(service: &Service, databases: Vec<String>) -> Vec<String> {
    let names = |folder: &str| {
        let entries =
            fs::read_dir(service.root().join("pgbackup").join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let hidden = names("backups").into_iter().filter_map(|name| {
        let id = name.strip_prefix(".pending-").or_else(|| name.strip_prefix(".deleted-"));
        id.map(str::to_owned)
    });
    let databases = databases.into_iter().filter(|name| name.contains("_restoring_"));
    // The others may come to their end on their own.
    let servers = containers(service).into_iter().filter(|name| is_drill(name));
    hidden.chain(names("scratch")).chain(databases).chain(servers).collect()
}

/// The live database has its name, its rows and takes new ones; what is listed as good is whole.
#[track_caller]
fn assert_sound(service: &Service) -> Run {
    assert!(service.databases().contains(&service.database()), "{:?}", service.databases());
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    assert_eq!(service.sql("insert into farmers (name) values ('new') returning name"), "new");
    let entries = fs::read_dir(service.backups()).unwrap().flatten();
    let folders = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut whole: Vec<String> = folders.filter(|name| !name.starts_with('.')).collect();
    whole.sort();
    let listed = service.pgbackup("list", &["--format", "json"]).ok().json();
    let good = listed.as_array().unwrap().iter().filter(|entry| entry["status"] == "good");
    let mut good: Vec<&str> = good.map(|entry| entry["id"].as_str().unwrap()).collect();
    good.sort_unstable();
    assert_eq!(good, whole, "{listed}");
    service.pgbackup("verify", &["--all", "--level", "archive"]).ok()
}
