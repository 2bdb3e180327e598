//! What a script of `pg_dump` or `pg_dumpall` is about, read line by line: versions, databases, roles. SQL itself is
//! left to psql.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::Result;

use super::roles::named_in;
use crate::files;
use crate::sql_text::first_name;

/// Lines that are longer come in several pieces; none of those that count is as long.
const PIECE: u64 = 1024 * 1024;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Versions as `pg_dump` tells them, by the database; under `""` those before the first one.
    pub versions: BTreeMap<String, Versions>,
    /// The databases in the script, in their order: those it connects to.
    pub databases: Vec<String>,
    /// How it makes databases: what stands behind `WITH`.
    pub creations: BTreeMap<String, String>,
    /// Roles that it gives something to.
    pub roles: BTreeSet<String>,
    /// Whether it says that `pg_dump` wrote it, and whether it has `pg_dump`'s last line.
    pub has_beginning: bool,
    pub has_end: bool,
    /// Roughly how many objects it makes.
    pub objects: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    pub server: Option<String>,
    pub dump: Option<String>,
}

/// Reads a script to its end.
pub fn read(path: &Path, mut tick: impl FnMut() -> Result<()>) -> Result<Script> {
    let mut script = Script::default();
    let mut place = Place::default();
    each_piece(File::open(path)?, |piece, begins| {
        tick()?;
        if begins && place.enter(piece) {
            script.note(place.database.as_deref().unwrap_or_default(), piece);
        }
        Ok(())
    })?;
    script.databases = place.seen;
    Ok(script)
}

/// Copies of a script with several databases what belongs to `wanted`, or to none of them.
pub fn extract(path: &Path, target: &Path, wanted: &str, mut tick: impl FnMut() -> Result<()>) -> Result<()> {
    let mut out = BufWriter::new(files::create_private_file(target)?);
    let mut place = Place::default();
    each_piece(File::open(path)?, |piece, begins| {
        tick()?;
        if begins {
            place.enter(piece);
        }
        if place.database.as_deref().is_none_or(|database| database == wanted) {
            out.write_all(piece)?;
        }
        Ok(())
    })?;
    out.flush()?;
    Ok(())
}

/// Calls `each` with each line, or piece of one, and whether it is the beginning of one.
fn each_piece(input: impl Read, mut each: impl FnMut(&[u8], bool) -> Result<()>) -> Result<()> {
    let mut input = BufReader::with_capacity(256 * 1024, input);
    let (mut piece, mut begins) = (Vec::new(), true);
    loop {
        piece.clear();
        if take_piece(&mut input, &mut piece)? == 0 {
            return Ok(());
        }
        each(&piece, begins)?;
        begins = piece.ends_with(b"\n");
    }
}

fn take_piece(input: &mut impl BufRead, piece: &mut Vec<u8>) -> io::Result<usize> {
    input.take(PIECE).read_until(b'\n', piece)
}

/// Where in a script a line stands.
#[derive(Debug, Default)]
struct Place {
    in_rows: bool,
    /// The database whose part it is.
    database: Option<String>,
    /// Since Postgres 11, a comment begins each database's part, with what makes the database; before, `\connect` does.
    has_headings: bool,
    seen: Vec<String>,
}

impl Place {
    /// Goes on by a line; true when it is one of SQL, not of rows.
    fn enter(&mut self, line: &[u8]) -> bool {
        if self.in_rows {
            self.in_rows = !(line == b"\\.\n" || line == b"\\.\r\n" || line == b"\\.");
            return false;
        }
        if line.starts_with(b"COPY ") && contains(line, b" FROM stdin") {
            self.in_rows = true;
            return false;
        }
        if let Some(name) = heading(line) {
            self.has_headings = true;
            self.go_to(name);
        } else if let Some(name) = connected(line) {
            if !self.has_headings {
                self.go_to(name);
            }
        }
        true
    }

    fn go_to(&mut self, name: String) {
        if !self.seen.contains(&name) {
            self.seen.push(name.clone());
        }
        self.database = Some(name);
    }
}

fn contains(line: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find(line, words).is_some()
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_owned()
}

/// `-- Database "name" dump`, as `pg_dumpall` writes it.
fn heading(line: &[u8]) -> Option<String> {
    if !line.starts_with(b"-- Database \"") {
        return None;
    }
    let text = text(line);
    text.strip_prefix("-- Database \"")?.strip_suffix("\" dump").map(str::to_owned)
}

/// The database of a `\connect`: a name, or with odd characters in it a connection string.
fn connected(line: &[u8]) -> Option<String> {
    if !line.starts_with(b"\\connect ") {
        return None;
    }
    let text = text(line);
    let words = text.strip_prefix("\\connect ")?.trim();
    let words = words.strip_prefix("-reuse-previous=on ").unwrap_or(words);
    let (name, _) = first_name(words)?;
    let Some(quoted) = name.strip_prefix("dbname='") else { return Some(name) };
    let mut found = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => return Some(found),
            '\\' => found.extend(letters.next()),
            _ => found.push(letter),
        }
    }
    None
}

impl Script {
    /// What a line of SQL, in the part of `database`, tells.
    fn note(&mut self, database: &str, line: &[u8]) {
        match line.first() {
            Some(b'-') => self.note_comment(database, &text(line)),
            Some(b'A'..=b'Z') => self.note_statement(&text(line)),
            _ => {}
        }
    }

