//! The commits of linked apps between two moments, and which of them bring migrations.

use crate::deployed::AppRecord;
use crate::dokku::Dokku;
use crate::git::{Commit, Range};
use crate::migrations::{self, Tool};

/// How an app's code differs.
#[derive(Debug, Clone)]
pub struct AppChange {
    pub name: String,
    /// `None` when the app was not linked on that side.
    pub then: Option<AppRecord>,
    pub now: Option<AppRecord>,
    pub is_same: bool,
    /// Commits that came since; `None` when the repository does not have both ends.
    pub came: Option<Range>,
    /// Commits that went since: the app was taken back to older code.
    pub went: Option<Range>,
}

/// Compares the code of all apps of either side.
pub fn compare(dokku: &Dokku, then: &[AppRecord], now: &[AppRecord]) -> Vec<AppChange> {
    let mut names: Vec<&str> = then.iter().chain(now).map(|app| app.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let find = |apps: &[AppRecord], name: &str| apps.iter().find(|app| app.name == name).cloned();
    names.iter().map(|name| change(dokku, name, find(then, name), find(now, name))).collect()
}

/// Compares one app's code with itself at another moment.
pub fn between(dokku: &Dokku, then: AppRecord, now: AppRecord) -> AppChange {
    let name = then.name.clone();
    change(dokku, &name, Some(then), Some(now))
}

fn change(dokku: &Dokku, name: &str, then: Option<AppRecord>, now: Option<AppRecord>) -> AppChange {
    let is_same = matches!((&then, &now), (Some(then), Some(now)) if then.is_same_code(now));
    let commit = |side: &Option<AppRecord>| side.as_ref().and_then(|app| app.code.commit.clone());
    let (mut came, mut went) = (None, None);
    if let (false, Some(old), Some(new)) = (is_same, commit(&then), commit(&now)) {
        let repository = dokku.repository(name);
        let range = |from: &str, to: &str| {
            repository.range(from, to, |path| migrations::is_migration_file(&[], path))
        };
        came = range(&old, &new);
        went = range(&new, &old).filter(|range| range.count > 0);
    }
    AppChange { name: name.to_owned(), then, now, is_same, came, went }
}

/// The migration files that a commit touches.
pub fn migration_files<'a>(commit: &'a Commit, tools: &[&Tool]) -> Vec<&'a str> {
    commit
        .files
        .iter()
        .map(String::as_str)
        .filter(|path| migrations::is_migration_file(tools, path))
        .collect()
}
