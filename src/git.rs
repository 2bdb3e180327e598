//! git, asked about the repositories that dokku keeps of its apps: the only caller of git.
//!
//! dokku's repositories are bare ones of user dokku. Inside a push, git's quarantine is in the environment: the new
//! commits are found only with it, and other apps' repositories only without it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::code::is_commit;
use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::process::{Output, Tool};

/// What git sets inside a hook, and what leads it to another repository.
const HOOK_VARIABLES: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
];
/// Commits that a range is listed up to; behind that, only those with files that are looked for.
const LISTED: usize = 200;

/// An app's repository.
#[derive(Debug, Clone)]
pub struct Repository<'a> {
    pub path: PathBuf,
    pub interrupt: &'a Interrupt,
    /// Look also at the commits of the push that is going on.
    pub with_pushed: bool,
}

/// What a commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    pub subject: String,
    pub authored_at: DateTime<Utc>,
}

/// A commit of a range, with the paths of the files that it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub id: String,
    pub subject: String,
    pub files: Vec<String>,
}

/// The commits that lead from one to another, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    /// The newest 200 of them, and of the others those that touch files that were looked for.
    pub commits: Vec<Commit>,
    pub count: usize,
}

impl Repository<'_> {
    pub fn exists(&self) -> bool {
        self.path.join("HEAD").is_file()
    }

    fn tool(&self) -> Tool {
        let tool = Tool::new("git").secret_env("LC_ALL", "C.UTF-8");
        let tool = if self.with_pushed { tool } else { tool.without_env(&HOOK_VARIABLES) };
        tool.arg("--git-dir").arg(&self.path)
    }

    fn run(&self, args: &[&str]) -> Result<Output> {
        self.tool().args(args).run(self.interrupt)
    }

    /// Its answer, `None` when git says no.
    fn ask(&self, args: &[&str]) -> Option<String> {
        let output = self.run(args).ok().filter(Output::success)?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The commit that HEAD stands for; `None` before the first one.
    pub fn head(&self) -> Option<String> {
        if !self.exists() {
            return None;
        }
        let answer = self.ask(&["rev-parse", "--verify", "--quiet", "HEAD"])?;
        Some(answer.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The whole id of the one commit that `name` (an id, the beginning of one, a branch) stands for.
    pub fn resolve(&self, name: &str) -> Option<String> {
        if name.starts_with('-') || !self.exists() {
            return None;
        }
        let answer = self.ask(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])?;
        Some(answer.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// `None` when the repository has no such commit (any more).
    pub fn facts(&self, commit: &str) -> Option<CommitFacts> {
        if !is_commit(commit) || !self.exists() {
            return None;
        }
        let answer = self.ask(&["log", "-1", "--no-show-signature", "--format=%aI%n%s", commit, "--"])?;
        let (date, subject) = answer.split_once('\n')?;
        let authored_at = DateTime::parse_from_rfc3339(date.trim()).ok()?.to_utc();
        Some(CommitFacts { subject: subject.trim().to_owned(), authored_at })
    }

    /// The commits that `to` has and `from` has not; `None` when one of them is not there. `looks_for` says which files
    /// matter, however old their commits are.
    pub fn range(&self, from: &str, to: &str, looks_for: impl Fn(&str) -> bool) -> Option<Range> {
        if !is_commit(from) || !is_commit(to) || !self.exists() {
            return None;
        }
        let range = format!("{from}..{to}");
        let count = self.ask(&["rev-list", "--count", &range, "--"])?.trim().parse().ok()?;
        // Paths as they are, one in each line; a commit begins with a NUL. A merge names no files: its commits do.
        let log = ["-c", "core.quotePath=false", "log", "--no-show-signature", "--no-renames", "--name-only"];
        let log = [&log[..], &["--format=%x00%H %s", &range, "--"]].concat();
        Some(Range { commits: parse_log(&self.ask(&log)?, looks_for), count })
    }

    /// Makes a new branch `branch` of this empty repository stand at `commit` of `source`.
    pub fn take_commit(&self, source: &Path, commit: &str, branch: &str) -> Result<()> {
        // A commit that no branch has any more, after a forced push, is there for some weeks.
        let serve = "git -c uploadpack.allowAnySHA1InWant=true upload-pack";
        let refspec = format!("+{commit}:refs/heads/{branch}");
        let fetch =
            ["-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags", "--upload-pack", serve];
        let output = self.tool().args(fetch).arg(source).arg(&refspec).run(self.interrupt)?;
        if output.success() {
            return Ok(());
        }
        let why = output.last_words(1).join("");
        Err(Failure::tool(format!("git cannot fetch commit {commit} from {}: {why}", source.display()))
            .into())
    }

    /// Makes HEAD stand for `branch`.
    pub fn point_head_at(&self, branch: &str) -> Result<()> {
        let output = self.run(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")])?;
        if output.success() {
            return Ok(());
        }
        Err(Failure::tool(format!("git cannot set HEAD to {branch}: {}", output.last_words(1).join("")))
            .into())
    }
}

fn parse_log(text: &str, looks_for: impl Fn(&str) -> bool) -> Vec<Commit> {
    let commit = |(number, part): (usize, &str)| {
        let mut lines = part.lines();
        let (id, subject) = lines.next()?.split_once(' ')?;
        let is_listed = number < LISTED;
        let is_kept = |file: &&str| !file.is_empty() && (is_listed || looks_for(file));
        let files: Vec<String> = lines.filter(is_kept).map(str::to_owned).collect();
        let commit = Commit { id: id.to_owned(), subject: subject.to_owned(), files };
        (is_listed || !commit.files.is_empty()).then_some(commit)
    };
    // Nothing is before the first commit's NUL.
    text.split('\0').skip(1).enumerate().filter_map(commit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_commit_is_kept_for_the_files_that_are_looked_for() {
        let part = |number| format!("\0{number:040} Step {number}\n\nweb/{number}\nmigrations/{number}\n\n");
        let log = (0..LISTED + 3).map(part).collect::<Vec<_>>().concat();
        let found = parse_log(&log, |file| file == "migrations/201");
        assert_eq!(found.len(), LISTED + 1);
        assert_eq!(found[0].files, ["web/0", "migrations/0"]);
        assert_eq!((found[LISTED].subject.as_str(), found[LISTED].files.len()), ("Step 201", 1));
        assert!(parse_log("", |_| true).is_empty());
    }
}
