//! What psql and `pg_restore` have against a dump, read from what they say: each error in one line, those that mean
//! nothing for the data left out.

/// Errors that are kept word for word; the others are counted.
const KEPT: usize = 100;
/// Characters of an error that are worth keeping.
const LONGEST: usize = 300;

/// Which of the two is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    Psql,
    PgRestore,
}

/// All complaints of a load.
#[derive(Debug)]
pub struct Complaints {
    speaker: Speaker,
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
    /// Whether `pg_restore` came to its end in spite of errors.
    pub came_through: bool,
    /// Not yet counted: more about it may follow.
    current: Option<Complaint>,
    /// The object that `pg_restore` is at.
    object: Option<String>,
}

#[derive(Debug, Default)]
struct Complaint {
    object: Option<String>,
    message: String,
    detail: Option<String>,
    statement: Option<String>,
}

impl Complaints {
    pub fn of(speaker: Speaker) -> Self {
        Complaints { speaker, count: 0, first: Vec::new(), came_through: false, current: None, object: None }
    }

    /// Takes in a line of the tool's standard error.
    pub fn hear(&mut self, line: &str) {
        match self.speaker {
            Speaker::Psql => self.hear_psql(line),
            Speaker::PgRestore => self.hear_restore(line),
        }
    }

    /// `psql:/backup/input-1:12: ERROR:  role "x" does not exist`, perhaps `DETAIL:  …`, and with the same beginning
    /// `STATEMENT:  …`.
    fn hear_psql(&mut self, line: &str) {
        const STATEMENT: &str = ": STATEMENT:  ";
        const LEVELS: [&str; 6] =
            [": ERROR:  ", ": FATAL:  ", ": PANIC:  ", ": error: ", ": fatal: ", STATEMENT];
        let about = line.strip_prefix("psql:").and_then(|rest| {
            let (at, level) = LEVELS.iter().filter_map(|level| Some((rest.find(level)?, *level))).min()?;
            Some((rest[..at].rsplit(':').next(), level, &rest[at + level.len()..]))
        });
        match about {
            Some((_, STATEMENT, statement)) => {
                if let Some(current) = &mut self.current {
                    current.statement.get_or_insert_with(|| statement.to_owned());
                }
            }
            Some((number, _, message)) => {
                self.settle();
                let object = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
                let object = object.map(|number| format!("line {number}"));
                self.current =
                    Some(Complaint { object, message: message.to_owned(), ..Complaint::default() });
            }
            None => self.hear_more(line),
        }
    }

    /// `pg_restore: from TOC entry 215; 1259 16385 TABLE cows farmer`, `pg_restore: error: …`, `Command was: …`.
    fn hear_restore(&mut self, line: &str) {
        if let Some(entry) = line.split_once("from TOC entry ").map(|(_, entry)| entry) {
            // Number, table and id of the object, then what it is.
            let what = entry.splitn(4, ' ').nth(3).unwrap_or(entry);
            self.object = Some(what.to_owned());
        } else if let Some(message) = line.strip_prefix("pg_restore: error: ") {
            self.settle();
            let message = message.strip_prefix("could not execute query: ").unwrap_or(message);
            let message = message.strip_prefix("ERROR:  ").unwrap_or(message).to_owned();
            self.current = Some(Complaint { object: self.object.take(), message, ..Complaint::default() });
        } else if line.starts_with("pg_restore: warning: errors ignored on restore") {
            self.came_through = true;
        } else {
            self.hear_more(line);
        }
    }

    fn hear_more(&mut self, line: &str) {
        let Some(current) = &mut self.current else { return };
        if let Some(text) = line.strip_prefix("Command was:") {
            current.statement.get_or_insert_with(|| text.trim().to_owned());
        } else if let Some(text) = line.strip_prefix("DETAIL:") {
            current.detail.get_or_insert_with(|| text.trim().to_owned());
        }
    }

    /// Nothing more follows.
    pub fn end(&mut self) {
        self.settle();
    }

