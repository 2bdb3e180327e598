//! Making a new database like another: encoding, locale, owner, limits; then its settings, privileges and comment.

use serde_json::Value;

use crate::postgres::{Privilege, RoleSettings, ServerFacts, identifier, literal};

/// Settings whose value is a list of names, each quoted for itself (`GUC_LIST_QUOTE`; Postgres'
/// `variable_is_guc_list_quote` in `src/bin/pg_dump/dumputils.c`).
const NAME_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// `CREATE DATABASE` for an empty database `name` like the one that `facts` are of.
pub fn create_database(name: &str, facts: &ServerFacts) -> String {
    let row = &facts.database;
    let text = |key: &str| row[key].as_str().filter(|value| !value.is_empty());
    let mut words = vec![format!("create database {} template template0", identifier(name))];
    let mut add =
        |keyword: &str, value: Option<String>| words.extend(value.map(|value| format!("{keyword} {value}")));
    add("owner", text("owner_name").map(identifier));
    add("encoding", text("encoding_name").map(literal));
    add("lc_collate", text("datcollate").map(literal));
    add("lc_ctype", text("datctype").map(literal));
    add("tablespace", text("tablespace_name").map(identifier));
    add("connection limit", row["datconnlimit"].as_i64().map(|limit| limit.to_string()));
    let locale = text("datlocale").or(text("daticulocale")).map(literal);
    match text("datlocprovider") {
        Some("i") => {
            add("locale_provider", Some("icu".to_owned()));
            add("icu_locale", locale);
            add("icu_rules", text("daticurules").map(literal));
        }
        Some("b") => {
            add("locale_provider", Some("builtin".to_owned()));
            add("builtin_locale", locale);
        }
        Some(_) => add("locale_provider", Some("libc".to_owned())),
        None => {}
    }
    format!("{};\n", words.join(" "))
}

/// The statements that give `name` the settings, privileges and comment of the database that `facts` are of.
pub fn dress_database(name: &str, facts: &ServerFacts) -> String {
    let mut script = String::new();
    for role_settings in facts.settings.iter().flatten() {
        script.push_str(&settings(name, role_settings));
    }
    if let Some(privileges) = &facts.privileges {
        script.push_str(&grants(name, privileges, &facts.database));
    }
    if let Value::String(comment) = &facts.database["comment"] {
        script.push_str(&format!("comment on database {} is {};\n", identifier(name), literal(comment)));
    }
    script
}

fn settings(database: &str, of: &RoleSettings) -> String {
    let database = identifier(database);
    let subject = match &of.role {
        None => format!("alter database {database}"),
        Some(role) => format!("alter role {} in database {database}", identifier(role)),
    };
    let statement = |setting: &String| {
        let (name, value) = setting.split_once('=')?;
        let quoted_name: Vec<String> = name.split('.').map(identifier).collect();
        let value = if NAME_LISTS.contains(&name) { name_list(value) } else { literal(value) };
        Some(format!("{subject} set {} to {value};\n", quoted_name.join(".")))
    };
    of.settings.iter().filter_map(statement).collect()
}

/// `"$user", public` → `'$user', 'public'`.
fn name_list(value: &str) -> String {
    let mut names = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        let mut name = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            while let Some(at) = rest.find('"') {
                name.push_str(&rest[..at]);
                rest = &rest[at + 1..];
                match rest.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        rest = more;
                    }
                    None => break,
                }
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            rest[..end].trim_end().clone_into(&mut name);
            rest = &rest[end..];
        }
        names.push(literal(&name));
        rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
    if names.is_empty() { "''".to_owned() } else { names.join(", ") }
}

