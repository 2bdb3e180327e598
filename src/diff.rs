//! What has changed between a backup and now, or between two backups: what a restore would undo. Pure; diff/side.rs
//! gathers what is compared.

pub mod code;
pub mod side;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::bookkeeping::{Account, Accounts};
use crate::fingerprint::{LargeObjects, SequenceValue};
use crate::migrations::{self, Change};
use crate::schema::{self, SchemaObject};
use crate::sql_text;
use crate::toc::{Entry, Toc};
use side::{Side, TableState};

/// Everything that differs. Empty lists: nothing does. The parts are also what `--format json` prints.
#[derive(Debug, Default)]
pub struct Diff {
    /// Tables whose rows or content differ, or that only one side has.
    pub tables: Vec<TableChange>,
    pub same_tables: usize,
    /// Columns of tables that both sides have.
    pub columns: Vec<ColumnChange>,
    /// All other objects: indexes, views, functions, constraints, rights, …
    pub objects: Vec<ObjectChange>,
    pub sequences: Vec<SequenceChange>,
    /// Then and now, when they differ.
    pub large_objects: Option<(LargeObjects, LargeObjects)>,
    pub migrations: Vec<MigrationChange>,
}

/// On which side something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    Added,
    Removed,
    Changed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableChange {
    pub schema: String,
    #[serde(rename = "table")]
    pub name: String,
    #[serde(rename = "change")]
    pub how: How,
    /// Exact; `None` where there is no such table, or its rows were not counted.
    pub rows_then: Option<u64>,
    pub rows_now: Option<u64>,
    /// `None` when it was not compared.
    pub content_differs: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnChange {
    pub schema: String,
    pub table: String,
    pub column: String,
    #[serde(rename = "change")]
    pub how: How,
    pub then: Option<String>,
    pub now: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectChange {
    /// `index`, `view`, …
    pub kind: String,
    pub schema: String,
    pub name: String,
    #[serde(rename = "change")]
    pub how: How,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SequenceChange {
    pub schema: String,
    pub name: String,
    pub then: i64,
    /// Whether that value was given out; if not, it is the next one.
    pub then_called: bool,
    pub now: i64,
    pub now_called: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationChange {
    pub tool: String,
    pub schema: String,
    pub table: String,
    #[serde(flatten)]
    pub change: Change,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
            && self.columns.is_empty()
            && self.objects.is_empty()
            && self.sequences.is_empty()
            && self.large_objects.is_none()
            && self.migrations.is_empty()
    }
}

/// Compares two states of one database.
pub fn compare(then: &Side, now: &Side) -> Diff {
    let (tables, same_tables) = compare_tables(then, now);
    let (columns, changed_tables) = compare_columns(&then.toc, &now.toc);
    let is_told = |object: &ObjectChange| {
        let is_table = object.kind == "table";
        let of_table = |table: &TableChange| table.schema == object.schema && table.name == object.name;
        let has_columns = changed_tables.contains(&(object.schema.clone(), object.name.clone()));
        is_table && (has_columns || (object.how != How::Changed && tables.iter().any(of_table)))
    };
    let objects = compare_objects(&then.toc, &now.toc);
    Diff {
        objects: objects.into_iter().filter(|object| !is_told(object)).collect(),
        columns,
        same_tables,
        sequences: compare_sequences(&then.sequences, &now.sequences),
        large_objects: match (&then.large_objects, &now.large_objects) {
            (Some(old), Some(new)) if old != new => Some((old.clone(), new.clone())),
            _ => None,
        },
        migrations: compare_migrations(&then.migrations, &now.migrations),
        tables,
    }
}

fn compare_tables(then: &Side, now: &Side) -> (Vec<TableChange>, usize) {
    let mut changes = Vec::new();
    let mut same = 0;
    for ((schema, name), old, new) in both(&then.tables, &now.tables) {
        let content = |state: &TableState| state.hash.clone().filter(|_| then.method == now.method);
        let content_differs = match (old.and_then(content), new.and_then(content)) {
            (Some(old), Some(new)) => Some(old != new),
            _ => None,
        };
        let how = match (old, new) {
            (None, _) => How::Added,
            (_, None) => How::Removed,
            (Some(old), Some(new)) if old.rows == new.rows && content_differs != Some(true) => {
                same += 1;
                continue;
            }
            _ => How::Changed,
        };
        let rows = |state: Option<&TableState>| state.and_then(|state| state.rows);
        changes.push(TableChange {
            schema: schema.clone(),
            name: name.clone(),
            how,
            rows_then: rows(old),
            rows_now: rows(new),
            content_differs,
        });
    }
    (changes, same)
}

/// A key of either side, with what each side has of it.
type Pair<'a, K, V> = (&'a K, Option<&'a V>, Option<&'a V>);

/// Each key of either side.
fn both<'a, K: Ord, V>(then: &'a BTreeMap<K, V>, now: &'a BTreeMap<K, V>) -> Vec<Pair<'a, K, V>> {
    let keys: BTreeSet<&K> = then.keys().chain(now.keys()).collect();
    keys.into_iter().map(|key| (key, then.get(key), now.get(key))).collect()
}

fn how<T: PartialEq>(then: Option<&T>, now: Option<&T>) -> Option<How> {
    match (then, now) {
        (None, Some(_)) => Some(How::Added),
        (Some(_), None) => Some(How::Removed),
        (then, now) => (then != now).then_some(How::Changed),
    }
}

type TableName = (String, String);

/// The columns that differ in tables that both sides have, and those tables' names.
fn compare_columns(then: &Toc, now: &Toc) -> (Vec<ColumnChange>, Vec<TableName>) {
    let columns = |entry: &Entry| -> BTreeMap<String, String> {
        sql_text::table_columns(&entry.definition)
            .into_iter()
            .map(|column| (column.name, column.definition))
            .collect()
    };
    let tables = |toc: &Toc| -> BTreeMap<TableName, BTreeMap<String, String>> {
        let is_table = |entry: &&Entry| matches!(entry.kind.as_str(), "TABLE" | "FOREIGN TABLE");
        let named = |entry: &Entry| ((entry.schema.clone(), entry.name.clone()), columns(entry));
        toc.entries.iter().filter(is_table).map(named).collect()
    };
    let (then, now) = (tables(then), tables(now));
    let (mut changes, mut tables) = (Vec::new(), Vec::new());
    for ((schema, table), old, new) in both(&then, &now) {
        let (Some(old), Some(new)) = (old, new) else { continue };
        let before = changes.len();
        for (column, then, now) in both(old, new) {
            let Some(how) = how(then, now) else { continue };
            changes.push(ColumnChange {
                schema: schema.clone(),
                table: table.clone(),
                column: column.clone(),
                how,
                then: then.cloned(),
                now: now.cloned(),
            });
        }
        if changes.len() > before {
            tables.push((schema.clone(), table.clone()));
        }
    }
    (changes, tables)
}

fn compare_objects(then: &Toc, now: &Toc) -> Vec<ObjectChange> {
    type Key = (String, String, String);
    let objects = |toc: &Toc| -> BTreeMap<Key, Vec<String>> {
        let mut objects: BTreeMap<Key, Vec<String>> = BTreeMap::new();
        for SchemaObject { kind, schema, name, definition } in schema::objects(toc) {
            // The rows are compared by themselves.
            if kind != "TABLE DATA" {
                objects.entry((kind.to_lowercase(), schema, name)).or_default().push(definition);
            }
        }
        objects
    };
    let (then, now) = (objects(then), objects(now));
    let change = |(key, then, now): Pair<'_, Key, Vec<String>>| {
        let (kind, schema, name) = key.clone();
        how(then, now).map(|how| ObjectChange { kind, schema, name, how })
    };
    both(&then, &now).into_iter().filter_map(change).collect()
}

/// Sequences that only one side has are objects that differ.
fn compare_sequences(then: &[SequenceValue], now: &[SequenceValue]) -> Vec<SequenceChange> {
    let find = |new: &SequenceValue| then.iter().find(|old| old.schema == new.schema && old.name == new.name);
    let change = |new: &SequenceValue| {
        let old = find(new).filter(|old| (old.value, old.called) != (new.value, new.called))?;
        Some(SequenceChange {
            schema: new.schema.clone(),
            name: new.name.clone(),
            then: old.value,
            then_called: old.called,
            now: new.value,
            now_called: new.called,
        })
    };
    now.iter().filter_map(change).collect()
}

/// What each tool's books say that happened. Books that only one side has are compared with empty ones, and those that
/// cannot be read on a side not at all.
pub fn compare_migrations(then: &Accounts, now: &Accounts) -> Vec<MigrationChange> {
    let is_unread = |(schema, table): &TableName| {
        let mut unread = then.unread.iter().chain(&now.unread);
        unread.any(|unread| unread.books.schema == *schema && unread.books.table == *table)
    };
    let by_table = |accounts: &[Account]| -> BTreeMap<TableName, Account> {
        let key = |account: &Account| (account.books.schema.clone(), account.books.table.clone());
        accounts.iter().map(|account| (key(account), account.clone())).collect()
    };
    let (then, now) = (by_table(&then.read), by_table(&now.read));
    let change = |(name, old, new): Pair<'_, TableName, Account>| {
        if is_unread(name) {
            return None;
        }
        let (schema, table) = name;
        // A dump knows more of a table than a server was asked for.
        let any = old.or(new)?;
        let none = migrations::History {
            tool: any.history.tool.clone(),
            heads_only: any.history.heads_only,
            ..migrations::History::default()
        };
        let history = |side: Option<&'_ Account>| side.map_or(none.clone(), |side| side.history.clone());
        let change = migrations::between(&history(old), &history(new));
        (!change.is_empty()).then(|| MigrationChange {
            tool: any.history.tool.clone(),
            schema: schema.clone(),
            table: table.clone(),
            change,
        })
    };
    both(&then, &now).into_iter().filter_map(change).collect()
}
