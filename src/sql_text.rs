//! Names and columns out of the SQL that `pg_dump` writes. Nothing more of SQL is understood.

/// A column of a table, as its definition words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Its type and whatever else stands behind its name.
    pub definition: String,
}

/// The identifier that `text` begins with, without its quotes, and what follows it.
pub fn first_name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', ' ', ',', ')']).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
    }
}

/// Schema and name of the table, from `COPY public."Odd ""Name""" (id) FROM stdin;`, and what follows them.
pub fn copied_table(statement: &str) -> Option<(String, String, &str)> {
    let (schema, rest) = first_name(statement.strip_prefix("COPY ")?)?;
    let (name, rest) = first_name(rest.strip_prefix('.')?)?;
    Some((schema, name, rest))
}

/// The names of the columns in a COPY statement; none where it names none.
pub fn copied_columns(statement: &str) -> Vec<String> {
    let list = copied_table(statement).and_then(|(_, _, rest)| rest.strip_prefix(" ("));
    let mut names = Vec::new();
    let mut rest = list.unwrap_or_default();
    while let Some((name, after)) = first_name(rest) {
        names.push(name);
        match after.strip_prefix(", ") {
            Some(more) => rest = more,
            None => break,
        }
    }
    names
}

/// The columns of a `CREATE TABLE`, in their order.
pub fn table_columns(definition: &str) -> Vec<Column> {
    let column = |part: &str| {
        let part = part.trim();
        let (name, rest) = first_name(part)?;
        // A column of that name would be quoted.
        let is_constraint = !part.starts_with('"') && name == "CONSTRAINT";
        (!is_constraint).then(|| Column { name, definition: rest.trim().to_owned() })
    };
    list_in_brackets(definition).into_iter().filter_map(column).collect()
}

/// The parts of the first list in brackets, split at its own commas.
fn list_in_brackets(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut at, mut start) = (0, 0, 0);
    while let Some(first) = text[at..].chars().next() {
        let quoted = quoted_length(&text[at..], &text[..at]);
        if quoted > 0 {
            at += quoted;
            continue;
        }
        match first {
            '(' => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            ')' if depth == 1 => {
                parts.push(&text[start..at]);
                return parts;
            }
            ')' => depth -= 1,
            ',' if depth == 1 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += first.len_utf8();
    }
    parts
}

/// The length of the quoted thing that `text` begins with: 'text', "name" or $tag$body$tag$; 0 when it is none.
pub fn quoted_length(text: &str, before: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes[0] {
        quote @ (b'\'' | b'"') => {
            let escapes = quote == b'\'' && begins_escape_string(before);
            let mut at = 1;
            while at < bytes.len() {
                match bytes[at] {
                    b'\\' if escapes => at += 1,
                    byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 1,
                    byte if byte == quote => return at + 1,
                    _ => {}
                }
                at += 1;
            }
            text.len()
        }
        b'$' => dollar_quoted_length(text),
        _ => 0,
    }
}

/// Whether a quote behind `before` opens an `E'…'` string: the E is a word of its own, not the end of LIKE.
fn begins_escape_string(before: &str) -> bool {
    let mut backwards = before.chars().rev();
    matches!(backwards.next(), Some('E' | 'e'))
        && !backwards.next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn dollar_quoted_length(text: &str) -> usize {
    let Some(tag_end) = text[1..].find('$').map(|at| at + 2) else { return 0 };
    let tag = &text[..tag_end];
    let is_tag = tag[1..tag_end - 1].chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_tag || tag[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text[tag_end..].find(tag).map_or(text.len(), |at| tag_end + at + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_has_its_length() {
        for (text, length) in [
            ("'a''b' c", 6),
            ("\"a\"\"b\" c", 6),
            ("'a", 2),
            ("$$ a $$ b", 7),
            ("$tag_1$ $$ $tag_1$ b", 18),
            ("$$ a", 4),
            ("$1 + $2", 0),
            ("$a b$ c", 0),
            ("$", 0),
            ("a", 0),
        ] {
            assert_eq!(quoted_length(text, ""), length, "{text}");
        }
        assert_eq!(quoted_length(r"'a\'b' c", "E"), 6);
        assert_eq!(quoted_length(r"'a\'b' c", "_E"), 4);
    }
    use proptest::prelude::*;

    #[test]
    fn columns_of_a_copy_lose_their_quotes() {
        let statement = "COPY public.\"Odd \"\"T\" (id, \"a, b\", \"c)\") FROM stdin;\n";
        assert_eq!(copied_columns(statement), ["id", "a, b", "c)"]);
        let (schema, name, _) = copied_table(statement).unwrap();
        assert_eq!((schema.as_str(), name.as_str()), ("public", "Odd \"T"));
        assert_eq!(copied_columns("COPY public.t FROM stdin;\n"), Vec::<String>::new());
    }

    #[test]
    fn columns_of_a_table_are_told_from_its_constraints() {
        let definition = "CREATE TABLE public.cows (\n    id integer NOT NULL,\n    \"CONSTRAINT\" text DEFAULT 'a, (b'::text,\n    price numeric(10,2) GENERATED ALWAYS AS ((a * b)) STORED,\n    CONSTRAINT positive CHECK ((id > 0))\n)\nPARTITION BY RANGE (id);\n";
        let columns = table_columns(definition);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "CONSTRAINT", "price"]);
        assert_eq!(columns[1].definition, "text DEFAULT 'a, (b'::text");
        assert!(table_columns("CREATE TABLE public.none (\n)\n;\n").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = (table_columns(&text), copied_columns(&format!("COPY a.b ({text}")), first_name(&text));
        }
    }
}
