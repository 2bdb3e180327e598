//! The bookkeeping tables of migration tools: recognised, read as a history, and two histories compared.
//!
//! Everything about a tool is its entry in `migrations/tools.rs`; the functions know no tool by name. A table is
//! recognised by its name and its columns, in any schema. Its values are somebody else's text.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::Serialize;

mod files;
mod tools;

pub use files::is_migration_file;
use files::like;
pub use tools::TOOLS;

/// A migration tool: how to recognise its table, and how to read it.
///
/// Names of tables and columns are compared without case and underscores: Liquibase is seen in upper case, EF Core in
/// snake case. `*` in a table's name stands for anything, because prefixes and suffixes are common.
#[derive(Debug)]
pub struct Tool {
    pub name: &'static str,
    tables: &'static [&'static str],
    columns: Columns,
    sign: Sign,
    /// The table holds only where the history ends, not how it went there.
    heads_only: bool,
    /// A migration's name, as a person knows it from its file. `{a|b}` is the first of these columns with a value.
    label: &'static str,
    /// What tells which rows are about the same migration, of which the last one decides. Empty: the name.
    key: &'static str,
    /// The order of application; empty: that of the names.
    order: &'static [&'static str],
    /// The first rule that applies says what a row means; without one, that its migration is applied.
    rules: &'static [(&'static str, Is, Row)],
    /// Where the tool's migrations are, from any folder on. `*` is anything but a slash, `#` a digit, `**` any folders.
    files: &'static [&'static str],
}

#[derive(Debug)]
enum Columns {
    /// These and any others: the table's name says enough.
    With(&'static [&'static str]),
    /// Exactly these, for names that anybody would give a table.
    Only(&'static [&'static str]),
}

