//! `pgbackup:doctor`.

use anyhow::Result;
use serde::Serialize;

use super::App;
use crate::cli::{DoctorArgs, Format};
use crate::doctor::{Finding, examine};
use crate::error::Failure;
use crate::units;

#[derive(Serialize)]
struct FindingView<'a> {
    service: Option<&'a str>,
    problem: &'a str,
    cure: &'a str,
    advice: bool,
}

impl<'a> FindingView<'a> {
    fn of(finding: &'a Finding) -> Self {
        FindingView {
            service: finding.service.as_deref(),
            problem: &finding.what,
            cure: &finding.cure,
            advice: finding.is_advice,
        }
    }
}

pub fn run(app: &App<'_>, args: &DoctorArgs) -> Result<()> {
    let services = match &args.service {
        Some(name) => vec![app.service(name)?],
        None => app.dokku.services()?,
    };
    let findings = examine(&app.host(), &services)?;
    let ill = findings.iter().filter(|finding| !finding.is_advice).count();
    if args.format == Format::Json {
        app.ui.json(&findings.iter().map(FindingView::of).collect::<Vec<_>>())?;
    } else {
        show(app, services.len(), &findings);
    }
    if ill == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!("{} found", units::plural(ill as u64, "problem"))).into())
}

fn show(app: &App<'_>, services: usize, findings: &[Finding]) {
    if services > 0 && findings.iter().all(|finding| finding.is_advice) {
        app.ui.heading("All is well");
    }
    let mut last: Option<&Option<String>> = None;
    for finding in findings {
        if last != Some(&finding.service) {
            app.ui.heading(finding.service.as_deref().unwrap_or("this server"));
            last = Some(&finding.service);
        }
        if finding.is_advice {
            app.ui.detail(&finding.what);
        } else {
            app.ui.problem(&finding.what);
        }
        app.ui.detail(&format!("  {}", finding.cure));
    }
}
