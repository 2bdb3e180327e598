//! The documents say what the program does: recovery.md is run, and the tables of the others are held against the code.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use clap::Arg;
use pgbackup::backup_id::BackupId;
use pgbackup::cli;
use pgbackup::code;
use pgbackup::error::Kind;
use pgbackup::settings;
use serde_json::Value;

use crate::app::App;
use crate::bench::{Service, docker, dokku, dokku_command, flip_byte, has_postgres, world};

pub fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sections of a page: the text of each `##` heading, and what is below it, subsections included.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("\n## ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
}

#[track_caller]
pub fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let found = sections(page).into_iter().find(|(title, _)| *title == heading);
    found.unwrap_or_else(|| panic!("there is no section {heading:?}")).1
}

/// The `sh` blocks of a text, one behind the other.
pub fn commands_in(text: &str) -> String {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect()
}

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

/// The words in backticks in the first cell of each row of the tables with that heading.
fn named_in_tables(text: &str, heading: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in text.lines() {
        let first = line.strip_prefix('|').and_then(|row| row.split('|').next()).map(str::trim);
        match first {
            None => inside = false,
            Some(cell) if cell == heading => inside = true,
            Some(cell) if inside => names.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned)),
            Some(_) => {}
        }
    }
    names
}

/// What stands before the value: `--note` of `--note <text>`.
fn flags_in(text: &str) -> BTreeSet<String> {
    let names = named_in_tables(text, "flag");
    names.iter().filter_map(|flag| flag.split(' ').next().map(str::to_owned)).collect()
}

fn visible_flags<'a>(args: impl Iterator<Item = &'a Arg>) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for arg in args.filter(|arg| !arg.is_hide_set()) {
        flags.extend(arg.get_long().map(|long| format!("--{long}")));
        flags.extend(arg.get_short().map(|short| format!("-{short}")));
    }
    flags
}

#[test]
fn commands_md_has_every_command_and_every_flag_and_no_others() {
    let page = document("docs/commands.md");
    let definition = cli::definition();
    assert_eq!(flags_in(section(&page, "Flags of every command")), visible_flags(definition.get_arguments()));
    let mut documented: BTreeSet<&str> = sections(&page)
        .into_iter()
        .map(|(title, _)| title)
        .filter(|title| title.starts_with("pgbackup:"))
        .collect();
    for command in definition.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        let titles: Vec<&str> =
            documented.iter().copied().filter(|title| title.split(' ').next() == Some(name)).collect();
        let [title] = titles[..] else { panic!("{name} has {} sections", titles.len()) };
        documented.remove(title);
        assert_eq!(flags_in(section(&page, title)), visible_flags(command.get_arguments()), "{name}");
        let arguments = command.get_positionals().count();
        assert_eq!(title.matches("\\<").count(), arguments, "the arguments in {title}");
    }
    assert_eq!(documented, BTreeSet::new());
}

/// The paths of all values in it: `apps[].name`. What is in an empty list is not known.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(value, &path, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().for_each(|item| paths(item, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// The fields that documents of one kind have, taken together.
fn fields(values: &[&Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    values.iter().for_each(|value| paths(value, "", &mut found));
    let known = found.clone();
    let has_parts = |path: &String| {
        known.iter().any(|other| {
            other
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
        })
    };
    found.retain(|path| !has_parts(path));
    found
}

#[track_caller]
fn assert_fields(documented: &BTreeSet<String>, values: &[&Value]) {
    assert_eq!(documented, &fields(values));
}

/// The fields that docs/commands.md has under a heading.
fn fields_below(heading: &str) -> BTreeSet<String> {
    let page = document("docs/commands.md");
    named_in_tables(section(&page, heading), "JSON field")
}

/// The fields that it has under a `###` heading there, or before the first one.
fn fields_in(heading: &str, part: Option<&str>) -> BTreeSet<String> {
    let page = document("docs/commands.md");
    let mut parts = section(&page, heading).split("\n### ");
    let before = parts.next().unwrap_or_default();
    let named = |title: &str| parts.find_map(|text| text.strip_prefix(title)).unwrap_or_default();
    named_in_tables(part.map_or(before, named), "JSON field")
}

/// Takes away what the page describes once for all: `name` in each of the list `value`.
fn without(mut value: Value, name: &str) -> Value {
    value.as_array_mut().into_iter().flatten().filter(|item| !item[name].is_null()).for_each(|item| {
        item[name] = Value::Null;
    });
    value
}

/// A service with the books of a migration tool, and an app that came there by a `git:sync` and went on by a push.
fn deployed(label: &str) -> (Service, App) {
    let service = Service::new(label);
    service.fill();
    service.sql(
        "create table schema_migrations (version varchar(128)); insert into schema_migrations values (1);
create sequence tags",
    );
    let app = App::linked(label, &[&service]);
    let first = app.commit("One", &[("web", "1")]);
    dokku(&["git:sync", "--build", &app.name, &app.folder().to_string_lossy(), &first]).ok();
    app.deploy("Two", &[("web", "2")]);
    (service, app)
}

/// A mounted folder that is a service's remote.
struct Nas(tempfile::TempDir);

impl Nas {
    fn mounted(service: &Service) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owned = Command::new("chown").arg("dokku:dokku").arg(folder.path()).status().unwrap();
        assert!(owned.success());
        service.pgbackup("remote-set", &[&format!("file://{}", folder.path().display())]).ok();
        Nas(folder)
    }

    fn lose_a_part(&self) {
        let lost = Command::new("find").arg(self.0.path()).args(["-name", "part-*", "-delete"]).status();
        assert!(lost.unwrap().success());
    }
}

