//! One form of an object's definition for all the ways in which Postgres may word it.
//!
//! Postgres prints views, checks and defaults from their parse trees, and printing what it has parsed from its own
//! print is not always a fixed point: `status IN ('a', 'b')` on a varchar column comes out of a restored database with
//! its casts and brackets in other places. So definitions are compared without what carries no information of its
//! own there: white space, brackets and `::type` casts, outside quotes. Whatever else differs is a difference.

use crate::sql_text::quoted_length;
use crate::toc::{Entry, Toc};

/// One object's identity and its comparable definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaObject {
    pub kind: String,
    pub schema: String,
    pub name: String,
    pub definition: String,
}

impl SchemaObject {
    fn of(entry: &Entry) -> Self {
        let mut definition = match entry.kind.as_str() {
            "POLICY" => comparable(&with_sorted_roles(&entry.definition)),
            "ACL" | "DEFAULT ACL" | "DATABASE PROPERTIES" => {
                sorted_statements(&comparable(&entry.definition))
            }
            _ => comparable(&entry.definition),
        };
        for part in [&entry.owner, &entry.table_access_method, &column_set(&entry.copy_statement)] {
            definition.push('\0');
            definition.push_str(part);
        }
        SchemaObject {
            kind: entry.kind.clone(),
            schema: entry.schema.clone(),
            name: entry.name.clone(),
            definition,
        }
    }

    /// `table public.users`, as a person would say it.
    pub fn describe(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.schema.is_empty() {
            format!("{kind} {}", self.name)
        } else {
            format!("{kind} {}.{}", self.schema, self.name)
        }
    }
}

/// A COPY statement with its columns sorted: those of a table that inherits come back in another order when its parent
/// got one later.
pub fn column_set(copy_statement: &str) -> String {
    let parts =
        copy_statement.split_once(" (").and_then(|(table, rest)| Some((table, rest.rsplit_once(") FROM ")?)));
    let Some((table, (columns, rest))) = parts else { return copy_statement.to_owned() };
    let mut columns: Vec<&str> = columns.split(", ").collect();
    columns.sort_unstable();
    format!("{table} ({}) FROM {rest}", columns.join(", "))
}

/// Sequence values, which are data, though `pg_dump` keeps them as definitions.
pub const SEQUENCE_VALUE: &str = "SEQUENCE SET";

/// All objects of a dump but its data and its sequences' values, sorted. The columns that a table's COPY names are part
/// of the table's shape.
pub fn objects(toc: &Toc) -> Vec<SchemaObject> {
    let is_schema = |entry: &&Entry| !matches!(entry.kind.as_str(), "BLOBS" | SEQUENCE_VALUE);
    let mut objects: Vec<SchemaObject> = toc.entries.iter().filter(is_schema).map(SchemaObject::of).collect();
    objects.sort();
    objects
}

/// `CREATE POLICY … TO a, b USING …` with the roles in their order: they come out as the server happens to find them.
fn with_sorted_roles(definition: &str) -> String {
    let is_end = |rest: &str| [" USING (", " WITH CHECK (", ";"].iter().any(|word| rest.starts_with(word));
    let outside = |from: usize, found: &dyn Fn(&str) -> bool| {
        let mut at = from;
        while at < definition.len() && !found(&definition[at..]) {
            let quoted = quoted_length(&definition[at..], "");
            at += quoted.max(definition[at..].chars().next().map_or(1, char::len_utf8));
        }
        at
    };
    let start = outside(0, &|rest| rest.starts_with(" TO "));
    if start == definition.len() {
        return definition.to_owned();
    }
    let start = start + " TO ".len();
    let end = outside(start, &is_end);
    let mut roles = Vec::new();
    let mut from = start;
    while from < end {
        let comma = outside(from, &|rest| rest.starts_with(", ")).min(end);
        roles.push(&definition[from..comma]);
        from = comma + ", ".len();
    }
    roles.sort_unstable();
    format!("{}{}{}", &definition[..start], roles.join(", "), &definition[end..])
}

/// Grants, and a database's settings for roles, come out in an order that means nothing.
fn sorted_statements(definition: &str) -> String {
    let mut statements: Vec<&str> = definition.split(';').collect();
    statements.sort_unstable();
    statements.join(";")
}

