//! The roles that a dump gives something to. Those that it does not make itself are made without a login, so that
//! owners and privileges come along.

use std::collections::BTreeSet;

use crate::sql_text::first_name;
use crate::toc::Toc;

/// Words that stand where a role can and are none. Roles that begin with `pg_` are Postgres' own.
const NO_ROLES: [&str; 6] = ["PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER", "NONE", "DEFAULT"];

/// Of an archive: its objects' owners, and whom its privileges and policies name.
pub fn named_in_toc(toc: &Toc) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    for entry in &toc.entries {
        if !entry.owner.is_empty() {
            roles.insert(entry.owner.clone());
        }
        if matches!(entry.kind.as_str(), "ACL" | "DEFAULT ACL" | "POLICY" | "USER MAPPING") {
            roles.extend(entry.definition.lines().flat_map(named_in));
        }
    }
    roles.retain(|role| is_role(role));
    roles
}

/// Of one statement that stands in a line, as `pg_dump` writes them.
pub fn named_in(line: &str) -> Vec<String> {
    let line = line.trim_end().trim_end_matches(';');
    let mut lists: Vec<&str> = Vec::new();
    let behind = |words: &str| line.find(words).map(|at| &line[at + words.len()..]);
    let last_behind = |words: &str| line.rfind(words).map(|at| &line[at + words.len()..]);
    if line.starts_with("ALTER DEFAULT PRIVILEGES ") {
        lists.extend(behind(" FOR ROLE "));
        lists.extend(last_behind(" TO ").or_else(|| last_behind(" FROM ")));
    } else if line.starts_with("ALTER ") {
        lists.extend(last_behind(" OWNER TO "));
    } else if line.starts_with("GRANT ") {
        lists.extend(last_behind(" TO "));
        lists.extend(last_behind(" GRANTED BY "));
    } else if line.starts_with("REVOKE ") {
        lists.extend(last_behind(" FROM "));
    } else if line.starts_with("CREATE POLICY ") {
        lists.extend(behind(" TO "));
    } else if line.starts_with("CREATE SCHEMA ") {
        lists.extend(behind(" AUTHORIZATION "));
    } else if let Some(rest) = line.strip_prefix("CREATE USER MAPPING FOR ") {
        lists.push(rest);
    } else if let Some(rest) = line.strip_prefix("SET SESSION AUTHORIZATION ") {
        let name = rest.trim().trim_matches('\'');
        // Quoted as a text, or as a name.
        return first_name(name).map(|(name, _)| name).into_iter().filter(|name| is_role(name)).collect();
    }
    lists.into_iter().flat_map(names).filter(|name| is_role(name)).collect()
}

/// `a, "b c" WITH …` → `a`, `b c`.
fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list;
    while let Some((name, after)) = first_name(rest) {
        names.push(name);
        match after.strip_prefix(", ") {
            Some(more) => rest = more,
            None => break,
        }
    }
    names
}

fn is_role(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with("pg_")
        && !name.contains('\0')
        && !NO_ROLES.iter().any(|word| name.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toc::Entry;
    use proptest::prelude::*;

    #[test]
    fn roles_are_found_where_pg_dump_names_them() {
        for (line, roles) in [
            ("ALTER TABLE public.t OWNER TO farmer;", vec!["farmer"]),
            ("ALTER TABLE ONLY public.t ADD CONSTRAINT x CHECK (a = ' OWNER TO');", vec![]),
            ("GRANT SELECT,INSERT ON TABLE public.t TO \"We ird\" WITH GRANT OPTION;", vec!["We ird"]),
            ("GRANT USAGE ON SCHEMA public TO PUBLIC;", vec![]),
            ("REVOKE ALL ON SCHEMA public FROM cows, pg_monitor;", vec!["cows"]),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE boss IN SCHEMA public GRANT SELECT ON TABLES TO reader;",
                vec!["boss", "reader"],
            ),
            ("CREATE POLICY p ON public.t FOR SELECT TO one, two USING (true);", vec!["one", "two"]),
            ("GRANT ALL ON SCHEMA public TO cows GRANTED BY boss;", vec!["cows", "boss"]),
            ("CREATE SCHEMA stable AUTHORIZATION farmer;", vec!["farmer"]),
            ("CREATE USER MAPPING FOR cows SERVER elsewhere;", vec!["cows"]),
            ("SET SESSION AUTHORIZATION 'u1234';", vec!["u1234"]),
            ("SET SESSION AUTHORIZATION DEFAULT;", vec![]),
            ("SELECT 1;", vec![]),
        ] {
            assert_eq!(named_in(line), roles, "{line}");
        }
    }

    #[test]
    fn an_archive_names_owners_and_whom_it_gives_something_to() {
        let entry = |kind: &str, owner: &str, definition: &str| Entry {
            kind: kind.into(),
            owner: owner.into(),
            definition: definition.into(),
            ..Entry::default()
        };
        let entries = vec![
            entry("TABLE", "farmer", "GRANT SELECT ON TABLE t TO nobody;"),
            entry("EXTENSION", "", ""),
            entry("SCHEMA", "pg_database_owner", ""),
            entry("ACL", "farmer", "GRANT SELECT ON TABLE t TO reader;\nGRANT ALL ON TABLE t TO writer;"),
        ];
        let text = String::new;
        let toc = Toc { database: text(), server_version: text(), dump_version: text(), entries };
        assert!(named_in_toc(&toc).iter().eq(["farmer", "reader", "writer"]));
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in r#"(GRANT | TO | FROM |ALTER | OWNER TO |["a-z,; ä']){0,20}"#) {
            let _ = named_in(&line);
        }
    }
}