const LIST: &str = "pgbackup:list [\\<service\\>]";

#[test]
fn commands_md_has_every_field_of_a_backup_and_no_others() {
    let (service, _app) = deployed("json");
    let json =
        |command: &str, args: &[&str]| service.pgbackup(command, &[args, &["--format", "json"]].concat());
    let mut created = json("create", &[]).ok().json();
    let id = created["backup"]["id"].as_str().unwrap().to_owned();
    service.pgbackup("pin", &[&id, "--note", "the audit"]).ok();
    let remote = Nas::mounted(&service);
    assert_fields(
        &fields_below("pgbackup:push \\<service\\> [\\<backup\\>]"),
        &[&json("push", &[&id]).ok().json()],
    );
    let there = json("list", &["--remote"]).ok().json();
    remote.lose_a_part();
    let lost = json("list", &["--remote"]).ok().json();
    assert_fields(&fields_in(LIST, Some("At the remote")), &[&there[0], &lost[0]]);
    created["backup"] = Value::Null;
    assert_fields(&fields_below("pgbackup:create \\<service\\>"), &[&created]);

    let verified = json("verify", &[]).ok().json();
    let listed = json("list", &[]).ok().json();
    let at_deploy = listed[1]["id"].as_str().unwrap();
    let plain = |mut backup: Value| {
        backup["apps"] = without(backup["apps"].take(), "coming");
        backup
    };
    let a_backup = fields_below("A backup as JSON");
    let (newest, before) = (plain(listed[0].clone()), plain(listed[1].clone()));
    assert_fields(&a_backup, &[&newest, &before]);
    let mut of_info = fields_below("pgbackup:info \\<service\\> [\\<backup\\>]");
    of_info.extend(a_backup);
    let info = |id: &str| plain(json("info", &[id]).ok().json());
    assert_fields(&of_info, &[&info(&id), &info(at_deploy)]);

    flip_byte(&service.backup(&id).join("roles.sql"), 5, 1);
    let bad = json("verify", &[]).fails(3, "is not good").json();
    assert_fields(&fields_below("pgbackup:verify \\<service\\> [\\<backup\\>]"), &[&verified, &bad]);
    fs::remove_file(service.backup(&id).join("manifest.toml")).unwrap();
    let broken = json("list", &[]).ok().json();
    let listed = fields_in(LIST, Some("The backups of a service"));
    assert_fields(&listed, &[&broken[0]]);
}

#[test]
fn commands_md_has_every_field_of_an_import_and_no_others() {
    let service = Service::new("import-fields");
    let mut made = crate::import::import(&service, b"SELECT 1;", &["--format", "json"]).ok().json();
    made["backup"] = Value::Null;
    assert_fields(&fields_below("pgbackup:import \\<service\\>"), &[&made]);
}

fn items(list: &Value) -> Vec<&Value> {
    list.as_array().unwrap().iter().collect()
}

