//! What a dump says of itself before it is loaded: versions, roles, the database's encoding and locale; and which of
//! several databases is meant.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::complaints::Speaker;
use super::roles::named_in_toc;
use super::script::{self, Script, Versions};
use super::unwrap::{Dump, Form};
use crate::catalog::Backup;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::layout;
use crate::manifest::{self, Manifest};
use crate::pg_version::PgVersion;
use crate::restore;
use crate::toc::{self, Toc};
use crate::units;
use crate::verify;

/// As `toc.dat` of a folder.
const MAX_TOC: u64 = 256 * 1024 * 1024;
/// tar(5): the header before the first file's content.
const TAR_BLOCK: u64 = 512;
/// Databases that every server has.
const EVERYWHERE: [&str; 3] = ["postgres", "template0", "template1"];
/// Names of databases that are listed.
const LISTED: usize = 10;

/// A dump that can be loaded.
#[derive(Debug)]
pub struct Prepared {
    /// As the manifest names it.
    pub kind: &'static str,
    /// What to load; below the scratch folder.
    pub path: PathBuf,
    pub speaker: Speaker,
    /// Versions as the dump words them.
    pub versions: Versions,
    /// The backup that it is, with a `roles.sql`.
    pub backup: Option<(PathBuf, Box<Manifest>)>,
    pub roles: BTreeSet<String>,
    /// The name of the database in it, where a script makes it or connects to it itself.
    pub database: Option<String>,
    /// How the database was made: what stands behind `WITH` in `CREATE DATABASE`.
    pub creation: Option<String>,
    pub jobs: usize,
    pub objects: usize,
}

impl Prepared {
    /// Looks into `dump`; `database` is the one that the user named.
    pub fn of(
        host: &Host<'_>,
        dump: Dump,
        database: Option<&str>,
        jobs: usize,
        folder: &Path,
    ) -> Result<Self> {
        match dump {
            Dump::Backup { folder, manifest } => of_backup(host, folder, manifest, jobs),
            Dump::Archive { path, form } => {
                let kind = match form {
                    Form::Custom => "custom",
                    Form::Tar => "tar",
                    Form::Directory => "directory",
                };
                let toc = read_toc(&path, form)?;
                // pg_restore cannot read a tar with several jobs.
                let jobs = if form == Form::Tar { 1 } else { jobs };
                Ok(of_archive(kind, path, &toc, jobs))
            }
            Dump::Script { path, cluster } => of_script(host, path, cluster, database, folder),
        }
    }

    /// The version of the server that the dump is of, if it says so.
    pub fn server_version(&self) -> Option<PgVersion> {
        if let Some((_, manifest)) = &self.backup {
            return Some(manifest.server.version_num);
        }
        let text = self.versions.server.as_deref()?;
        let major: u32 = text[..text.find(|c: char| !c.is_ascii_digit())?].parse().ok()?;
        Some(PgVersion(major.checked_mul(10_000)?))
    }
}

fn of_backup(host: &Host<'_>, folder: PathBuf, manifest: Box<Manifest>, jobs: usize) -> Result<Prepared> {
    let backup = Backup {
        id: manifest.id.clone(),
        folder: folder.clone(),
        manifest: (*manifest).clone(),
        verified: None,
        pinned: None,
        pushed: None,
    };
    let problems = verify::check_files(host, &backup)?;
    if !problems.is_empty() {
        return Err(Failure::refused(format!("the export of backup {} is damaged", backup.id))
            .details(problems.iter().take(8).map(ToString::to_string).collect())
            .hint("export it again, or take another copy")
            .into());
    }
    let toc = manifest::read_toc(&folder)?;
    let prepared = of_archive("pgbackup", folder.join(layout::DUMP), &toc, jobs);
    Ok(Prepared { backup: Some((folder, manifest)), ..prepared })
}

fn of_archive(kind: &'static str, path: PathBuf, toc: &Toc, jobs: usize) -> Prepared {
    let creation = toc.entries.iter().find(|entry| entry.kind == "DATABASE");
    let creation = creation.and_then(|entry| entry.definition.split_once(" WITH "));
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Prepared {
        kind,
        path,
        speaker: Speaker::PgRestore,
        versions: Versions { server: filled(&toc.server_version), dump: filled(&toc.dump_version) },
        backup: None,
        roles: named_in_toc(toc),
        database: None,
        creation: creation.map(|(_, words)| words.trim_end().trim_end_matches(';').to_owned()),
        jobs: restore::possible_jobs(toc, jobs),
        objects: toc.entries.len(),
    }
}

