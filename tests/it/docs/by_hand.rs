//! docs/recovery.md is pasted into a shell, as it stands.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{commands_in, document, section, sections};
use crate::bench::{Service, docker, dokku_command, has_postgres, world};

/// recovery.md with real names in it, for one service and one backup.
struct Recovery {
    page: String,
}

impl Recovery {
    fn of(service: &str, backup: &str, saved: &Path) -> Self {
        let page = document("docs/recovery.md")
            .replace("happycows-db", service)
            .replace("20261122T235901Z-k3f9", backup)
            .replace("/root/saved", &saved.display().to_string())
            .replace("/var/lib/dokku", &world().join("lib").display().to_string())
            .replace("pgbackup-recovery", &format!("recovery-{service}"));
        Recovery { page }
    }

    /// The numbered steps but the first, which says where the backup is.
    fn steps(&self) -> String {
        let numbered =
            |title: &str| title.starts_with(|c: char| c.is_ascii_digit()) && !title.starts_with('1');
        sections(&self.page)
            .iter()
            .filter(|(title, _)| numbered(title))
            .map(|(_, text)| commands_in(text))
            .collect()
    }

    fn section(&self, heading: &str) -> String {
        commands_in(section(&self.page, heading))
    }
}

/// Runs lines as somebody pastes them into a root shell; all that they print.
#[track_caller]
fn paste(lines: &str) -> String {
    // Only for its environment: the stand-in's dokku in the PATH, and its world.
    let bench = dokku_command(&[]);
    let support = Path::new(bench.get_program()).parent().unwrap();
    let path = format!("{}:{}", support.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-e", "-u", "-o", "pipefail", "-c", lines])
        .env("PATH", path)
        .env("DOKKU_STANDIN_ROOT", world())
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}:\n{said}", output.status);
    assert!(said.contains("every file is as it was written"), "{said}");
    said
}

#[test]
fn a_backup_is_restored_by_hand_beside_the_live_database() {
    let service = Service::new("by-hand");
    let database = service.database();
    service.fill();
    service.sql(&format!(
        "create role farmhand login; grant select on cows to farmhand; alter database {database} set work_mem = '17MB';
comment on database {database} is 'the herd'"
    ));
    let id = service.create();
    service.sql("delete from cows; drop owned by farmhand; drop role farmhand");
    let recovery = Recovery::of(&service.name, &id, Path::new("/nowhere"));
    let said = paste(&(recovery.section("1. Say what you have") + &recovery.steps()));
    assert!(said.contains("(0 rows)"), "a table differs:\n{said}");
    let look =
        "select count(*), has_table_privilege('farmhand', 'cows', 'select'), current_setting('work_mem'),
(select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()) from cows";
    assert_eq!(service.sql(look), "5000|t|17MB|the herd");
    assert_eq!(service.databases(), [database]);
}

#[test]
fn counting_by_hand_notices_a_row_too_many() {
    // With the newest Postgres that is there, so that the page holds for it, too.
    let service = Service::with("counted", if has_postgres(18) { 18 } else { 17 }, &[]);
    service.fill();
    let id = service.create();
    service.pgbackup("verify", &[]).ok().says("is good");
    let recovery = Recovery::of(&service.name, &id, Path::new("/nowhere"));
    let (steps, counting) = (recovery.steps(), recovery.section("6. Is everything there?"));
    let before = steps.split(&counting).next().unwrap();
    let spoil = "tool psql --quiet --dbname \"${DATABASE}_restored\" --command 'insert into farmers (name) values (1)'\n";
    let said = paste(&(recovery.section("1. Say what you have") + before + spoil + &counting));
    assert!(said.contains("\"public\".\"farmers\" |      100 |   101"), "{said}");
}

/// A copy of a backup's folder, as somebody has it who saved nothing else.
fn saved(service: &Service, id: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("--archive").arg(service.backup(id)).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    folder
}

#[test]
fn a_saved_folder_is_enough_for_another_server() {
    let lost = Service::new("lost");
    lost.fill();
    lost.sql("create role milkmaid login; alter table cows owner to milkmaid");
    let id = lost.create();
    let folder = saved(&lost, &id);
    let other = Service { name: format!("{}-again", lost.name) };
    drop(lost);
    let recovery = Recovery::of(&other.name, &id, folder.path());
    let said = paste(&(recovery.section("Another server") + &recovery.steps()));
    assert!(said.contains("(0 rows)"), "a table differs:\n{said}");
    let look = "select count(*), min(tableowner) from cows, pg_tables where tablename = 'cows'";
    assert_eq!(other.sql(look), "5000|milkmaid");
}

#[test]
fn a_saved_folder_is_enough_without_dokku() {
    struct Container(String);
    impl Drop for Container {
        fn drop(&mut self) {
            docker(&["rm", "--force", "--volumes", &self.0]);
        }
    }
    let service = Service::new("bare");
    service.fill();
    let id = service.create();
    let folder = saved(&service, &id);
    let container = Container(format!("recovery-{}", service.name));
    let said = paste(&Recovery::of(&service.name, &id, folder.path()).section("Without dokku"));
    assert!(said.contains(&service.database()), "{said}");
    let count = ["--tuples-only", "--no-align", "--command", "select count(*) from cows"];
    let psql = ["exec", &container.0, "psql", "--username", "postgres", "--dbname", &service.database()];
    assert_eq!(docker(&[&psql[..], &count].concat()).ok().stdout.trim(), "5000");
}

#[test]
fn an_export_is_restored_by_hand_in_each_form() {
    let service = Service::new("exported");
    service.fill();
    let id = service.create();
    let folder = tempfile::tempdir().unwrap();
    for (form, file) in [("tar", "happycows.tar"), ("sql", "happycows.sql"), ("custom", "happycows.dump")] {
        let exported = dokku_command(&["pgbackup:export", &service.name, "--as", form]).output().unwrap();
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        fs::write(folder.path().join(file), exported.stdout).unwrap();
    }
    paste(&Recovery::of(&service.name, &id, folder.path()).section("An export"));
    for database in ["from_sql", "from_custom"] {
        assert_eq!(service.sql_in(database, "select count(*) from cows"), "5000");
    }
}