#[test]
fn commands_md_has_every_field_of_what_looks_after_a_server_and_no_others() {
    let service = Service::new("cared-for");
    let json =
        |command: &str, args: &[&str]| service.pgbackup(command, &[args, &["--format", "json"]].concat());
    let (id, other) = (service.create(), service.create());
    service.pgbackup("delete", &[&other, "--force"]).ok();
    flip_byte(&service.backup(&id).join("roles.sql"), 5, 1);
    service.pgbackup("verify", &["--level", "quick"]).fails(3, "is not good");
    let history = json("history", &[]).ok().json();
    assert_fields(&fields_below("pgbackup:history \\<service\\>"), &items(&history));
    let ill = json("doctor", &[]).fails(1, "found").json();
    assert_fields(&fields_below("pgbackup:doctor [\\<service\\>]"), &items(&ill));
    let pruned = json("prune", &[]).ok().json();
    assert_fields(&fields_below("pgbackup:prune \\<service\\>"), &[&pruned]);

    let all = dokku(&["pgbackup:list", "--format", "json"]).ok().json();
    let of_all = without(all, "last_good");
    let mine = of_all.as_array().unwrap().iter().find(|one| one["service"] == *service.name).unwrap();
    assert_fields(&fields_in(LIST, Some("All services")), &[mine]);

    // Every value that has a flag, its source where it is a setting, and the service.
    let report = json("report", &[]).ok().json();
    let mut values: BTreeSet<String> = cli::report_keys().map(str::to_owned).collect();
    values.extend(settings::KEYS.iter().map(|key| format!("{}-source", key.name)));
    values.insert("service".to_owned());
    assert_fields(&values, &[&report]);

    // Out of the source: where destroyed services' backups are kept is one folder for all tests.
    let source = document("src/commands/destroyed.rs");
    let shape = source.split("struct DestroyedView<'a> {\n").nth(1).unwrap().split("\n}").next().unwrap();
    let of_destroyed: BTreeSet<String> =
        shape.lines().filter_map(|line| Some(line.trim().split_once(": ")?.0.to_owned())).collect();
    assert_eq!(fields_in(LIST, Some("Destroyed services")), of_destroyed);
}

/// A line of shell as words; what comes behind a pipe or a comment is left out, and so is a file for its input.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" < ").next().unwrap_or(line);
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if open == c => quote = None,
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The command lines that a page types or names, as `dokku pgbackup:list <service>`.
fn command_lines(page: &str) -> Vec<&str> {
    let in_blocks = page.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line));
    let inline = page.split('`').skip(1).step_by(2);
    let lines = in_blocks.filter(|line| !line.contains('`')).chain(inline);
    lines.filter(|line| line.starts_with("dokku pgbackup:") && !line.contains(['\n', '…'])).collect()
}

#[test]
fn the_documents_type_commands_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["README.md", "docs/operations.md", "docs/incident.md", "docs/commands.md"] {
        let page = document(name);
        let lines = command_lines(&page);
        assert!(!lines.is_empty(), "{name}");
        for line in lines.into_iter().filter(|line| !line.contains("<command>") && !line.contains('[')) {
            let words: Vec<String> = words(line).iter().map(|word| word.replace(['<', '>'], "")).collect();
            let parsed = cli::definition().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.unwrap_err());
            let rest: Vec<&str> =
                words.iter().skip(2).map(String::as_str).filter(|word| !word.starts_with("--")).collect();
            let (key, value) = match (words[1].as_str(), rest.as_slice()) {
                ("pgbackup:set", [_, key, value]) => (*key, *value),
                ("pgbackup:set", [key, value]) if words.iter().any(|word| word == "--global") => {
                    (*key, *value)
                }
                ("pgbackup:schedule", [_, cron, ..]) => ("schedule", *cron),
                _ => continue,
            };
            let key = settings::Key::find(key).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            let set = settings::set(&folder.path().join("settings.toml"), key, Some(value));
            assert!(set.is_ok(), "{name}: {line}: {}", set.unwrap_err());
        }
    }
}

