//! Taking off what a dump is wrapped in - compression, gpg, tar - while it comes in, and never more than there is room.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::recognise::{Found, PREFIX, recognise};
use crate::error::{Failure, is_of_a_missing_file};
use crate::files;
use crate::gpg;
use crate::host::Host;
use crate::layout;
use crate::manifest::Manifest;
use crate::settings::Room;
use crate::tarball::{self, Limits};
use crate::units;

/// More than anybody wraps around a dump on purpose.
const MOST_LAYERS: usize = 5;
/// After so many bytes the free space is looked at again.
const LOOK_EVERY: u64 = 8 * 1024 * 1024;
/// A dump of a hundred thousand tables has as many files.
const MOST_FILES: usize = 500_000;
/// xz with its largest dictionaries wants more than a server has for it; `xz -9` is content with an eighth.
const XZ_MEMORY: u64 = 512 * 1024 * 1024;

/// A dump without its wrapping, in the scratch folder.
#[derive(Debug)]
pub enum Dump {
    /// What `pgbackup:export` wrote.
    Backup { folder: PathBuf, manifest: Box<Manifest> },
    /// For `pg_restore`: a file, or the folder of `pg_dump -Fd`.
    Archive { path: PathBuf, form: Form },
    /// For psql.
    Script { path: PathBuf, cluster: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Custom,
    Tar,
    Directory,
}

/// What came in.
#[derive(Debug)]
pub struct Unwrapped {
    pub dump: Dump,
    /// The outermost first.
    pub wrapped: Vec<&'static str>,
    /// Bytes, as it came.
    pub size: u64,
}

/// Where a passphrase comes from, should one be needed.
pub type Passphrase<'a> = &'a dyn Fn() -> Result<String>;

/// Reads `input` to its end, and leaves in `folder` nothing but the dump that was in it.
pub fn unwrap(
    host: &Host<'_>,
    input: impl Read,
    folder: &Path,
    min_free: Room,
    passphrase: Passphrase<'_>,
) -> Result<Unwrapped> {
    let size = Cell::new(0);
    let mut unwrapper =
        Unwrapper { host, folder, min_free, passphrase, size: &size, wrapped: Vec::new(), made: 0 };
    let counted = Counted { input, size: &size };
    let dump = unwrapper.open(Box::new(counted))?;
    host.progress.done();
    Ok(Unwrapped { dump, wrapped: unwrapper.wrapped, size: size.get() })
}

struct Counted<'a, R> {
    input: R,
    size: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.size.set(self.size.get() + count as u64);
        Ok(count)
    }
}

struct Unwrapper<'a> {
    host: &'a Host<'a>,
    folder: &'a Path,
    min_free: Room,
    passphrase: Passphrase<'a>,
    size: &'a Cell<u64>,
    wrapped: Vec<&'static str>,
    /// How many files and folders there were, for their names.
    made: usize,
}

