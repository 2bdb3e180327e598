//! Which statements of a `pg_dumpall --roles-only` script to run on a server that has some of the roles already.
//!
//! Roles that exist are never touched: not their attributes, not their passwords. Of memberships, those are granted in
//! which at least one side is new.

use std::collections::BTreeSet;

/// The roles to make and the statements that make them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolePlan {
    pub missing: Vec<String>,
    pub statements: Vec<String>,
}

/// Picks from `script` what makes the roles that are not among `existing`.
pub fn plan(script: &str, existing: &[String]) -> RolePlan {
    let existing: BTreeSet<&str> = existing.iter().map(String::as_str).collect();
    let parsed: Vec<(Vec<Word>, String)> =
        statements(script).into_iter().map(|statement| (words(&statement), statement)).collect();
    let missing: BTreeSet<String> = parsed
        .iter()
        .filter(|(words, _)| is(words, &["CREATE", "ROLE"]))
        .filter_map(|(words, _)| words.get(2).map(|word| word.text.clone()))
        .filter(|role| !existing.contains(role.as_str()))
        .collect();
    let is_new = |word: Option<&Word>| word.is_some_and(|word| missing.contains(&word.text));
    let wanted = |words: &[Word]| {
        if is(words, &["CREATE", "ROLE"]) || is(words, &["ALTER", "ROLE"]) {
            is_new(words.get(2))
        } else if is(words, &["COMMENT", "ON", "ROLE"]) {
            is_new(words.get(3))
        } else if is(words, &["GRANT"]) {
            match words.iter().position(|word| word.is("TO")) {
                Some(2) => is_new(words.get(1)) || is_new(words.get(3)),
                // A privilege on a parameter.
                Some(to) => is_new(words.get(to + 1)),
                None => false,
            }
        } else {
            false
        }
    };
    let statements = parsed.iter().filter(|(words, _)| wanted(words)).map(|(_, text)| text.clone()).collect();
    RolePlan { missing: missing.iter().cloned().collect(), statements }
}

/// A keyword or a (possibly quoted) name at the beginning of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(keyword)
    }
}

fn is(words: &[Word], keywords: &[&str]) -> bool {
    words.len() >= keywords.len() && words.iter().zip(keywords).all(|(word, keyword)| word.is(keyword))
}

/// `GRANT SET, ALTER SYSTEM ON PARAMETER name TO role`.
const ENOUGH_WORDS: usize = 10;

