//! What a restore means for the code: which apps run other commits than the backup belongs to, which migrations lie
//! between, and the command that brings the code back.

use std::path::Path;

use anyhow::Result;

use crate::bookkeeping::{self, Books};
use crate::catalog::Backup;
use crate::code::is_commit;
use crate::deployed::AppRecord;
use crate::diff::code::{self as code_diff, AppChange};
use crate::diff::{MigrationChange, compare_migrations};
use crate::dokku::{Dokku, Service};
use crate::host::Host;
use crate::manifest;
use crate::plain_text::shell_word;
use crate::server::Server;

/// How the running code and the backup's fit.
#[derive(Debug, Clone, Default)]
pub struct CodeReport {
    /// Linked apps that run other code than the backup's, as far as both are known.
    pub apps: Vec<Mismatch>,
    /// Apps that the backup was made beside and that are not linked to the target, with their code at that time. On a
    /// new server, this is what says what to push.
    pub unlinked: Vec<AppRecord>,
    /// What the live database's migrations are ahead of the backup's, or behind.
    pub migrations: Vec<MigrationChange>,
    /// What could not be found out. A restore goes on without it.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Mismatch {
    /// From the backup's code to the running one.
    pub change: AppChange,
    /// The command line that brings the backup's code back; `None` when the backup does not know its code.
    pub remedy: Option<Remedy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    pub command: String,
    /// What to know about it.
    pub notes: Vec<&'static str>,
}

