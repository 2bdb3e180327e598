//! `pgbackup:remote-set`, `pgbackup:remote-unset`, `pgbackup:remote-check`, and `pgbackup:list --remote`.

use std::fs::File;
use std::io::{IsTerminal, Read};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::Serialize;

use super::App;
use crate::cli::{CredentialSource, Format, RemoteArgs, RemoteSetArgs};
use crate::dokku::Service;
use crate::encryption::Identities;
use crate::environment::Environment;
use crate::error::Failure;
use crate::files;
use crate::host::Host;
use crate::interrupt::{Awaited, Interrupt};
use crate::layout::ServiceLayout;
use crate::manifest::Pool;
use crate::offsite::{self, Index, Offsite};
use crate::remote::address::Address;
use crate::remote::place::{self, Credentials, Place};
use crate::remote::{Patience, Remote};
use crate::service_name::ServiceName;
use crate::ui::table::{self, Align};
use crate::units;

/// Two keys and a token.
const MAX_CREDENTIALS: u64 = 16 * 1024;
const CREDENTIALS_HINT: &str = "as in: printf '%s\\n' \"$ACCESS_KEY_ID\" \"$SECRET_ACCESS_KEY\" |
  dokku pgbackup:remote-set <service>|--global <address> --credentials stdin";

pub fn set(app: &App<'_>, args: &RemoteSetArgs) -> Result<()> {
    let (service, address) = match (&args.service, &args.address, args.global) {
        (Some(address), None, true) => (None, address),
        (Some(name), Some(address), false) => {
            (Some(app.service(&name.parse().map_err(Failure::usage)?)?), address)
        }
        _ => {
            return Err(Failure::usage("which service (or --global), and which address?")
                .hint("as in: dokku pgbackup:remote-set --global s3://bucket/prefix --credentials stdin")
                .into());
        }
    };
    let place = place(app, args, address)?;
    let file = place::file(app.dokku.layout(), service.as_ref().map(|service| &service.layout));
    place.write(&file)?;
    // A folder that is not there yet, or not ours, is what remote-check tells about.
    let _ = place.mark();
    let whose = service.as_ref().map_or("all services".to_owned(), |service| service.name.to_string());
    app.ui.heading(&format!("Setting the remote of {whose} to {}", place.address));
    let effective = place.with_stored(service.as_ref().map(|service| &service.layout));
    if let Some(why) = effective.only_in_path().filter(|_| !effective.path_style) {
        app.ui.detail(&format!("The bucket is named in the path (--path-style): {why}"));
    }
    let target = service.as_ref().map_or("--global".to_owned(), |service| service.name.to_string());
    app.ui.detail(&format!("Try it out with: dokku pgbackup:remote-check {target}"));
    Ok(())
}

fn place(app: &App<'_>, args: &RemoteSetArgs, address: &str) -> Result<Place> {
    let address: Address = address.parse().map_err(Failure::usage)?;
    let without_credentials = Place {
        address: address.to_string(),
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        path_style: args.path_style,
        credentials: None,
        instance_role: args.credentials == CredentialSource::Instance,
    };
    // Before anybody is asked for the credentials.
    without_credentials.check().map_err(|why| {
        Failure::usage(why)
            .hint("an endpoint is an address like https://minio.example.com:9000, without credentials")
    })?;
    let place = Place { credentials: credentials(app, args.credentials)?, ..without_credentials };
    place.check().map_err(|why| Failure::usage(why).hint(CREDENTIALS_HINT))?;
    Ok(place)
}

