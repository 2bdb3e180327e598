//! Text in columns.

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Lines with the columns of `rows` below one another, two spaces apart. The last column is not padded.
pub fn lines(align: &[Align], rows: &[Vec<String>]) -> Vec<String> {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| shown_width(cell)).max();
    let widths: Vec<usize> = (0..align.len()).map(|column| width(column).unwrap_or(0)).collect();
    rows.iter().map(|row| line(align, &widths, row)).collect()
}

fn line(align: &[Align], widths: &[usize], row: &[String]) -> String {
    let mut out = String::new();
    for (column, cell) in row.iter().enumerate() {
        let padding = " ".repeat(widths.get(column).unwrap_or(&0).saturating_sub(shown_width(cell)));
        match align.get(column) {
            Some(Align::Right) => out.extend([padding.as_str(), cell]),
            _ => out.extend([cell, padding.as_str()]),
        }
        out.push_str("  ");
    }
    out.trim_end().to_owned()
}

/// Characters on the screen: colours take none.
fn shown_width(cell: &str) -> usize {
    let mut width = 0;
    let mut in_escape = false;
    for character in cell.chars() {
        match character {
            '\u{1b}' => in_escape = true,
            'm' if in_escape => in_escape = false,
            _ if in_escape => {}
            _ => width += 1,
        }
    }
    width
}

/// `title` and `value` as dokku's reports have them, the values in one column.
pub fn report(rows: &[(&str, String)]) -> Vec<String> {
    rows.iter().map(|(title, value)| format!("{title:<20} {value}").trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_their_colours() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned(), "\u{1b}[1;32mok\u{1b}[0m".to_owned(), "x".to_owned()],
            vec!["bcd".to_owned(), "100".to_owned(), "BAD".to_owned(), "y".to_owned()],
        ];
        let lines = lines(&[Align::Left, Align::Right, Align::Left, Align::Left], &rows);
        assert_eq!(lines, ["a      1  \u{1b}[1;32mok\u{1b}[0m   x", "bcd  100  BAD  y"]);
    }
}
