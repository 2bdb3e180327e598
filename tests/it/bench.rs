//! The bench: a stand-in dokku with this build installed, services on real Postgres containers, and what tests ask them.
//!
//! Needs root, docker and the images: `tests/support/setup` provides them. Every service is removed when it is
//! dropped; the world's folder stays for the next run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::plugins;

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Run {
    pub line: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(line: String, output: &Output) -> Self {
        Run {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The run, which must have ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}{}", self.line, self.stdout, self.stderr);
        self
    }

    /// The run, which must have ended with `code` and have said `words` on stderr.
    #[track_caller]
    pub fn fails(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, code, "{}\n{}{}", self.line, self.stdout, self.stderr);
        assert!(self.stderr.contains(words), "{words:?} is not in\n{}", self.stderr);
        assert!(self.stderr.contains(" !     "), "not dokku's line style:\n{}", self.stderr);
        self
    }

    /// The run, which must not have ended well and have said `words` on stderr.
    #[track_caller]
    pub fn fails_with(self, words: &str) -> Self {
        assert_ne!(self.code, 0, "{}\n{}{}", self.line, self.stdout, self.stderr);
        assert!(self.stderr.contains(words), "{words:?} is not in\n{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in\n{}", self.stdout))
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "{words:?} is not in\n{}", self.stdout);
        self
    }
}

/// The stand-in's folder, made and furnished once for each test process. Test processes that run side by side need
/// one each: `PGBACKUP_TEST_WORLD`.
pub fn world() -> &'static Path {
    static WORLD: OnceLock<PathBuf> = OnceLock::new();
    WORLD.get_or_init(|| {
        let root =
            std::env::var_os("PGBACKUP_TEST_WORLD").unwrap_or_else(|| "/var/tmp/pgbackup-tests".into());
        let root = PathBuf::from(root);
        furnish(&root);
        root
    })
}

/// Makes a server of the stand-in in a folder of its own, with the plugin. Containers' names are the same for all.
pub fn furnish(root: &Path) {
    // The first command of root makes the world.
    let made = support("dokku").env("DOKKU_STANDIN_ROOT", root).arg("apps:list").output().unwrap();
    assert!(made.status.success(), "the stand-in: {}", String::from_utf8_lossy(&made.stderr));
    plugins::remove_hooks(root);
    install_plugin(root);
    allow_full_disks(root);
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn support(name: &str) -> Command {
    Command::new(repository().join("tests/support").join(name))
}

/// A machine for tests may have a disk that is nearly full.
fn allow_full_disks(root: &Path) {
    let folder = root.join("lib/config/pgbackup");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("settings.toml"), "min-free = \"100 MB\"\n").unwrap();
    let owned = Command::new("chown").args(["-R", "dokku:dokku"]).arg(&folder).status();
    assert!(owned.unwrap().success());
}

/// What dokku calls.
const ENTRYPOINTS: [&str; 13] = [
    "plugin.toml",
    "commands",
    "subcommands",
    "core-post-deploy",
    "core-post-extract",
    "cron-entries",
    "deploy-source-set",
    "post-app-rename-setup",
    "post-build",
    "post-container-create",
    "post-delete",
    "post-deploy",
    "service-action",
];

/// The working tree's entrypoints and this build of the binary, as `plugin:install` would leave them.
fn install_plugin(root: &Path) {
    let plugin = root.join("plugins/available/pgbackup");
    let _ = fs::remove_dir_all(&plugin);
    fs::create_dir_all(plugin.join("bin")).unwrap();
    let entrypoints = Command::new("cp")
        .arg("--archive")
        .args(ENTRYPOINTS.map(|name| repository().join(name)))
        .arg(&plugin)
        .status();
    assert!(entrypoints.unwrap().success());
    // A bench measures the program that a user gets.
    let program = std::env::var_os("PGBACKUP_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_pgbackup").into());
    fs::copy(program, plugin.join("bin/pgbackup")).unwrap();
    let owned = Command::new("chown").args(["-R", "dokku:dokku"]).arg(&plugin).status();
    assert!(owned.unwrap().success());
    let enabled = root.join("plugins/enabled/pgbackup");
    let _ = fs::remove_file(&enabled);
    std::os::unix::fs::symlink(&plugin, enabled).unwrap();
}

/// A command of the stand-in, not yet run: for tests that kill, feed or watch it.
pub fn dokku_command(args: &[&str]) -> Command {
    let mut command = support("dokku");
    command.env("DOKKU_STANDIN_ROOT", world()).args(args).stdin(Stdio::null());
    command
}

/// Runs `dokku <args>` as root does at a shell, without a terminal and with nothing on stdin.
pub fn dokku(args: &[&str]) -> Run {
    Run::of(format!("dokku {}", args.join(" ")), &dokku_command(args).output().unwrap())
}

/// `ssh dokku@host <line>`, not yet run.
pub fn ssh_command(line: &str) -> Command {
    let mut command = support("dokku-ssh");
    command.env("DOKKU_STANDIN_ROOT", world()).arg(line).stdin(Stdio::null());
    command
}

/// Runs `ssh dokku@host <line>`.
pub fn ssh(line: &str) -> Run {
    Run::of(format!("ssh dokku@host {line}"), &ssh_command(line).output().unwrap())
}

pub fn docker(args: &[&str]) -> Run {
    Run::of(format!("docker {}", args.join(" ")), &Command::new("docker").args(args).output().unwrap())
}

/// Whether this machine has the image of that major version; 18 is not to be had every day.
pub fn has_postgres(major: u32) -> bool {
    let found = docker(&["image", "inspect", "--format", "{{.Id}}", &format!("postgres:{major}")]).code == 0;
    assert!(found || major == 18, "postgres:{major} is missing: run tests/support/setup");
    if !found {
        eprintln!("SKIPPED: there is no image postgres:{major}");
    }
    found
}

