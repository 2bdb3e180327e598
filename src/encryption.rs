//! age: who can read what leaves the server, and reading it again. The server itself has no private key.

use std::fmt;
use std::io::{self, BufReader, Read, Write};

use age::stream::{StreamReader, StreamWriter};
use anyhow::{Result, anyhow};

use crate::error::Failure;

/// More than any key file.
const MAX_IDENTITY: u64 = 1024 * 1024;

/// Public keys: of age (`age1…`) or of ssh (`ssh-ed25519 …`, `ssh-rsa …`), with `;` between them in a setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipients {
    keys: Vec<String>,
}

impl std::str::FromStr for Recipients {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split([';', '\n']).map(str::trim).filter(|part| !part.is_empty());
        let keys: Vec<String> = parts
            .map(|key| recipient(key).map(|_| key.to_owned()).ok_or_else(|| complaint(key)))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            Err("a public key is wanted, as in age1…".to_owned())
        } else {
            Ok(Recipients { keys })
        }
    }
}

fn complaint(key: &str) -> String {
    if key.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") || key.contains("PRIVATE KEY") {
        return "that is a private key, which must never come to this server; its public key is wanted, age1…"
            .to_owned();
    }
    let short: String = key.chars().take(24).collect();
    format!("{short:?} is no public key of age (age1…) or ssh (ssh-ed25519 …, ssh-rsa …)")
}

fn recipient(key: &str) -> Option<Box<dyn age::Recipient>> {
    if let Ok(own) = key.parse::<age::x25519::Recipient>() {
        return Some(Box::new(own));
    }
    key.parse::<age::ssh::Recipient>().ok().map(|ssh| Box::new(ssh) as Box<dyn age::Recipient>)
}

impl fmt::Display for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keys.join("; "))
    }
}

impl Recipients {
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// A writer that encrypts for all of them; only its `finish` makes the result whole.
    pub fn encrypt<W: Write>(&self, out: W) -> Result<StreamWriter<W>> {
        let recipients: Vec<Box<dyn age::Recipient>> =
            self.keys.iter().filter_map(|key| recipient(key)).collect();
        let encryptor = age::Encryptor::with_recipients(recipients.iter().map(AsRef::as_ref))
            .map_err(|error| anyhow!("cannot encrypt: {error}"))?;
        Ok(encryptor.wrap_output(out)?)
    }
}

/// Private keys, from a file or from standard input; they are never written anywhere.
pub struct Identities {
    keys: Vec<Box<dyn age::Identity + Send + Sync>>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("keys", &self.keys.len()).finish()
    }
}

impl Identities {
    /// Reads what `age-keygen` writes, or a private key of ssh without a passphrase. `from` names it in messages.
    pub fn read(input: impl Read, from: &str) -> Result<Self> {
        let mut text = String::new();
        input
            .take(MAX_IDENTITY)
            .read_to_string(&mut text)
            .map_err(|error| Failure::failed(format!("the identity in {from} cannot be read: {error}")))?;
        let wrong = |why: &str| {
            Failure::usage(format!("{from} holds no private key that can be used: {why}"))
                .hint("wanted is a file of age-keygen (AGE-SECRET-KEY-1…), or a private key of ssh")
        };
        if text.contains("PRIVATE KEY") {
            let key = age::ssh::Identity::from_buffer(text.as_bytes(), Some(from.to_owned()))
                .map_err(|error| wrong(&error.to_string()))?;
            return match key {
                age::ssh::Identity::Unencrypted(_) => Ok(Identities { keys: vec![Box::new(key)] }),
                age::ssh::Identity::Encrypted(_) => {
                    Err(wrong("it has a passphrase; take it off in a copy: ssh-keygen -p -f <copy>").into())
                }
                age::ssh::Identity::Unsupported(_) => {
                    Err(wrong("it is of a kind that age does not know").into())
                }
            };
        }
        let secrets = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = secrets
            .map(|line| {
                let key = line.parse::<age::x25519::Identity>().map_err(&wrong)?;
                Ok(Box::new(key) as Box<dyn age::Identity + Send + Sync>)
            })
            .collect::<Result<Vec<_>>>()?;
        if keys.is_empty() { Err(wrong("it is empty").into()) } else { Ok(Identities { keys }) }
    }

    /// Decrypts a stream. Every byte that comes out was checked; a stream that is cut off is an error at its end.
    pub fn decrypt<R: Read>(&self, input: R) -> Result<StreamReader<BufReader<R>>> {
        let decryptor = age::Decryptor::new_buffered(BufReader::new(input)).map_err(explained)?;
        decryptor.decrypt(self.keys.iter().map(|key| &**key as &dyn age::Identity)).map_err(explained)
    }
}

fn explained(error: age::DecryptError) -> anyhow::Error {
    use age::DecryptError as E;
    let (why, hint) = match error {
        E::NoMatchingKeys | E::KeyDecryptionFailed | E::DecryptionFailed => (
            "the identity does not fit: it was encrypted for other keys",
            "give the private key of one of them with --identity",
        ),
        E::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => return error.into(),
        E::Io(_) | E::InvalidHeader | E::InvalidMac => {
            ("what was encrypted is damaged or cut off", "take another copy of it")
        }
        E::UnknownFormat => {
            ("it is not encrypted with age, or by a version that is not known", "take another copy of it")
        }
        _ => (
            "it cannot be decrypted with this identity",
            "give the private key of one of the recipients with --identity",
        ),
    };
    Failure::refused(why).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret;

    fn pair() -> (String, String) {
        let key = age::x25519::Identity::generate();
        (key.to_public().to_string(), key.to_string().expose_secret().to_owned())
    }

    fn encrypted(recipients: &str, text: &[u8]) -> Vec<u8> {
        let recipients: Recipients = recipients.parse().unwrap();
        let mut writer = recipients.encrypt(Vec::new()).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn decrypted(secret: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        Identities::read(secret.as_bytes(), "key.txt")?.decrypt(bytes)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn each_of_several_recipients_can_read_it_and_nobody_else() {
        let (one, other, third) = (pair(), pair(), pair());
        let text = vec![7; 200_000];
        let bytes = encrypted(&format!("{}; {}", one.0, other.0), &text);
        assert_eq!(decrypted(&one.1, &bytes).unwrap(), text);
        assert_eq!(decrypted(&format!("# mine\n{}\n", other.1), &bytes).unwrap(), text);
        assert!(decrypted(&third.1, &bytes).unwrap_err().to_string().contains("does not fit"));
    }

    #[test]
    fn what_is_cut_or_changed_is_not_taken_for_whole() {
        let (public, secret) = pair();
        let bytes = encrypted(&public, &vec![7; 100_000]);
        for cut in [0, 10, 100, 300, 70_000, bytes.len() - 1] {
            assert!(decrypted(&secret, &bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in [30, 150, 1000, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(decrypted(&secret, &changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn keys_that_are_none_are_told() {
        let (public, secret) = pair();
        assert!(secret.parse::<Recipients>().unwrap_err().contains("private key"));
        assert!("age1x".parse::<Recipients>().is_err() && "".parse::<Recipients>().is_err());
        assert!(Identities::read(public.as_bytes(), "key.txt").is_err());
        assert!(Identities::read(&b""[..], "key.txt").is_err());
        let ssh =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust";
        assert_eq!(format!("{public};{ssh}").parse::<Recipients>().unwrap().count(), 2);
    }
}
