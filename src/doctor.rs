//! What makes backups silently not happen, each with its cure.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use chrono::TimeDelta;

use crate::catalog::{self, Entry};
use crate::crontab;
use crate::destroyed;
use crate::dokku::Service;
use crate::files;
use crate::history::Event;
use crate::host::Host;
use crate::leftovers;
use crate::lock;
use crate::process::Tool;
use crate::prune;
use crate::remote::{self, Patience, Remote};
use crate::settings::{OnDeploy, Settings};
use crate::status::Status;
use crate::units;

/// A drill older than this proves little.
const PROOF_AGE: TimeDelta = TimeDelta::days(35);

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `None`: of the server.
    pub service: Option<String>,
    pub what: String,
    pub cure: String,
    /// Worth knowing, and no reason to call anything ill.
    pub is_advice: bool,
}

impl Finding {
    fn new(service: Option<&Service>, what: impl Into<String>, cure: impl Into<String>) -> Self {
        let service = service.map(|service| service.name.to_string());
        Finding { service, what: what.into(), cure: cure.into(), is_advice: false }
    }

    fn advice(self) -> Self {
        Finding { is_advice: true, ..self }
    }
}

/// Looks at the server, then at each of `services`.
pub fn examine(host: &Host<'_>, services: &[Service]) -> Result<Vec<Finding>> {
    let mut findings = server(host, services)?;
    for service in services {
        findings.extend(one(host, service));
    }
    Ok(findings)
}

fn server(host: &Host<'_>, services: &[Service]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if let Err(error) = host.docker.root_folder() {
        findings.push(Finding::new(None, format!("docker does not answer: {error}"), "see: docker ps"));
    }
    findings.extend(triggers(host));
    let (entries, _) = crontab::entries(host);
    if !entries.is_empty() {
        findings.extend(cron(&entries));
    }
    for destroyed in destroyed::list(host.dokku)? {
        let bytes = files::disk_use(destroyed.layout.root());
        findings.push(
            Finding::new(
                None,
                format!(
                    "the backups of the destroyed service {} take {}",
                    destroyed.service,
                    units::bytes(bytes)
                ),
                format!(
                    "when they are not wanted any more: dokku pgbackup:delete --destroyed {}",
                    destroyed.name
                ),
            )
            .advice(),
        );
    }
    if services.is_empty() {
        findings.push(
            Finding::new(None, "there is no Postgres service", "make one: dokku postgres:create <service>")
                .advice(),
        );
    }
    Ok(findings)
}

/// What dokku calls pgbackup by, beside `commands`.
const TRIGGERS: [&str; 10] = [
    "core-post-deploy",
    "core-post-extract",
    "cron-entries",
    "deploy-source-set",
    "post-app-rename-setup",
    "post-build",
    "post-container-create",
    "post-delete",
    "post-deploy",
    "service-action",
];

fn triggers(host: &Host<'_>) -> Option<Finding> {
    let plugin = host.dokku.environment().plugins.as_ref()?.join("pgbackup");
    let missing = missing_triggers(&plugin);
    let what = format!("dokku cannot run {} in {}", missing.join(", "), plugin.display());
    (!missing.is_empty()).then(|| {
        Finding::new(None, what, "install the plugin anew: deploys or destroys go past it until then")
    })
}

fn missing_triggers(plugin: &Path) -> Vec<&'static str> {
    let can_run = |name: &&str| {
        plugin
            .join(name)
            .metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    TRIGGERS.into_iter().filter(|name| !can_run(name)).collect()
}

/// Whether cron runs, and whether dokku's crontab has our lines.
fn cron(entries: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !is_running("cron") && !is_running("crond") {
        findings.push(Finding::new(
            None,
            "cron does not run, so nothing is backed up by itself",
            "start it: systemctl enable --now cron",
        ));
    }
    let listed = Tool::new("crontab").arg("-l").run_always();
    let table = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let missing = missing_lines(entries, &table);
    if missing > 0 {
        findings.push(Finding::new(
            None,
            format!("dokku's crontab lacks {} of pgbackup", units::plural(missing as u64, "line")),
            "have it written anew, as root: dokku plugin:trigger scheduler-cron-write",
        ));
    }
    findings
}