/// An archive's table of contents, wherever it is.
fn read_toc(path: &Path, form: Form) -> Result<Toc> {
    let unreadable = |error: toc::TocError| {
        Failure::refused(format!("what came in is damaged or of a version that is not known: {error}"))
            .hint("take another copy of it, or dump again")
    };
    if form == Form::Directory {
        let bytes = files::read_bounded(&path.join("toc.dat"), MAX_TOC)?;
        return Ok(toc::parse(&bytes).map_err(unreadable)?);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(if form == Form::Tar { TAR_BLOCK } else { 0 }))?;
    // How long it is turns out when it is read.
    let (mut bytes, mut wanted) = (Vec::new(), 1024 * 1024);
    loop {
        let count = (&mut file).take(wanted).read_to_end(&mut bytes)?;
        match toc::parse_beginning(&bytes) {
            Ok(toc) => return Ok(toc),
            Err(error) if count == 0 || bytes.len() as u64 > MAX_TOC => return Err(unreadable(error).into()),
            Err(_) => wanted = bytes.len() as u64,
        }
    }
}

fn of_script(
    host: &Host<'_>,
    path: PathBuf,
    cluster: bool,
    wanted: Option<&str>,
    folder: &Path,
) -> Result<Prepared> {
    let mut found = script::read(&path, || host.check())?;
    if found.has_beginning && !found.has_end {
        return Err(Failure::refused("the script is cut off: pg_dump's last line is missing")
            .hint("take another copy of it, or dump again")
            .into());
    }
    let database = choose(&found, cluster, wanted)?;
    let mut path = path;
    if found.databases.len() > 1 {
        if let Some(database) = &database {
            let part = folder.join("input-part");
            script::extract(&path, &part, database, || host.check())?;
            files::remove_tree(&path)?;
            path = part;
            found.roles = script::read(&path, || host.check())?.roles;
        }
    }
    let versions = database.iter().find_map(|name| found.versions.remove(name));
    Ok(Prepared {
        kind: if cluster { "cluster" } else { "sql" },
        path,
        speaker: Speaker::Psql,
        versions: versions.or_else(|| found.versions.remove("")).unwrap_or_default(),
        backup: None,
        roles: found.roles,
        creation: database.as_ref().and_then(|name| found.creations.remove(name)),
        database,
        jobs: 1,
        objects: found.objects,
    })
}

/// The database of a script that is meant; `None` for a script that says of none.
fn choose(script: &Script, cluster: bool, wanted: Option<&str>) -> Result<Option<String>> {
    let names = &script.databases;
    let own: Vec<&String> = names.iter().filter(|name| !EVERYWHERE.contains(&name.as_str())).collect();
    if let Some(wanted) = wanted {
        if wanted.starts_with("template") && EVERYWHERE.contains(&wanted) {
            return Err(Failure::refused(format!("{wanted} is a template, no database to import")).into());
        }
        if names.iter().any(|name| name == wanted) {
            return Ok(Some(wanted.to_owned()));
        }
        return Err(Failure::not_found(format!("there is no database {wanted} in the dump"))
            .hint(in_it(&own))
            .into());
    }
    match own[..] {
        [one] => Ok(Some(one.clone())),
        [] if !cluster && names.is_empty() => Ok(None),
        [] => Err(Failure::refused("there is no database in the dump besides those that every server has")
            .hint("to take one of them nevertheless: --database postgres")
            .into()),
        _ => Err(Failure::refused(format!(
            "there are {} in the dump, and a backup is of one",
            units::plural(own.len() as u64, "database")
        ))
        .hint(format!("say which with --database <name>; {}", in_it(&own)))
        .into()),
    }
}

fn in_it(names: &[&String]) -> String {
    if names.is_empty() {
        return "it says of no database".to_owned();
    }
    let listed: Vec<&str> = names.iter().take(LISTED).map(|name| name.as_str()).collect();
    let more = if names.len() > LISTED { ", …" } else { "" };
    format!("in it are: {}{more}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(databases: &[&str]) -> Script {
        let databases = databases.iter().map(|name| (*name).to_owned()).collect();
        Script { databases, ..Script::default() }
    }

    #[test]
    fn the_one_database_is_taken_and_several_are_asked_about() {
        let one = script(&["template1", "herd", "postgres"]);
        assert_eq!(choose(&one, true, None).unwrap().as_deref(), Some("herd"));
        assert_eq!(choose(&one, true, Some("postgres")).unwrap().as_deref(), Some("postgres"));
        assert!(choose(&one, true, Some("template1")).is_err());
        assert!(choose(&script(&["a", "b"]), true, None).is_err());
        assert_eq!(choose(&script(&["a", "b"]), true, Some("b")).unwrap().as_deref(), Some("b"));
        assert!(choose(&script(&["postgres"]), true, None).is_err());
        assert_eq!(choose(&script(&[]), false, None).unwrap(), None);
        assert!(choose(&script(&[]), false, Some("a")).is_err());
    }
}
