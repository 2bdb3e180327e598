//! A difference as a person reads it, in an incident, on 80 columns.

use super::Outcome;
use crate::code;
use crate::commands::App;
use crate::commands::view::change_lines;
use crate::deployed::AppRecord;
use crate::diff::code::{AppChange, migration_files};
use crate::diff::side::Side;
use crate::diff::{ColumnChange, How, ObjectChange, TableChange};
use crate::dokku::Service;
use crate::fingerprint::described_value;
use crate::git::{Commit, Range};
use crate::plain_text::shell_word;
use crate::ui::table::{self, Align};
use crate::units;

/// Commits of an app that are listed; the rest is counted.
const COMMITS: usize = 20;
/// The same of objects and sequences.
const OBJECTS: usize = 40;
const SEQUENCES: usize = 10;
/// Tables that are named in a command line.
const NAMED_TABLES: usize = 4;

pub fn show(app: &App<'_>, service: &Service, outcome: &Outcome) {
    let (then, now) = (&outcome.then, &outcome.now);
    app.ui.heading(&format!("{}: changed {}", service.name, span(app, then, now)));
    let same_code = outcome.apps.iter().all(|app| app.is_same);
    if outcome.diff.is_empty() && same_code {
        let what = if outcome.fast { "No number of rows and no definition" } else { "Nothing" };
        app.ui.detail(&format!("{what} differs"));
    } else {
        show_tables(app, outcome);
        show_definitions(app, outcome);
        show_values(app, outcome);
        show_migrations(app, outcome);
    }
    outcome.apps.iter().for_each(|change| show_app(app, change, outcome));
    if outcome.fast {
        app.ui.detail("");
        app.ui.detail("Rows were counted, their content was not compared (--fast).");
    }
    if now.backup.is_none() && !outcome.diff.is_empty() {
        let id = then.backup.as_ref().map_or("", |backup| backup.id.as_str());
        app.ui.detail("");
        let restore = format!("dokku pgbackup:restore {} {id}", service.name);
        let lost = lost_tables(&outcome.diff.tables);
        if !lost.is_empty() && lost.len() <= NAMED_TABLES {
            app.ui.detail("To look at these tables as they were, and bring rows of them back:");
            app.ui.detail(&format!("  {restore} \\"));
            for (at, name) in lost.iter().enumerate() {
                let more = if at + 1 < lost.len() { " \\" } else { "" };
                app.ui.detail(&format!("    --table {}{more}", shell_word(name)));
            }
        }
        app.ui.detail("A restore of that backup would undo all this:");
        app.ui.detail(&format!("  {restore}"));
    }
}

/// Tables that have lost something, or may have.
fn lost_tables(tables: &[TableChange]) -> Vec<String> {
    let has_lost = |change: &&TableChange| match change.how {
        How::Added => false,
        How::Removed => true,
        How::Changed => change.rows_now <= change.rows_then,
    };
    tables.iter().filter(has_lost).map(|change| full_name(&change.schema, &change.name)).collect()
}

fn span(app: &App<'_>, then: &Side, now: &Side) -> String {
    let name = |side: &Side| side.backup.as_ref().map_or_else(String::new, |backup| backup.id.to_string());
    match &now.backup {
        Some(_) => format!("from {} to {}", name(then), name(now)),
        None => format!("since {} ({})", name(then), units::ago(then.at, app.now)),
    }
}

fn full_name(schema: &str, name: &str) -> String {
    if schema.is_empty() { name.to_owned() } else { format!("{schema}.{name}") }
}

fn show_tables(app: &App<'_>, outcome: &Outcome) {
    let diff = &outcome.diff;
    if !diff.tables.is_empty() {
        let heading = if outcome.now.backup.is_some() { "LATER" } else { "NOW" };
        let mut rows = vec![["TABLE", "THEN", heading, "CHANGE"].map(str::to_owned).to_vec()];
        rows.extend(diff.tables.iter().map(table_row));
        app.ui.details(&table::lines(&[Align::Left, Align::Right, Align::Right, Align::Left], &rows));
    }
    if diff.same_tables > 0 {
        app.ui.detail(&same_tables(diff.same_tables, diff.tables.is_empty(), outcome.fast));
    }
}

fn same_tables(count: usize, all: bool, fast: bool) -> String {
    let tables = match (all, count) {
        (true, 1) => "The one table has".to_owned(),
        (true, _) => format!("All {} tables have", units::count(count as u64)),
        (false, 1) => "The other table has".to_owned(),
        (false, _) => format!("The other {} tables have", units::count(count as u64)),
    };
    format!("{tables} {}", if fast { "as many rows as then" } else { "the same rows" })
}

fn table_row(change: &TableChange) -> Vec<String> {
    let rows = |rows: Option<u64>| rows.map_or_else(|| "-".to_owned(), units::count);
    let what = match (change.how, change.rows_then, change.rows_now) {
        (How::Added, ..) => "new table".to_owned(),
        (How::Removed, ..) => "table is gone".to_owned(),
        (_, Some(then), Some(now)) if now > then => format!("+{}", units::count(now - then)),
        (_, Some(then), Some(now)) if now < then => format!("-{}", units::count(then - now)),
        _ => "rows changed".to_owned(),
    };
    vec![full_name(&change.schema, &change.name), rows(change.rows_then), rows(change.rows_now), what]
}

fn sign(how: How) -> char {
    match how {
        How::Added => '+',
        How::Removed => '-',
        How::Changed => '~',
    }
}