    fn settle(&mut self) {
        let Some(complaint) = self.current.take() else { return };
        if self.speaker == Speaker::Psql && complaint.is_harmless() {
            return;
        }
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(complaint.in_one_line());
        }
    }
}

impl Complaint {
    /// Scripts drop what an empty server does not have (`--clean`), make the roles that every server has, and set what
    /// only newer servers know.
    fn is_harmless(&self) -> bool {
        let statement = self.statement.as_deref().unwrap_or_default();
        let (says, begins) =
            (|words: &str| self.message.contains(words), |words| statement.starts_with(words));
        let drops = begins("DROP ")
            || begins("ALTER ") && (statement.contains(" DROP ") || statement.contains(" DETACH "));
        (says("does not exist") || says("cannot be dropped")) && drops
            || says("already exists") && (begins("CREATE ROLE ") || begins("CREATE USER "))
            || says("already exists") && begins("CREATE DATABASE ")
            || self.message == "schema \"public\" already exists"
            || says("unrecognized configuration parameter") && begins("SET ")
            // Servers of before August 2025.
            || says("invalid command \\restrict")
            || says("invalid command \\unrestrict")
    }

    fn in_one_line(&self) -> String {
        let mut text = self.object.as_ref().map_or_else(String::new, |object| format!("{object}: "));
        text.push_str(&self.message);
        if let Some(detail) = &self.detail {
            text.push_str(&format!(" ({detail})"));
        }
        let text = text.replace(['\n', '\r'], " ");
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(speaker: Speaker, text: &str) -> Complaints {
        let mut complaints = Complaints::of(speaker);
        text.lines().for_each(|line| complaints.hear(line));
        complaints.end();
        complaints
    }

    #[test]
    fn psqls_errors_are_told_and_harmless_ones_are_not() {
        let complaints = heard(
            Speaker::Psql,
            "psql:/backup/i:3: ERROR:  role \"postgres\" already exists
psql:/backup/i:3: STATEMENT:  CREATE ROLE postgres;
psql:/backup/i:9: NOTICE:  nothing
psql:/backup/i:12: ERROR:  relation \"public.cows\" does not exist
psql:/backup/i:12: STATEMENT:  ALTER TABLE ONLY public.cows DROP CONSTRAINT cows_pkey;
psql:/backup/i:13: ERROR:  unrecognized configuration parameter \"transaction_timeout\"
psql:/backup/i:13: STATEMENT:  SET transaction_timeout = 0;
psql:/backup/i:20: ERROR:  invalid value for parameter \"default_tablespace\": \"fast\"
DETAIL:  Tablespace \"fast\" does not exist.
psql:/backup/i:20: STATEMENT:  SET default_tablespace = fast;
psql:/backup/i:44: error: invalid command \\foo",
        );
        assert_eq!(complaints.count, 2);
        assert_eq!(
            complaints.first,
            [
                "line 20: invalid value for parameter \"default_tablespace\": \"fast\" (Tablespace \"fast\" does not exist.)",
                "line 44: invalid command \\foo"
            ]
        );
    }

    #[test]
    fn pg_restores_errors_name_the_object() {
        let complaints = heard(
            Speaker::PgRestore,
            "pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 215; 1259 16385 TABLE cows farmer
pg_restore: error: could not execute query: ERROR:  role \"farmer\" does not exist
Command was: ALTER TABLE public.cows OWNER TO farmer;

pg_restore: warning: errors ignored on restore: 1",
        );
        assert_eq!(complaints.first, ["TABLE cows farmer: role \"farmer\" does not exist"]);
        assert!(complaints.came_through && complaints.count == 1);
    }

    proptest! {
        #[test]
        fn any_words_are_survived(text in r"(psql:|: ERROR:  |pg_restore: error: |from TOC entry |[a-z:; 0-9ä\n]){0,30}") {
            let _ = (heard(Speaker::Psql, &text), heard(Speaker::PgRestore, &text));
        }
    }
}
