//! Which entries of a dump make tables again as they were: their own, and all that go with them in a `drop … cascade`.

use std::collections::{BTreeMap, BTreeSet};

use crate::sql_text::first_name;
use crate::toc::{Entry, Toc};

/// What is part of the tables themselves. Nobody may see them before all of it is there: an app would write rows that
/// the keys then do not fit, or read those that a policy hides.
const OWN: [&str; 16] = [
    "TABLE",
    "TABLE DATA",
    "TABLE ATTACH",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "STATISTICS",
    "TRIGGER",
    "POLICY",
    "ROW SECURITY",
    "COMMENT",
];

/// Entries by their dump ids, in the dump's order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dependents {
    /// The tables with all that is part of them.
    pub own: Vec<i64>,
    /// What leads from elsewhere to them: foreign keys in both directions, views, grants.
    pub around: Vec<i64>,
    /// Tables that are not among them and depend on something that is, by its definition. What they lost, a dump has
    /// only as a part of their own definition.
    pub others: Vec<(String, String)>,
}

impl Dependents {
    pub fn of(toc: &Toc, tables: &[&Entry]) -> Self {
        let by_id: BTreeMap<i64, &Entry> = toc.entries.iter().map(|entry| (entry.dump_id, entry)).collect();
        let family = family(toc, tables);
        let taken = closure(toc, &family);
        // What reaches out to other tables can fail for what they hold now.
        let reaches_out =
            |entry: &Entry| {
                entry.dependencies.iter().filter(|id| !taken.contains(id)).any(|id| {
                    by_id.get(id).is_some_and(|entry| matches!(entry.kind.as_str(), "TABLE" | "INDEX"))
                })
            };
        let mut own = BTreeSet::new();
        let mut found = Dependents::default();
        // What an entry depends on stands before it.
        for entry in toc.entries.iter().filter(|entry| taken.contains(&entry.dump_id)) {
            let rests_on_own = entry.dependencies.iter().all(|id| !taken.contains(id) || own.contains(id));
            let is_own = OWN.contains(&entry.kind.as_str()) && rests_on_own && !reaches_out(entry);
            if family.contains(&entry.dump_id) || is_own {
                own.insert(entry.dump_id);
                found.own.push(entry.dump_id);
            } else {
                found.around.push(entry.dump_id);
            }
        }
        let depends = |entry: &&Entry| entry.dependencies.iter().any(|id| taken.contains(id));
        let others = toc.entries.iter().filter(|entry| is_table(entry) && !family.contains(&entry.dump_id));
        found.others =
            others.filter(depends).map(|entry| (entry.schema.clone(), entry.name.clone())).collect();
        found
    }
}

fn is_table(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "TABLE" | "FOREIGN TABLE")
}

/// Tables with all their partitions and heirs.
pub fn family(toc: &Toc, tables: &[&Entry]) -> BTreeSet<i64> {
    let mut family: BTreeSet<i64> = tables.iter().map(|table| table.dump_id).collect();
    loop {
        let before = family.len();
        for entry in &toc.entries {
            if !entry.dependencies.iter().any(|id| family.contains(id)) {
                continue;
            }
            if is_table(entry) && inherits(toc, entry, &family) {
                family.insert(entry.dump_id);
            } else if entry.kind == "TABLE ATTACH" {
                let is_child = |other: &&Entry| {
                    is_table(other) && other.schema == entry.schema && other.name == entry.name
                };
                // It depends on both; named after the partition.
                if let Some(child) = toc.entries.iter().find(is_child) {
                    let parents = entry.dependencies.iter().filter(|id| **id != child.dump_id);
                    if parents.into_iter().any(|id| family.contains(id)) {
                        family.insert(child.dump_id);
                    }
                }
            }
        }
        if family.len() == before {
            return family;
        }
    }
}

/// By its definition: a table may also depend on another one as the type of a column.
fn inherits(toc: &Toc, entry: &Entry, parents: &BTreeSet<i64>) -> bool {
    named_parents(&entry.definition).iter().any(|(schema, name)| {
        let is_it = |other: &Entry| is_table(other) && other.schema == *schema && other.name == *name;
        toc.entries.iter().any(|other| parents.contains(&other.dump_id) && is_it(other))
    })
}

/// From `INHERITS (public.one, public.two)`; before Postgres 14, partitions were attached in the same place.
fn named_parents(definition: &str) -> Vec<(String, String)> {
    let mut parents = Vec::new();
    if let Some((_, list)) = definition.split_once("\nINHERITS (") {
        let mut rest = Some(list);
        while let Some((schema, name, after)) = rest.and_then(full_name) {
            parents.push((schema, name));
            rest = after.strip_prefix(", ");
        }
    }
    for statement in definition.split("\nALTER TABLE ONLY ").skip(1) {
        let parent = full_name(statement).filter(|(.., rest)| rest.starts_with(" ATTACH PARTITION "));
        parents.extend(parent.map(|(schema, name, _)| (schema, name)));
    }
    parents
}

