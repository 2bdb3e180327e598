//! Reading rows of COPY's text format: fields, NULLs and escapes. The format is that of the manual's page "COPY".

/// The rows of `data` up to the line `\.` or its end. NULL is `None`; what is not UTF-8 is replaced.
pub fn rows(data: &[u8]) -> impl Iterator<Item = Vec<Option<String>>> + '_ {
    Rows { rest: data }
}

struct Rows<'a> {
    rest: &'a [u8],
}

impl Iterator for Rows<'_> {
    type Item = Vec<Option<String>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut ends = Vec::new();
        let mut at = 0;
        while at < self.rest.len() && self.rest[at] != b'\n' {
            match self.rest[at] {
                // Also a tab or a newline is data behind a backslash.
                b'\\' => at += 2,
                b'\t' => {
                    ends.push(at);
                    at += 1;
                }
                _ => at += 1,
            }
        }
        let end = at.min(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        if line == br"\." {
            self.rest = &[];
            return None;
        }
        ends.push(end);
        let mut from = 0;
        let mut fields = Vec::with_capacity(ends.len());
        for end in ends {
            fields.push(field(&line[from..end]));
            from = end + 1;
        }
        Some(fields)
    }
}

fn field(raw: &[u8]) -> Option<String> {
    if raw == br"\N" {
        return None;
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'\\' && !after.is_empty() {
            let (byte, length) = escaped(after);
            bytes.push(byte);
            rest = &after[length..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The byte that is meant by what follows a backslash, and how much of it was used.
fn escaped(after: &[u8]) -> (u8, usize) {
    let digits = |from: usize, most: usize, radix: u32| {
        let found = after.iter().skip(from).take(most);
        let digits: Vec<u32> = found.map_while(|byte| char::from(*byte).to_digit(radix)).collect();
        let value = digits.iter().fold(0, |value, digit| value * radix + digit);
        // Postgres, too, keeps the low byte of \777.
        (value.to_le_bytes()[0], digits.len())
    };
    match after[0] {
        b'b' => (8, 1),
        b'f' => (12, 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'v' => (11, 1),
        b'0'..=b'7' => digits(0, 3, 8),
        b'x' => match digits(1, 2, 16) {
            (_, 0) => (b'x', 1),
            (byte, length) => (byte, length + 1),
        },
        other => (other, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(rows: &[Vec<Option<String>>]) -> Vec<u8> {
        let mut out = String::new();
        for row in rows {
            let fields: Vec<String> =
                row.iter().map(|field| field.as_deref().map_or("\\N".into(), escape)).collect();
            out += &fields.join("\t");
            out.push('\n');
        }
        (out + "\\.\n\n\n").into_bytes()
    }

    fn escape(text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            match c {
                '\u{8}' => out += "\\b",
                '\u{c}' => out += "\\f",
                '\n' => out += "\\n",
                '\r' => out += "\\r",
                '\t' => out += "\\t",
                '\u{b}' => out += "\\v",
                '\\' => out += "\\\\",
                other => out.push(other),
            }
        }
        out
    }

    fn read(data: &[u8]) -> Vec<Vec<Option<String>>> {
        rows(data).collect()
    }

    fn one(data: &[u8]) -> String {
        read(data).remove(0).remove(0).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in prop::collection::vec(prop::collection::vec(
            prop::option::of("[a-zA-Z\\\\N.\n\t\r\u{8}\u{b}\u{c} äß€]{0,12}"), 1..5), 0..8))
        {
            prop_assert_eq!(read(&encoded(&rows)), rows);
        }

        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(rows(&data).count() <= data.len());
        }

        #[test]
        fn any_escapes_are_survived(text in "[\\\\\tx0-9a-fN.\n]{0,60}") {
            prop_assert!(rows(text.as_bytes()).count() <= text.len());
        }
    }

    #[test]
    fn null_is_not_the_letter() {
        let expected = vec![None, Some("N".to_owned()), Some("\\N".to_owned()), Some(String::new())];
        assert_eq!(read(b"\\N\tN\t\\\\N\t\n"), vec![expected]);
    }

    #[test]
    fn escapes_are_those_of_the_manual() {
        assert_eq!(one(br"a\bb\fc\nd\re\tf\vg\\h"), "a\u{8}b\u{c}c\nd\re\tf\u{b}g\\h");
        assert_eq!(one(br"\101\7\0601\x41\x4ag\xg\q\"), "A\u{7}01AJgxgq\\");
        assert_eq!(one(b"a\\\tb\\\nc"), "a\tb\nc");
        assert_eq!(one(br"\303\244"), "ä");
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        assert_eq!(one(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn the_end_marker_ends_and_only_on_a_line_of_its_own() {
        assert_eq!(read(b"a\n\\.\nb\n").len(), 1);
        assert_eq!(read(b"a\n\\.").len(), 1);
        assert_eq!(read(b"\\.a\nb\t\\.\nc").len(), 3);
        assert_eq!(read(b"\n\n\\.\n"), vec![vec![Some(String::new())]; 2]);
        assert!(read(b"").is_empty());
    }
}