fn show_definitions(app: &App<'_>, outcome: &Outcome) {
    let diff = &outcome.diff;
    let objects = diff.objects.iter().filter(|object| !is_part_of_told_table(object, &diff.tables));
    let lines = diff.columns.iter().map(column_line).chain(objects.map(object_line));
    let (shown, left) = first(lines.collect::<Vec<_>>(), OBJECTS);
    if shown.is_empty() {
        return;
    }
    app.ui.detail("");
    app.ui.detail("Definitions (+ new, - gone, ~ changed)");
    shown.iter().for_each(|line| app.ui.detail(&format!("  {line}")));
    if left > 0 {
        app.ui.detail(&format!("  and {} more; all of them: --format json", units::count(left as u64)));
    }
}

/// Whether an object goes without saying: a default, a constraint or the like of a table that is new or gone.
fn is_part_of_told_table(object: &ObjectChange, tables: &[TableChange]) -> bool {
    let stands_alone = matches!(object.kind.as_str(), "index" | "view" | "function" | "sequence" | "trigger");
    let belongs = |table: &TableChange| {
        let rest = object.name.strip_prefix(table.name.as_str());
        table.how != How::Changed
            && table.schema == object.schema
            && rest.is_some_and(|rest| rest.starts_with(' '))
    };
    object.kind == "sequence owned by" || (!stands_alone && tables.iter().any(belongs))
}

fn column_line(change: &ColumnChange) -> String {
    let column = format!("column {}.{}", full_name(&change.schema, &change.table), change.column);
    match (&change.then, &change.now) {
        (Some(then), Some(now)) => format!("~ {column}: {then} → {now}"),
        (then, now) => {
            let definition = now.as_ref().or(then.as_ref()).map_or("", String::as_str);
            format!("{} {column} {definition}", sign(change.how))
        }
    }
}

fn object_line(change: &ObjectChange) -> String {
    format!("{} {} {}", sign(change.how), change.kind, full_name(&change.schema, &change.name))
}

fn first<T>(mut all: Vec<T>, most: usize) -> (Vec<T>, usize) {
    let left = all.len().saturating_sub(most);
    all.truncate(most);
    (all, left)
}

fn show_values(app: &App<'_>, outcome: &Outcome) {
    let diff = &outcome.diff;
    let line = |change: &crate::diff::SequenceChange| {
        let (then, now) = (
            described_value(change.then, change.then_called),
            described_value(change.now, change.now_called),
        );
        format!("  {} {then} → {now}", full_name(&change.schema, &change.name))
    };
    if !diff.sequences.is_empty() {
        app.ui.detail("");
        app.ui.detail("Sequences");
        let (shown, left) = first(diff.sequences.iter().map(line).collect(), SEQUENCES);
        shown.iter().for_each(|line| app.ui.detail(line));
        if left > 0 {
            app.ui.detail(&format!("  and {} more", units::count(left as u64)));
        }
    }
    if let Some((then, now)) = &diff.large_objects {
        app.ui.detail("");
        app.ui.detail(&format!(
            "Large objects: {} with {} → {} with {}",
            units::count(then.count),
            units::bytes(then.bytes),
            units::count(now.count),
            units::bytes(now.bytes)
        ));
    }
}

fn show_migrations(app: &App<'_>, outcome: &Outcome) {
    for changed in &outcome.diff.migrations {
        app.ui.detail("");
        app.ui.details(&change_lines(changed));
    }
}

fn show_app(app: &App<'_>, change: &AppChange, outcome: &Outcome) {
    let text = |side: &Option<AppRecord>| {
        side.as_ref().map_or_else(|| "not linked".to_owned(), |app| app.short_commit(7))
    };
    app.ui.detail("");
    if change.is_same {
        app.ui.detail(&format!("{}: the same code, {}", change.name, text(&change.then)));
        return;
    }
    app.ui.detail(&format!("{}: {} → {}", change.name, text(&change.then), text(&change.now)));
    match (&change.came, &change.went) {
        (Some(came), went) => {
            show_commits(app, "since then", came, outcome);
            if let Some(went) = went {
                show_commits(app, "taken back since then", went, outcome);
            }
        }
        (None, _) if has_commits(change) => {
            app.ui.detail("  the app's repository does not have both commits (any more)");
        }
        _ => {}
    }
}

fn has_commits(change: &AppChange) -> bool {
    let has = |side: &Option<AppRecord>| side.as_ref().is_some_and(|app| app.code.commit.is_some());
    has(&change.then) && has(&change.now)
}

fn show_commits(app: &App<'_>, when: &str, range: &Range, outcome: &Outcome) {
    let with_migrations = |commit: &&Commit| !migration_files(commit, &outcome.tools).is_empty();
    let count = range.commits.iter().filter(with_migrations).count();
    let migrations = if count > 0 { format!(", {count} with migrations") } else { String::new() };
    app.ui.detail(&format!("  {} {when}{migrations}", units::plural(range.count as u64, "commit")));
    for commit in range.commits.iter().take(COMMITS) {
        app.ui.detail(&format!("    {} {}", code::short(&commit.id), commit.subject));
        for path in migration_files(commit, &outcome.tools) {
            app.ui.detail(&format!("            migration {path}"));
        }
    }
    let left = range.count.saturating_sub(COMMITS.min(range.commits.len()));
    if left > 0 {
        app.ui.detail(&format!("    and {} more", units::count(left as u64)));
    }
}
