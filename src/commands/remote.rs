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

pub fn set(app: &App<'_>, args: &RemoteSetArgs) -> Result<()> {
    let (service, address) = match (&args.service, &args.address, args.global) {
        (Some(address), None, true) => (None, address),
        (Some(name), Some(address), false) => {
            (Some(app.dokku.service(&name.parse().map_err(Failure::usage)?)?), address)
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
    let whose = service.as_ref().map_or("all services".to_owned(), |service| service.name.to_string());
    app.ui.heading(&format!("Setting the remote of {whose} to {}", place.address));
    let target = service.as_ref().map_or("--global".to_owned(), |service| service.name.to_string());
    app.ui.detail(&format!("Try it out with: dokku pgbackup:remote-check {target}"));
    Ok(())
}

fn place(app: &App<'_>, args: &RemoteSetArgs, address: &str) -> Result<Place> {
    let address: Address = address.parse().map_err(Failure::usage)?;
    if let Some(endpoint) = &args.endpoint {
        let is_address = ["https://", "http://"].iter().any(|scheme| endpoint.starts_with(scheme));
        if !is_address || endpoint.contains(['@', '?', '#']) || endpoint.chars().any(char::is_whitespace) {
            return Err(Failure::usage(format!("{endpoint:?} is no endpoint"))
                .hint("an address like https://minio.example.com:9000 is wanted, without credentials")
                .into());
        }
    }
    Ok(Place {
        address: address.to_string(),
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        path_style: args.path_style,
        credentials: credentials(app, args.credentials)?,
        instance_role: args.credentials == CredentialSource::Instance,
    })
}

fn credentials(app: &App<'_>, source: CredentialSource) -> Result<Option<Credentials>> {
    let (found, missing) = match source {
        CredentialSource::Auto | CredentialSource::Instance => return Ok(None),
        CredentialSource::Environment => {
            (Environment::aws_credentials(), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
        }
        CredentialSource::Stdin => {
            if std::io::stdin().is_terminal() {
                app.ui.detail("The access key's id, then the secret key, a line each:");
            }
            let mut text = String::new();
            std::io::stdin().take(MAX_CREDENTIALS).read_to_string(&mut text).context("the credentials")?;
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
            let found = match (lines.next(), lines.next()) {
                (Some(access_key_id), Some(secret_access_key)) => {
                    Some(Credentials { access_key_id, secret_access_key, session_token: lines.next() })
                }
                _ => None,
            };
            (found, "two lines are wanted on standard input: the access key's id and the secret key")
        }
    };
    found.map(Some).ok_or_else(|| {
        Failure::usage(missing)
            .hint(
                "as in: printf '%s\\n' \"$ID\" \"$SECRET\" | dokku pgbackup:remote-set … --credentials stdin",
            )
            .into()
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
    args.service.as_ref().map(|name| app.dokku.service(name)).transpose()
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
    let written = step(&host, "Writing and reading back", || {
        remote.put(&key, &bytes)?;
        match remote.get(&key, 1000)? {
            Some(back) if back == bytes => Ok(()),
            _ => {
                Err(Failure::tool(format!("{} gives back something else than was written", remote.shown))
                    .into())
            }
        }
    });
    let deleted = step(&host, "Deleting", || remote.delete(&key));
    written.and(deleted)?;
    app.ui.detail("All of it works");
    Ok(())
}

/// Says what works, and returns what does not.
fn step(host: &Host<'_>, what: &str, attempt: impl FnOnce() -> Result<()>) -> Result<()> {
    let ended = attempt();
    let how = if ended.is_ok() { "works" } else { "FAILED" };
    host.progress.note(&format!("{what}: {how}"));
    ended
}

/// The private keys in a file, or on standard input for `-`.
pub fn identities(from: Option<&str>) -> Result<Option<Identities>> {
    match from {
        None => Ok(None),
        Some("-") => Identities::read(std::io::stdin(), "standard input").map(Some),
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                Failure::usage(format!("the identity file {path} cannot be read: {error}"))
                    .hint("over ssh, hand it over on standard input: --identity - < key.txt")
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
            stored_bytes: index.map(Index::stored_bytes),
            encrypted: index.map(|index| index.encrypted),
        }
    }
}

/// What is at the remote: of one service, which need not exist here, or of all.
pub fn list(app: &App<'_>, name: Option<&ServiceName>, format: Format) -> Result<()> {
    let here = name.map(|name| app.dokku.layout().service(name)).filter(|layout| layout.root().is_dir());
    if let (Some(name), Some(_)) = (name, &here) {
        app.dokku.service(name)?;
    }
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

const HEADINGS: [&str; 7] = ["SERVICE", "ID", "AGE", "SIZE", "STORED", "POOL", "ENCRYPTED"];

fn show_list(app: &App<'_>, remote: &Remote, name: Option<&ServiceName>, found: &[Offsite]) {
    if !app.ui.is_quiet() {
        let whose = name.map_or(String::new(), |name| format!(" of {name}"));
        app.ui.heading(&format!("Backups{whose} at {}", remote.shown));
    }
    if found.is_empty() {
        app.ui.detail("none; take one there with: dokku pgbackup:push <service>");
        return;
    }
    let align = [Align::Left, Align::Left, Align::Left, Align::Right, Align::Right, Align::Left, Align::Left];
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|offsite| {
        let mut row = vec![offsite.service.to_string(), offsite.id.to_string()];
        match offsite.index() {
            None => row.push("not whole".to_owned()),
            Some(index) => row.extend([
                units::ago(index.started_at, app.now),
                units::bytes(index.size_bytes),
                units::bytes(index.stored_bytes()),
                index.pool.as_str().to_owned(),
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
        let identity =
            if newest.index().is_some_and(|index| index.encrypted) { " --identity <file>" } else { "" };
        app.ui.detail(&format!(
            "Restore one:  dokku pgbackup:restore <service> --from-remote {} {}{identity}",
            newest.service, newest.id
        ));
    }
}
