//! dokku's triggers, which call the program by the files of their names beside `commands`.

use std::time::Instant;

use anyhow::Result;

use super::App;
use crate::aftermath::{self, Run};
use crate::cli::TriggerArgs;
use crate::crontab;
use crate::deploy::{self, Outcome};
use crate::destroyed::{self, Destroyed};
use crate::dokku::is_app_name;
use crate::error::{self, Failure};
use crate::host::Host;
use crate::manifest::Pool;
use crate::metrics;
use crate::push;
use crate::units;

/// What a trigger asks for, out of its words.
#[derive(Debug, PartialEq, Eq)]
enum Call<'a> {
    Begin {
        app: &'a str,
        commit: &'a str,
    },
    BackUp {
        app: &'a str,
    },
    BackUpUnlessRestart {
        app: &'a str,
        container: &'a str,
        phase: &'a str,
    },
    /// `last`: dokku holds nothing up any more.
    Finish {
        app: &'a str,
        image_tag: &'a str,
        last: bool,
    },
    Source {
        app: &'a str,
        kind: &'a str,
        metadata: &'a str,
    },
    Forget {
        app: &'a str,
    },
    Rename {
        old: &'a str,
        new: &'a str,
    },
    CronEntries,
    Save {
        service: &'a str,
    },
    Gone {
        service: &'a str,
    },
}

pub fn run(app: &App<'_>, args: &TriggerArgs) -> Result<()> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    match understand(&args.name, &words) {
        Some(call) => answer(app, &call),
        // A later dokku may call with other words; a deploy must not fail of that.
        None => Ok(()),
    }
}

fn understand<'a>(name: &str, words: &[&'a str]) -> Option<Call<'a>> {
    let call = match (name, words) {
        ("core-post-extract", [app, _, commit, ..]) => Call::Begin { app, commit },
        ("post-build", [_, app, ..]) => Call::BackUp { app },
        ("post-container-create", [container, _, app, phase, ..]) => {
            Call::BackUpUnlessRestart { app, container, phase }
        }
        ("core-post-deploy" | "post-deploy", [app, rest @ ..]) => {
            let image_tag = rest.get(2).copied().unwrap_or_default();
            Call::Finish { app, image_tag, last: name == "post-deploy" }
        }
        ("deploy-source-set", [app, kind, metadata, ..]) => Call::Source { app, kind, metadata },
        ("post-delete", [app, ..]) => Call::Forget { app },
        ("post-app-rename-setup", [old, new, ..]) => Call::Rename { old, new },
        // A crontab without our lines for other schedulers than the server's own.
        ("cron-entries", ["docker-local", ..] | []) => Call::CronEntries,
        ("service-action", ["pre-delete", "postgres", service, ..]) => Call::Save { service },
        ("service-action", ["post-delete", "postgres", service, ..]) => Call::Gone { service },
        _ => return None,
    };
    call.apps().into_iter().all(is_app_name).then_some(call)
}

impl<'a> Call<'a> {
    fn apps(&self) -> Vec<&'a str> {
        match *self {
            Call::Begin { app, .. }
            | Call::BackUp { app }
            | Call::BackUpUnlessRestart { app, .. }
            | Call::Finish { app, .. }
            | Call::Source { app, .. }
            | Call::Forget { app } => vec![app],
            Call::Rename { old, new } => vec![old, new],
            Call::CronEntries | Call::Save { .. } | Call::Gone { .. } => Vec::new(),
        }
    }
}

fn answer(app: &App<'_>, call: &Call<'_>) -> Result<()> {
    let host = app.host();
    let noted = match *call {
        Call::BackUp { app: name } => return back_up(app, name),
        Call::BackUpUnlessRestart { app: name, container, phase } => {
            let is_net = deploy::is_net(&app.dokku.environment().deploy, container, phase);
            return if is_net { back_up(app, name) } else { Ok(()) };
        }
        Call::CronEntries => {
            cron_entries(app);
            Ok(())
        }
        Call::Save { service } => return save(app, service),
        // The lines and the metrics of a service that is gone are gone with the next writing.
        Call::Gone { .. } => {
            crontab::rewrite(&host);
            metrics::refresh(&host);
            Ok(())
        }
        Call::Begin { app, commit } => deploy::begin(&host, app, commit),
        Call::Finish { app, image_tag, last } => {
            let noted = deploy::finish(&host, app, image_tag);
            // Only in the later one of the two triggers: in the earlier one, dokku still hands over to the new containers.
            if last {
                push_of_deploy(&host, app);
            }
            noted
        }
        Call::Source { app, kind, metadata } => deploy::note_source(&host, app, kind, metadata),
        Call::Forget { app } => deploy::forget(&host, app),
        Call::Rename { old, new } => deploy::rename(&host, old, new),
    };
    if let Err(error) = noted {
        // A note that is missing makes a commit uncertain; it is no reason to stop a deploy.
        host.progress.warn(&format!("pgbackup could not take note of this deploy: {error:#}"));
    }
    Ok(())
}

