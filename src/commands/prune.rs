//! `pgbackup:prune`.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::App;
use crate::aftermath::{self, Run};
use crate::cli::{Format, PruneArgs};
use crate::files;
use crate::leftovers;
use crate::prune::{self, Fate};
use crate::retention::Verdict;
use crate::ui::table::{self, Align};
use crate::units;

#[derive(Serialize)]
struct PruneView<'a> {
    service: &'a str,
    backups: Vec<FateView<'a>>,
    freed_bytes: u64,
    dry_run: bool,
}

#[derive(Serialize)]
struct FateView<'a> {
    id: &'a str,
    pool: &'static str,
    keep: bool,
    reasons: Vec<String>,
}

pub fn run(app: &App<'_>, args: &PruneArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let host = app.host();
    let before = files::disk_use(&service.layout.backups());
    let plan = if args.dry_run {
        prune::sound_plan(&host, &service, None)?
    } else {
        let run = Run::of("prune", Instant::now());
        let mut removed = Vec::new();
        let pruned = (|| {
            files::create_private_folders_in(service.layout.root(), &service.layout.own())?;
            let lock = host.lock(&service, "pgbackup:prune", Duration::ZERO)?;
            leftovers::clear_without_docker(&host, &service, &lock)?;
            let plan = prune::sound_plan(&host, &service, None)?;
            prune::carry_out(&host, &service, &plan, None, &mut removed)?;
            Ok(plan)
        })();
        aftermath::follow(&host, &service, Run { ids: &removed, ..run }, &pruned);
        let mut plan = pruned?;
        plan.iter_mut().for_each(|fate| fate.settle(&removed));
        plan
    };
    let freed_bytes = before.saturating_sub(files::disk_use(&service.layout.backups()));
    if args.format == Format::Json {
        let backups = plan.iter().map(view).collect();
        return app.ui.json(&PruneView {
            service: service.name.as_str(),
            backups,
            freed_bytes,
            dry_run: args.dry_run,
        });
    }
    let goes = plan.iter().filter(|fate| fate.verdict == Verdict::Remove).count() as u64;
    let verb = if args.dry_run { "would go" } else { "removed" };
    app.ui.heading(&format!(
        "{}: {} of {} {verb}",
        service.name,
        goes,
        units::plural(plan.len() as u64, "backup")
    ));
    app.ui.details(&table::lines(
        &[Align::Left, Align::Left, Align::Left],
        &plan.iter().map(row).collect::<Vec<_>>(),
    ));
    if args.dry_run {
        app.ui.detail("Nothing was removed (--dry-run)");
    } else if freed_bytes > 0 {
        app.ui.detail(&format!("{} are free again", units::bytes(freed_bytes)));
    }
    Ok(())
}

fn reasons(fate: &Fate) -> Vec<String> {
    match &fate.verdict {
        Verdict::Keep(reasons) => reasons.iter().map(ToString::to_string).collect(),
        Verdict::Remove => Vec::new(),
    }
}

fn view(fate: &Fate) -> FateView<'_> {
    FateView {
        id: fate.backup.id.as_str(),
        pool: fate.backup.manifest.pool.as_str(),
        keep: fate.verdict != Verdict::Remove,
        reasons: reasons(fate),
    }
}

fn row(fate: &Fate) -> Vec<String> {
    let what = match &fate.verdict {
        Verdict::Keep(_) => format!("keep: {}", reasons(fate).join(", ")),
        Verdict::Remove => "goes: no rule keeps it".to_owned(),
    };
    vec![fate.backup.id.to_string(), fate.backup.manifest.pool.as_str().to_owned(), what]
}