impl Unwrapper<'_> {
    fn open(&mut self, mut source: Box<dyn Read + '_>) -> Result<Dump> {
        loop {
            let mut prefix = Vec::with_capacity(PREFIX);
            let read = (&mut source).take(PREFIX as u64).read_to_end(&mut prefix);
            // What little there is may still be recognised, and says more than that it is cut off.
            if let Err(error) = read {
                return Err(self.damaged(&error));
            }
            let found = recognise(&prefix);
            source = Box::new(Cursor::new(prefix).chain(source));
            source = match found {
                Found::Gzip => {
                    self.peel("gzip")?;
                    Box::new(flate2::read::MultiGzDecoder::new(source))
                }
                Found::Zstd => {
                    self.peel("zstd")?;
                    Box::new(zstd::stream::read::Decoder::new(source)?)
                }
                Found::Bzip2 => {
                    self.peel("bzip2")?;
                    Box::new(bzip2::read::MultiBzDecoder::new(source))
                }
                Found::Xz => {
                    self.peel("xz")?;
                    let decoder = liblzma::stream::Stream::new_stream_decoder(
                        XZ_MEMORY,
                        liblzma::stream::CONCATENATED,
                    )?;
                    Box::new(liblzma::read::XzDecoder::new_stream(source, decoder))
                }
                Found::Gpg => {
                    self.peel("gpg")?;
                    Box::new(self.decrypt(source)?)
                }
                Found::Tar => {
                    self.peel("tar")?;
                    return self.unpack(source);
                }
                Found::CustomArchive => {
                    return Ok(Dump::Archive { path: self.spool(source)?, form: Form::Custom });
                }
                Found::TarArchive => {
                    let path = self.spool(source)?;
                    // pg_restore would not miss an end that is missing.
                    tarball::check(File::open(&path)?).map_err(|error| self.untaken(&error))?;
                    return Ok(Dump::Archive { path, form: Form::Tar });
                }
                Found::Script => return Ok(Dump::Script { path: self.spool(source)?, cluster: false }),
                Found::ClusterScript => {
                    return Ok(Dump::Script { path: self.spool(source)?, cluster: true });
                }
                Found::Empty | Found::Foreign(..) | Found::Unknown => return Err(self.refused(found)),
            };
        }
    }

    fn refused(&self, found: Found) -> anyhow::Error {
        let (what, hint) = match found {
            Found::Empty if self.wrapped.is_empty() => (
                "no data came on standard input".to_owned(),
                "send the dump there: dokku pgbackup:import <service> < <file>",
            ),
            Found::Empty => (format!("there is nothing in it{}", self.within()), "take another copy of it"),
            Found::Foreign(what, hint) => {
                (format!("this is {what}{}, not a dump of Postgres that can be taken", self.within()), hint)
            }
            _ => (
                format!("this is nothing that pgbackup knows{}: no dump of Postgres", self.within()),
                "see what is taken with: dokku pgbackup:help import",
            ),
        };
        Failure::refused(what).hint(hint).into()
    }

    /// ` (inside gzip, tar)`.
    fn within(&self) -> String {
        if self.wrapped.is_empty() { String::new() } else { format!(" (inside {})", self.wrapped.join(", ")) }
    }

    fn peel(&mut self, layer: &'static str) -> Result<()> {
        if self.wrapped.len() == MOST_LAYERS {
            return Err(Failure::refused(format!(
                "this is wrapped more than {MOST_LAYERS} times: {}, {layer}",
                self.wrapped.join(", ")
            ))
            .hint("unpack it and send what is in it")
            .into());
        }
        self.wrapped.push(layer);
        Ok(())
    }

    fn fresh(&mut self) -> PathBuf {
        self.made += 1;
        self.folder.join(format!("input-{}", self.made))
    }

    /// Writes all of it into a file.
    fn spool(&mut self, mut source: impl Read) -> Result<PathBuf> {
        let path = self.fresh();
        let mut file = files::create_private_file(&path)?;
        let mut buffer = vec![0; 256 * 1024];
        let mut since = LOOK_EVERY;
        loop {
            self.host.check()?;
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(&error)),
            };
            since += count as u64;
            if since >= LOOK_EVERY {
                self.room()?;
                since = 0;
            }
            file.write_all(&buffer[..count]).map_err(|error| {
                Failure::failed(format!("what comes in cannot be kept in {}: {error}", path.display()))
                    .hint("make room there")
            })?;
            self.host.progress.bytes(self.size.get(), None);
        }
        Ok(path)
    }

    /// How much may still be written. A few bytes that come in can become any number of bytes.
    fn room(&self) -> Result<u64> {
        let space = files::space(self.folder)?;
        let stays = self.min_free.of(space.total).max(space.reserve());
        if space.free > stays {
            return Ok(space.free - stays);
        }
        Err(Failure::refused(format!(
            "there is too little space for what is in this: {} are left in {}, and {} are to stay free (min-free)",
            units::bytes(space.free),
            self.folder.parent().unwrap_or(self.folder).display(),
            units::bytes(stays)
        ))
        .hint("make room there; what was unpacked so far is removed")
        .into())
    }

    fn decrypt(&mut self, source: impl Read) -> Result<File> {
        let passphrase = (self.passphrase)()?;
        let encrypted = self.spool(source)?;
        let (target, home) = (self.fresh(), self.fresh());
        self.host.progress.step("Decrypting it");
        gpg::decrypt(&encrypted, &target, &home, &passphrase, || {
            self.host.check()?;
            self.room().map(drop)
        })?;
        files::remove_tree(&encrypted)?;
        open_unnamed(&target)
    }

    fn unpack(&mut self, mut source: Box<dyn Read + '_>) -> Result<Dump> {
        let folder = self.fresh();
        files::create_private_folder(&folder)?;
        let limits = Limits { bytes: self.room()?, files: MOST_FILES };
        let unpacked = tarball::unpack(&mut source, &folder, limits);
        // That our own folder is gone says nothing against what came in.
        let names = unpacked
            .map_err(|error| if is_of_a_missing_file(&error) { error } else { self.untaken(&error) })?;
        // Only at the end of what it is wrapped in does it turn out whether all of that is whole.
        match source.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(self.untaken("there is something behind its end")),
            Err(error) => return Err(self.damaged(&error)),
        }
        drop(source);
        self.look_into(&folder, &names)
    }

    /// What an unpacked folder is: a backup of ours, a dump in directory format, or a single file that is anything.
    fn look_into(&mut self, folder: &Path, names: &BTreeSet<String>) -> Result<Dump> {
        let folders_with = |name: &str| -> Vec<&str> {
            let inside = names.iter().filter_map(|path| path.strip_suffix(name));
            inside.filter(|above| above.is_empty() || above.ends_with('/')).collect()
        };
        let mut backups = folders_with(layout::MANIFEST);
        backups.retain(|above| names.contains(&format!("{above}{}", layout::CHECKSUMS)));
        if let [above] = backups[..] {
            let folder = folder.join(above);
            let bytes = crate::manifest::read_manifest_bytes(&folder)?;
            let manifest = Manifest::parse(&bytes).map_err(|error| {
                let why = error.to_string();
                self.untaken(why.strip_prefix("its ").unwrap_or(&why))
            })?;
            return Ok(Dump::Backup { folder, manifest: Box::new(manifest) });
        }
        if let [above] = folders_with("toc.dat")[..] {
            return Ok(Dump::Archive { path: folder.join(above), form: Form::Directory });
        }
        if names.len() == 1 {
            let file = open_unnamed(&folder.join(names.iter().next().map_or("", String::as_str)))?;
            return self.open(Box::new(file));
        }
        let some: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
        Err(Failure::refused(format!(
            "this is a tar of {}, and none of them makes it a dump{}",
            units::plural(names.len() as u64, "file"),
            if some.is_empty() { String::new() } else { format!(": {}, …", some.join(", ")) }
        ))
        .hint("send the dump alone")
        .into())
    }

    /// What cannot be read to its end.
    fn damaged(&self, error: &io::Error) -> anyhow::Error {
        if let Err(stopped) = self.host.check() {
            return stopped;
        }
        let layer = self.wrapped.last().map_or_else(String::new, |layer| format!(" ({layer})"));
        Failure::refused(format!("what came in is damaged or cut off{layer}: {error}"))
            .hint("take another copy of it")
            .into()
    }

    fn untaken(&self, why: impl std::fmt::Display) -> anyhow::Error {
        if let Err(stopped) = self.host.check() {
            return stopped;
        }
        Failure::refused(format!("what came in cannot be taken: {why:#}"))
            .hint("take another copy of it")
            .into()
    }
}

/// Opens a file that has done its service once it is read: it needs no name any more.
fn open_unnamed(path: &Path) -> Result<File> {
    let file = File::open(path)?;
    files::remove_tree(path)?;
    Ok(file)
}