fn credentials(app: &App<'_>, source: CredentialSource) -> Result<Option<Credentials>> {
    let (found, missing) = match source {
        CredentialSource::Auto | CredentialSource::Instance => return Ok(None),
        CredentialSource::Environment => {
            (Environment::aws_credentials(), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
        }
        CredentialSource::Stdin => {
            let mut lines = typed_credentials(app)?.into_iter();
            let found = match (lines.next(), lines.next()) {
                (Some(access_key_id), Some(secret_access_key)) => {
                    Some(Credentials { access_key_id, secret_access_key, session_token: lines.next() })
                }
                _ => None,
            };
            (found, "two lines are wanted on standard input: the access key's id and the secret key")
        }
    };
    found.map(Some).ok_or_else(|| Failure::usage(missing).hint(CREDENTIALS_HINT).into())
}

/// The lines that are not empty on standard input. A terminal is asked for two, and shows neither: whoever pastes both in one
/// go pastes the secret one before it is asked for.
fn typed_credentials(app: &App<'_>) -> Result<Vec<String>> {
    let interrupt = app.docker.interrupt();
    let lines = if std::io::stdin().is_terminal() {
        let questions = ["The access key's id (not shown)", "The secret key (not shown)"];
        app.ui.ask_secrets(&questions, interrupt)?.ok_or_else(|| {
            Failure::refused("this terminal cannot be told to hide what is typed").hint(CREDENTIALS_HINT)
        })?
    } else {
        let mut input = Awaited::of(std::io::stdin(), interrupt)?.take(MAX_CREDENTIALS);
        let mut text = String::new();
        read_awaited(interrupt, || input.read_to_string(&mut text))?;
        text.lines().map(str::to_owned).collect()
    };
    let lines = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// An interrupt is what ended the reading, if there was one.
fn read_awaited<T>(interrupt: &Interrupt, read: impl FnOnce() -> std::io::Result<T>) -> Result<T> {
    read().or_else(|error| {
        interrupt.check()?;
        Err(error).context("the credentials")
    })
}

pub fn unset(app: &App<'_>, args: &RemoteArgs) -> Result<()> {
    let service = named(app, args)?;
    let file = place::file(app.dokku.layout(), service.as_ref().map(|service| &service.layout));
    let old = file.exists();
    files::remove_durably(&file)?;
    let whose = service.map_or("all services".to_owned(), |service| service.name.to_string());
    if old {
        app.ui.heading(&format!("Unsetting the remote of {whose}; what is there stays"));
    } else {
        app.ui.heading(&format!("No remote of {whose} was set"));
    }
    Ok(())
}

fn named(app: &App<'_>, args: &RemoteArgs) -> Result<Option<Service>> {
    args.service.as_ref().map(|name| app.service(name)).transpose()
}

pub fn check(app: &App<'_>, args: &RemoteArgs) -> Result<()> {
    let service = named(app, args)?;
    let layout = service.as_ref().map(|service| &service.layout);
    let remote = offsite::open(&app.dokku, layout, Patience::Question, app.docker.interrupt().clone())?;
    let host = app.host();
    let key = format!("pgbackup-check-{}", host.new_id()?);
    app.ui.heading(&format!("{} remote", remote.shown));
    step(&host, "Listing", || remote.reach())?;
    let bytes = Bytes::from(format!("written by pgbackup:remote-check at {}\n", app.now.to_rfc3339()));
    let mut is_there = false;
    let written = step(&host, "Writing and reading back", || {
        remote.write(&key, &bytes)?;
        is_there = true;
        match remote.get(&key, 1000)? {
            Some(back) if back == bytes => Ok(()),
            _ => {
                Err(Failure::tool(format!("{} gives back something else than was written", remote.shown))
                    .into())
            }
        }
    });
    if is_there {
        let deleted = step(&host, "Deleting", || remote.delete(&key));
        written.and(deleted)?;
    } else {
        host.progress.note("Deleting: not tried");
        written?;
    }
    mark(app, layout)?;
    app.ui.detail("All of it works");
    Ok(())
}

/// From now on the folder is known to be the remote, if it is one.
fn mark(app: &App<'_>, service: Option<&ServiceLayout>) -> Result<()> {
    place::of(app.dokku.layout(), service)?.map_or(Ok(()), |place| place.mark())
}

/// Says what works, and returns what does not.
fn step(host: &Host<'_>, what: &str, attempt: impl FnOnce() -> Result<()>) -> Result<()> {
    let ended = attempt();
    let how = if ended.is_ok() { "works" } else { "FAILED" };
    host.progress.note(&format!("{what}: {how}"));
    ended
}

/// The private keys in a file, or on standard input for `-`.
pub fn identities(from: Option<&str>, interrupt: &Interrupt) -> Result<Option<Identities>> {
    match from {
        None => Ok(None),
        Some("-") => {
            let read = Identities::read(Awaited::of(std::io::stdin(), interrupt)?, "standard input");
            if read.is_err() {
                interrupt.check()?;
            }
            read.map(Some)
        }
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                Failure::refused(format!("the identity file {path} cannot be read: {error}"))
                    .hint("hand it over on standard input: --identity - --force < key.txt")
            })?;
            Identities::read(file, path).map(Some)
        }
    }
}

