//! Flags, fields, settings and codes in the documents are those of the program.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use clap::Arg;
use pgbackup::cli;
use pgbackup::error::Kind;
use pgbackup::settings;
use serde_json::Value;

use super::{document, section, sections};
use crate::app::App;
use crate::bench::{Service, dokku, flip_byte};

/// The words in backticks in the first cell of each row of the tables with that heading.
pub(super) fn named_in_tables(text: &str, heading: &str) -> BTreeSet<String> {
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
pub(super) fn assert_fields(documented: &BTreeSet<String>, values: &[&Value]) {
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
