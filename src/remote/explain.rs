//! What a store's or the network's error means, in a sentence and a hint.

use std::error::Error as _;

use crate::error::Failure;
use crate::plain_text::shell_word;

/// What the credentials of a store must be good for.
const NEEDS: &str = "the access key needs to list, read, write and delete below that address";

/// What is looked for in the text of an error and its causes (S3 names its own in `<Code>`), what that means, and what
/// helps; `{set}` is the command that sets this remote. The first that is found counts.
const MEANINGS: &[(&[&str], &str, &str)] = &[
    (&["Read-only file system"], "it is mounted read-only", "mount it for writing"),
    (
        &["Stale file handle", "Input/output error", "Transport endpoint is not connected", "Host is down"],
        "the disk or the server behind that folder does not answer as it should",
        "mount it again; the system's log tells more: dmesg",
    ),
    (
        &[INSTANCE, "Error getting credentials", "InstanceCredential"],
        "no credentials were given, and this machine has no role",
        "give some: {set} --credentials stdin",
    ),
    (
        &["RequestTimeTooSkewed"],
        "this server's clock differs too much from the store's",
        "set the clock, for example with: timedatectl set-ntp true",
    ),
    (
        &["SignatureDoesNotMatch"],
        "the store refuses the signature: the secret key is wrong, or the region",
        "set them again: {set} --credentials stdin --region <region>",
    ),
    (
        &["InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "InvalidSecurity"],
        "the store does not know the access key",
        "set it again: {set} --credentials stdin",
    ),
    (
        &["AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraint"],
        "the bucket is in another region",
        "set the right one: {set} --region <region>",
    ),
    (
        &["NoSuchBucket"],
        "there is no such bucket",
        "make it at the store, or set another one: dokku pgbackup:remote-set <service>|--global <address>",
    ),
    (
        &["AccessDenied", "AllAccessDisabled", "PermissionDenied", "403 Forbidden", "Permission denied"],
        "the store does not permit it",
        NEEDS,
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
        "is the endpoint right? many stores need it with --path-style: {set} --endpoint <url> --path-style",
    ),
    (
        &["Connection refused", "No route to host", "Network is unreachable", "tcp connect error"],
        "nobody answers there",
        "is the endpoint right, and the way open?",
    ),
    (&["timed out", "Timeout", "TimedOut"], "no answer in time", "is the way open? try again later"),
    (&["No space left", "StorageFull", "QuotaExceeded"], "it is full", "make room there"),
    (
        &["SlowDown", "503 Slow", "503 Service", "status 503", "code: 503"],
        "the store is overloaded",
        "try again later",
    ),
    (
        &[
            "InternalError",
            "500 Internal",
            "502 Bad",
            "504 Gateway",
            "status 500",
            "status 502",
            "status 504",
            "code: 500",
            "code: 502",
            "code: 504",
        ],
        "the store has a fault of its own",
        "try again later",
    ),
];

/// Where a machine at Amazon asks for the credentials of its role.
const INSTANCE: &str = "169.254.169.254";

/// A failure that names the remote, the cause, and what to do.
pub fn explain(remote: &str, key: &str, error: &object_store::Error) -> anyhow::Error {
    let text = whole_text(error);
    if matches!(error, object_store::Error::NotFound { .. }) && !text.contains("NoSuchBucket") {
        return Failure::not_found(format!("{remote} does not have {key}"))
            .hint("is it the right remote, and was nothing removed there?")
            .into();
    }
    let words = without_names(&text, remote, key);
    let known = MEANINGS.iter().find(|(signs, ..)| signs.iter().any(|sign| words.contains(sign)));
    match known {
        Some((_, meaning, hint)) => Failure::tool(format!("{remote}: {meaning}"))
            .details(vec![short(&text)])
            .hint(what_helps(remote, hint))
            .into(),
        None => Failure::tool(format!("{remote} failed: {}", short(&text)))
            .hint("see what works with: dokku pgbackup:remote-check <service>|--global")
            .into(),
    }
}

fn what_helps(remote: &str, hint: &str) -> String {
    match remote.strip_prefix("file://") {
        // There is no key, but an owner.
        Some(folder) if hint == NEEDS => {
            format!(
                "dokku's user must be able to write there, as root: chown dokku:dokku {}",
                shell_word(folder)
            )
        }
        _ => hint.replace("{set}", &format!("dokku pgbackup:remote-set <service>|--global {remote}")),
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

/// What is left of the text when the names that were chosen by people are taken out: they may read like anything.
fn without_names(text: &str, remote: &str, key: &str) -> String {
    let mut words = without_urls(text);
    let place = remote.split_once("://").map_or(remote, |(_, place)| place).trim_end_matches('/');
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    for name in [&format!("{place}/{key}"), &format!("{prefix}/{key}"), place, prefix, bucket, key] {
        match name.trim_matches('/') {
            "" => {}
            // A single word may as well be one of the error's own, so its surroundings must tell.
            word if !name.contains('/') => {
                for around in [format!("/{word}"), format!(">{word}<"), format!("path {word}:")] {
                    words = words.replace(&around, " ");
                }
            }
            _ => words = words.replace(name, " "),
        }
    }
    words
}

/// Addresses are cut down to the one that is a sign.
fn without_urls(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some((before, address)) = rest.split_once("://") {
        kept.push_str(before);
        if address.starts_with(INSTANCE) {
            kept.push_str(INSTANCE);
        }
        let is_end = |c: char| c.is_whitespace() || "<>\"'()".contains(c);
        rest = &address[address.find(is_end).unwrap_or(address.len())..];
    }
    kept + rest
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
        explained_of("s3://cows", "x", text)
    }

    fn explained_of(remote: &str, key: &str, text: &str) -> String {
        let source = std::io::Error::other(text.to_owned());
        explain(remote, key, &object_store::Error::Generic { store: "S3", source: Box::new(source) })
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
            ("Server returned non-2xx status code: 503 Service Unavailable: ", "overloaded"),
            ("Server returned non-2xx status code: 500 Internal Server Error: ", "fault of its own"),
            ("Error performing PUT http://169.254.169.254/latest/api/token in 1s - 403 Forbidden", "no role"),
            ("Unable to write: Read-only file system (os error 30)", "read-only"),
            ("Unable to access metadata: Stale file handle (os error 116)", "behind that folder"),
            ("Unable to access metadata: Permission denied (os error 13)", "permit"),
            (
                "Error performing PUT https://503.certificate.com/a in 500.2ms - operation timed out",
                "in time",
            ),
            ("<Error xmlns=\"http://s3.amazonaws.com/doc/\"><Code>SlowDown</Code></Error>", "overloaded"),
        ] {
            assert!(explained(text).contains(meaning), "{text}: {}", explained(text));
        }
        assert!(explained("what on earth\nis that").contains("what on earth is that"));
        for text in ["it took 500 ms", "part-000503", "instance of metadata"] {
            assert!(explained(text).contains(text), "{}", explained(text));
        }
    }

    #[test]
    fn hints_can_be_typed() {
        let hint = |remote: &str, text: &str| {
            let source = std::io::Error::other(text.to_owned());
            let error =
                explain(remote, "x", &object_store::Error::Generic { store: "S3", source: source.into() });
            crate::error::failure_in(&error).unwrap().hint.clone().unwrap()
        };
        let owner = hint("file:///mnt/my nas", "Unable to write: Permission denied (os error 13)");
        assert!(owner.ends_with("chown dokku:dokku '/mnt/my nas'"), "{owner}");
        let key = hint("s3://cows/a", "<Code>InvalidAccessKeyId</Code>");
        let command = "dokku pgbackup:remote-set <service>|--global s3://cows/a --credentials stdin";
        assert!(key.ends_with(command), "{key}");
        for (.., hint) in MEANINGS {
            assert!(!hint.contains('…') && !hint.ends_with("remote-set"), "{hint}");
        }
    }

    #[test]
    fn names_are_no_signs() {
        let strange = "s3://TLS/AccessDenied";
        for (remote, key, text) in [
            (strange, "certificate/SlowDown", "at TLS/AccessDenied/certificate/SlowDown: what"),
            (strange, "InternalError", "for path AccessDenied/InternalError: <Name>TLS</Name>"),
            ("file:///mnt/TLS", "Timeout/x", "cannot open /mnt/TLS/Timeout/x: it is odd"),
            ("file:///TLS", "", "cannot walk /TLS/: it is odd"),
        ] {
            let told = explained_of(remote, key, text);
            assert!(told.contains(&format!("{remote} failed")), "{told}");
        }
        assert!(explained_of("s3://403", "503", "code: 403 Forbidden").contains("permit"));
    }
}
