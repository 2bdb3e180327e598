//! `export`: what comes out, that it is whole when the exit code says so, and that nothing is left when it is not.

mod forms;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use age::secrecy::ExposeSecret;
use pgbackup::encryption::Identities;
use rustix::process::{Signal, kill_process};

use crate::bench::{Run, Service, dokku, dokku_command, flip_byte, ssh_command, world};
use crate::started::{pgbackup_below, until};
use crate::verify::claim_image;

const FORMS: [&str; 3] = ["tar", "sql", "custom"];

/// What an export wrote, byte by byte, and how it ended.
struct Exported {
    bytes: Vec<u8>,
    run: Run,
}

impl Exported {
    fn by(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let line = format!("{command:?}");
        Exported { run: Run::of(line, &output), bytes: output.stdout }
    }

    /// The bytes of one that ended well.
    #[track_caller]
    fn ok(self) -> Vec<u8> {
        assert_eq!(self.run.code, 0, "{}\n{}", self.run.line, self.run.stderr);
        self.bytes
    }
}

fn export_command(service: &Service, args: &[&str]) -> Command {
    dokku_command(&[&["pgbackup:export", service.name.as_str()], args].concat())
}

fn export(service: &Service, args: &[&str]) -> Exported {
    Exported::by(&mut export_command(service, args))
}

/// Rows that fill every pipe on the way, in whatever form.
fn fill_pipes(service: &Service) {
    service.sql(
        "create table long as select n, gen_random_uuid() as a, gen_random_uuid() as b from generate_series(1, 200000) n",
    );
}

#[track_caller]
fn unpack(tar: &[u8], folder: &Path) -> Run {
    let file = folder.join("export.tar");
    fs::write(&file, tar).unwrap();
    let unpacked = Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(folder).output().unwrap();
    Run::of("tar".to_owned(), &unpacked)
}

#[test]
fn a_tar_over_ssh_unpacks_to_the_backup_and_is_the_same_each_time() {
    let service = Service::new("tar");
    service.fill();
    let id = service.create();
    service.pgbackup("verify", &["--level", "quick"]).ok();
    let exported = Exported::by(&mut ssh_command(&format!("pgbackup:export {}", service.name)));
    let told = &exported.run.stderr;
    assert!(told.contains(&format!("-----> Exporting backup {id} of {}", service.name)), "{told}");
    let tar = exported.ok();

    let folder = tempfile::tempdir().unwrap();
    unpack(&tar, folder.path()).ok();
    let check = Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(folder.path().join(&id))
        .output();
    Run::of("sha256sum".to_owned(), &check.unwrap()).ok();
    let of_home = service.files(&id).into_iter().filter(|name| name != "verified.toml");
    for name in of_home {
        let (home, away) = (service.backup(&id).join(&name), folder.path().join(&id).join(&name));
        assert!(fs::read(home).unwrap() == fs::read(away).unwrap(), "{name}");
    }
    let again = export(&service, &[&id, "--quiet"]);
    assert_eq!(again.run.stderr, "");
    assert!(again.ok() == tar);
    service.assert_nothing_left();
}

#[test]
fn a_damaged_file_ends_it_and_the_tar_has_no_end() {
    let service = Service::new("damaged");
    service.fill();
    let id = service.create();
    let rows = service.files(&id).into_iter().find(|name| name.ends_with(".dat.zst")).unwrap();
    flip_byte(&service.backup(&id).join(&rows), 20, 1);
    let cut = export(&service, &[]);
    cut.run.fails(6, &format!("backup {id} is damaged: {rows}: its content changed"));
    assert!(cut.bytes.len() > 1024 && !cut.bytes.ends_with(&[0; 1024]));
    let folder = tempfile::tempdir().unwrap();
    unpack(&cut.bytes, folder.path()).fails_with("nexpected EOF");
    for form in ["sql", "custom"] {
        let none = export(&service, &["--as", form]);
        none.run.fails(6, &format!("{id} is damaged and is not exported: {rows}: its content changed"));
        assert_eq!(none.bytes, b"", "{form}");
    }

    service.pgbackup("verify", &["--level", "quick"]).fails(3, "is not good");
    export(&service, &[]).run.fails(5, "has no good backup");
    flip_byte(&service.backup(&id).join(&rows), 20, 1);
    let warned = export(&service, &[&id]);
    assert!(warned.run.stderr.contains("the last verification of backup"), "{}", warned.run.stderr);
    assert!(warned.ok().ends_with(&[0; 1024]));
    fs::remove_file(service.backup(&id).join(&rows)).unwrap();
    for form in FORMS {
        export(&service, &[&id, "--as", form]).run.fails(6, &format!("{rows}: is missing"));
    }
    let sums = service.backup(&id).join("SHA256SUMS");
    fs::write(&sums, fs::read_to_string(&sums).unwrap() + "x").unwrap();
    for form in FORMS {
        export(&service, &[&id, "--as", form]).run.fails(6, "of its SHA256SUMS cannot be read");
    }
    service.assert_nothing_left();
}