/// How many of `entries` (`schedule;command;log file`) are not in the crontab as they are now.
fn missing_lines(entries: &str, table: &str) -> usize {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let there: Vec<_> = table.lines().filter(|line| !line.trim_start().starts_with('#')).map(words).collect();
    let is_missing = |entry: &&str| {
        let wanted = words(&entry.split(';').take(2).collect::<Vec<_>>().join(" "));
        !there.iter().any(|line| line.starts_with(&wanted))
    };
    entries.lines().filter(is_missing).count()
}

fn is_running(name: &str) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok())
        .any(|comm| comm.trim_end() == name)
}

fn one(host: &Host<'_>, service: &Service) -> Vec<Finding> {
    let status = Status::of(host, service);
    let name = &service.name;
    let mut findings = Vec::new();
    let mut find = |what: String, cure: String| findings.push(Finding::new(Some(service), what, cure));
    let unread = [host.dokku.known_service(name).err(), service.links().err()];
    let unread = unread.into_iter().flatten().map(|error| format!("{error:#}"));
    for why in status.unreadable.iter().cloned().chain(unread) {
        find(why, format!("everything in {} must be dokku's", service.layout.root().display()));
    }
    if let Err(error) = &status.settings {
        find(error.to_string(), "correct that line, or move the file away".to_owned());
    }
    if let Ok(None | Some(false)) =
        host.docker.container(&service.container()).map(|found| found.map(|info| info.running))
    {
        find("it is not running".to_owned(), format!("dokku postgres:start {name}"));
    }
    if let Some(due) = status.overdue_since {
        find(
            format!("the backup of {} was not made", units::local(due)),
            format!("see why: dokku pgbackup:history {name}"),
        );
    }
    let room = room(service, &status);
    // What the lack of room says already.
    let is_news = |event: &&Event| room.is_none() || event.command != "create";
    for event in status.failures.iter().filter(is_news) {
        let why = event.message.clone().unwrap_or_default();
        find(
            format!("the last {} failed, {}: {why}", event.command, units::ago(event.at, host.now)),
            format!("dokku pgbackup:{} {name}", event.command),
        );
    }
    if status.newest_is_bad {
        find(
            "its newest backup was found bad".to_owned(),
            format!("make a new one: dokku pgbackup:create {name}"),
        );
    }
    findings.extend(folders(service));
    findings.extend(entries(service));
    findings.extend(dates(host, service));
    findings.extend(proof(host, service, &status));
    findings.extend(room);
    findings.extend(remote(host, service, &status));
    findings.extend(care(host, service, &status));
    findings
}

/// Everything belongs to dokku alone: else `postgres:destroy` fails half-way, or others read the data.
fn folders(service: &Service) -> Vec<Finding> {
    let own = service.layout.own();
    // Before the first backup there is no folder, and nothing is wrong.
    let found = files::exposed(&own).unwrap_or_default();
    let Some(first) = found.first() else { return Vec::new() };
    let cure = format!("as root: chown -R dokku:dokku {0} && chmod -R go= {0}", own.display());
    let count = units::count(found.len() as u64);
    vec![Finding::new(
        Some(service),
        format!("{count} of its files and folders not dokku's alone, {} for one", first.path.display()),
        cure,
    )]
}