/// What tells tools apart whose tables have the same name and columns.
#[derive(Debug)]
enum Sign {
    None,
    /// In the table's definition.
    Definition(&'static str),
    /// Another table in the same schema.
    Neighbour(&'static str),
}

#[derive(Debug)]
enum Is {
    Null,
    Set,
    Equal(&'static str),
    Beginning(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Applied,
    Failed,
    Undone,
    NoMigration,
}

/// What is known of a table. Names are as they are, without quotes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Table<'a> {
    pub name: &'a str,
    pub columns: &'a [&'a str],
    /// `pg_dump`'s CREATE TABLE, or nothing when it is not known.
    pub definition: &'a str,
    /// The names of the other tables in its schema, if they are known.
    pub neighbours: &'a [&'a str],
}

/// The tool whose bookkeeping this table is.
pub fn recognise(table: &Table<'_>) -> Option<&'static Tool> {
    let name = folded(table.name);
    let columns: Vec<String> = table.columns.iter().map(|column| folded(column)).collect();
    let definition = || table.definition.split_whitespace().collect::<Vec<_>>().join(" ");
    let fits = |pattern: &str, name: &str| like(folded(pattern).as_bytes(), name.as_bytes());
    TOOLS.iter().find(|tool| {
        let has = |needed: &[&str]| needed.iter().all(|needed| columns.contains(&folded(needed)));
        tool.tables.iter().any(|pattern| fits(pattern, &name))
            && match tool.columns {
                Columns::With(needed) => has(needed),
                Columns::Only(needed) => needed.len() == columns.len() && has(needed),
            }
            && match tool.sign {
                Sign::None => true,
                Sign::Definition(sign) => definition().contains(sign),
                Sign::Neighbour(sign) => table.neighbours.iter().any(|other| fits(sign, &folded(other))),
            }
    })
}

/// Which of the table's columns have to be read for its history, in their order. The others may be large.
pub fn columns_needed(tool: &Tool, columns: &[&str]) -> Vec<String> {
    let templates = [tool.label, tool.key];
    let in_templates = templates
        .iter()
        .flat_map(|template| template.split('{').skip(1))
        .filter_map(|part| part.split_once('}'))
        .flat_map(|(names, _)| names.split('|'));
    let needed: Vec<String> = in_templates
        .chain(tool.order.iter().copied())
        .chain(tool.rules.iter().map(|(column, ..)| *column))
        .map(folded)
        .collect();
    let is_needed = |column: &&&str| needed.contains(&folded(column));
    columns.iter().filter(is_needed).map(|column| (*column).to_owned()).collect()
}

/// What a tool's table says is applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct History {
    pub tool: String,
    /// The table says only where the history ends: `applied` is empty, and `count` is 0.
    pub heads_only: bool,
    /// The newest applied migration; several heads with commas between them.
    pub head: Option<String>,
    pub count: usize,
    /// In the order of application.
    pub applied: Vec<String>,
    /// Begun and not finished well.
    pub failed: Vec<String>,
}

/// The history that `rows` tell, which have the values of `columns` in this order.
pub fn history(tool: &Tool, columns: &[String], rows: &[Vec<Option<String>>]) -> History {
    let columns: HashMap<String, usize> = columns.iter().map(|name| folded(name)).zip(0..).collect();
    let value = |row: &'_ [Option<String>], column: &str| -> Option<String> {
        let value = row.get(*columns.get(&folded(column))?)?.as_deref()?;
        Some(shown(value))
    };
    let with_place = |row| {
        let label = filled(tool.label, |column| value(row, column))?;
        let place: Vec<_> = tool.order.iter().map(|column| value(row, column)).collect();
        Some((place, label, row))
    };
    let mut ordered: Vec<_> = rows.iter().filter_map(|row| with_place(row.as_slice())).collect();
    ordered.sort_by(|(left, left_label, left_row), (right, right_label, right_row)| {
        let places = left.iter().zip(right).map(|(left, right)| natural(left.as_deref(), right.as_deref()));
        let by_label = || natural(Some(left_label), Some(right_label));
        // Rows come in any order; whatever is left must not depend on it.
        places.fold(Ordering::Equal, Ordering::then).then_with(by_label).then_with(|| left_row.cmp(right_row))
    });
    let mut events: Vec<(String, Row)> = Vec::with_capacity(ordered.len());
    let mut last: HashMap<String, usize> = HashMap::new();
    for (_, label, row) in ordered {
        let rule = tool.rules.iter().find(|(column, is, _)| is.true_of(value(row, column).as_deref()));
        let meaning = rule.map_or(Row::Applied, |(.., meaning)| *meaning);
        if meaning == Row::NoMigration {
            continue;
        }
        let key = filled(tool.key, |column| value(row, column)).unwrap_or_else(|| label.clone());
        if let Some(earlier) = last.insert(key, events.len()) {
            events[earlier].1 = Row::NoMigration;
        }
        events.push((label, meaning));
    }
    summed_up(tool, events)
}

fn summed_up(tool: &Tool, events: Vec<(String, Row)>) -> History {
    let mut history =
        History { tool: tool.name.to_owned(), heads_only: tool.heads_only, ..History::default() };
    let mut heads = Vec::new();
    for (label, meaning) in events {
        if meaning == Row::Failed {
            history.failed.push(label.clone());
        }
        if tool.heads_only {
            heads.push(label);
        } else if meaning == Row::Applied {
            history.applied.push(label);
        }
    }
    history.count = history.applied.len();
    history.head = match tool.heads_only {
        true if heads.is_empty() => None,
        true => Some(heads.join(", ")),
        false => history.applied.last().cloned(),
    };
    history
}

/// What happened between two histories of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Applied now and not then, in the order of application.
    pub applied: Vec<String>,
    /// Applied then and not now, in the order in which they had been applied.
    pub undone: Vec<String>,
    /// Failed now and not then.
    pub failed: Vec<String>,
    /// For tools that keep only heads.
    pub moved: Option<Move>,
}

/// From where to where a head went. `None` is a table without rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    pub from: Option<String>,
    pub to: Option<String>,
}

impl Change {
    /// Nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Change::default()
    }
}

