//! gpg: decrypting what was encrypted with a passphrase.

use std::path::Path;

use anyhow::{Result, anyhow};

use crate::error::Failure;
use crate::files;
use crate::process::{Output, Tool};

/// Decrypts the file `encrypted` into the new file `target`. `home` is made for gpg and removed again: it neither sees
/// nor changes the keys of dokku's user. An error of `tick`, which is called now and then, ends it.
pub fn decrypt(
    encrypted: &Path,
    target: &Path,
    home: &Path,
    passphrase: &str,
    tick: impl FnMut() -> Result<()>,
) -> Result<()> {
    let program = which::which("gpg").map_err(|_| {
        Failure::refused("gpg, which could decrypt this, is not installed on this server").hint(
            "install it: apt-get install gnupg; or decrypt before: gpg --decrypt <file> | ssh dokku@<server> \
pgbackup:import <service>",
        )
    })?;
    files::create_private_folder(home)?;
    let home = Home(home);
    let tool = Tool::new(program)
        .arg("--homedir")
        .arg(home.0)
        .args(["--batch", "--no-tty", "--no-autostart", "--pinentry-mode", "loopback"])
        // The passphrase comes by its standard input, the result goes to a file: so nothing secret is in its arguments.
        .args(["--passphrase-fd", "0", "--status-fd", "1", "--output"])
        .arg(target)
        .arg("--decrypt")
        .arg(encrypted)
        .secret_env("LC_ALL", "C")
        .input(format!("{passphrase}\n"));
    let output = tool.start()?.wait(tick)?;
    if output.success() { Ok(()) } else { Err(explained(&output)) }
}

struct Home<'a>(&'a Path);

impl Drop for Home<'_> {
    fn drop(&mut self) {
        // It lies in the scratch folder, which goes with all that is in it.
        let _ = files::remove_tree(self.0);
    }
}

fn explained(output: &Output) -> anyhow::Error {
    let status = String::from_utf8_lossy(&output.stdout);
    let said = |words: &str| status.contains(words) || output.stderr.contains(words);
    let failure = if said("BAD_PASSPHRASE") || said("Bad session key") {
        Failure::refused("the passphrase is wrong: gpg cannot decrypt this with it")
            .hint("give the right one with --passphrase-file")
    } else if said("ENC_TO") || said("NO_SECKEY") {
        Failure::refused("this is encrypted for a key of gpg, not with a passphrase").hint(
            "decrypt it where the key is: gpg --decrypt <file> | ssh dokku@<server> pgbackup:import <service>",
        )
    } else if said("NEED_PASSPHRASE_SYM") || said("NODATA") {
        Failure::refused("gpg cannot decrypt this: it is damaged or cut off, or the passphrase is wrong")
            .hint("take another copy of it, or another passphrase")
    } else {
        Failure::tool(format!("gpg failed: {}", output.ending()))
    };
    anyhow!(failure.details(output.last_words(3)))
}