fn entries(service: &Service) -> Vec<Finding> {
    let name = &service.name;
    let is_busy = lock::holder(&service.layout.lock()).is_some();
    let finding = |entry: Entry| match entry {
        Entry::Whole(_) => None,
        Entry::Broken { name: id, why } => Some(Finding::new(
            Some(service),
            format!("backup {id} is not whole: {why}"),
            format!("dokku pgbackup:delete {name} {id}"),
        )),
        Entry::Pending { name: id } | Entry::Deleted { name: id } => {
            Some(leftover(service, is_busy, &format!("backup {id}"), "made or removed"))
        }
    };
    catalog::list(&service.layout).unwrap_or_default().into_iter().filter_map(finding).collect()
}

/// What is there only while a run goes on, which holds a lock then.
fn leftover(service: &Service, is_busy: bool, what: &str, doing: &str) -> Finding {
    if is_busy {
        return Finding::new(Some(service), format!("{what} is being {doing}"), "nothing is to be done")
            .advice();
    }
    let cure = format!("clear it with the next backup: dokku pgbackup:create {}", service.name);
    Finding::new(Some(service), format!("{what} was left by a killed run"), cure)
}

/// Retention and the alarms rest on the dates.
fn dates(host: &Host<'_>, service: &Service) -> Option<Finding> {
    let plan = prune::plan(host, service).ok()?;
    let wrong = prune::misdated(&plan)?;
    let what =
        format!("the date of {wrong} or the server's clock is wrong, so no backup is removed any more");
    let cure = format!("set the clock; if it is right: dokku pgbackup:delete {} {wrong}", service.name);
    Some(Finding::new(Some(service), what, cure))
}

fn proof(host: &Host<'_>, service: &Service, status: &Status) -> Option<Finding> {
    let name = &service.name;
    status.last_good.as_ref()?;
    let what = match status.last_drill {
        None => "no backup of it was ever proven by a drill".to_owned(),
        Some(at) if host.now - at > PROOF_AGE => format!("its last drill was {}", units::ago(at, host.now)),
        Some(_) => return None,
    };
    let cure = format!(
        "dokku pgbackup:verify {name}; each week: dokku pgbackup:schedule {name} --verify \"0 5 * * mon\""
    );
    Some(Finding::new(Some(service), what, cure))
}

fn room(service: &Service, status: &Status) -> Option<Finding> {
    let folder = [service.layout.backups(), service.layout.root().to_owned()]
        .into_iter()
        .find(|path| path.is_dir())?;
    let space = files::space(&folder).ok()?;
    let wanted = status.settings.as_ref().ok()?.min_free.of(space.total);
    let what = format!(
        "{} are free in {}, and {} are to stay free (min-free)",
        units::bytes(space.free),
        folder.display(),
        units::bytes(wanted)
    );
    (space.free < wanted)
        .then(|| Finding::new(Some(service), what, "make room: nothing is backed up until then"))
}

/// Whether the remote can be reached, and whether there is one where backups are to be taken there.
fn remote(host: &Host<'_>, service: &Service, status: &Status) -> Option<Finding> {
    let name = &service.name;
    let is_wanted = status.settings.as_ref().is_ok_and(|settings| settings.push_on_create);
    let cure = format!("dokku pgbackup:remote-check {name}");
    match remote::place::of(host.dokku.layout(), Some(&service.layout)) {
        Err(error) => {
            let cure = format!("dokku pgbackup:remote-set {name}|--global <address>");
            Some(Finding::new(Some(service), error.to_string(), cure))
        }
        Ok(None) => is_wanted.then(|| {
            let what = "push-on-create is on, and no remote is set";
            Finding::new(Some(service), what, format!("dokku pgbackup:remote-set {name} s3://bucket/prefix"))
        }),
        Ok(Some(place)) => {
            let opened = Remote::open(&place, Patience::Question, host.docker.interrupt().clone());
            let error = opened.and_then(|remote| remote.reach()).err()?;
            Some(Finding::new(Some(service), format!("its remote does not work: {error}"), cure))
        }
    }
}