/// A backup at the remote. Times are RFC 3339, sizes bytes.
#[derive(Serialize)]
struct OffsiteView<'a> {
    id: &'a str,
    service: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    created_at: Option<chrono::DateTime<chrono::Utc>>,
    pool: Option<Pool>,
    size_bytes: Option<u64>,
    stored_bytes: Option<u64>,
    encrypted: Option<bool>,
    postgres_version: Option<String>,
}

impl<'a> OffsiteView<'a> {
    fn of(offsite: &'a Offsite) -> Self {
        let index = offsite.index();
        OffsiteView {
            id: offsite.id.as_str(),
            service: offsite.service.as_str(),
            status: if index.is_some() { "whole" } else { "not whole" },
            problem: offsite.state.as_ref().err().map(String::as_str),
            created_at: index.map(|index| index.started_at),
            pool: index.map(|index| index.pool),
            size_bytes: index.map(|index| index.size_bytes),
            stored_bytes: index.map(|_| offsite.stored_bytes),
            encrypted: index.map(|index| index.encrypted),
            postgres_version: index.and_then(version),
        }
    }
}

fn version(index: &Index) -> Option<String> {
    index.server_version_num.map(|version| version.to_string())
}

/// The folder of a service that need not exist here. One that the user may not use is not here, nor at the remote:
/// [`refuse_unseen`].
pub fn local(app: &App<'_>, name: &ServiceName) -> Result<Option<ServiceLayout>> {
    let here = Some(app.dokku.layout().service(name)).filter(|layout| layout.root().is_dir());
    Ok(if is_seen(app, name)? { here } else { None })
}

fn is_seen(app: &App<'_>, name: &ServiceName) -> Result<bool> {
    Ok(!app.dokku.allowed_services(std::slice::from_ref(name))?.is_empty())
}

/// Says of a service that the user may not use what is said of one that has nothing there.
pub fn refuse_unseen(app: &App<'_>, remote: &Remote, name: &ServiceName, wanted: Option<&str>) -> Result<()> {
    if is_seen(app, name)? {
        return Ok(());
    }
    offsite::choose(remote, Vec::new(), name, wanted).map(drop)
}

/// What is at the remote: of one service, which need not exist here, or of all.
pub fn list(app: &App<'_>, name: Option<&ServiceName>, format: Format) -> Result<()> {
    let here = name.map(|name| local(app, name)).transpose()?.flatten();
    let remote = offsite::open(&app.dokku, here.as_ref(), Patience::Work, app.docker.interrupt().clone())?;
    let mut found = offsite::list(&remote, name)?;
    let mut names: Vec<ServiceName> = found.iter().map(|offsite| offsite.service.clone()).collect();
    names.dedup();
    let allowed = app.dokku.allowed_services(&names)?;
    found.retain(|offsite| allowed.iter().any(|name| name == offsite.service.as_str()));
    if format == Format::Json {
        return app.ui.json(&found.iter().map(OffsiteView::of).collect::<Vec<_>>());
    }
    show_list(app, &remote, name, &found);
    Ok(())
}

