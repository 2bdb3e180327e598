//! The documents say what the program does: recovery.md is run, and the tables of the others are held against the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Arg;
use pgbackup::cli;
use pgbackup::error::Kind;
use serde_json::Value;

use crate::bench::{Service, docker, dokku, dokku_command, flip_byte, has_postgres, world};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sections of a page: the text of each `##` heading, and what is below it, subsections included.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("\n## ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
}

#[track_caller]
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let found = sections(page).into_iter().find(|(title, _)| *title == heading);
    found.unwrap_or_else(|| panic!("there is no section {heading:?}")).1
}

/// The `sh` blocks of a text, one behind the other.
fn commands_in(text: &str) -> String {
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

#[test]
fn commands_md_has_every_field_of_the_json_and_no_others() {
    let page = document("docs/commands.md");
    let of = |heading: &str| named_in_tables(section(&page, heading), "JSON field");
    let service = Service::new("json");
    service.fill();
    let app = format!("json{}", std::process::id());
    dokku(&["apps:create", &app]).ok();
    dokku(&["postgres:link", &service.name, &app, "--no-restart"]).ok();
    dokku(&["git:deploy-record", &app, "82eeec6fe1aa82eeec6fe1aa82eeec6fe1aa82ee"]).ok();
    let json =
        |command: &str, args: &[&str]| service.pgbackup(command, &[args, &["--format", "json"]].concat());

    let mut created = json("create", &[]).ok().json();
    let id = created["backup"]["id"].as_str().unwrap().to_owned();
    let verified = json("verify", &[]).ok().json();
    let listed = json("list", &[]).ok().json();
    let a_backup = of("A backup as JSON");
    assert_fields(&a_backup, &[&listed[0]]);
    created["backup"] = Value::Null;
    assert_fields(&of("pgbackup:create \\<service\\>"), &[&created]);
    let info = json("info", &[]).ok().json();
    let mut of_info = of("pgbackup:info \\<service\\> [\\<backup\\>]");
    of_info.extend(a_backup);
    assert_fields(&of_info, &[&info]);

    let restore = section(&page, "pgbackup:restore \\<service\\> [\\<backup\\>]");
    let (whole, single) = restore.split_once("### Single tables").unwrap();
    let done = json("restore", &["--force"]).ok().json();
    assert_fields(&named_in_tables(whole, "JSON field"), &[&done]);
    let tables = json("restore", &["--table", "cows"]).ok().json();
    assert_fields(&named_in_tables(single, "JSON field"), &[&tables]);
    assert_fields(&of("pgbackup:undo \\<service\\>"), &[&json("undo", &[]).ok().json()]);

    flip_byte(&service.backup(&id).join("roles.sql"), 5, 1);
    let bad = json("verify", &[]).fails(3, "is not good").json();
    assert_fields(&of("pgbackup:verify \\<service\\> [\\<backup\\>]"), &[&verified, &bad]);
    fs::remove_file(service.backup(&id).join("manifest.toml")).unwrap();
    let broken = json("list", &[]).ok().json();
    assert_fields(&of("pgbackup:list [\\<service\\>]"), &[&broken[0]]);

    dokku(&["postgres:unlink", &service.name, &app, "--no-restart"]).ok();
    dokku(&["--force", "apps:destroy", &app]).ok();
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
    let listed: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("    ")).collect();
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
        "docs/format.md",
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

/// The anchor of a heading.
fn slug(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}
