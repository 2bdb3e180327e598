//! What a store's or the network's error means, in a sentence and a hint.

use std::error::Error as _;

use crate::error::Failure;

/// What is looked for in the text of an error and its causes (S3 names its own in `<Code>`), what that means, and what
/// helps. The first that is found counts.
const MEANINGS: &[(&[&str], &str, &str)] = &[
    (
        &["RequestTimeTooSkewed"],
        "this server's clock differs too much from the store's",
        "set the clock, for example with: timedatectl set-ntp true",
    ),
    (
        &["SignatureDoesNotMatch"],
        "the store refuses the signature: the secret key is wrong, or the region",
        "set them again: dokku pgbackup:remote-set … --credentials stdin --region <region>",
    ),
    (
        &["InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "InvalidSecurity"],
        "the store does not know the access key",
        "set it again: dokku pgbackup:remote-set … --credentials stdin",
    ),
    (
        &["AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraint"],
        "the bucket is in another region",
        "set the right one: dokku pgbackup:remote-set … --region <region>",
    ),
    (
        &["NoSuchBucket"],
        "there is no such bucket",
        "make it at the store, or set another one: dokku pgbackup:remote-set",
    ),
    (
        &["AccessDenied", "AllAccessDisabled", "PermissionDenied", "403 Forbidden", "Permission denied"],
        "the store does not permit it",
        "the access key needs to list, read, write and delete below that address",
    ),
    (
        &["instance", "169.254.169.254", "metadata"],
        "no credentials were given, and this machine has no role",
        "give some: dokku pgbackup:remote-set … --credentials stdin",
    ),
    (
        &["certificate", "Certificate", "UnknownIssuer", "CertExpired"],
        "the store's TLS certificate is not trusted",
        "is the endpoint right? a private authority belongs into this server's list: update-ca-certificates",
    ),
    (
        &["InvalidContentType", "corrupt message", "tls handshake", "TLS"],
        "no TLS connection comes about",
        "does the endpoint speak https at that port?",
    ),
    (
        &["dns error", "failed to lookup address", "Name or service not known"],
        "the host's name cannot be resolved",
        "is the endpoint right? many stores need --path-style with an endpoint of their own",
    ),
    (
        &["Connection refused", "No route to host", "Network is unreachable", "tcp connect error"],
        "nobody answers there",
        "is the endpoint right, and the way open?",
    ),
    (&["timed out", "Timeout", "TimedOut"], "no answer in time", "is the way open? try again later"),
    (&["No space left", "StorageFull", "QuotaExceeded"], "it is full", "make room there"),
    (&["SlowDown", "503"], "the store is overloaded", "try again later"),
    (&["500", "502", "504", "InternalError"], "the store has a fault of its own", "try again later"),
    (&["Read-only file system"], "it is mounted read-only", "mount it for writing"),
];

/// A failure that names the remote, the cause, and what to do.
pub fn explain(remote: &str, key: &str, error: &object_store::Error) -> anyhow::Error {
    let text = whole_text(error);
    if matches!(error, object_store::Error::NotFound { .. }) && !text.contains("NoSuchBucket") {
        return Failure::not_found(format!("{remote} does not have {key}"))
            .hint("is it the right remote, and was nothing removed there?")
            .into();
    }
    let known = MEANINGS.iter().find(|(signs, ..)| signs.iter().any(|sign| text.contains(sign)));
    match known {
        Some((_, meaning, hint)) => {
            Failure::tool(format!("{remote}: {meaning}")).details(vec![short(&text)]).hint(*hint).into()
        }
        None => Failure::tool(format!("{remote} failed: {}", short(&text)))
            .hint("see what works with: dokku pgbackup:remote-check")
            .into(),
    }
}

fn whole_text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

/// One line, without what the client repeats of a request.
fn short(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str) -> String {
        let source = std::io::Error::other(text.to_owned());
        explain("s3://cows", "x", &object_store::Error::Generic { store: "S3", source: Box::new(source) })
            .to_string()
    }

    #[test]
    fn causes_are_told_apart() {
        for (text, meaning) in [
            ("<Code>SignatureDoesNotMatch</Code>", "signature"),
            ("<Code>RequestTimeTooSkewed</Code>", "clock"),
            ("404: <Code>NoSuchBucket</Code>", "no such bucket"),
            ("dns error: failed to lookup address", "resolved"),
            ("invalid peer certificate: UnknownIssuer", "certificate"),
            ("403 Forbidden: <Code>AccessDenied</Code>", "permit"),
            ("tcp connect error: Connection refused (os error 111)", "nobody answers"),
        ] {
            assert!(explained(text).contains(meaning), "{text}: {}", explained(text));
        }
        assert!(explained("what on earth\nis that").contains("what on earth is that"));
    }
}