/// What operations.md says of messages, metrics and pools, and its script.
#[test]
fn operations_md_tells_what_is_told() {
    let page = document("docs/operations.md");
    let service = Service::new("told");
    let told = |args: &[&str]| {
        service.pgbackup("set", args).ok();
    };
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let (event, mail) = (folder.path().join("event"), folder.path().join("mail"));
    let sendmail = program("sendmail", &format!("#!/bin/sh\ncat >{}\n", mail.display()));
    let script = commands_in(section(&page, "Who is told"));
    let script = script.split("install --directory").next().unwrap();
    assert!(script.starts_with("#!/bin/sh\n"), "{script}");
    let script = script.replace("event=$(cat)", &format!("event=$(tee {})", event.display()));
    told(&["notify-command", &program("mail-it", &script.replace("/usr/sbin/sendmail", &sendmail))]);
    told(&["notify-success", "on"]);

    let id = service.create();
    let message: Value = serde_json::from_str(&fs::read_to_string(&event).unwrap()).unwrap();
    let who_is_told = section(&page, "Who is told");
    assert_fields(&named_in_tables(who_is_told, "JSON field"), &[&message]);
    let mail = fs::read_to_string(&mail).unwrap();
    assert!(mail.contains(&format!(": backup-made, {}\n", service.name)), "{mail}");
    assert!(mail.contains(&format!("\n\na backup was made\n\nbackup: {id}\n")), "{mail}");

    service.pgbackup("verify", &[]).ok();
    let text = service.pgbackup("report", &["--format", "prometheus"]).ok().stdout;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let metrics: BTreeSet<String> =
        samples.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())).collect();
    assert_eq!(named_in_tables(who_is_told, "metric"), metrics);
}

#[test]
fn commands_md_has_every_field_of_what_is_done_with_a_backup_and_no_others() {
    let (service, app) = deployed("done");
    let json =
        |command: &str, args: &[&str]| service.pgbackup(command, &[args, &["--format", "json"]].concat());
    let id = service.create();
    app.deploy("Three", &[("db/migrations/2.sql", "select")]);
    service.sql(
        "insert into schema_migrations values (2); alter table cows add column sold_on date;
create index on cows (sold_on); select nextval('tags')",
    );
    service.sql("delete from cows where id < 10");
    let mut diff = json("diff", &[&id]).ok().json();
    diff["apps"] = without(without(diff["apps"].take(), "then"), "now");
    assert_fields(&fields_below("pgbackup:diff \\<service\\> [\\<backup\\>]"), &[&diff]);

    let page = document("docs/commands.md");
    let restore = section(&page, "pgbackup:restore \\<service\\> [\\<backup\\>]");
    let (whole, single) = restore.split_once("### Single tables").unwrap();
    let mut done = json("restore", &[&id, "--force"]).ok().json();
    done["code"] = without(without(done["code"].take(), "running"), "backup");
    assert_fields(&named_in_tables(whole, "JSON field"), &[&done]);
    let tables = json("restore", &[&id, "--table", "cows"]).ok().json();
    assert_fields(&named_in_tables(single, "JSON field"), &[&tables]);
    assert_fields(&fields_below("pgbackup:undo \\<service\\>"), &[&json("undo", &[]).ok().json()]);

    let copy = format!("{}-qa", app.name);
    let mut practised = json("practice", &[&id, "--app", &copy]).ok().json();
    dokku(&["--force", "pgbackup:practice", "--cleanup", &copy]).ok();
    practised["code"] = Value::Null;
    assert_fields(&fields_below("pgbackup:practice [\\<service\\>] [\\<backup\\>]"), &[&practised]);
}

/// The section on settings, and the keys that there are.
#[test]
fn commands_md_and_format_md_have_every_setting_and_no_others() {
    let keys: BTreeSet<String> = settings::KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(named_in_tables(section(&document("docs/commands.md"), "Settings"), "key"), keys);
    assert_eq!(named_in_tables(section(&document("docs/format.md"), "settings.toml"), "key"), keys);
}

/// Every kind; a new one does not compile until it is here, and then it must be in the table.
fn kinds() -> Vec<Kind> {
    let next = |kind| match kind {
        Kind::Failed => Some(Kind::Usage),
        Kind::Usage => Some(Kind::Difference),
        Kind::Difference => Some(Kind::Busy),
        Kind::Busy => Some(Kind::NotFound),
        Kind::NotFound => Some(Kind::Refused),
        Kind::Refused => Some(Kind::Tool),
        Kind::Tool => Some(Kind::Interrupted(2)),
        Kind::Interrupted(2) => Some(Kind::Interrupted(15)),
        Kind::Interrupted(_) => None,
    };
    std::iter::successors(Some(Kind::Failed), |kind| next(*kind)).collect()
}

