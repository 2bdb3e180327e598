//! Text of others - notes, names, tools' words - made harmless where it is printed: for a terminal, in JSON, as a word of
//! a command line that somebody is going to copy.

/// Whether a character could steer a terminal, or make a line look like another one: control characters, those that turn
/// the direction of writing, other ends of lines, and those that are never seen.
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// `text` with what steers a terminal written out: `\u{1b}`. Its lines stay lines.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) && character != '\n' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The same for what is one line and stays one.
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// JSON that means the same, without what steers a terminal. Such characters are in its texts only, but for the ends of
/// its lines.
pub fn printable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if steers(character) && character != '\n' {
            let mut units = [0; 2];
            character
                .encode_utf16(&mut units)
                .iter()
                .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(character);
        }
    }
    out
}

/// At most so many characters of `text`, with an ellipsis where that is not all.
pub fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `text` as one word of a command line that somebody is going to copy into a shell.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+~".contains(c);
    let begins_plainly = !text.starts_with(['-', '~', '=']);
    if !text.is_empty() && begins_plainly && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_comes_nothing_steers(text: String, steering in "[\\x00-\\x1f\\x7f-\\x9f\u{200e}-\u{202e}\u{2066}-\u{2069}\u{e0041}a]*") {
            for text in [text, steering] {
                prop_assert!(!one_line(&text).chars().any(steers));
                prop_assert!(!printable(&text).chars().any(|character| steers(character) && character != '\n'));
                let json = serde_json::to_string(&text).unwrap();
                let shown = printable_json(&json);
                prop_assert!(!shown.chars().any(steers));
                prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
            }
        }
    }

    #[test]
    fn what_steers_is_written_out_and_the_rest_stays() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{7}\tc"), "a\\u{1b}[2Jb\\r\\u{7}\\tc");
        assert_eq!(printable("\u{1b}[1;31mBAD\u{1b}[0m\nnext ä🐄"), "\\u{1b}[1;31mBAD\\u{1b}[0m\nnext ä🐄");
        assert_eq!(one_line("a\n !     b\u{202e}c\u{9b}"), "a\\n !     b\\u{202e}c\\u{9b}");
        assert_eq!(
            printable_json("{\n  \"a\u{7f}\": \"\u{202e}\u{e0041}ä\"\n}"),
            "{\n  \"a\\u007f\": \"\\u202e\\udb40\\udc41ä\"\n}"
        );
    }

    #[test]
    fn a_beginning_says_that_there_is_more() {
        assert_eq!(["käse", "käsekuchen"].map(|text| beginning(text, 4)), ["käse", "käse…"]);
    }

    #[test]
    fn a_shell_takes_each_word_as_it_is() {
        assert_eq!(shell_word("/home/dokku/cows_1-a.b:c=d,e@f%g+h~"), "/home/dokku/cows_1-a.b:c=d,e@f%g+h~");
        for text in
            ["", "-rf", "~root", "=ls", "a b", "$(reboot)", "`x`", "it's; ls", "a\nb", "ä", "*", "!", "\\"]
        {
            let script = format!("printf %s {}", shell_word(text));
            let output = crate::process::Tool::new("bash")
                .args(["-c", &script])
                .run(&crate::interrupt::Interrupt::default());
            assert_eq!(output.unwrap().stdout, text.as_bytes(), "{script}");
            assert!(shell_word(text).starts_with('\''), "{text:?}");
        }
    }
}
