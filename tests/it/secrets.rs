//! No secret is in an argument, a message, a trace or a log, and no file of ours is anybody else's to read, not even in
//! the moment in which it appears.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use age::secrecy::ExposeSecret;

use crate::bench::{Run, Service, dokku, dokku_command, world};
use crate::store::{ACCESS_KEY, SECRET_KEY, Store};
use crate::traces::Traces;

/// A thread that looks at something again and again until it is asked what it saw.
struct Watcher<T> {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    thread: JoinHandle<T>,
}

impl<T: Default + Send + 'static> Watcher<T> {
    fn start(mut look: impl FnMut(&mut T) + Send + 'static) -> Self {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, looked) = (Arc::clone(&stop), Arc::clone(&looks));
        let thread = std::thread::spawn(move || {
            let mut seen = T::default();
            while !stopped.load(Ordering::Relaxed) {
                look(&mut seen);
                looked.fetch_add(1, Ordering::Relaxed);
                // What is watched needs the processor, too.
                std::thread::sleep(Duration::from_millis(3));
            }
            seen
        });
        Watcher { stop, looks, thread }
    }

    fn end(self) -> T {
        assert!(self.looks.load(Ordering::Relaxed) > 20, "it did not come to look");
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Command lines with one of the secrets, of whatever process on this machine, those in containers too.
fn watch_arguments(secrets: Vec<String>) -> Watcher<BTreeSet<String>> {
    Watcher::start(move |seen: &mut BTreeSet<String>| {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(bytes) = fs::read(entry.path().join("cmdline")) else { continue };
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            if secrets.iter().any(|secret| line.contains(secret.as_str())) {
                seen.insert(line);
            }
        }
    })
}

fn fed(args: &[&str], input: &[u8]) -> Run {
    let mut command = dokku_command(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Run::of(args.join(" "), &child.wait_with_output().unwrap())
}

/// Plain files below `folder`, but for those that are there to keep the secret.
fn files_below(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            files_below(&path, into);
        } else if !path.ends_with("remote.toml") && !path.ends_with("settings.toml") {
            into.push(path);
        }
    }
}

/// Every command on a service with a remote, those that print most with `--trace`.
const TOUR: [&str; 20] = [
    "remote-check %",
    "create % --trace",
    "create % --scheduled --trace",
    "push % --all --trace",
    "list % --remote --trace",
    "list %",
    "info % --trace",
    "verify % --trace",
    "restore % --dry-run --trace",
    "restore % --force --trace",
    "restore % --table cows --trace",
    "undo % --trace",
    "diff % --fast --trace",
    "export % --as custom --trace",
    "report % --trace",
    "report % --format json",
    "doctor % --trace",
    "history %",
    "set % notify-url",
    "delete % @ --force --trace",
];

/// Sets the remote with the secret key on standard input.
fn set_remote(service: &Service, endpoint: &str) -> Run {
    let place = ["pgbackup:remote-set", &service.name, "s3://cows/x", "--endpoint", endpoint];
    let args = [&place[..], &["--path-style", "--credentials", "stdin", "--trace"]].concat();
    fed(&args, format!("{ACCESS_KEY}\n{SECRET_KEY}\n").as_bytes())
}

/// The whole tour, a pull, an import, and a push that fails.
fn tour(service: &Service, store: &Store, identity: &str) -> Vec<Run> {
    let name = service.name.as_str();
    let mut runs = vec![set_remote(service, &store.endpoint()).ok()];
    let id = service.create();
    for line in TOUR {
        let line = format!("pgbackup:{}", line.replace('%', name).replace('@', &id));
        let run = dokku(&line.split(' ').collect::<Vec<_>>());
        assert!(run.code == 0 || line.contains("doctor"), "{line}: {}", run.stderr);
        runs.push(run);
    }
    let pull = ["pgbackup:pull", name, &id, "--identity", "-", "--trace"];
    runs.push(fed(&pull, identity.as_bytes()).ok());
    let exported = dokku_command(&["pgbackup:export", name, &id]).output().unwrap();
    runs.push(fed(&["pgbackup:import", name, "--trace"], &exported.stdout).ok());
    // What fails says the most.
    runs.push(set_remote(service, "http://127.0.0.1:9"));
    runs.push(service.pgbackup("push", &["--trace"]));
    runs
}

/// No file that we keep or log into holds one of the secrets, but for those that are there to keep them.
fn assert_not_in_files(service: &Service, secrets: &[String]) {
    let mut files = Vec::new();
    files_below(&service.root().join("pgbackup"), &mut files);
    files_below(&world().join("logs"), &mut files);
    assert!(files.iter().any(|path| path.ends_with("history.jsonl")));
    for path in files {
        let bytes = fs::read(&path).unwrap_or_default();
        let holds = |secret: &String| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!secrets.iter().any(holds), "a secret is in {}", path.display());
    }
}

