//! An app of the stand-in with its developer's repository: commits, pushes, and what dokku and pgbackup say of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::bench::{Run, Service, dokku, world};

/// Destroyed when dropped.
pub struct App {
    pub name: String,
    folder: tempfile::TempDir,
}

impl App {
    pub fn new(label: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("a{}-{number}-{label}", std::process::id());
        dokku(&["apps:create", &name]).ok();
        let app = App { name, folder: tempfile::tempdir().unwrap() };
        // User dokku clones from it.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(app.folder(), open).unwrap();
        app.git(&["init", "--quiet", "--initial-branch=master"]);
        app
    }

    /// One that is linked to `services`.
    pub fn linked(label: &str, services: &[&Service]) -> Self {
        let app = Self::new(label);
        for service in services {
            dokku(&["postgres:link", &service.name, &app.name, "--no-restart"]).ok();
        }
        app
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let output = self.git_command().args(args).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "git {args:?}\n{out}{err}");
        out.trim().to_owned()
    }

    fn git_command(&self) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.folder()).stdin(Stdio::null());
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{role}_NAME"), "Berta Moos");
            git.env(format!("GIT_{role}_EMAIL"), "berta@example.com");
        }
        git
    }

    /// Commits files (an empty content removes one); the commit's id.
    #[track_caller]
    pub fn commit(&self, subject: &str, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.folder().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if content.is_empty() {
                fs::remove_file(path).unwrap();
            } else {
                fs::write(path, content).unwrap();
            }
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// `git push`, not yet run. What the server says comes on stderr.
    pub fn push_command(&self) -> Command {
        let mut git = self.git_command();
        let ssh = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/dokku-ssh");
        git.env("GIT_SSH", ssh).env("GIT_SSH_VARIANT", "simple").env("DOKKU_STANDIN_ROOT", world());
        git.args(["push", "--quiet", &format!("dokku@here:{}", self.name), "HEAD:master"]);
        git
    }

    pub fn push(&self) -> Run {
        Run::of(format!("git push {}", self.name), &self.push_command().output().unwrap())
    }

    /// Commits and pushes, which must go well; the commit's id.
    #[track_caller]
    pub fn deploy(&self, subject: &str, files: &[(&str, &str)]) -> String {
        let commit = self.commit(subject, files);
        self.push().ok();
        commit
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let gone = dokku(&["--force", "apps:destroy", &self.name]);
        assert!(gone.code == 0 || std::thread::panicking(), "{}{}", gone.stdout, gone.stderr);
    }
}

/// A predeploy script that changes the service's data, as a migration does.
pub fn migration(service: &Service, sql: &str) -> String {
    format!(
        "docker exec {} psql --quiet --username=postgres --dbname={} --command=\"{sql}\"\n",
        service.container(),
        service.database()
    )
}

/// The backups of a service, newest first, as `list --format json` tells them.
#[track_caller]
pub fn backups(service: &Service) -> Vec<Value> {
    let listed = service.pgbackup("list", &["--format", "json"]).ok().json();
    listed.as_array().unwrap().clone()
}
