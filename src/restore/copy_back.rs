//! What brings back the rows of single tables, as text: SQL where the table is still there, a command where it is gone.

use serde::Deserialize;

use crate::catalog::Backup;
use crate::dokku::Service;
use crate::postgres::{identifier, literal};
use crate::tables;

/// A table of the live database as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LiveTable {
    pub columns: Vec<LiveColumn>,
    /// The columns of its primary key; none without one.
    pub key: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LiveColumn {
    pub name: String,
    /// With quotes where it needs them.
    pub quoted: String,
    /// Computed by the server, and never written.
    pub generated: bool,
    /// `a` for `generated always as identity`, `d` for `by default`; empty for others.
    pub identity: String,
}

/// What the live database says of a table, as an expression; null when the table is gone. Attributes that older
/// servers do not know are read by way of JSON.
pub fn question(schema: &str, name: &str) -> String {
    let table = literal(&format!("{}.{}", identifier(schema), identifier(name)));
    format!(
        "(select json_build_object(
  'columns', (select coalesce(json_agg(json_build_object('name', attname, 'quoted', quote_ident(attname),
      'generated', coalesce(to_jsonb(a)->>'attgenerated', '') <> '',
      'identity', coalesce(to_jsonb(a)->>'attidentity', '')) order by attnum), '[]')
    from pg_attribute a where attrelid = c.oid and attnum > 0 and not attisdropped),
  'key', (select coalesce(json_agg(attname order by attnum), '[]')
    from pg_index i join pg_attribute a on attrelid = indrelid and attnum = any(indkey)
    where indrelid = c.oid and indisprimary))
from pg_class c where c.oid = to_regclass({table}))"
    )
}

/// The two statements for a table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statements {
    /// Puts back the rows that are missing now.
    pub missing: String,
    /// Puts the rows that are still there back to what they were; `None` without a primary key to know them by.
    pub changed: Option<String>,
}

impl Statements {
    /// From the copy in `schema` to the table; `then` are the columns that the backup has.
    pub fn of(target: (&str, &str), copy: (&str, &str), then: &[String], live: &LiveTable) -> Self {
        let name = |(schema, table): (&str, &str)| format!("{}.{}", schema_name(schema), bare(table));
        let (target, copy) = (name(target), name(copy));
        let is_there = |column: &&LiveColumn| then.is_empty() || then.contains(&column.name);
        let columns: Vec<&LiveColumn> =
            live.columns.iter().filter(|column| !column.generated).filter(is_there).collect();
        let list = columns.iter().map(|column| column.quoted.as_str()).collect::<Vec<_>>().join(", ");
        let overriding = if columns.iter().any(|column| !column.identity.is_empty()) {
            " overriding system value"
        } else {
            ""
        };
        let missing = format!(
            "insert into {target} ({list}){overriding} select {list} from {copy} on conflict do nothing;"
        );
        Statements { missing, changed: changed(&target, &copy, &columns, &live.key) }
    }

    pub fn all(&self) -> Vec<&str> {
        std::iter::once(&self.missing).chain(&self.changed).map(String::as_str).collect()
    }
}

/// Compared as text, since not every type can say whether two values are equal.
fn changed(target: &str, copy: &str, columns: &[&LiveColumn], key: &[String]) -> Option<String> {
    let is_key = |column: &&&LiveColumn| key.contains(&column.name);
    let keys: Vec<&&LiveColumn> = columns.iter().filter(is_key).collect();
    // `always` means that an update cannot write it.
    let rest: Vec<&&LiveColumn> =
        columns.iter().filter(|column| !is_key(column) && column.identity != "a").collect();
    if keys.is_empty() || keys.len() < key.len() || rest.is_empty() {
        return None;
    }
    let joined = |columns: &[&&LiveColumn], part: &dyn Fn(&str) -> String, by: &str| {
        columns.iter().map(|column| part(&column.quoted)).collect::<Vec<_>>().join(by)
    };
    let set = joined(&rest, &|name| format!("{name} = c.{name}"), ", ");
    let same = joined(&keys, &|name| format!("t.{name} = c.{name}"), " and ");
    let (now, then) =
        (joined(&rest, &|name| format!("t.{name}"), ", "), joined(&rest, &|name| format!("c.{name}"), ", "));
    Some(format!(
        "update {target} t set {set} from {copy} c where {same} and row({now})::text <> row({then})::text;"
    ))
}

/// Without quotes where it needs none. Behind a schema's name, the words of SQL itself are names like any other.
fn bare(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts_well && name.chars().all(is_plain) { name.to_owned() } else { identifier(name) }
}

fn schema_name(name: &str) -> String {
    if name == "public" || name.starts_with("pgbackup_") { bare(name) } else { identifier(name) }
}

/// The command line that makes tables again that are gone.
pub fn make_again<'t>(service: &Service, backup: &Backup, tables: impl Iterator<Item = &'t str>) -> String {
    let export = tables::command_line("dokku pgbackup:export", service, backup, " --as sql", tables);
    format!("{export} | dokku postgres:connect {}", service.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, generated: bool, identity: &str) -> LiveColumn {
        let quoted = if name == "order" { "\"order\"".to_owned() } else { name.to_owned() };
        LiveColumn { name: name.to_owned(), quoted, generated, identity: identity.to_owned() }
    }

    fn live(columns: Vec<LiveColumn>, key: &[&str]) -> LiveTable {
        LiveTable { columns, key: key.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn columns_that_cannot_be_written_are_left_out() {
        let table = live(
            vec![
                column("id", false, "a"),
                column("order", false, ""),
                column("sum", true, ""),
                column("new", false, ""),
            ],
            &["id"],
        );
        let then = ["id", "order", "sum"].map(str::to_owned);
        let made = Statements::of(("public", "cows"), ("pgbackup_x", "cows"), &then, &table);
        assert_eq!(
            made.missing,
            "insert into public.cows (id, \"order\") overriding system value select id, \"order\" from pgbackup_x.cows on conflict do nothing;"
        );
        assert_eq!(
            made.changed.unwrap(),
            "update public.cows t set \"order\" = c.\"order\" from pgbackup_x.cows c where t.id = c.id and row(t.\"order\")::text <> row(c.\"order\")::text;"
        );
    }

    #[test]
    fn without_a_key_or_more_than_a_key_nothing_can_be_known_again() {
        for (columns, key) in [
            (vec![column("a", false, "")], &[][..]),
            (vec![column("a", false, "")], &["a"]),
            (vec![column("a", false, ""), column("b", false, "")], &["a", "gone"]),
        ] {
            let made = Statements::of(("Odd.S", "t\"x"), ("p", "t"), &[], &live(columns, key));
            assert!(made.changed.is_none());
            assert!(made.missing.starts_with("insert into \"Odd.S\".\"t\"\"x\" (a"), "{}", made.missing);
            assert!(!made.missing.contains("overriding"), "{}", made.missing);
        }
    }
}