/// A running Postgres service that is removed when dropped.
pub struct Service {
    pub name: String,
}

impl Service {
    /// A new one with Postgres 17; `label` goes into its name.
    pub fn new(label: &str) -> Self {
        Self::with(label, 17, &[])
    }

    pub fn with(label: &str, major: u32, more: &[&str]) -> Self {
        Self::of_version(label, &major.to_string(), more)
    }

    /// `version` as it stands behind the colon of an image's name.
    pub fn of_version(label: &str, version: &str, more: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}-{number}-{label}", std::process::id());
        let args = [&["postgres:create", &name, "--image-version", version], more].concat();
        dokku(&args).ok();
        Service { name }
    }

    /// The name that dokku-postgres gave its database.
    pub fn database(&self) -> String {
        fs::read_to_string(self.root().join("DATABASE_NAME")).unwrap().trim_end_matches('\n').to_owned()
    }

    pub fn container(&self) -> String {
        format!("dokku.postgres.{}", self.name)
    }

    pub fn root(&self) -> PathBuf {
        world().join("lib/services/postgres").join(&self.name)
    }

    pub fn backups(&self) -> PathBuf {
        self.root().join("pgbackup/backups")
    }

    /// Runs SQL in the service's database; the bare answer, trimmed.
    #[track_caller]
    pub fn sql(&self, script: &str) -> String {
        self.sql_in(&self.database(), script)
    }

    #[track_caller]
    pub fn sql_in(&self, database: &str, script: &str) -> String {
        let args = [
            "exec",
            "--interactive",
            // What a database of the tests sets for itself must not end the tests' own sessions.
            "--env=PGOPTIONS=-c idle_session_timeout=0 -c statement_timeout=0",
            &self.container(),
            "psql",
            "--username=postgres",
            "--no-psqlrc",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "--set=ON_ERROR_STOP=1",
            "--dbname",
            &connection_string(database),
        ];
        let mut child = Command::new("docker")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
        let run = Run::of("psql".to_owned(), &child.wait_with_output().unwrap()).ok();
        run.stdout.trim().to_owned()
    }

    /// The names of all databases but the templates and `postgres`.
    pub fn databases(&self) -> Vec<String> {
        let question =
            "select datname from pg_database where not datistemplate and datname <> 'postgres' order by 1";
        self.sql_in("template1", question).lines().map(str::to_owned).collect()
    }

    /// A small herd with foreign keys, an index, a sequence and a check.
    pub fn fill(&self) -> &Self {
        self.sql(include_str!("../data/herd.sql"));
        self
    }

    /// Runs `dokku pgbackup:<command> <service> <args>`.
    pub fn pgbackup(&self, command: &str, args: &[&str]) -> Run {
        dokku(&[&[format!("pgbackup:{command}").as_str(), self.name.as_str()], args].concat())
    }

    /// Makes a backup; its id.
    #[track_caller]
    pub fn create(&self) -> String {
        self.pgbackup("create", &["--quiet"]).ok().stdout.trim().to_owned()
    }

    /// The folder of a backup.
    pub fn backup(&self, id: &str) -> PathBuf {
        self.backups().join(id)
    }

    /// Destroys it as dokku does, without backups that a destroy would save.
    pub fn destroy(self) {
        fs::remove_dir_all(self.root().join("pgbackup")).unwrap();
        dokku(&["--force", "postgres:destroy", &self.name]).ok();
    }

    /// The files of a backup, relative to its folder, sorted.
    pub fn files(&self, id: &str) -> Vec<String> {
        let listed = Command::new("find")
            .arg(self.backup(id))
            .args(["-type", "f", "-printf", "%P\n"])
            .output()
            .unwrap();
        let mut names: Vec<String> =
            String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// What must be there after every command, however it ended: no container, no scratch folder, no half-made database.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        self.assert_nothing_left_beside(&self.databases());
    }

    /// The same by one who knows the names of all databases.
    #[track_caller]
    pub fn assert_nothing_left_beside(&self, databases: &[String]) {
        let label = format!("label=com.dokku.pgbackup.service={}", self.name);
        assert_eq!(docker(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]).ok().stdout, "");
        let hidden =
            Command::new("find").arg(self.root().join("pgbackup")).args(["-name", ".*"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&hidden.stdout), "");
        let scratch = fs::read_dir(self.root().join("pgbackup/scratch")).map_or(0, Iterator::count);
        assert_eq!(scratch, 0, "a scratch folder is left");
        let restoring: Vec<&String> = databases.iter().filter(|name| name.contains("_restoring_")).collect();
        assert_eq!(restoring, Vec::<&String>::new());
    }
}

impl Drop for Service {
    /// Without `postgres:destroy`, which stops the server and asks all plugins: what it does is tested for itself.
    fn drop(&mut self) {
        // The test itself has destroyed it.
        if !self.root().exists() {
            return;
        }
        let container = docker(&["container", "rm", "--force", "--volumes", &self.container()]);
        let removed = fs::remove_dir_all(self.root());
        let is_gone = container.code == 0 && removed.is_ok();
        assert!(is_gone || std::thread::panicking(), "{}: {container:?} {removed:?}", self.name);
    }
}

/// A database's name as libpq takes it, which would read a bare one with an equals sign as something else.
pub fn connection_string(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Changes one byte of a file, whatever its mode.
pub fn flip_byte(path: &Path, at: usize, with: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= with;
    fs::write(path, bytes).unwrap();
}

/// The permission bits of a file or folder.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