/// `public.cows`, and what follows it.
fn full_name(text: &str) -> Option<(String, String, &str)> {
    let (schema, rest) = first_name(text)?;
    let (name, rest) = first_name(rest.strip_prefix('.')?)?;
    Some((schema, name, rest))
}

/// All that depends on the tables, but no other tables: they lose a column or a default to a cascade, and nothing more.
fn closure(toc: &Toc, family: &BTreeSet<i64>) -> BTreeSet<i64> {
    let mut taken = family.clone();
    loop {
        let before = taken.len();
        for entry in toc.entries.iter().filter(|entry| !is_table(entry)) {
            if entry.dependencies.iter().any(|id| taken.contains(id)) {
                taken.insert(entry.dump_id);
            }
        }
        if taken.len() == before {
            return taken;
        }
    }
}

/// Sorts tables so that what a foreign key points at comes before. Those in a circle stay as they are.
pub fn sort_by_foreign_keys(toc: &Toc, tables: &mut Vec<&Entry>) {
    let points_at = pointing(toc);
    let mut left = std::mem::take(tables);
    while !left.is_empty() {
        let waits = |table: &Entry| {
            let others = left.iter().map(|other| other.dump_id).filter(|id| *id != table.dump_id);
            others.into_iter().any(|id| points_at.contains(&(table.dump_id, id)))
        };
        let next = left.iter().position(|table| !waits(table)).unwrap_or(0);
        tables.push(left.remove(next));
    }
}

/// The pairs of tables of which the first one has a foreign key to the second.
fn pointing(toc: &Toc) -> BTreeSet<(i64, i64)> {
    let by_id: BTreeMap<i64, &Entry> = toc.entries.iter().map(|entry| (entry.dump_id, entry)).collect();
    let mut pairs = BTreeSet::new();
    for key in toc.entries.iter().filter(|entry| entry.kind == "FK CONSTRAINT") {
        let Some(from) = altered_table(toc, &key.definition) else { continue };
        // The table that it points at, or that table's key.
        for entry in key.dependencies.iter().filter_map(|id| by_id.get(id)) {
            let reached = if is_table(entry) { vec![entry.dump_id] } else { entry.dependencies.clone() };
            let is_table = |id: &i64| by_id.get(id).is_some_and(|entry| is_table(entry));
            pairs.extend(reached.into_iter().filter(is_table).map(|to| (from, to)));
        }
    }
    pairs
}