    fn note_comment(&mut self, database: &str, line: &str) {
        let version = |words: &str| line.strip_prefix(words).map(|version| version.trim().to_owned());
        if line.starts_with("-- PostgreSQL database ") {
            self.has_beginning |= line.ends_with(" dump");
            self.has_end = line.ends_with(" dump complete");
        } else if let Some(version) = version("-- Dumped from database version ") {
            self.versions.entry(database.to_owned()).or_default().server = Some(version);
        } else if let Some(version) = version("-- Dumped by pg_dump version ") {
            self.versions.entry(database.to_owned()).or_default().dump = Some(version);
        }
    }

    fn note_statement(&mut self, line: &str) {
        if line.starts_with("CREATE ") {
            self.objects += 1;
        }
        if let Some(rest) = line.strip_prefix("CREATE DATABASE ") {
            if let Some((name, rest)) = first_name(rest.trim_end_matches(';')) {
                let words = rest.strip_prefix(" WITH ").unwrap_or_default();
                self.creations.insert(name, words.to_owned());
            }
        }
        self.roles.extend(named_in(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> (Script, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        files::write_private(&folder.path().join("script"), text.as_bytes()).unwrap();
        (read(&folder.path().join("script"), || Ok(())).unwrap(), folder)
    }

    const CLUSTER: &str = "-- PostgreSQL database cluster dump
CREATE ROLE farmer;
-- Database \"template1\" dump
-- Dumped from database version 17.6
\\connect template1
-- Database \"my \"db\" dump
-- Dumped from database version 17.6 (Debian)
CREATE DATABASE \"my \"\"db\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C';
\\connect -reuse-previous=on \"dbname='my \"\"db'\"
COPY public.t (a) FROM stdin;
\\connect elsewhere
GRANT ALL ON t TO nobody;
\\.
ALTER TABLE public.t OWNER TO farmer;
-- Database \"other\" dump
\\connect other
SELECT 1;
-- PostgreSQL database cluster dump complete
";

    #[test]
    fn databases_roles_and_versions_are_found_outside_of_rows() {
        let (script, folder) = of(CLUSTER);
        assert_eq!(script.databases, ["template1", "my \"db", "other"]);
        assert_eq!(script.roles, BTreeSet::from(["farmer".to_owned()]));
        assert_eq!(script.versions["my \"db"].server.as_deref(), Some("17.6 (Debian)"));
        assert_eq!(script.creations["my \"db"], "TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C'");
        assert!(script.has_beginning && script.has_end);
        let target = folder.path().join("part");
        extract(&folder.path().join("script"), &target, "my \"db", || Ok(())).unwrap();
        let part = std::fs::read_to_string(&target).unwrap();
        assert!(part.contains("CREATE ROLE") && part.contains("elsewhere") && !part.contains("SELECT 1"));
        assert!(!part.contains("template1"), "{part}");
    }

    #[test]
    fn older_clusters_are_split_where_they_connect() {
        let (script, _folder) =
            of("CREATE DATABASE a;\n\\connect a\nSELECT 1;\n\\connect \"b c\"\nSELECT 2;");
        assert_eq!(script.databases, ["a", "b c"]);
        assert!(!script.has_beginning && !script.has_end);
    }

    #[test]
    fn versions_and_objects_are_those_that_the_script_tells() {
        let (script, _folder) = of("-- PostgreSQL database dump\r\n-- Dumped from database version 16.4\n\
             -- Dumped by pg_dump version 17.6\nCREATE TABLE t (a int);\n-- CREATE\nCREATE VIEW v AS SELECT 1;\n");
        let versions = Versions { server: Some("16.4".into()), dump: Some("17.6".into()) };
        assert_eq!(script.versions, BTreeMap::from([(String::new(), versions)]));
        assert_eq!((script.objects, script.has_beginning, script.has_end), (2, true, false));
    }

    #[test]
    fn rows_end_with_their_marker_however_lines_end() {
        for end in ["\\.\n", "\\.\r\n"] {
            let (script, _folder) = of(&format!("COPY t (a) FROM stdin;\n\\connect a\n{end}\\connect b\n"));
            assert_eq!(script.databases, ["b"]);
        }
        let (script, _folder) = of("COPY t TO stdout;\n\\connect c\n");
        assert_eq!(script.databases, ["c"]);
    }

    #[test]
    fn a_connection_is_a_name_or_a_connection_string() {
        for (line, database) in [
            ("\\connect cows\r\n", Some("cows")),
            ("\\connect \"odd \"\"cows\"\n", Some("odd \"cows")),
            (r#"\connect -reuse-previous=on "dbname='a\'b\\c' x""#, Some(r"a'b\c")),
            (r#"\connect -reuse-previous=on "dbname='a""#, None),
            ("\\connected cows\n", None),
        ] {
            assert_eq!(connected(line.as_bytes()).as_deref(), database, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_script_is_survived(text in r#"(-- Database "|\\connect |COPY |[a-z"'\\;\n ]|GRANT |CREATE DATABASE ){0,30}"#) {
            let _ = of(&text);
        }
    }
}
