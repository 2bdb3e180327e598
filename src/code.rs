//! What an app runs, in words that outlive the app: a commit and what is known of it, or an image.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One state of an app's code. Whatever is not known is not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// 40 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The branch that dokku deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The first line of the commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authored_at: Option<DateTime<Utc>>,
    /// How it came to dokku, in dokku's words (`deploy-source`): `git-push`, `git-sync`, `docker-image`, `tar`, `tar.gz`, `zip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The repository, image or archive it came from; addresses without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// dokku's word for code that came as an image.
pub const FROM_IMAGE: &str = "docker-image";

impl Code {
    /// `82eeec6`, or the image; `None` when nothing is known.
    pub fn short(&self) -> Option<&str> {
        self.image().or(self.commit.as_deref().map(short)).or(self.origin.as_deref())
    }

    /// The image, where that is what was deployed: the commit is only dokku's wrapping then.
    pub fn image(&self) -> Option<&str> {
        self.origin.as_deref().filter(|_| self.source.as_deref() == Some(FROM_IMAGE))
    }

    /// `82eeec6 (Add the milk table)`.
    pub fn described(&self) -> Option<String> {
        if let Some(image) = self.image() {
            return Some(format!("image {image}"));
        }
        let short = self.short()?;
        Some(self.subject.as_ref().map_or_else(|| short.to_owned(), |subject| format!("{short} ({subject})")))
    }

    /// What dokku's property `deploy-source-metadata` says of the code, for a property `deploy-source` of `source`.
    pub fn of_deploy_source(source: &str, metadata: &str) -> Self {
        let (origin, commit) = match source {
            "git-push" => (None, Some(metadata)),
            "git-sync" => metadata
                .rsplit_once('#')
                .map_or((Some(metadata), None), |(url, commit)| (Some(url), Some(commit))),
            _ => (Some(metadata), None),
        };
        Code {
            commit: commit.filter(|commit| is_commit(commit)).map(str::to_owned),
            source: (!source.is_empty()).then(|| source.to_owned()),
            origin: origin.filter(|origin| !origin.is_empty() && *origin != "--").map(without_credentials),
            ..Code::default()
        }
    }

    /// Takes from `other` what is not known here.
    #[must_use]
    pub fn or(mut self, other: &Code) -> Self {
        fn fill<T: Clone>(mine: &mut Option<T>, other: Option<&T>) {
            if mine.is_none() {
                *mine = other.cloned();
            }
        }
        fill(&mut self.commit, other.commit.as_ref());
        fill(&mut self.branch, other.branch.as_ref());
        fill(&mut self.subject, other.subject.as_ref());
        fill(&mut self.authored_at, other.authored_at.as_ref());
        fill(&mut self.source, other.source.as_ref());
        fill(&mut self.origin, other.origin.as_ref());
        self
    }
}

/// Whether `text` is a whole commit id, and not the word `HEAD` or a branch.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The beginning of a commit id, as git and dokku show it.
pub fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// `https://user:token@host/x?key=…` → `https://host/x`: what can be a secret in an address is never written down.
pub fn without_credentials(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = host.rsplit_once('@').map_or(host, |(user, host)| {
        // git over ssh needs the user's name, which is no secret.
        if scheme == "ssh" && !user.contains(':') { &rest[..user.len() + 1 + host.len()] } else { host }
    });
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMIT: &str = "82eeec6fe1b2c3d4e5f60718293a4b5c6d7e8f90";

    #[test]
    fn dokkus_record_is_read_for_each_source() {
        let push = Code::of_deploy_source("git-push", COMMIT);
        assert_eq!((push.commit.as_deref(), push.origin.as_deref()), (Some(COMMIT), None));
        let sync = Code::of_deploy_source("git-sync", &format!("https://u:t@example.com/cows.git#{COMMIT}"));
        assert_eq!(sync.origin.as_deref(), Some("https://example.com/cows.git"));
        assert_eq!(sync.commit.as_deref(), Some(COMMIT));
        let image = Code::of_deploy_source("docker-image", "registry.example.com:5000/cows:1.2");
        assert_eq!(image.short(), Some("registry.example.com:5000/cows:1.2"));
        assert_eq!(Code::of_deploy_source("git-sync", "https://example.com/cows.git#").commit, None);
        assert_eq!(Code::of_deploy_source("tar", "--").origin, None);
        assert_eq!(Code::of_deploy_source("git-push", "HEAD").commit, None);
    }

    #[test]
    fn code_is_described_by_its_commit_or_its_image() {
        let mut code = Code::of_deploy_source("git-push", COMMIT);
        assert_eq!(code.described().as_deref(), Some("82eeec6"));
        code.subject = Some("Add the milk table".into());
        assert_eq!(code.described().as_deref(), Some("82eeec6 (Add the milk table)"));
        assert_eq!(code.image(), None);
        let image = Code::of_deploy_source(FROM_IMAGE, "cows:1.2");
        assert_eq!(image.described().as_deref(), Some("image cows:1.2"));
        assert_eq!(Code::default().described(), None);
    }

    #[test]
    fn only_what_is_not_known_is_taken_from_elsewhere() {
        let known = Code { commit: Some(COMMIT.into()), branch: Some("main".into()), ..Code::default() };
        let other = Code { branch: Some("old".into()), subject: Some("Milk".into()), ..Code::default() };
        let both = Code { subject: Some("Milk".into()), ..known.clone() };
        assert_eq!(known.or(&other), both);
    }

    #[test]
    fn a_commit_is_40_hex_digits() {
        assert!(is_commit(COMMIT));
        assert!(!is_commit(&COMMIT[1..]) && !is_commit(&COMMIT.replace('e', "g")));
    }

    #[test]
    fn credentials_are_not_kept() {
        for (given, kept) in [
            ("https://user:token@example.com/a.git", "https://example.com/a.git"),
            ("https://token@example.com", "https://example.com"),
            ("https://example.com/a.tar?X-Signature=secret", "https://example.com/a.tar"),
            ("ssh://git@example.com/a.git", "ssh://git@example.com/a.git"),
            ("ssh://git:secret@example.com/a.git", "ssh://example.com/a.git"),
            ("git@example.com:a/b.git", "git@example.com:a/b.git"),
            ("/srv/git/a.git", "/srv/git/a.git"),
            ("https://example.com/@scope/a@1.git", "https://example.com/@scope/a@1.git"),
        ] {
            assert_eq!(without_credentials(given), kept);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(source in ".*", text in ".*") {
            let code = Code::of_deploy_source(&source, &text);
            let _ = (code.described(), short(&text));
        }
    }
}
