//! Which code an app runs: our own record of its deploys, else dokku's, else the repository's HEAD.
//!
//! dokku writes down what it deployed (`deploy-source-metadata`), but not at a `ps:rebuild`, and not before the end of a
//! deploy; HEAD is behind during a push and ahead after a `git:sync` that failed. So the hooks of a deploy keep a record
//! of their own (deploy.rs). It says which of dokku's records it knows: when dokku has another one later, a deploy
//! went past us, and dokku's counts.

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::dokku::{DeploySource, Dokku};
use crate::files;
use crate::git::Repository;
use crate::host::Host;

/// A commit's subject can be long; nobody writes more than this.
const MAX_SIZE: u64 = 1024 * 1024;

/// `deployed.toml`: the code that the app's containers were made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    #[serde(flatten)]
    pub code: Code,
    pub at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
    /// dokku's record when this one was written. Without credentials, so that it can only be compared.
    pub dokku_record: String,
}

/// A linked app and what it runs, as a manifest has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    pub name: String,
    #[serde(flatten)]
    pub code: Code,
    /// False when only the repository's HEAD was known, or HEAD contradicted dokku's record.
    #[serde(default)]
    pub commit_is_certain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<DateTime<Utc>>,
    /// Of the image `dokku/<app>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
    /// What was about to replace it, in a backup made by a deploy of this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coming: Option<Code>,
}

impl Deployed {
    /// `None` when there is none, and when it cannot be read: then dokku's own record is as good.
    pub fn read(dokku: &Dokku, app: &str) -> Option<Self> {
        let path = dokku.layout().deployed(app);
        if !path.exists() {
            return None;
        }
        let bytes = files::read_bounded(&path, MAX_SIZE).ok()?;
        toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()
    }

    pub fn write(&self, dokku: &Dokku, app: &str) -> Result<()> {
        files::create_private_folders(&dokku.layout().app(app))?;
        files::write_atomic(&dokku.layout().deployed(app), toml::to_string(self)?.as_bytes())
    }

    /// Whether no deploy went past this record.
    pub fn is_current(&self, source: &DeploySource) -> bool {
        self.dokku_record == mark_of(source)
    }
}

/// dokku's record in one line that can be compared and holds no credentials.
pub fn mark_of(source: &DeploySource) -> String {
    let code = Code::of_deploy_source(&source.kind, &source.metadata);
    let text = |value: Option<String>| value.unwrap_or_default();
    format!("{} {} {}", source.kind, text(code.origin), text(code.commit))
}

/// What `app` runs now, as far as anybody knows.
pub fn running(dokku: &Dokku, app: &str) -> Result<AppRecord> {
    let source = dokku.deploy_source(app)?;
    let repository = dokku.repository(app);
    let record = match Deployed::read(dokku, app).filter(|own| own.is_current(&source)) {
        Some(own) => AppRecord {
            commit_is_certain: own.code.commit.is_some(),
            code: own.code,
            deployed_at: Some(own.at),
            image_tag: own.image_tag,
            ..AppRecord::default()
        },
        None => by_dokku(dokku, app, &source, repository.head()),
    };
    let code = with_facts(record.code, &repository);
    let branch = if code.short().is_some() { Some(dokku.deploy_branch(app)?) } else { None };
    let code = code.or(&Code { branch, ..Code::default() });
    Ok(AppRecord { name: app.to_owned(), code, ..record })
}

/// The same; what cannot be found out is not known then. A backup without a commit is worth more than none.
pub fn running_as_known(host: &Host<'_>, app: &str) -> AppRecord {
    running(host.dokku, app).unwrap_or_else(|error| {
        host.progress.warn(&format!("which code {app} runs cannot be found out: {error:#}"));
        AppRecord { name: app.to_owned(), ..AppRecord::default() }
    })
}

fn by_dokku(dokku: &Dokku, app: &str, source: &DeploySource, head: Option<String>) -> AppRecord {
    let recorded = Code::of_deploy_source(&source.kind, &source.metadata);
    let contradicted = head.is_some() && head != recorded.commit;
    AppRecord {
        commit_is_certain: recorded.commit.is_some() && !contradicted,
        deployed_at: recorded.short().and_then(|_| dokku.deployed_at(app)),
        code: recorded.or(&Code { commit: head, ..Code::default() }),
        ..AppRecord::default()
    }
}

/// `code` with the subject and the date of its commit, where `repository` has it.
pub fn with_facts(code: Code, repository: &Repository<'_>) -> Code {
    let Some(commit) = code.commit.as_deref().filter(|_| code.subject.is_none()) else { return code };
    let Some(facts) = repository.facts(commit) else { return code };
    Code { subject: Some(facts.subject), authored_at: Some(facts.authored_at), ..code }
}

impl AppRecord {
    /// `82eeec6`, with a question mark where nobody is certain; `unknown`.
    pub fn short_commit(&self, length: usize) -> String {
        let (None, Some(commit)) = (self.code.image(), self.code.commit.as_deref()) else {
            return self.code.short().unwrap_or("unknown").to_owned();
        };
        let doubt = if self.commit_is_certain { "" } else { "?" };
        format!("{}{doubt}", commit.get(..length).unwrap_or(commit))
    }

    /// `82eeec6 (Add the milk table)`, with a question mark behind the commit where nobody is certain.
    pub fn described(&self) -> Option<String> {
        if !self.is_doubtful() {
            return self.code.described();
        }
        let short = self.short_commit(7);
        let subject = self.code.subject.as_ref();
        Some(subject.map_or_else(|| short.clone(), |subject| format!("{short} ({subject})")))
    }

    /// Whether it has a commit that nobody is certain of.
    pub fn is_doubtful(&self) -> bool {
        self.code.image().is_none() && self.code.commit.is_some() && !self.commit_is_certain
    }

    /// Whether both are known to be the same code.
    pub fn is_same_code(&self, other: &AppRecord) -> bool {
        // dokku makes a new commit for an image whenever it is deployed.
        match (self.code.image(), other.code.image(), &self.code.commit, &other.code.commit) {
            (Some(one), Some(another), ..) => one == another,
            (_, _, Some(one), Some(another)) => one == another,
            _ => self.code.origin.is_some() && self.code.origin == other.code.origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_current_until_dokku_has_another_one() {
        let source = |metadata: &str| DeploySource { kind: "git-push".into(), metadata: metadata.into() };
        let (first, second) = ("a".repeat(40), "b".repeat(40));
        let own = Deployed {
            code: Code { commit: Some(first.clone()), ..Code::default() },
            at: DateTime::UNIX_EPOCH,
            image_tag: None,
            dokku_record: mark_of(&source(&first)),
        };
        assert!(own.is_current(&source(&first)) && !own.is_current(&source(&second)));
        let text = toml::to_string(&own).unwrap();
        assert_eq!(toml::from_str::<Deployed>(&text).unwrap(), own);
    }

    #[test]
    fn a_record_without_a_commit_says_unknown() {
        let mut app = AppRecord::default();
        assert_eq!(app.short_commit(7), "unknown");
        app.code.commit = Some("82eeec6fe1b2c3d4e5f60718293a4b5c6d7e8f90".into());
        assert_eq!(app.short_commit(7), "82eeec6?");
        app.code.subject = Some("Add users".into());
        assert_eq!(app.described().unwrap(), "82eeec6? (Add users)");
        let certain = AppRecord { commit_is_certain: true, ..app.clone() };
        assert_eq!(certain.described().unwrap(), "82eeec6 (Add users)");
        assert!(app.is_same_code(&app.clone()));
        assert_eq!(crate::code::short("abc"), "abc");
    }
}