/// The first words of a statement: as many as it takes to know what it is about.
fn words(statement: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = statement.trim_start();
    while words.len() < ENOUGH_WORDS && !rest.is_empty() {
        if rest.starts_with('"') {
            let end = quoted_end(rest, '"');
            let name = &rest[1..end];
            // Whatever others wrote may also end before its quotes are closed.
            let name = name.strip_suffix('"').unwrap_or(name);
            words.push(Word { text: name.replace("\"\"", "\""), quoted: true });
            rest = &rest[end..];
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
            words.push(Word { text: rest[..end].to_owned(), quoted: false });
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    words
}

/// Splits a script at its semicolons, leaving out comments and psql's own lines (`\restrict …`).
fn statements(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut current = String::new();
    let mut rest = script;
    while let Some(first) = rest.chars().next() {
        let at_start = current.trim().is_empty();
        let taken = match first {
            '-' if rest.starts_with("--") => line_length(rest),
            '\\' if at_start => line_length(rest),
            '\'' | '"' => {
                let escapes = first == '\'' && current.ends_with(['E', 'e']);
                let end = if escapes { escaped_end(rest) } else { quoted_end(rest, first) };
                current.push_str(&rest[..end]);
                end
            }
            ';' => {
                found.push(std::mem::take(&mut current).trim().to_owned());
                1
            }
            _ => {
                current.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    found.retain(|statement| !statement.is_empty());
    found
}

fn line_length(text: &str) -> usize {
    text.find('\n').map_or(text.len(), |at| at + 1)
}

/// Behind the closing quote of what `text` begins with; a doubled quote does not close.
fn quoted_end(text: &str, quote: char) -> usize {
    let mut at = 1;
    loop {
        match text[at..].find(quote) {
            None => return text.len(),
            Some(found) if text[at + found + 1..].starts_with(quote) => at += found + 2,
            Some(found) => return at + found + 1,
        }
    }
}

/// The same for `E'…'`, in which a backslash hides the character behind it.
fn escaped_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCRIPT: &str = r#"--
-- PostgreSQL database cluster dump
\restrict abcDEF
SET default_transaction_read_only = off;
CREATE ROLE farmer;
ALTER ROLE farmer WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER PASSWORD 'x';
CREATE ROLE "We""ird; role";
ALTER ROLE "We""ird; role" SET search_path TO 'a', E'b\';c';
COMMENT ON ROLE farmer IS 'it''s; new';
GRANT farmer TO postgres WITH INHERIT TRUE GRANTED BY postgres;
GRANT postgres TO boss GRANTED BY postgres;
GRANT SET,ALTER SYSTEM ON PARAMETER work_mem TO farmer WITH GRANT OPTION;
GRANT SET ON PARAMETER work_mem TO boss;
"#;

    #[test]
    fn only_missing_roles_are_made() {
        let plan = plan(SCRIPT, &["postgres".to_owned(), "boss".to_owned()]);
        assert_eq!(plan.missing, ["We\"ird; role", "farmer"]);
        let text = plan.statements.join("\n");
        assert_eq!(plan.statements.len(), 7, "{text}");
        assert!(
            !text.contains("ALTER ROLE postgres")
                && !text.contains("GRANT postgres")
                && !text.contains("restrict")
        );
        assert!(text.contains("a;b'") && text.contains(r"E'b\';c'") && text.contains("it''s; new"));
    }

    #[test]
    fn a_server_that_has_all_roles_is_left_alone() {
        let existing = ["postgres", "farmer", "We\"ird; role"].map(str::to_owned);
        assert_eq!(plan(SCRIPT, &existing), RolePlan::default());
    }

    #[test]
    fn what_is_granted_to_a_new_role_or_of_one_is_granted() {
        let granted = |statement: &str| {
            let script = format!("CREATE ROLE cow;{statement};");
            plan(&script, &["boss".to_owned()]).statements.len() == 2
        };
        for wanted in [
            "GRANT cow TO boss",
            "GRANT boss TO cow",
            "GRANT SET ON PARAMETER a TO cow",
            "alter role cow login",
        ] {
            assert!(granted(wanted), "{wanted}");
        }
        for other in
            ["GRANT boss TO farmer", "GRANT boss", "GRANT SET ON PARAMETER a TO boss", "DROP ROLE cow"]
        {
            assert!(!granted(other), "{other}");
        }
    }

    #[test]
    fn a_script_is_split_at_its_own_semicolons() {
        let script =
            "a -- not; here\n; 'b;''c' ;;E'def\\';' ; e'f\\\\'; \"g;\"\"h\";\n\\psql; here\ni - \\j;";
        assert_eq!(statements(script), ["a", "'b;''c'", "E'def\\';'", "e'f\\\\'", "\"g;\"\"h\"", "i - \\j"]);
        assert_eq!(statements("E'a''b;';c"), ["E'a''b;'"]);
        assert_eq!(statements("E'ab''';c;"), ["E'ab'''", "c"]);
    }

    #[test]
    fn a_name_without_its_closing_quote_is_survived() {
        let plan = plan("COMMENT ON ROLE cow IS 'a \"b' ä; CREATE ROLE cow;", &[]);
        assert_eq!(plan.missing, ["cow"]);
    }

    proptest! {
        #[test]
        fn any_script_is_survived(script in r#"([A-Za-zä ;'"\\E\n-]|CREATE ROLE ){0,60}"#) {
            let _ = plan(&script, &[]);
        }
    }
}