/// What nobody has taken care of yet.
fn care(host: &Host<'_>, service: &Service, status: &Status) -> Vec<Finding> {
    let name = &service.name;
    let links = service.links().unwrap_or_default();
    let Ok(settings) = &status.settings else { return Vec::new() };
    let mut findings = Vec::new();
    if status.last_good.is_none() && status.unreadable.is_none() {
        findings.push(Finding::new(
            Some(service),
            "it has no good backup",
            format!("dokku pgbackup:create {name}"),
        ));
    }
    if settings.schedule.is_none() && !links.is_empty() {
        let cure = format!("each night: dokku pgbackup:schedule {name} \"30 3 * * *\"");
        findings.push(Finding::new(Some(service), "it is not backed up by itself", cure));
    }
    if settings.on_deploy == OnDeploy::Off && !links.is_empty() {
        let visible = host.dokku.visible_apps(&links).unwrap_or_default();
        let apps = if visible.is_empty() { "linked apps".to_owned() } else { visible.join(", ") };
        let what = format!("deploys of {apps} are not backed up (on-deploy is off)");
        findings.push(
            Finding::new(Some(service), what, format!("dokku pgbackup:set {name} on-deploy required"))
                .advice(),
        );
    }
    findings.extend(messages(service, settings, !links.is_empty()));
    let is_busy = lock::holder(&service.layout.lock()).is_some();
    for container in host.docker.leftovers(name.as_str()).unwrap_or_default() {
        let is_busy = is_busy || leftovers::is_in_use(service, &container).unwrap_or(true);
        findings.push(leftover(service, is_busy, &format!("the container {}", container.name), "used"));
    }
    findings
}

/// Whether anybody hears of a failure.
fn messages(service: &Service, settings: &Settings, is_used: bool) -> Option<Finding> {
    let notify = &settings.notify;
    if let Some(program) = &notify.command {
        let is_program = program.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
        let what = format!("notify-command {} is no program", program.display());
        let cure = format!("dokku pgbackup:set {} notify-command <program>", service.name);
        return (!is_program).then(|| Finding::new(Some(service), what, cure));
    }
    let nobody = notify.url.is_none() && notify.failure_url.is_none();
    let cure = "dokku pgbackup:set --global notify-url <address>";
    (nobody && is_used)
        .then(|| Finding::new(Some(service), "nobody is told when a backup fails", cure).advice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_that_dokku_cannot_run_is_missed() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(missing_triggers(repository), Vec::<&str>::new());
        let links = std::fs::read_dir(repository).unwrap().flatten().map(|entry| entry.path());
        let links =
            links.filter(|path| path.read_link().is_ok_and(|target| target == Path::new("post-build")));
        for link in links {
            assert!(TRIGGERS.contains(&link.file_name().unwrap().to_str().unwrap()), "{}", link.display());
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("post-build", folder.path().join("service-action")).unwrap();
        assert_eq!(missing_triggers(folder.path()).len(), TRIGGERS.len());
        files::write_private(&folder.path().join("post-build"), b"").unwrap();
        assert!(missing_triggers(folder.path()).contains(&"service-action"));
    }

    #[test]
    fn a_stale_crontab_is_told_from_a_right_one() {
        let entries = "30 3 * * *;dokku pgbackup:create db --scheduled;/x.log\n@daily;dokku pgbackup:create d --scheduled;/x.log\n";
        let line = "30 3 * * * dokku pgbackup:create db --scheduled &>> /x.log\n";
        let daily = "@daily dokku pgbackup:create d --scheduled &>> /x.log\n";
        assert_eq!(missing_lines(entries, &format!("PATH=/bin\n{line}{daily}")), 0);
        assert_eq!(missing_lines(entries, &format!("# {line}{daily}")), 1);
        assert_eq!(missing_lines(entries, &format!("{}{daily}", line.replace("30 3", "40 3"))), 1);
        assert_eq!(missing_lines(entries, &format!("1{line}{}", daily.replace(" d ", " db "))), 2);
    }
}
