//! `pgbackup:history`.

use std::time::Duration;

use anyhow::Result;

use super::App;
use crate::cli::{Format, HistoryArgs};
use crate::history::{self, Event};
use crate::ui::table::{self, Align};
use crate::units;

const HEADINGS: [&str; 6] = ["WHEN", "COMMAND", "BACKUP", "BY", "TOOK", "RESULT"];
const ALIGN: [Align; 6] = [Align::Left, Align::Left, Align::Left, Align::Left, Align::Right, Align::Left];

pub fn run(app: &App<'_>, args: &HistoryArgs) -> Result<()> {
    let service = app.service(&args.service)?;
    let mut events = history::read(&service.layout)?;
    events.truncate(args.limit);
    if args.format == Format::Json {
        return app.ui.json(&events);
    }
    app.ui.heading(&format!("{} history", service.name));
    if events.is_empty() {
        app.ui.detail("nothing was done yet");
        return Ok(());
    }
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(events.iter().map(|event| row(app, event)));
    app.ui.details(&table::lines(&ALIGN, &rows));
    Ok(())
}

fn row(app: &App<'_>, event: &Event) -> Vec<String> {
    let message = event.message.clone().unwrap_or_default();
    vec![
        units::time(event.at),
        event.command.clone(),
        match (&event.backup, event.ids.as_slice()) {
            (Some(backup), _) => backup.clone(),
            (None, []) => String::new(),
            (None, [id]) => id.clone(),
            (None, ids) => units::plural(ids.len() as u64, "backup"),
        },
        event.who.clone(),
        units::duration(Duration::from_millis(event.duration_ms)),
        if event.good { "ok".to_owned() } else { app.ui.mark(false, &format!("FAILED {message}")) },
    ]
}
