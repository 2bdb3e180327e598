//! A practice run: a fresh app and a fresh service with the backup's data, and the code at exactly the backup's commit.
//! Production is only read. What is made is written down first, so that it can be removed whatever happens.

mod note;
mod plan;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::code::Code;
use crate::deployed::{self, AppRecord, Deployed};
use crate::diff::code::{self as code_diff, AppChange};
use crate::dokku::{Dokku, Service};
use crate::files;
use crate::host::Host;
use crate::lock::AppLock;
use crate::restore::{self, RestoreOptions, RestoreReport};
pub use note::{Found, Made, find, remove};
use note::{Parts, lock, remove_parts, write};
pub use plan::{PracticeOptions, PracticePlan, plan};
use plan::{refuse_what_exists, service_exists};

#[derive(Debug)]
pub struct PracticeReport {
    pub plan: PracticePlan,
    pub restored: RestoreReport,
    /// From the data's code to the one that is going to be built; and on to the one that runs in production.
    pub to_built: AppChange,
    pub to_running: AppChange,
    pub duration: Duration,
}

/// Makes it all. On failure nothing of it stays.
pub fn run(host: &Host<'_>, plan: PracticePlan, jobs: Option<usize>) -> Result<PracticeReport> {
    let started = Instant::now();
    let mut making = Making::begin(host, &plan)?;
    host.progress.step(&format!("Making the app {}", plan.app));
    making.make_app()?;
    host.check()?;
    host.progress
        .step(&format!("Making the service {} ({}:{})", plan.service, plan.image, plan.image_version));
    making.make_service(&plan)?;
    host.check()?;
    host.dokku.link_service(&plan.service, &plan.app)?;
    let target = host.dokku.known_service(&plan.service)?;
    let restored = fill(host, &plan, &target, jobs)?;
    if plan.code.image().is_none() {
        put_code(host, &plan)?;
    }
    // The first build's own backup then knows what the data belongs to.
    let dokku_record = deployed::mark_of(&host.dokku.deploy_source(&plan.app)?);
    let data = Code { branch: None, ..plan.from.code.clone() };
    Deployed { code: data, at: host.now, image_tag: None, dokku_record }.write(host.dokku, &plan.app)?;
    host.check()?;
    making.keep();
    let data = plan.from.clone();
    let built = AppRecord { code: plan.code.clone(), ..plan.from.clone() };
    Ok(PracticeReport {
        to_built: code_diff::between(host.dokku, data.clone(), built),
        to_running: code_diff::between(host.dokku, data, plan.running.clone()),
        restored,
        plan,
        duration: started.elapsed(),
    })
}

fn fill(
    host: &Host<'_>,
    plan: &PracticePlan,
    target: &Service,
    jobs: Option<usize>,
) -> Result<RestoreReport> {
    let options = RestoreOptions { jobs, ..RestoreOptions::default() };
    let report = restore::restore_at_once(host, target, plan.backup.clone(), &options, |_| {})?;
    // The empty database that it replaced is of no use to anybody.
    restore::drop_previous(host, target, &report.plan.previous);
    Ok(report)
}

/// Puts the new app's repository at the commit.
fn put_code(host: &Host<'_>, plan: &PracticePlan) -> Result<()> {
    let Some(commit) = &plan.code.commit else { return Ok(()) };
    host.progress.step(&format!("Putting {} at commit {}", plan.app, crate::code::short(commit)));
    let branch = host.dokku.deploy_branch(&plan.app)?;
    let repository = host.dokku.repository(&plan.app);
    repository.take_commit(&host.dokku.repository(&plan.from.name).path, commit, &branch)?;
    repository.point_head_at(&branch)
}

/// What is being made. Dropped before it is kept, all that this run has made is removed.
struct Making<'a, 'b> {
    host: &'a Host<'b>,
    made: Made,
    has_made: Parts,
    wanted: bool,
    _lock: AppLock,
}

impl<'a, 'b> Making<'a, 'b> {
    fn begin(host: &'a Host<'b>, plan: &PracticePlan) -> Result<Self> {
        files::create_private_folders(&host.dokku.layout().practices())?;
        let lock = lock(host, &plan.app)?;
        // The plan was made without the lock.
        refuse_what_exists(host, &plan.app, &plan.service)?;
        let made = Made {
            app: plan.app.clone(),
            service: plan.service.clone(),
            from_service: plan.backup.manifest.service.clone(),
            backup: plan.backup.id.to_string(),
            at: host.now,
            app_created_at: None,
            service_identity: None,
        };
        write(host, &made)?;
        Ok(Making { host, made, has_made: Parts::default(), wanted: false, _lock: lock })
    }

    /// What a creation that fails leaves may be somebody else's, who was faster: it is not removed.
    fn make_app(&mut self) -> Result<()> {
        Dokku::create_app(&self.made.app)?;
        self.has_made.app = true;
        self.made.app_created_at = self.host.dokku.app_created_at(&self.made.app)?;
        write(self.host, &self.made)
    }

    /// The same.
    fn make_service(&mut self, plan: &PracticePlan) -> Result<()> {
        let dokku = self.host.dokku;
        dokku.create_service(&plan.service, &plan.image, &plan.image_version)?;
        self.has_made.service = true;
        // Not every file system knows when a folder was made.
        self.made.service_identity = files::identity(dokku.layout().service(&plan.service).root()).ok();
        write(self.host, &self.made)
    }

    fn keep(mut self) {
        self.wanted = true;
    }

    /// Names what was not made and is there all the same, which a creation that failed may have left.
    fn tell_what_stays(&self) {
        let Made { app, service, .. } = &self.made;
        let stays = |what: &str, command: String| {
            self.host.progress.warn(&format!("{what} is there and was left alone; to remove it: {command}"));
        };
        if !self.has_made.app && self.host.dokku.app_exists(app) {
            stays(&format!("app {app}"), format!("dokku apps:destroy {app}"));
        }
        if !self.has_made.service && service_exists(self.host, service) {
            stays(&format!("service {service}"), format!("dokku postgres:destroy {service}"));
        }
    }
}

impl Drop for Making<'_, '_> {
    fn drop(&mut self) {
        if self.wanted {
            return;
        }
        self.host.progress.step("Removing what was made for the practice run");
        if let Err(error) = remove_parts(self.host, &self.made, self.has_made) {
            self.host.progress.warn(&format!(
                "{error:#}; try again with: dokku pgbackup:practice --cleanup {}",
                self.made.app
            ));
        }
        self.tell_what_stays();
    }
}
