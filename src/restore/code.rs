//! What a restore means for the code: which apps run other commits than the backup belongs to, which migrations lie
//! between, and the command that brings the code back.

use std::path::Path;

use anyhow::Result;

use crate::bookkeeping;
use crate::catalog::Backup;
use crate::code::is_commit;
use crate::deployed::AppRecord;
use crate::diff::code::{self as code_diff, AppChange};
use crate::diff::{MigrationChange, compare_migrations};
use crate::dokku::{Dokku, Service};
use crate::host::Host;
use crate::manifest;
use crate::server::Server;

/// How the running code and the backup's fit.
#[derive(Debug, Clone, Default)]
pub struct CodeReport {
    /// Linked apps that run other code than the backup's, as far as both are known.
    pub apps: Vec<Mismatch>,
    /// What the live database's migrations are ahead of the backup's, or behind.
    pub migrations: Vec<MigrationChange>,
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
    pub note: Option<&'static str>,
}

/// Compares what runs now with what the backup was made beside. `apps`: those that the user may see.
pub fn look(
    host: &Host<'_>,
    server: &Server<'_>,
    target: &Service,
    backup: &Backup,
    apps: &[String],
) -> Result<CodeReport> {
    let toc = manifest::read_toc(&backup.folder)?;
    let then = bookkeeping::read_dump(&toc, &backup.folder);
    let books = bookkeeping::find_on_server(server, &target.database)?;
    let now = bookkeeping::read_server(server, &target.database, &books)?;
    Ok(CodeReport {
        apps: mismatches(host.dokku, backup, apps)?,
        migrations: compare_migrations(&then, &now),
    })
}

fn mismatches(dokku: &Dokku, backup: &Backup, apps: &[String]) -> Result<Vec<Mismatch>> {
    let mut found = Vec::new();
    for name in apps {
        let Some(then) = record_for(&backup.manifest.apps, name) else { continue };
        let now = crate::deployed::running(dokku, name)?;
        let known = then.code.short().is_some() && now.code.short().is_some();
        let changes = code_diff::compare(dokku, std::slice::from_ref(&then), &[now]);
        for change in changes.into_iter().filter(|change| known && !change.is_same) {
            let has_commit = then
                .code
                .commit
                .as_deref()
                .is_some_and(|commit| dokku.repository(name).facts(commit).is_some());
            let remedy = remedy(&then, &dokku.environment().dokku_root, has_commit);
            found.push(Mismatch { change, remedy });
        }
    }
    Ok(found)
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
/// those that it made itself of archives), and `git:sync` takes a commit from there as from anywhere.
fn remedy(then: &AppRecord, dokku_root: &Path, has_commit: bool) -> Option<Remedy> {
    let (app, code) = (&then.name, &then.code);
    let commit = code.commit.as_deref().filter(|commit| is_commit(commit));
    // Code that was brought back in this way has its own repository as its origin, perhaps under an older name.
    let origin = code.origin.as_deref().filter(|origin| !Path::new(origin).starts_with(dokku_root));
    let plain = |command: String| Some(Remedy { command, note: None });
    if let Some(image) = code.image().map(shell_word) {
        let note =
            (!image.contains("@sha256:")).then_some("an image's tag may stand for another image by now");
        return Some(Remedy { command: format!("dokku git:from-image {app} {image}"), note });
    }
    match (code.source.as_deref(), origin.map(shell_word), commit) {
        (Some("git-sync"), Some(address), Some(commit)) => {
            plain(format!("dokku git:sync --build {app} {address} {commit}"))
        }
        (_, _, Some(commit)) if has_commit => {
            let repository = shell_word(&dokku_root.join(app).to_string_lossy());
            plain(format!("dokku git:sync --build {app} {repository} {commit}"))
        }
        (_, _, Some(commit)) => {
            let branch =
                shell_word(&format!("{commit}:refs/heads/{}", code.branch.as_deref().unwrap_or("master")));
            Some(Remedy {
                command: format!("git push --force dokku {branch}"),
                note: Some("in a clone that has the commit: the app's repository has it no more"),
            })
        }
        _ => None,
    }
}

/// `text` as one word of a command line that somebody is going to copy into a shell.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+~".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
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
            command("git-sync", Some("https://example.com/cows.git"), true),
            format!("dokku git:sync --build cows https://example.com/cows.git {commit}")
        );
        assert_eq!(command("git-sync", Some("/home/dokku/old-name"), true), own);
        assert_eq!(command("docker-image", Some("cows:1.2"), true), "dokku git:from-image cows cows:1.2");
    }

    #[test]
    fn no_origin_leaves_its_word() {
        let line = command("git-sync", Some("https://example.com/$(reboot)'; ls"), true);
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