/// Compares two histories of one table.
pub fn between(then: &History, now: &History) -> Change {
    let has_moved = (then.heads_only || now.heads_only) && then.head != now.head;
    let failed_now = [now.applied.as_slice(), &now.failed].concat();
    Change {
        applied: beyond(&now.applied, &then.applied),
        // What failed when it was run once more is told as failed.
        undone: beyond(&then.applied, &failed_now),
        failed: beyond(&now.failed, &then.failed),
        moved: has_moved.then(|| Move { from: then.head.clone(), to: now.head.clone() }),
    }
}

/// What is in `names` more often than in `others`. The surplus is at the end, where the newer ones are.
fn beyond(names: &[String], others: &[String]) -> Vec<String> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for name in others {
        *left.entry(name).or_default() += 1;
    }
    let is_new = |name: &&String| match left.get_mut(name.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    names.iter().filter(is_new).cloned().collect()
}

impl Is {
    fn true_of(&self, value: Option<&str>) -> bool {
        match self {
            Is::Null => value.is_none(),
            Is::Set => value.is_some_and(|value| !value.is_empty()),
            Is::Equal(other) => value == Some(other),
            Is::Beginning(start) => value.is_some_and(|value| value.starts_with(start)),
        }
    }
}

/// A name without what differs between spellings of it.
fn folded(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

/// A template with the values of its columns; none if no column has one.
fn filled(template: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut is_filled = false;
    let mut rest = template;
    while let Some((before, (names, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        out.push_str(before);
        if let Some(found) = names.split('|').filter_map(&value).find(|value| !value.is_empty()) {
            out.push_str(&found);
            is_filled = true;
        }
        rest = after;
    }
    out.push_str(rest);
    is_filled.then(|| out.trim().to_owned())
}

/// A value on one line, of a length that a person reads.
fn shown(value: &str) -> String {
    const LONGEST: usize = 500;
    let mut out = String::new();
    for (count, c) in value.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whole numbers by their value, anything else by its letters; NULL first.
fn natural(left: Option<&str>, right: Option<&str>) -> Ordering {
    fn digits(text: &str) -> Option<&str> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.trim_start_matches('0'))
    }
    match (left.and_then(digits), right.and_then(digits)) {
        (Some(one), Some(other)) => one.len().cmp(&other.len()).then_with(|| one.cmp(other)),
        // Numbers before texts, so that any three values have one order.
        (Some(_), None) if right.is_some() => Ordering::Less,
        (None, Some(_)) if left.is_some() => Ordering::Greater,
        _ => left.cmp(&right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tool(name: &str) -> &'static Tool {
        TOOLS.iter().find(|tool| tool.name == name).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Fields are separated by spaces; `-` is NULL.
    fn read(name: &str, columns: &str, rows: &[&str]) -> History {
        let columns: Vec<String> = columns.split(' ').map(str::to_owned).collect();
        let field = |field: &str| (field != "-").then(|| field.to_owned());
        let rows: Vec<Vec<_>> = rows.iter().map(|row| row.split(' ').map(field).collect()).collect();
        history(tool(name), &columns, &rows)
    }

    fn known_as(table: &Table<'_>) -> Option<&'static str> {
        recognise(table).map(|tool| tool.name)
    }

    #[test]
    fn a_table_of_that_name_needs_the_columns_too() {
        for (name, columns) in [
            ("migrations", ["id", "herd", "name"].as_slice()),
            ("migrations", &["id", "name", "timestamp", "herd"]),
            ("migrations", &[]),
            ("schema_migrations", &["version", "description"]),
            ("schema_version", &["version"]),
            ("changes", &["id", "change"]),
            ("django_migrations", &["id", "name"]),
            ("cows", &["version"]),
            ("databasechangeloglock", &["id", "locked", "lockgranted", "lockedby"]),
        ] {
            assert_eq!(known_as(&Table { name, columns, ..Table::default() }), None, "{name} {columns:?}");
        }
    }

    #[test]
    fn case_and_underscores_do_not_matter() {
        let columns = ["ID", "AUTHOR", "FILENAME", "ORDEREXECUTED", "EXECTYPE"];
        let table = Table { name: "DATABASECHANGELOG", columns: &columns, ..Table::default() };
        assert_eq!(known_as(&table), Some("Liquibase"));
        let columns = ["migration_id", "product_version"];
        let table = Table { name: "__ef_migrations_history", columns: &columns, ..Table::default() };
        assert_eq!(known_as(&table), Some("EF Core"));
    }

    #[test]
    fn rails_and_dbmate_are_told_apart_by_what_differs_or_not_at_all() {
        let plain = Table { name: "schema_migrations", columns: &["version"], ..Table::default() };
        assert_eq!(known_as(&plain), Some("Rails or dbmate"));
        let rails = Table { neighbours: &["cows", "ar_internal_metadata"], ..plain };
        assert_eq!(known_as(&rails), Some("Rails"));
        let definition =
            "CREATE TABLE public.schema_migrations (\n    version character varying(128) NOT NULL\n);\n";
        assert_eq!(known_as(&Table { definition, ..plain }), Some("dbmate"));
        let definition =
            "CREATE TABLE public.schema_migrations (\n    version character varying NOT NULL\n);\n";
        assert_eq!(known_as(&Table { definition, ..plain }), Some("Rails or dbmate"));
    }

    #[test]
    fn versions_are_ordered_as_numbers() {
        let read = read("Rails or dbmate", "version", &["9", "20260101120000", "010", "-", "100"]);
        assert_eq!(read.applied, ["9", "010", "100", "20260101120000"]);
        assert_eq!(read.head.as_deref(), Some("20260101120000"));
    }

    #[test]
    fn null_goes_before_numbers_and_numbers_before_texts() {
        let sorted = [None, Some("0"), Some("09"), Some("10"), Some("-1"), Some("a")];
        for (at, left) in sorted.iter().enumerate() {
            for (other, right) in sorted.iter().enumerate() {
                assert_eq!(natural(*left, *right), at.cmp(&other), "{left:?} {right:?}");
            }
        }
    }

    #[test]
    fn an_empty_table_has_no_head() {
        for tool in TOOLS {
            let empty = history(tool, &[], &[]);
            assert_eq!((empty.head, empty.count), (None, 0), "{}", tool.name);
        }
    }

    #[test]
    fn several_heads_are_one_line_in_one_order() {
        let heads = read("Alembic", "version_num", &["b2", "a1"]);
        assert_eq!(heads, read("Alembic", "version_num", &["a1", "b2"]));
        assert_eq!((heads.head.as_deref(), heads.count), (Some("a1, b2"), 0));
    }

    #[test]
    fn flyways_undo_takes_its_version_back_until_it_is_applied_again() {
        let columns = "installed_rank version type script installed_on success";
        let once = "1 3 SQL V3__add_milk.sql 10:00 t";
        let undone = "2 3 UNDO_SQL U3__add_milk.sql 10:01 t";
        let again = "3 3 SQL V3__add_milk.sql 10:02 t";
        assert_eq!(read("Flyway", columns, &[once, undone]).applied, [""; 0]);
        assert_eq!(read("Flyway", columns, &[again, undone, once]).applied, ["V3__add_milk.sql"]);
        let deleted = "2 3 DELETE V3__add_milk.sql 10:01 t";
        assert_eq!(read("Flyway", columns, &[once, deleted]).count, 0);
    }

    #[test]
    fn prismas_failed_migration_is_failed_until_it_is_resolved() {
        let columns = "finished_at migration_name rolled_back_at started_at";
        let failed = "- add_milk - 10:00";
        let given_up = "- add_milk 10:05 10:00";
        let again = "10:07 add_milk - 10:06";
        assert_eq!(read("Prisma", columns, &[failed]).failed, ["add_milk"]);
        assert_eq!(read("Prisma", columns, &[given_up]), read("Prisma", columns, &[]));
        let resolved = read("Prisma", columns, &[again, given_up]);
        assert_eq!((resolved.applied, resolved.failed), (names(&["add_milk"]), vec![]));
    }

    #[test]
    fn gooses_last_word_on_a_version_counts() {
        let columns = "id version_id is_applied";
        let up_and_down = ["1 0 t", "2 7 t", "3 8 t", "4 8 f", "5 7 f", "6 7 t"];
        assert_eq!(read("goose", columns, &up_and_down).applied, ["7"]);
    }

    #[test]
    fn what_came_and_went_is_told_in_its_order() {
        let then =
            read("Django", "id app name", &["1 commons 0010_barn", "2 commons 0011_name", "3 sales 0001_x"]);
        let now =
            read("Django", "id app name", &["1 commons 0010_barn", "5 commons 0012_milk", "4 sales 0002_y"]);
        let change = between(&then, &now);
        assert_eq!(change.applied, ["sales.0002_y", "commons.0012_milk"]);
        assert_eq!(change.undone, ["commons.0011_name", "sales.0001_x"]);
        assert_eq!((change.moved, change.failed), (None, vec![]));
        assert!(between(&now, &now).is_empty());
    }

    #[test]
    fn of_heads_only_the_move_is_known() {
        let at = |rows: &[&str]| read("golang-migrate", "version dirty", rows);
        let change = between(&at(&["3 f"]), &at(&["4 t"]));
        assert_eq!(change.moved, Some(Move { from: Some("3".into()), to: Some("4".into()) }));
        assert_eq!((change.applied, change.undone, change.failed), (vec![], vec![], names(&["4"])));
        assert_eq!(between(&at(&[]), &at(&["1 f"])).moved, Some(Move { from: None, to: Some("1".into()) }));
        assert!(between(&at(&["3 f"]), &at(&["3 f"])).is_empty());
    }

    #[test]
    fn what_failed_when_it_ran_again_is_not_undone() {
        let then = History { applied: names(&["a", "b"]), ..History::default() };
        let now = History { applied: names(&["a"]), failed: names(&["b"]), ..History::default() };
        assert_eq!(between(&then, &now), Change { failed: names(&["b"]), ..Change::default() });
    }

    #[test]
    fn a_migration_that_ran_twice_more_was_applied_twice() {
        let of = |applied: &[&str]| History { applied: names(applied), ..History::default() };
        assert_eq!(between(&of(&["r", "a"]), &of(&["r", "a", "r", "b", "r"])).applied, ["r", "b", "r"]);
    }

    #[test]
    fn names_stay_on_their_line_and_readable() {
        let hostile = format!("a\u{1b}[2J\nb{}", "x".repeat(2_000));
        let read = history(tool("Sequelize"), &["name".to_owned()], &[vec![Some(hostile)]]);
        let name = read.head.unwrap();
        assert!(name.starts_with("a\\u{1b}[2J\\nb") && name.chars().count() < 600, "{name}");
    }

    proptest! {
        #[test]
        fn any_table_is_survived(name in "\\PC*|schema_migrations|migrations", columns in prop::collection::vec(".*", 0..4)) {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let _ = recognise(&Table { name: &name, columns: &columns, definition: &name, neighbours: &columns });
        }

        #[test]
        fn any_rows_are_survived(
            which: prop::sample::Index,
            rows in prop::collection::vec(prop::collection::vec(prop::option::of("[0-9tf.]{0,3}|.{0,20}"), 0..5), 0..12),
        ) {
            let tool = &TOOLS[which.index(TOOLS.len())];
            let (Columns::With(columns) | Columns::Only(columns)) = tool.columns;
            let columns = columns_needed(tool, columns);
            let read = history(tool, &columns, &rows);
            prop_assert!(read.count <= rows.len() && read.count == read.applied.len());
            let mut reversed = rows;
            reversed.reverse();
            prop_assert_eq!(history(tool, &columns, &reversed).count, read.count);
            prop_assert!(between(&read, &read).is_empty());
        }
    }
}
