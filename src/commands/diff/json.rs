//! A difference as JSON (docs/commands.md).

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Outcome;
use crate::deployed::AppRecord;
use crate::diff::code::{AppChange, migration_files};
use crate::diff::side::Side;
use crate::diff::{ColumnChange, MigrationChange, ObjectChange, SequenceChange, TableChange};
use crate::dokku::Service;
use crate::git::Range;
use crate::migrations::Tool;

#[derive(Serialize)]
pub struct DiffView<'a> {
    service: &'a str,
    then: SideView<'a>,
    now: SideView<'a>,
    content_compared: bool,
    same_tables: usize,
    tables: &'a [TableChange],
    columns: &'a [ColumnChange],
    objects: &'a [ObjectChange],
    sequences: &'a [SequenceChange],
    large_objects_differ: bool,
    migrations: &'a [MigrationChange],
    apps: Vec<AppView<'a>>,
}

/// A live database has no backup.
#[derive(Serialize)]
struct SideView<'a> {
    backup: Option<&'a str>,
    at: DateTime<Utc>,
}

#[derive(Serialize)]
struct AppView<'a> {
    name: &'a str,
    same: bool,
    then: Option<&'a AppRecord>,
    now: Option<&'a AppRecord>,
    commits: Option<RangeView<'a>>,
    commits_taken_back: Option<RangeView<'a>>,
}

#[derive(Serialize)]
struct RangeView<'a> {
    count: usize,
    commits: Vec<CommitView<'a>>,
}

#[derive(Serialize)]
struct CommitView<'a> {
    commit: &'a str,
    subject: &'a str,
    migration_files: Vec<&'a str>,
}

pub fn view<'a>(service: &'a Service, outcome: &'a Outcome) -> DiffView<'a> {
    let diff = &outcome.diff;
    DiffView {
        service: service.name.as_str(),
        then: side(&outcome.then),
        now: side(&outcome.now),
        content_compared: !outcome.fast && outcome.then.method == outcome.now.method,
        same_tables: diff.same_tables,
        tables: &diff.tables,
        columns: &diff.columns,
        objects: &diff.objects,
        sequences: &diff.sequences,
        large_objects_differ: diff.large_objects.is_some(),
        migrations: &diff.migrations,
        apps: outcome.apps.iter().map(|change| app(change, &outcome.tools)).collect(),
    }
}

fn side(side: &Side) -> SideView<'_> {
    SideView { backup: side.backup.as_ref().map(|backup| backup.id.as_str()), at: side.at }
}

fn app<'a>(change: &'a AppChange, tools: &[&Tool]) -> AppView<'a> {
    AppView {
        name: &change.name,
        same: change.is_same,
        then: change.then.as_ref(),
        now: change.now.as_ref(),
        commits: change.came.as_ref().map(|range| range_view(range, tools)),
        commits_taken_back: change.went.as_ref().map(|range| range_view(range, tools)),
    }
}

fn range_view<'a>(range: &'a Range, tools: &[&Tool]) -> RangeView<'a> {
    let commits = range
        .commits
        .iter()
        .map(|commit| CommitView {
            commit: &commit.id,
            subject: &commit.subject,
            migration_files: migration_files(commit, tools),
        })
        .collect();
    RangeView { count: range.count, commits }
}