#[test]
fn no_secret_is_in_an_argument_a_message_a_trace_or_a_log() {
    let (service, store) = (Service::new("secrets"), Store::open());
    service.fill();
    let password = fs::read_to_string(service.root().join("PASSWORD")).unwrap().trim().to_owned();
    let key = age::x25519::Identity::generate();
    let identity = key.to_string().expose_secret().to_owned();
    let hook_secret = "services/T00/B00/0123456789abcdefghij";
    let secrets = vec![password, SECRET_KEY.to_owned(), identity.clone(), hook_secret.to_owned()];
    // It is set on a command line, which is the user's; from then on nobody sees it any more.
    let url = format!("http://127.0.0.1:9/{hook_secret}");
    dokku(&["pgbackup:set", &service.name, "notify-url", &url]).ok();
    dokku(&["pgbackup:set", &service.name, "notify-success", "on"]).ok();
    dokku(&["pgbackup:set", &service.name, "age-recipient", &key.to_public().to_string()]).ok();
    let watcher = watch_arguments(secrets.clone());
    let runs = tour(&service, &store, &identity);
    let seen = watcher.end();
    assert!(seen.is_empty(), "{seen:#?}");
    let is_traced = |run: &Run| run.stderr.contains("docker") && run.stderr.contains("--env PGPASSWORD");
    assert!(runs.iter().any(is_traced));
    for run in &runs {
        for secret in &secrets {
            let text = format!("{}{}", run.stdout, run.stderr);
            assert!(!text.contains(secret.as_str()), "{secret} is in what {} says:\n{text}", run.line);
        }
    }
    assert_not_in_files(&service, &secrets);
}

/// What is in the folder, each with the widest rights that it was ever seen with.
fn watch_rights(folder: PathBuf) -> Watcher<BTreeMap<PathBuf, u32>> {
    fn look(folder: &Path, seen: &mut BTreeMap<PathBuf, u32>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_symlink() {
                continue;
            }
            *seen.entry(entry.path()).or_default() |= metadata.permissions().mode() & 0o777;
            if metadata.is_dir() {
                look(&entry.path(), seen);
            }
        }
    }
    Watcher::start(move |seen: &mut BTreeMap<PathBuf, u32>| look(&folder, seen))
}

/// A run under strace.
fn traced(args: &[&str], input: &Path) -> Vec<(String, u32)> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-ff", "-ttt", "--seccomp-bpf", "-s", "300", "-o"]).arg(folder.path().join("log"));
    command.args([
        "-e",
        "trace=openat,open,creat,mkdir,mkdirat,mknod,mknodat,umask,execve,clone,clone3,fork,vfork",
        "--",
    ]);
    let dokku = dokku_command(args);
    command
        .arg(dokku.get_program())
        .args(dokku.get_args())
        .envs(dokku.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.stdin(fs::File::open(input).unwrap()).output().unwrap();
    Run::of(format!("strace dokku {}", args.join(" ")), &output).ok();
    Traces::read(folder.path()).appearances()
}

#[test]
fn no_file_of_ours_is_ever_readable_by_others() {
    let service = Service::new("rights");
    service.fill();
    // Large enough that what pg_dump writes is seen while it is written.
    service.sql(
        "create table noise as select n, repeat(md5(n::text), 20) as text from generate_series(1, 60000) n",
    );
    let remote = tempfile::tempdir().unwrap();
    assert!(Command::new("chown").arg("dokku:dokku").arg(remote.path()).status().unwrap().success());
    let place = format!("file://{}", remote.path().display());
    let name = service.name.as_str();
    let dump = remote.path().join("dump.tar");
    let watcher = watch_rights(service.root().join("pgbackup"));
    let mut made = traced(&["pgbackup:remote-set", name, &place], Path::new("/dev/null"));
    let mut run = |line: &str, input: &Path| {
        let line = format!("pgbackup:{}", line.replace('%', name));
        made.extend(traced(&line.split(' ').collect::<Vec<_>>(), input));
    };
    let nothing = Path::new("/dev/null");
    run("create %", nothing);
    run("push %", nothing);
    let export = dokku_command(&["pgbackup:export", name]).stdout(fs::File::create(&dump).unwrap()).status();
    assert!(export.unwrap().success());
    for line in
        ["verify %", "restore % --force", "restore % --table cows", "undo %", "diff %", "set % jobs 2"]
    {
        run(line, nothing);
    }
    run("import %", &dump);
    let seen = watcher.end();
    let is_open = |rights: &u32| rights & 0o077 != 0;
    let open: Vec<_> = seen.iter().filter(|(_, rights)| is_open(rights)).collect();
    assert!(open.is_empty(), "others could read {open:#?}");
    assert!(
        seen.keys().any(|path| path.to_string_lossy().contains("/.pending-")),
        "nothing was seen in the making"
    );
    let wide: Vec<_> =
        made.iter().filter(|(path, rights)| is_open(rights) && !path.starts_with("/dev/")).collect();
    assert!(wide.is_empty(), "made for others to read: {wide:#?}");
    for kind in ["manifest.toml", "lock", "history.jsonl", "/.pending-"] {
        assert!(made.iter().any(|(path, _)| path.contains(kind)), "strace saw no {kind} among {made:?}");
    }
}