#[test]
fn exit_codes_md_has_every_code_and_no_others() {
    let page = document("docs/exit-codes.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
    let documented: Vec<u8> = rows.collect();
    let codes: Vec<u8> = std::iter::once(0).chain(kinds().into_iter().map(Kind::exit_code)).collect();
    assert_eq!(documented, codes);
}

#[test]
fn all_say_the_same_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(document("plugin.toml").contains(&format!("\nversion = \"{version}\"\n")));
    let changes = document("CHANGELOG.md");
    let newest =
        sections(&changes).first().map(|(title, _)| title.split(' ').next().unwrap_or_default().to_owned());
    assert_eq!(newest.as_deref(), Some(version));
}

#[test]
fn readme_shows_the_commands_as_help_does() {
    let help = dokku(&["pgbackup:help"]).ok().stdout;
    let listed: Vec<&str> =
        help.lines().map(str::trim_start).filter(|line| line.starts_with("pgbackup:")).collect();
    let page = document("README.md");
    let shown = section(&page, "Commands").split("```text\n").nth(1).unwrap().split("\n```").next().unwrap();
    assert_eq!(shown.lines().collect::<Vec<_>>(), listed);
}

/// The sources below `folder`, as `ui/table.rs`.
fn sources(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            names.extend(sources(&entry.path(), &format!("{name}/")));
        } else {
            names.insert(name);
        }
    }
    names
}

#[test]
fn architecture_md_names_every_module_and_every_package() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = document("ARCHITECTURE.md");
    assert_eq!(named_in_tables(section(&page, "Modules"), "file"), sources(&root.join("src"), ""));
    let rows = section(&page, "Dependencies")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let documented: BTreeSet<&str> = rows.skip(1).flat_map(|cell| cell.split(", ")).collect();
    let manifest: toml::Table = document("Cargo.toml").parse().unwrap();
    let used = ["dependencies", "dev-dependencies"].map(|part| manifest[part].as_table().unwrap().keys());
    assert_eq!(documented, used.into_iter().flatten().map(String::as_str).collect());
}

/// `[words](docs/file.md#heading)` in the documents leads somewhere.
#[test]
fn links_between_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "docs/commands.md",
        "docs/disaster.md",
        "docs/format.md",
        "docs/incident.md",
        "docs/operations.md",
        "docs/recovery.md",
        "docs/exit-codes.md",
    ] {
        let text = document(name);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { root.join(name) } else { root.join(name).parent().unwrap().join(file) };
            assert!(path.exists(), "{name}: {target}");
            if !heading.is_empty() {
                let page = fs::read_to_string(&path).unwrap();
                let slugs: Vec<String> = page.lines().filter_map(slug).collect();
                assert!(slugs.iter().any(|slug| slug == heading), "{name}: {target} among {slugs:?}");
            }
        }
    }
}

/// What the demo has in the place of a word that differs between two runs.
fn as_variable(word: &str) -> &str {
    if word.parse::<BackupId>().is_ok() {
        "$backup"
    } else if code::is_commit(word) {
        "$good"
    } else {
        word
    }
}

/// A command line of a document as the demo types it.
fn as_in_demo(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').map(as_variable).collect();
    let line = words.join(" ").replace("/home/dokku/", "$DOKKU_STANDIN_ROOT/home/").replace('"', "\\\"");
    // It looks into the databases of two services.
    ["happycows-db", "happycows-qa-db"].iter().fold(line, |line, service| {
        line.replace(&format!("postgres:connect {service} "), "postgres:connect $service ")
    })
}

/// What a document types in its `console` blocks.
fn typed(page: &str) -> Vec<&str> {
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ")).collect()
}

#[test]
fn the_demo_types_what_the_documents_show() {
    let demo = document("demo/run");
    for name in ["README.md", "docs/incident.md"] {
        let page = document(name);
        let lines = typed(&page);
        assert!(!lines.is_empty(), "{name}");
        for line in lines.into_iter().map(as_in_demo) {
            let has = ["'", "\""].iter().any(|quote| demo.contains(&format!("{quote}{line}{quote}")));
            assert!(has, "{name}: the demo does not type: {line}");
        }
    }
}

/// The anchor of a heading.
fn slug(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}