/// What is there instead of a backup: other services, or other prefixes. Of no use to whoever may only look below this one.
fn show_instead(app: &App<'_>, remote: &Remote, name: Option<&ServiceName>) {
    let (place, folders) = remote.folders().unwrap_or_default();
    let is_here = place == remote.prefix();
    let services: Vec<ServiceName> = folders.iter().filter_map(|folder| folder.parse().ok()).collect();
    // What the user may not use is not there; what cannot be a service is a prefix at most.
    let allowed = app.dokku.allowed_services(&services).unwrap_or_default();
    let is_seen =
        |folder: &&String| folder.parse::<ServiceName>().map_or(!is_here, |_| allowed.contains(folder));
    let is_other = |folder: &&String| !is_here || name.is_none_or(|name| folder.as_str() != name.as_str());
    let seen: Vec<&String> = folders.iter().filter(is_seen).filter(is_other).collect();
    let end = if name.is_some() && is_here { "" } else { "/" };
    let named: Vec<String> = seen.iter().take(MOST_INSTEAD).map(|folder| format!("{folder}{end}")).collect();
    let more = if seen.len() > named.len() { ", …" } else { "" };
    let named = format!("{}{more}", named.join(", "));
    match name {
        _ if seen.is_empty() => {
            app.ui.detail("none; take one there with: dokku pgbackup:push <service>");
        }
        Some(name) if is_here => app.ui.detail(&format!("none of {name}; there are: {named}")),
        _ if is_here => app.ui.detail(&format!("no backup; there are these folders: {named}")),
        _ => {
            let below = if place.is_empty() { "the bucket".to_owned() } else { format!("{place}/") };
            app.ui.detail(&format!("nothing is below {}/; {below} has: {named}", remote.prefix()));
            app.ui.detail("Another prefix:  dokku pgbackup:remote-set <service>|--global <address>");
        }
    }
}

/// Folders that are named where no backup is.
const MOST_INSTEAD: usize = 10;

const HEADINGS: [&str; 7] = ["SERVICE", "ID", "AGE", "STORED", "POOL", "POSTGRES", "ENCRYPTED"];

fn show_list(app: &App<'_>, remote: &Remote, name: Option<&ServiceName>, found: &[Offsite]) {
    if !app.ui.is_quiet() {
        let whose = name.map_or(String::new(), |name| format!(" of {name}"));
        app.ui.heading(&format!("Backups{whose} at {}", remote.shown));
    }
    if found.is_empty() {
        show_instead(app, remote, name);
        return;
    }
    let align = [Align::Left, Align::Left, Align::Left, Align::Right, Align::Left, Align::Left, Align::Left];
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|offsite| {
        let mut row = vec![offsite.service.to_string(), offsite.id.to_string()];
        match offsite.index() {
            None => row.push("not whole".to_owned()),
            Some(index) => row.extend([
                units::ago(index.started_at, app.now),
                units::bytes(offsite.stored_bytes),
                index.pool.as_str().to_owned(),
                version(index).unwrap_or_else(|| "-".to_owned()),
                if index.encrypted { "yes" } else { "no" }.to_owned(),
            ]),
        }
        row
    }));
    app.ui.details(&table::lines(&align, &rows));
    for offsite in found {
        if let Err(why) = &offsite.state {
            app.ui.problem(&format!("{} of {} is not whole: {why}", offsite.id, offsite.service));
        }
    }
    if let (Some(newest), false) = (found.iter().find(|offsite| offsite.state.is_ok()), app.ui.is_quiet()) {
        let is_encrypted = newest.index().is_some_and(|index| index.encrypted);
        let identity = if is_encrypted { " --identity - --force < key.txt" } else { "" };
        app.ui.detail(&format!(
            "Restore one:  dokku pgbackup:restore <service> --from-remote {} {}{identity}",
            newest.service, newest.id
        ));
    }
}