fn grants(name: &str, privileges: &[Privilege], row: &Value) -> String {
    let database = identifier(name);
    let owner = row["owner_name"].as_str().unwrap_or_default();
    let mut script = format!("revoke all on database {database} from public, {};\n", identifier(owner));
    // The owner's grants first: others may rest on them.
    let (own, others): (Vec<&Privilege>, Vec<&Privilege>) =
        privileges.iter().partition(|one| one.grantor == owner);
    for one in own.iter().chain(&others) {
        let grantee = one.grantee.as_deref().map_or_else(|| "public".to_owned(), identifier);
        let option = if one.grantable { " with grant option" } else { "" };
        let grant = format!("grant {} on database {database} to {grantee}{option};\n", one.privilege);
        if one.grantor == owner {
            script.push_str(&grant);
        } else {
            script.push_str(&format!("set role {};\n{grant}reset role;\n", identifier(&one.grantor)));
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(database: &Value) -> ServerFacts {
        let server = serde_json::json!({
            "version_num": 170_006, "version": "17.6", "size": 0, "lc_monetary": "C", "shared_preload_libraries": "",
            "max_connections": 100, "database": database, "databases": [], "prepared_transactions": 0, "roles": [],
            "available_extensions": ["citext", "hstore"],
        });
        serde_json::from_value(server).unwrap()
    }

    #[test]
    fn a_new_database_is_like_the_old_one() {
        let libc = serde_json::json!({
            "owner_name": "boss", "encoding_name": "UTF8", "datcollate": "C", "datctype": "de_DE.utf8",
            "tablespace_name": "", "datconnlimit": -1, "datlocprovider": "c", "datlocale": null,
        });
        assert_eq!(
            create_database("new", &facts(&libc)),
            "create database \"new\" template template0 owner \"boss\" encoding 'UTF8' lc_collate 'C' \
             lc_ctype 'de_DE.utf8' connection limit -1 locale_provider libc;\n"
        );
        for (locale, words) in [
            (serde_json::json!({}), "template0"),
            (serde_json::json!({"datlocprovider": "b", "datlocale": "C"}), "builtin builtin_locale 'C'"),
            (
                serde_json::json!({"datlocprovider": "i", "daticulocale": "de", "daticurules": "& a < b"}),
                "icu icu_locale 'de' icu_rules '& a < b'",
            ),
        ] {
            let statement = create_database("new", &facts(&locale));
            assert!(statement.ends_with(&format!(" {words};\n")), "{statement}");
        }
    }

    #[test]
    fn a_new_database_is_dressed_like_the_old_one() {
        let mut facts = facts(&serde_json::json!({"owner_name": "boss", "comment": "it's cows"}));
        assert_eq!(dress_database("new", &facts), "comment on database \"new\" is 'it''s cows';\n");
        facts.database = serde_json::json!({"owner_name": "boss", "comment": null});
        facts.settings = Some(vec![RoleSettings { role: None, settings: vec!["jit=off".into()] }]);
        facts.privileges = Some(vec![]);
        assert_eq!(
            dress_database("new", &facts),
            "alter database \"new\" set \"jit\" to 'off';\nrevoke all on database \"new\" from public, \"boss\";\n"
        );
    }

    #[test]
    fn lists_of_names_are_quoted_each() {
        assert_eq!(name_list("\"$user\", public"), "'$user', 'public'");
        assert_eq!(name_list("\"a \"\"b, c\",d"), "'a \"b, c', 'd'");
        assert_eq!(name_list("\"\""), "''");
        assert_eq!(name_list(""), "''");
    }

    #[test]
    fn settings_are_set_on_the_new_database() {
        let of = RoleSettings {
            role: Some("r".into()),
            settings: vec!["my.x=it's".into(), "search_path=a, b".into()],
        };
        let script = settings("new", &of);
        assert_eq!(
            script,
            "alter role \"r\" in database \"new\" set \"my\".\"x\" to 'it''s';\n\
             alter role \"r\" in database \"new\" set \"search_path\" to 'a', 'b';\n"
        );
    }

    #[test]
    fn grants_of_others_are_given_as_those() {
        let privilege = |grantor: &str, grantee: Option<&str>| Privilege {
            grantor: grantor.into(),
            grantee: grantee.map(str::to_owned),
            privilege: "CONNECT".into(),
            grantable: false,
        };
        let row = serde_json::json!({"owner_name": "boss"});
        let script = grants("d", &[privilege("other", Some("x")), privilege("boss", None)], &row);
        assert_eq!(
            script,
            "revoke all on database \"d\" from public, \"boss\";\ngrant CONNECT on database \"d\" to public;\n\
             set role \"other\";\ngrant CONNECT on database \"d\" to \"x\";\nreset role;\n"
        );
    }
}