/// From `ALTER TABLE ONLY public.cows …`.
fn altered_table(toc: &Toc, definition: &str) -> Option<i64> {
    let rest = definition.strip_prefix("ALTER TABLE ")?;
    let (schema, name, _) = full_name(rest.strip_prefix("ONLY ").unwrap_or(rest))?;
    // A name without quotes ends at a line's end, too.
    let name = name.trim_end_matches('\n');
    let is_it = |entry: &&Entry| is_table(entry) && entry.schema == schema && entry.name == name;
    toc.entries.iter().find(is_it).map(|entry| entry.dump_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dump_id: i64, kind: &str, name: &str, dependencies: &[i64]) -> Entry {
        Entry {
            dump_id,
            kind: kind.into(),
            schema: "public".into(),
            name: name.into(),
            dependencies: dependencies.to_vec(),
            ..Entry::default()
        }
    }

    fn defined(definition: &str, entry: Entry) -> Entry {
        Entry { definition: definition.into(), ..entry }
    }

    fn toc(entries: Vec<Entry>) -> Toc {
        let text = String::new;
        Toc { database: text(), server_version: text(), dump_version: text(), entries }
    }

    fn chosen<'a>(toc: &'a Toc, ids: &[i64]) -> Vec<&'a Entry> {
        let by_id = |id: &i64| toc.entries.iter().find(|entry| entry.dump_id == *id).unwrap();
        ids.iter().map(by_id).collect()
    }

    #[test]
    fn all_that_a_cascade_takes_and_no_other_table() {
        let toc = toc(vec![
            entry(1, "SCHEMA", "public", &[]),
            entry(2, "TABLE", "users", &[1]),
            entry(3, "SEQUENCE", "users_id_seq", &[1, 2]),
            entry(4, "SEQUENCE OWNED BY", "users_id_seq", &[3]),
            entry(5, "TABLE", "orders", &[1]),
            entry(6, "TABLE", "tickets", &[1, 3]),
            entry(7, "VIEW", "happy", &[1, 2]),
            entry(8, "DEFAULT", "users id", &[2, 3]),
            entry(9, "DEFAULT", "orders id", &[3, 5]),
            entry(10, "TABLE DATA", "users", &[2]),
            entry(11, "TABLE DATA", "orders", &[5]),
            entry(12, "TABLE DATA", "tickets", &[6]),
            entry(13, "SEQUENCE SET", "users_id_seq", &[3]),
            entry(14, "CONSTRAINT", "users users_pkey", &[2]),
            entry(15, "TRIGGER", "happy seen", &[7]),
            entry(16, "FK CONSTRAINT", "orders orders_user_fkey", &[5, 14, 2]),
            entry(17, "POLICY", "users own_rows", &[2]),
            entry(18, "POLICY", "users by_orders", &[2, 5]),
            entry(19, "ACL", "TABLE users", &[2]),
            entry(20, "COMMENT", "TABLE users", &[2]),
            entry(21, "COMMENT", "VIEW happy", &[7]),
        ]);
        let found = Dependents::of(&toc, &chosen(&toc, &[2]));
        assert_eq!(found.own, [2, 3, 4, 8, 10, 13, 14, 17, 20]);
        assert_eq!(found.around, [7, 9, 15, 16, 18, 19, 21]);
        assert_eq!(found.others, [("public".to_owned(), "tickets".to_owned())]);
    }

    #[test]
    fn partitions_and_heirs_belong_to_their_parents_and_not_the_other_way_round() {
        let toc = toc(vec![
            entry(1, "TABLE", "parted", &[]),
            entry(2, "TABLE", "parted_1", &[]),
            entry(3, "TABLE ATTACH", "parted_1", &[1, 2]),
            defined(
                "CREATE TABLE public.heir (\n)\nINHERITS (public.\"O, k\", public.parted_1);\n",
                entry(4, "TABLE", "heir", &[2]),
            ),
            // Of its type, and no heir.
            defined(
                "CREATE TABLE public.typed (\n    a public.parted\n);\n",
                entry(5, "TABLE", "typed", &[1]),
            ),
            entry(6, "TABLE DATA", "parted_1", &[2]),
            entry(7, "TABLE DATA", "typed", &[5]),
        ]);
        let parent = Dependents::of(&toc, &chosen(&toc, &[1]));
        assert_eq!((parent.own, parent.around), (vec![1, 2, 3, 4, 6], vec![]));
        assert_eq!(parent.others, [("public".to_owned(), "typed".to_owned())]);
        let partition = Dependents::of(&toc, &chosen(&toc, &[2]));
        assert_eq!(
            (partition.own, partition.around),
            (vec![2, 4, 6], vec![3]),
            "its parent is another table"
        );
    }

    #[test]
    fn parents_are_read_from_definitions() {
        let parents = |definition| -> Vec<String> {
            named_parents(definition).iter().map(|(schema, name)| format!("{schema}/{name}")).collect()
        };
        assert_eq!(
            parents("CREATE TABLE a.b (\n)\nINHERITS (public.\"O, k\", \"S.\".c);\n"),
            ["public/O, k", "S./c"]
        );
        let old =
            "CREATE TABLE a.b (\n);\nALTER TABLE ONLY public.p ATTACH PARTITION a.b FOR VALUES IN (1);\n";
        assert_eq!(parents(old), ["public/p"]);
        assert_eq!(parents("CREATE TABLE a.b (\n);\nALTER TABLE ONLY a.b REPLICA IDENTITY FULL;\n"), [""; 0]);
        assert_eq!(parents("CREATE TABLE a.b (\n)\nINHERITS ("), [""; 0]);
    }

    #[test]
    fn what_a_foreign_key_points_at_comes_first() {
        let key = |id, from: &str, on: &[i64]| {
            let definition = format!(
                "ALTER TABLE ONLY public.{from}\n    ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES b(id);\n"
            );
            defined(&definition, entry(id, "FK CONSTRAINT", from, on))
        };
        let toc = toc(vec![
            entry(1, "TABLE", "a", &[]),
            entry(2, "TABLE", "b", &[]),
            entry(3, "TABLE", "c", &[]),
            entry(4, "CONSTRAINT", "c pkey", &[3]),
            key(5, "a", &[1, 2]),
            key(6, "b", &[2, 4]),
            key(7, "c", &[3, 3]),
        ]);
        let mut tables = chosen(&toc, &[1, 2, 3]);
        sort_by_foreign_keys(&toc, &mut tables);
        assert_eq!(tables.iter().map(|table| table.dump_id).collect::<Vec<_>>(), [3, 2, 1]);
    }
}