fn push_of_deploy(host: &Host<'_>, app: &str) {
    // What cannot be read here was told of before the deploy.
    let linked = host.dokku.services_of_app(app).map(|(linked, _)| linked).unwrap_or_default();
    for service in linked.iter().filter_map(|name| host.dokku.known_service(name).ok()) {
        for report in push::push_marked(host, &service, Some(Pool::Deploy)) {
            host.progress.note(&format!("{} is at {}", report.backup.id, report.remote));
        }
    }
}

/// Never an error: that would cost all plugins their lines.
fn cron_entries(app: &App<'_>) {
    let (lines, broken) = crontab::entries(&app.host());
    for problem in broken {
        app.host().progress.warn(&format!("no schedule for {problem}"));
    }
    // A blank line would make dokku drop everybody's lines.
    if !lines.is_empty() {
        app.ui.result(lines.trim_end());
    }
}

/// Before a service is destroyed. An error refuses that.
fn save(app: &App<'_>, name: &str) -> Result<()> {
    let name = name.parse().map_err(Failure::usage)?;
    let service = app.dokku.known_service(&name)?;
    if !service.layout.root().is_dir() {
        return Ok(());
    }
    let run = Run::of("destroy", Instant::now());
    let saved = destroyed::save(&app.host(), &service);
    // The history goes with the backups.
    let place = saved.as_ref().ok().and_then(Option::as_ref).map(Destroyed::as_service);
    let nothing = matches!(saved, Ok(None));
    if !nothing {
        aftermath::follow(&app.host(), place.as_ref().unwrap_or(&service), run, &saved);
    }
    if let Some(saved) = saved? {
        app.ui.heading(&format!("The backups of {name} are kept as {}", saved.name));
        super::destroyed::ways(app, &saved);
    }
    Ok(())
}

fn back_up(app: &App<'_>, name: &str) -> Result<()> {
    let host = app.host();
    deploy::back_up(&host, name, |outcome| match outcome {
        Outcome::Made(report) => {
            let (manifest, id) = (&report.backup.manifest, &report.backup.id);
            host.progress.note(&format!(
                "{id}: {}, {}, {}, made in {}",
                units::plural(manifest.contents.tables as u64, "table"),
                units::plural(manifest.contents.rows, "row"),
                units::bytes(manifest.dump.size_bytes),
                units::duration(report.duration)
            ));
            host.progress.note(&format!(
                "should the deploy go wrong: dokku pgbackup:restore {} {id}",
                manifest.service
            ));
        }
        Outcome::Warned { service, error } => {
            host.progress.warn(&format!("{service} could not be backed up: {error:#}"));
            if let Some(hint) = error::failure_in(&error).and_then(|failure| failure.hint.as_ref()) {
                host.progress.warn(hint);
            }
            host.progress.warn("the deploy goes on without a backup, as on-deploy is warn");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_understood_by_their_words() {
        let commit = "82eeec6fe1b2c3d4e5f60718293a4b5c6d7e8f90";
        let understood = [
            ("core-post-extract", vec!["cows", "/tmp/x", commit], Call::Begin { app: "cows", commit }),
            ("post-build", vec!["dockerfile", "cows", "/tmp/x"], Call::BackUp { app: "cows" }),
            (
                "post-container-create",
                vec!["app", "5741d", "cows", "deploy", "web"],
                Call::BackUpUnlessRestart { app: "cows", container: "app", phase: "deploy" },
            ),
            (
                "post-deploy",
                vec!["cows", "5000", "172.17.0.2", "latest"],
                Call::Finish { app: "cows", image_tag: "latest", last: true },
            ),
            (
                "core-post-deploy",
                vec!["cows", "5000", "172.17.0.2", "latest"],
                Call::Finish { app: "cows", image_tag: "latest", last: false },
            ),
            ("post-deploy", vec!["cows"], Call::Finish { app: "cows", image_tag: "", last: true }),
        ];
        for (name, words, call) in understood {
            assert_eq!(understand(name, &words), Some(call));
        }
        for (name, words) in
            [("post-build", vec!["dockerfile"]), ("post-delete", vec!["../x"]), ("other", vec!["a"])]
        {
            assert_eq!(understand(name, &words), None);
        }
    }
}
