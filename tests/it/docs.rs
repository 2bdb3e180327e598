//! The documents say what the program does.

mod by_hand;
mod map;
mod operations;
mod tables;
mod typed;

use std::fs;
use std::path::Path;

pub fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sections of a page: the text of each `##` heading, and what is below it, subsections included.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("\n## ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
}

#[track_caller]
pub fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let found = sections(page).into_iter().find(|(title, _)| *title == heading);
    found.unwrap_or_else(|| panic!("there is no section {heading:?}")).1
}

/// The `sh` blocks of a text, one behind the other.
pub fn commands_in(text: &str) -> String {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect()
}

/// All pages, by their paths from the top.
fn pages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["", "docs/", "docs/decisions/"] {
        let paths = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let pages = paths.filter(|path| path.extension().is_some_and(|end| end == "md"));
        found.extend(pages.map(|path| format!("{folder}{}", path.file_name().unwrap().display())));
    }
    assert!(found.len() > 20, "{found:?}");
    found
}
