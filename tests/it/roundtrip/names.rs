//! Databases with odd names, with none of the usual content, and servers that lack what a database uses.

use crate::bench::{Service, docker};
use crate::session::Session;
use crate::verify::claim_image;

/// A backup, its proof, a restore and an undo of a service with a herd in it.
fn goes_all_the_way(service: &Service) {
    service.fill();
    let id = service.create();
    service.pgbackup("verify", &[]).ok().says("is good");
    service.sql("delete from cows");
    let mut app = Session::that_did(service, "begin; select count(*) from cows");
    service.pgbackup("restore", &["--force"]).ok().says(&service.database());
    assert!(!app.try_run("select 1"), "who was connected to the old database is still");
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    service.pgbackup("restore", &[&id, "--table", "farmers"]).ok();
    service.pgbackup("undo", &[]).ok();
    assert_eq!(service.sql("select count(*) from cows"), "0");
    service.pgbackup("undo", &[]).ok();
    assert_eq!(service.sql("select count(*) from cows"), "5000");
    service.assert_nothing_left();
}

fn use_database(service: &Service, name: &str) {
    std::fs::write(service.root().join("DATABASE_NAME"), format!("{name}\n")).unwrap();
}

#[test]
fn a_database_with_an_odd_name_goes_there_and_back() {
    let service = Service::new("odd");
    let name = r#"-d "Weird Name", dbname = it's;$$ \'%s/ü🐄 "#;
    let quoted = name.replace('"', "\"\"");
    service.sql_in("template1", &format!("alter database {} rename to \"{quoted}\"", service.database()));
    use_database(&service, name);
    goes_all_the_way(&service);
    assert_eq!(
        service.databases().iter().filter(|one| one.starts_with("-d \"Weird Name\", dbname")).count(),
        2
    );
}

#[test]
fn the_database_postgres_goes_there_and_back() {
    let service = Service::new("postgres");
    use_database(&service, "postgres");
    goes_all_the_way(&service);
}

#[test]
fn an_empty_database_goes_there_and_back() {
    let service = Service::new("empty");
    let created = service.pgbackup("create", &["--format", "json"]).ok().json();
    assert_eq!((&created["backup"]["tables"], &created["backup"]["rows"]), (&0.into(), &0.into()));
    service.pgbackup("verify", &[]).ok().says("0 tables, 0 rows");
    service.sql("create table later (id int)");
    service.pgbackup("restore", &["--force"]).ok().says("0 tables, 0 rows");
    assert_eq!(service.sql("select to_regclass('later') is null"), "t");
    service.pgbackup("undo", &[]).ok();
    assert_eq!(service.sql("select count(*) from later"), "0");
    service.assert_nothing_left();
}

/// An image of Postgres 17 that has no hstore; removed when dropped.
struct LackingImage {
    name: String,
}

impl LackingImage {
    fn make() -> Self {
        let name = format!("pgbackup-test-lacking-{}", std::process::id());
        let script = "rm /usr/share/postgresql/17/extension/hstore.control";
        docker(&["run", "--name", &name, "--entrypoint", "sh", "postgres:17", "-c", script]).ok();
        let start = ["--change", "ENTRYPOINT [\"docker-entrypoint.sh\"]", "--change", "CMD [\"postgres\"]"];
        docker(&[&["commit"], &start[..], &[&name, &format!("{name}:17")]].concat()).ok();
        docker(&["rm", "--volumes", &name]).ok();
        LackingImage { name }
    }
}

impl Drop for LackingImage {
    fn drop(&mut self) {
        docker(&["image", "rm", &format!("{}:17", self.name)]);
    }
}

#[test]
fn an_image_without_an_extension_of_the_database_is_told_by_both_names() {
    let image = LackingImage::make();
    let service = Service::new("hstore");
    service.sql("create extension hstore; create table h (h hstore); insert into h values ('a=>1')");
    let id = service.create();
    let other = Service::with("lacking", 17, &["--image", &image.name]);
    let lacks = format!("the image of service {} lacks what the backup needs: extension hstore", other.name);
    service.pgbackup("restore", &["--to", &other.name, "--force"]).fails(6, &lacks);
    claim_image(&service, &id, &format!("{}:17", image.name));
    let lacks = format!("the image {}:17 lacks the extension hstore that the backup needs", image.name);
    service.pgbackup("verify", &[]).fails(6, &lacks);
    service.assert_nothing_left();
    drop(other);
}
