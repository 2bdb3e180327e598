//! The server is gone: docs/disaster.md, as it stands there, brings its service back on another one.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{key_pair, set_remote, with_input, with_remote};
use crate::app::App;
use crate::bench::{Service, docker, dokku, dokku_command, furnish};
use crate::docs::{commands_in, document, section};
use crate::store::{ACCESS_KEY, SECRET_KEY, Store};

/// A server that has nothing but the plugins.
struct NewServer {
    root: tempfile::TempDir,
    service: String,
}

impl NewServer {
    fn new(service: &str) -> Self {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        furnish(root.path());
        NewServer { root, service: service.to_owned() }
    }

    /// Types lines into a shell of root, as somebody does who follows the page.
    fn paste(&self, lines: &str) -> String {
        let bench = dokku_command(&[]);
        let support = Path::new(bench.get_program()).parent().unwrap();
        let output = Command::new("bash")
            .args(["-e", "-u", "-o", "pipefail", "-c", lines])
            .current_dir(self.root.path())
            .env("PATH", format!("{}:{}", support.display(), std::env::var("PATH").unwrap()))
            .env("DOKKU_STANDIN_ROOT", self.root.path())
            .env("ACCESS_KEY_ID", ACCESS_KEY)
            .env("SECRET_ACCESS_KEY", SECRET_KEY)
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{lines}\n{out}{err}");
        format!("{out}{err}")
    }
}

impl Drop for NewServer {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &format!("dokku.postgres.{}", self.service)]);
    }
}

/// The commands of a section, for this test's service and store.
fn steps(heading: &str, service: &str, store: &Store) -> String {
    let page = document("docs/disaster.md");
    let region = "--region eu-central-1";
    commands_in(section(&page, heading))
        .replace("happycows-db", service)
        .replace("s3://cows-backups/", "s3://cows/")
        .replace(region, &format!("{region} --endpoint {} --path-style", store.endpoint()))
}

#[test]
fn what_disaster_md_says_brings_a_service_of_a_dead_server_back() {
    let (dead, store) = with_remote("dead");
    let (public, secret) = key_pair();
    dead.pgbackup("set", &["age-recipient", &public]).ok();
    let app = App::linked("dead", &[&dead]);
    let commit = app.deploy("Paint the barn", &[("web", "1")]);
    dead.sql("insert into farmers (name) values ('Berta')");
    let id = dead.create();
    dead.pgbackup("push", &["--all"]).ok();
    let (name, farmers) = (dead.name.clone(), dead.sql("select count(*) from farmers"));
    drop((app, dead));

    let server = NewServer::new(&name);
    fs::write(server.root.path().join("key.txt"), format!("# mine\n{secret}\n")).unwrap();
    let said = server.paste(&steps("2. The remote", &name, &store));
    assert!(said.contains(&name) && said.contains(&id) && said.contains(" 17."), "{said}");
    let said = server.paste(&steps("3. The data", &name, &store));
    assert!(said.contains(&format!("has the data of backup {id}")), "{said}");
    let question = "select count(*) from farmers";
    let database = name.replace('-', "_");
    let container = format!("dokku.postgres.{name}");
    let psql = ["exec", &container, "psql", "-U", "postgres", "-d", &database, "-Atc", question];
    assert_eq!(docker(&psql).ok().stdout.trim(), farmers);
    let belongs = said.lines().find(|line| line.contains("Belongs to")).unwrap();
    assert!(belongs.contains(&commit) && belongs.contains("Paint the barn"), "{said}");

    let said = server.paste(&steps("5. Backups again", &name, &store).replace("age1…", &public));
    assert!(said.contains("s3://cows/server2") && said.contains("encrypted"), "{said}");
    assert!(!store.objects("server2").is_empty());
    assert!(!store.objects("").iter().any(|path| path.extension().is_some_and(|end| end == "tar")));
}

#[test]
fn a_restore_from_the_remote_needs_the_key_and_leaves_nothing_else() {
    let (service, store) = with_remote("visitor");
    let (public, secret) = key_pair();
    service.pgbackup("set", &["age-recipient", &public]).ok();
    service.create();
    service.pgbackup("push", &[]).ok();
    let target = Service::new("target");
    set_remote(&target, &store, SECRET_KEY);
    let words = ["pgbackup:restore", &target.name, "--from-remote", &service.name];
    dokku(&[&words[..], &["--force"]].concat()).fails(6, "--identity");
    let key = [&words[..], &["--identity", "-", "--force"]].concat();
    with_input(dokku_command(&key), "restore --from-remote", &secret).ok();
    assert_eq!(target.sql("select count(*) from cows"), "5000");
    assert_eq!(target.pgbackup("list", &["--format", "json"]).ok().stdout.trim(), "[]");
    dokku(&["pgbackup:restore", &target.name, "--from-remote", "nobody-db", "--force"]).fails(5, "nobody-db");
    target.assert_nothing_left();
}