/// `definition` without white space, brackets and casts outside quotes.
fn comparable(definition: &str) -> String {
    let mut out = String::with_capacity(definition.len());
    let mut rest = definition;
    while let Some(first) = rest.chars().next() {
        let taken = quoted_length(rest, &definition[..definition.len() - rest.len()]);
        if taken > 0 {
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
        } else if let Some(after) = rest.strip_prefix("::") {
            rest = after_type_name(after);
        } else {
            if !first.is_whitespace() && !matches!(first, '(' | ')') {
                out.push(first);
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// Words that continue a type's name behind its first word (`character varying`, `timestamp with time zone`).
const TYPE_CONTINUATIONS: [&str; 6] = [" varying", " precision", " without", " with", " time", " zone"];

/// What follows the type name that `text` begins with.
fn after_type_name(text: &str) -> &str {
    let mut rest = text;
    loop {
        let quoted = if rest.starts_with('"') { quoted_length(rest, "") } else { 0 };
        rest = &rest[quoted..];
        rest = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None => break,
        }
    }
    while let Some(after) = TYPE_CONTINUATIONS.iter().find_map(|word| rest.strip_prefix(word)) {
        if after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            break;
        }
        rest = after;
    }
    if let Some((modifier, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
        if modifier.chars().all(|c| c.is_ascii_digit() || c == ',') {
            rest = after;
        }
    }
    while let Some(after) = rest.strip_prefix("[]") {
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_wordings_of_an_in_list_are_the_same() {
        let first = "CHECK (((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))";
        let second = "CHECK (((status)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))";
        assert_eq!(comparable(first), comparable(second));
    }

    #[test]
    fn the_order_of_a_policys_roles_means_nothing() {
        let policy = |roles: &str| {
            with_sorted_roles(&format!(
                "CREATE POLICY \"a TO b\" ON t TO {roles} USING ((x = 'a TO c, b'::text));\n"
            ))
        };
        assert_eq!(policy("b, \"a, TO \"\"x\"\"\", c"), policy("c, b, \"a, TO \"\"x\"\"\""));
        assert_ne!(policy("a, b"), policy("a, c"));
        assert_eq!(with_sorted_roles("CREATE POLICY p ON t;"), "CREATE POLICY p ON t;");
    }

    #[test]
    fn what_means_something_stays() {
        let pairs = [
            ("CHECK (a > 1)", "CHECK (a > 2)"),
            ("DEFAULT 'a b'::text", "DEFAULT 'ab'::text"),
            ("\"a b\"", "\"ab\""),
            ("x AS $$ a (b) $$", "x AS $$ a b $$"),
            ("'it''s (x)'", "'it''s x'"),
            ("a character varying(10)", "a character varying(20)"),
            ("a::text < b", "a::text > b"),
            ("E'a\\' (b'", "E'a\\' b'"),
            ("a LIKE 'x\\' AND b = ' ('", "a LIKE 'x\\' AND b = '('"),
        ];
        for (left, right) in pairs {
            assert_ne!(comparable(left), comparable(right));
        }
    }

    #[test]
    fn casts_vanish_whatever_their_type() {
        for cast in [
            "text",
            "character varying(20)",
            "timestamp without time zone",
            "numeric(10,2)[]",
            "public.\"My Type\"[]",
            "double precision",
            "\"char\"",
        ] {
            assert_eq!(comparable(&format!("(x)::{cast} <> y")), "x<>y", "{cast}");
        }
    }

    fn entry(kind: &str, schema: &str, definition: &str) -> Entry {
        Entry {
            kind: kind.into(),
            schema: schema.into(),
            name: "cows".into(),
            definition: definition.into(),
            ..Entry::default()
        }
    }

    #[test]
    fn an_object_is_said_as_a_person_would() {
        assert_eq!(SchemaObject::of(&entry("TABLE", "public", "")).describe(), "table public.cows");
        assert_eq!(SchemaObject::of(&entry("SCHEMA", "", "")).describe(), "schema cows");
    }

    #[test]
    fn the_order_of_grants_means_nothing_and_that_of_other_statements_does() {
        let of = |kind: &str, definition: &str| SchemaObject::of(&entry(kind, "public", definition));
        let (one, other) = ("GRANT a; GRANT b;", "GRANT b; GRANT a;");
        for kind in ["ACL", "DEFAULT ACL", "DATABASE PROPERTIES"] {
            assert_eq!(of(kind, one), of(kind, other));
        }
        assert_ne!(of("RULE", one), of("RULE", other));
    }

    #[test]
    fn owner_access_method_and_copied_columns_are_part_of_an_object() {
        let plain = entry("TABLE", "public", "CREATE TABLE");
        let owned = Entry { owner: "boss".into(), ..plain.clone() };
        let kept = Entry { table_access_method: "heap".into(), ..plain.clone() };
        let copied = |columns: &str| Entry {
            copy_statement: format!("COPY public.cows ({columns}) FROM stdin;\n"),
            ..plain.clone()
        };
        for changed in [owned, kept, copied("id")] {
            assert_ne!(SchemaObject::of(&changed), SchemaObject::of(&plain));
        }
        assert_eq!(SchemaObject::of(&copied("id, name")), SchemaObject::of(&copied("name, id")));
        assert_ne!(SchemaObject::of(&copied("id, name")), SchemaObject::of(&copied("id, breed")));
    }

    #[test]
    fn data_are_no_objects() {
        let entries =
            ["TABLE", "BLOBS", "SEQUENCE SET", "ACL"].map(|kind| entry(kind, "public", "")).to_vec();
        let text = String::new;
        let toc = Toc { database: text(), server_version: text(), dump_version: text(), entries };
        let kinds: Vec<String> = objects(&toc).into_iter().map(|object| object.kind).collect();
        assert_eq!(kinds, ["ACL", "TABLE"]);
    }

    #[test]
    fn a_cast_ends_with_its_type() {
        assert_eq!(comparable("a::text withdrawn"), "awithdrawn");
        assert_eq!(comparable("a::numeric(x)"), "ax");
        assert_eq!(comparable("a::timestamp with time zone AT b"), "aATb");
        assert_eq!(comparable("a::b_c$1 = d"), "a=d");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = comparable(&text);
            let _ = with_sorted_roles(&format!("CREATE POLICY p ON t TO {text}"));
        }
    }
}
