//! Where a store's requests go to: an endpoint, a region and a bucket, looked at as the client does before it gets them. It
//! takes apart again what it has put together, and does not expect that to go wrong.

use reqwest::Url;

/// Longer is nobody's label in a host's name.
const MAX_LABEL: usize = 63;
const MAX_LENGTH: usize = 500;

/// An endpoint that can be used: `https://host`, perhaps with a port and a path.
pub fn check(endpoint: &str) -> Result<(), String> {
    parse(endpoint).map(drop)
}

fn parse(endpoint: &str) -> Result<Url, String> {
    let shown: String = endpoint.chars().take(80).collect();
    let wrong = |why: &str| format!("{shown:?} is no endpoint: {why}");
    let Some((_, rest)) =
        endpoint.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        return Err(wrong("it begins with neither https:// nor http://"));
    };
    // All of that the parser below would pass over or mend.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:[]".contains(c);
    if rest.contains('@') {
        return Err(wrong("a user or a password has no place in it"));
    }
    if let Some(strange) = rest.chars().find(|c| !is_plain(*c)) {
        return Err(wrong(&format!("{strange:?} cannot be in it")));
    }
    if rest.is_empty() || rest.starts_with(['/', ':']) {
        return Err(wrong("it has no host"));
    }
    if endpoint.len() > MAX_LENGTH || rest.split('/').skip(1).any(|part| part == "." || part == "..") {
        return Err(wrong("its path cannot be used"));
    }
    let url = Url::parse(endpoint).map_err(|error| wrong(&error.to_string()))?;
    let mut labels = url.domain().unwrap_or("x").trim_end_matches('.').split('.');
    if labels.any(|label| label.is_empty() || label.len() > MAX_LABEL) {
        return Err(wrong("its host cannot be one"));
    }
    Ok(url)
}

/// Why the bucket cannot be named in the host but only in the path; `None` where it can.
pub fn only_in_path(endpoint: Option<&str>, bucket: &str) -> Option<String> {
    let is_label = bucket.len() <= MAX_LABEL
        && bucket.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
        && !bucket.starts_with("xn--");
    if !is_label {
        return Some(format!("{bucket} cannot be part of a host's name"));
    }
    let url = parse(endpoint?).ok()?;
    // A domain is what is no address of IPv4 or IPv6.
    url.domain().is_none().then(|| format!("{} is an IP address", url.host_str().unwrap_or_default()))
}

/// What the client wants to be told: for a bucket in the host's name, with that (its documentation of
/// `with_virtual_hosted_style_request`).
pub fn with_bucket(endpoint: &str, bucket: &str, in_path: bool) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    match endpoint.split_once("://") {
        Some((scheme, host)) if !in_path => format!("{scheme}://{bucket}.{host}"),
        _ => endpoint.to_owned(),
    }
}

/// That all of it together makes an address.
pub fn check_all(endpoint: Option<&str>, region: &str, bucket: &str, in_path: bool) -> Result<(), String> {
    let is_region = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if region.is_empty() || region.len() > MAX_LABEL || !region.chars().all(is_region) {
        return Err(format!("{region:?} is no region: letters, digits and -_ are wanted"));
    }
    let amazon = format!("https://s3.{region}.amazonaws.com");
    endpoint.map_or(Ok(()), check)?;
    let whole = with_bucket(endpoint.unwrap_or(&amazon), bucket, in_path);
    match Url::parse(&whole) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{whole} is no address: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_known_from_what_is_none() {
        for good in [
            "https://minio.example.com",
            "http://minio:9000",
            "http://192.0.2.10:9000",
            "https://[2001:db8::1]:9000/",
            "https://x.example.com/storage/v1/s3",
            "http://my_minio:9000",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "minio.example.com",
            "https://",
            "https:///bucket",
            "https://:9000",
            "ftp://minio",
            "https://key:secret@minio",
            "https://minio:99999",
            "https://minio:port",
            "https://256.1.1.1",
            "https://1.2.3.4.5",
            "https://0x1ffffffff",
            "https://[::1",
            "https://[zz]",
            "https://mi nio",
            "https://minio?x=y",
            "https://minio#x",
            "https://minio/../x",
            "https://minio\\x",
            "https://münchen.example.com",
            "https://xn--a",
            "https://a..b",
            "https://.",
            "https://%00",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check_all(None, "eu central", "cows", false).is_err());
        assert!(check_all(None, "xn--a", "cows", false).is_err());
        assert_eq!(check_all(None, "auto", "cows", false), Ok(()));
    }

    #[test]
    fn a_bucket_that_cannot_be_in_a_host_is_in_the_path() {
        for (endpoint, bucket) in [
            (Some("http://192.0.2.10:9000"), "cows"),
            (Some("http://[::1]:9000"), "cows"),
            // What a browser takes for an address, too.
            (Some("http://127.1"), "cows"),
            (None, "cows.backups"),
            (None, "Cows"),
            (None, "my_cows"),
            (None, "cows-"),
            (None, "xn--cows"),
        ] {
            assert!(only_in_path(endpoint, bucket).is_some(), "{endpoint:?} {bucket}");
        }
        assert_eq!(only_in_path(Some("https://minio.example.com"), "cows"), None);
        assert_eq!(only_in_path(None, "cows"), None);
    }
}
