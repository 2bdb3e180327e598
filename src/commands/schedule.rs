//! `pgbackup:schedule`.

use anyhow::Result;

use super::App;
use crate::cli::ScheduleArgs;
use crate::crontab;
use crate::destroyed;
use crate::dokku::Service;
use crate::files;
use crate::schedule::Schedule;
use crate::settings::Key;

/// Times that are shown.
const NEXT: usize = 3;

pub fn run(app: &App<'_>, args: &ScheduleArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let name = if args.verify { "verify-schedule" } else { "schedule" };
    if args.off || !args.crons.is_empty() {
        let value = if args.off { "off".to_owned() } else { expressions(&args.crons) };
        destroyed::bring_back_if_free(&app.host(), &service);
        files::create_private_folders_in(service.layout.root(), &service.layout.own())?;
        crontab::set(&app.host(), &service.layout.settings(), Key::find(name)?, Some(&value))?;
    }
    show(app, &service)
}

/// ssh takes the quotes away: then one expression comes as five words.
fn expressions(words: &[String]) -> String {
    let is_word = |word: &String| !word.contains(char::is_whitespace) && !word.starts_with('@');
    let separator = if words.len() == 5 && words.iter().all(is_word) { " " } else { "; " };
    words.join(separator)
}

fn show(app: &App<'_>, service: &Service) -> Result<()> {
    let settings = app.host().settings(service)?;
    app.ui.heading(&format!("{} schedules", service.name));
    line(app, "Backup", settings.schedule.as_ref());
    line(app, "Drill", settings.verify_schedule.as_ref());
    if settings.schedule.is_none() {
        app.ui.detail(&format!("Each night: dokku pgbackup:schedule {} \"30 3 * * *\"", service.name));
    } else if settings.verify_schedule.is_none() {
        app.ui
            .detail(&format!("Each week: dokku pgbackup:schedule {} --verify \"0 5 * * mon\"", service.name));
    }
    Ok(())
}

fn line(app: &App<'_>, what: &str, schedule: Option<&Schedule>) {
    let Some(schedule) = schedule else {
        app.ui.detail(&format!("{what:20} off"));
        return;
    };
    app.ui.detail(&format!("{what:20} {schedule}"));
    let times = crontab::next_times(&app.host(), schedule, NEXT);
    times.iter().for_each(|time| app.ui.detail(&format!("{:20} {time}", "")));
}