/// An export that nobody reads yet.
fn unread(service: &Service, args: &[&str]) -> Child {
    export_command(service, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let service = Service::new("reader");
    fill_pipes(&service);
    service.create();
    for form in FORMS {
        let mut child = unread(&service, &["--as", form]);
        let mut some = [0; 10_000];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let run = Run::of(form.to_owned(), &child.wait_with_output().unwrap());
        let run = run.fails(1, "nobody reads the export any more");
        assert!(run.stderr.contains("what came out until then is not whole"), "{}", run.stderr);
    }
    service.assert_nothing_left();
}

#[test]
fn it_can_be_interrupted_while_its_reader_stands_still() {
    let service = Service::new("still");
    fill_pipes(&service);
    service.create();
    for (form, signal, code) in
        [("tar", Signal::INT, 130), ("sql", Signal::INT, 130), ("sql", Signal::TERM, 143)]
    {
        let mut child = unread(&service, &["--as", form]);
        let mut some = [0; 10_000];
        child.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
        let mut process = None;
        until("there is a pgbackup", || {
            process = pgbackup_below(child.id());
            process.is_some()
        });
        kill_process(process.unwrap(), signal).unwrap();
        until("it ends", || child.try_wait().unwrap().is_some());
        let mut rest = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        assert!(!rest.ends_with(&[0; 1024]), "{form} has an end");
        Run::of(form.to_owned(), &child.wait_with_output().unwrap())
            .fails(code, "what came out until then is not whole");
    }
    service.assert_nothing_left();
}

#[test]
fn what_is_read_is_not_deleted_and_its_container_not_taken_for_dead() {
    let service = Service::new("held");
    fill_pipes(&service);
    let id = service.create();
    let mut child = unread(&service, &["--as", "sql"]);
    let mut some = [0; 10_000];
    child.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
    service.pgbackup("delete", &[&id, "--force"]).fails(4, "is being verified or restored");
    service.create();
    let exported = child.wait_with_output().unwrap();
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let end = exported.stdout.len() - 200;
    assert!(String::from_utf8_lossy(&exported.stdout[end..]).contains("database dump complete"));
    service.assert_nothing_left();
}

#[test]
fn a_terminal_gets_none_of_it() {
    let service = Service::new("terminal");
    service.fill();
    service.create();
    let world = world().display();
    let bench = dokku_command(&[]);
    let line = |args: &str| {
        let dokku = Path::new(bench.get_program()).display();
        format!("DOKKU_STANDIN_ROOT={world} {dokku} pgbackup:export {} {args}", service.name)
    };
    for (args, file) in [("", "tar"), ("--as sql", "sql"), ("--as custom", "dump")] {
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &line(args), "/dev/null"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(6));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("standard output is a terminal"), "{said}");
        let name = service.name.as_str();
        assert!(said.contains(&format!("> {name}.{file}")), "{said}");
    }
}

#[test]
fn what_is_encrypted_only_its_recipients_can_read() {
    let service = Service::new("locked");
    service.fill();
    service.create();
    let keys = [age::x25519::Identity::generate(), age::x25519::Identity::generate()];
    let publics: Vec<String> = keys.iter().map(|key| key.to_public().to_string()).collect();
    for form in ["tar", "custom"] {
        let plain = export(&service, &["--as", form]).ok();
        let args = ["--as", form, "--recipient", &publics[0], "--recipient", &publics[1]];
        let locked = export(&service, &args);
        assert!(locked.run.stderr.contains("encrypted for 2 keys"), "{}", locked.run.stderr);
        let locked = locked.ok();
        for key in &keys {
            let secret = key.to_string();
            let identities = Identities::read(secret.expose_secret().as_bytes(), "key").unwrap();
            let mut read = Vec::new();
            identities.decrypt(&locked[..]).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == plain, "{form}");
        }
    }
    let secret = keys[0].to_string();
    let private = export(&service, &["--recipient", secret.expose_secret()]);
    private.run.fails(2, "that is a private key");
    service.assert_nothing_left();
}

#[test]
fn a_stopped_service_is_exported_and_one_whose_image_is_gone_says_what_to_type() {
    let service = Service::new("asleep");
    service.fill();
    let id = service.create();
    claim_image(&service, &id, "postgres:no-such-tag");
    assert!(!export(&service, &["--as", "sql"]).ok().is_empty(), "the service's image does as well");
    let (one, other) = (service.create(), id);
    dokku(&["postgres:stop", &service.name]).ok();
    for form in FORMS {
        assert!(!export(&service, &[&one, "--as", form]).ok().is_empty());
    }
    // With the service, its container has gone.
    let refused = export(&service, &[&other, "--as", "sql"]).run;
    refused.fails(6, "docker pull postgres:no-such-tag");
    assert!(!export(&service, &[&other, "--as", "custom"]).ok().is_empty(), "it needs none");
}

#[test]
fn what_is_not_there_is_told_before_anything_comes_out() {
    let service = Service::new("nothing");
    for (args, code, words) in [
        (&[][..], 5, "has no good backup"),
        (&["1999"], 5, "has no backup"),
        (&["--as", "zip"], 2, "invalid value"),
        (&["--recipient", "age1x"], 2, "is no public key"),
    ] {
        let exported = export(&service, args);
        exported.run.fails(code, words);
        assert_eq!(exported.bytes, b"");
    }
}