/// Compares what runs now with what the backup was made beside. `live`: where there is a live database, its server and
/// the bookkeeping tables that were found in it. `apps`: those that the user may see. The data must come back also where some of this cannot be found out.
pub fn look(
    host: &Host<'_>,
    live: Option<(&Server<'_>, Result<Vec<Books>>)>,
    target: &Service,
    backup: &Backup,
    apps: &[String],
) -> Result<CodeReport> {
    let mut report = CodeReport::default();
    for app in apps {
        match mismatch(host.dokku, backup, app) {
            Ok(found) => report.apps.extend(found),
            Err(error) => {
                report.warnings.push(format!("which code {app} runs cannot be found out: {error:#}"));
            }
        }
    }
    match unlinked(host.dokku, target, backup) {
        Ok(found) => report.unlinked = found,
        Err(error) => {
            report.warnings.push(format!("whose code the backup knows cannot be found out: {error:#}"));
        }
    }
    if let Some((server, books)) = live {
        look_at_migrations(server, books, target, backup, &mut report)?;
    }
    host.check()?;
    Ok(report)
}

fn unlinked(dokku: &Dokku, target: &Service, backup: &Backup) -> Result<Vec<AppRecord>> {
    let links = target.links()?;
    let known = backup.manifest.apps.iter().filter(|app| app.code.short().is_some());
    let others: Vec<&AppRecord> = known.filter(|app| !links.contains(&app.name)).collect();
    let visible = dokku.visible_apps(&others.iter().map(|app| app.name.clone()).collect::<Vec<_>>())?;
    Ok(others.into_iter().filter(|app| visible.contains(&app.name)).cloned().collect())
}

fn look_at_migrations(
    server: &Server<'_>,
    books: Result<Vec<Books>>,
    target: &Service,
    backup: &Backup,
    report: &mut CodeReport,
) -> Result<()> {
    let then = bookkeeping::read_dump(&manifest::read_toc(&backup.folder)?, &backup.folder);
    report.warnings.extend(then.complaints("of the backup"));
    match books {
        Ok(books) => {
            let now = bookkeeping::read_server(server, &target.database, books);
            report.warnings.extend(now.complaints("of the live database"));
            report.migrations = compare_migrations(&then, &now);
        }
        Err(error) => report.warnings.push(format!("the migrations cannot be compared: {error:#}")),
    }
    Ok(())
}

fn mismatch(dokku: &Dokku, backup: &Backup, app: &str) -> Result<Option<Mismatch>> {
    let Some(then) = record_for(&backup.manifest.apps, app) else { return Ok(None) };
    let now = crate::deployed::running(dokku, app)?;
    let known = then.code.short().is_some() && now.code.short().is_some();
    let change = code_diff::between(dokku, then.clone(), now);
    if !known || change.is_same {
        return Ok(None);
    }
    let commit = then.code.commit.as_deref();
    let has_commit = commit.is_some_and(|commit| dokku.repository(app).facts(commit).is_some());
    let remedy = remedy(&then, &dokku.environment().dokku_root, has_commit);
    Ok(Some(Mismatch { change, remedy }))
}

/// What the backup says of `app`, or of the only app that it knows: then this one stands in for that.
fn record_for(apps: &[AppRecord], app: &str) -> Option<AppRecord> {
    let record = apps.iter().find(|record| record.name == app).or(match apps {
        [only] => Some(only),
        _ => None,
    })?;
    Some(AppRecord { name: app.to_owned(), ..record.clone() })
}

/// How the code of `then` is deployed again. dokku keeps every commit that it deployed in the app's own repository (also
/// those that it made itself of archives), and `git:sync` takes a commit from there as from anywhere. An origin comes
/// second: it is known without its credentials.
fn remedy(then: &AppRecord, dokku_root: &Path, has_commit: bool) -> Option<Remedy> {
    let (app, code) = (shell_word(&then.name), &then.code);
    if let Some(image) = code.image() {
        let is_fixed = image.contains("@sha256:");
        let note = (!is_fixed).then_some("an image's tag may stand for another image by now");
        let command = format!("dokku git:from-image {app} {}", shell_word(image));
        return Some(Remedy { command, notes: note.into_iter().collect() });
    }
    let commit = code.commit.as_deref().filter(|commit| is_commit(commit))?;
    // Code that was brought back in this way has its own repository as its origin, perhaps under an older name.
    let origin = code.origin.as_deref().filter(|origin| !Path::new(origin).starts_with(dokku_root));
    let origin = origin.filter(|_| code.source.as_deref() == Some("git-sync"));
    let mut notes = Vec::new();
    let command = if has_commit {
        let repository = shell_word(&dokku_root.join(&then.name).to_string_lossy());
        format!("dokku git:sync --build {app} {repository} {commit}")
    } else if let Some(address) = origin {
        format!("dokku git:sync --build {app} {} {commit}", shell_word(address))
    } else {
        notes.push("in a clone that has the commit: the app's repository has it no more");
        let branch = format!("{commit}:refs/heads/{}", code.branch.as_deref().unwrap_or("master"));
        format!("git push --force dokku {}", shell_word(&branch))
    };
    if then.is_doubtful() {
        notes.push("the backup is not certain of this commit; compare it with what you know");
    }
    Some(Remedy { command, notes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;

    fn command(source: &str, origin: Option<&str>, has_commit: bool) -> String {
        let code = Code {
            commit: Some("a".repeat(40)),
            branch: Some("main".into()),
            source: Some(source.into()),
            origin: origin.map(str::to_owned),
            ..Code::default()
        };
        let app = AppRecord { name: "cows".into(), code, ..AppRecord::default() };
        remedy(&app, Path::new("/home/dokku"), has_commit).unwrap().command
    }

    #[test]
    fn each_source_has_its_way_back() {
        let commit = "a".repeat(40);
        let own = format!("dokku git:sync --build cows /home/dokku/cows {commit}");
        assert_eq!(command("git-push", None, true), own);
        assert_eq!(command("tar.gz", Some("https://example.com/x.tar.gz"), true), own);
        assert_eq!(
            command("git-push", None, false),
            format!("git push --force dokku {commit}:refs/heads/main")
        );
        assert_eq!(
            command("git-sync", Some("https://example.com/cows.git"), false),
            format!("dokku git:sync --build cows https://example.com/cows.git {commit}")
        );
        assert_eq!(command("git-sync", Some("https://example.com/private.git"), true), own);
        assert_eq!(command("git-sync", Some("/home/dokku/old-name"), true), own);
        assert_eq!(command("docker-image", Some("cows:1.2"), true), "dokku git:from-image cows cows:1.2");
    }

    #[test]
    fn a_commit_that_nobody_is_certain_of_comes_with_a_note() {
        let code = Code { commit: Some("a".repeat(40)), ..Code::default() };
        let doubtful = AppRecord { name: "cows".into(), code, ..AppRecord::default() };
        let certain = AppRecord { commit_is_certain: true, ..doubtful.clone() };
        let notes = |app: &AppRecord| remedy(app, Path::new("/home/dokku"), true).unwrap().notes;
        assert!(notes(&certain).is_empty() && notes(&doubtful)[0].contains("not certain"));
    }

    #[test]
    fn no_origin_leaves_its_word() {
        let line = command("git-sync", Some("https://example.com/$(reboot)'; ls"), false);
        assert!(line.contains(" 'https://example.com/$(reboot)'\\''; ls' aaa"), "{line}");
    }

    #[test]
    fn another_apps_record_counts_only_when_it_is_the_only_one() {
        let app = |name: &str| AppRecord { name: name.into(), ..AppRecord::default() };
        assert_eq!(record_for(&[app("cows")], "cows-qa").unwrap().name, "cows-qa");
        assert!(record_for(&[app("cows"), app("barn")], "cows-qa").is_none());
        assert!(record_for(&[app("cows"), app("barn")], "barn").is_some());
    }
}
