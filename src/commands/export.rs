//! `pgbackup:export`.

use anyhow::Result;

use super::App;
use crate::cli::{self, ExportArgs};
use crate::encryption::Recipients;
use crate::error::Failure;
use crate::export::{self, Form};
use crate::progress::Progress;
use crate::ui::data::DataOut;
use crate::units;

pub fn run(app: &App<'_>, args: &ExportArgs) -> Result<()> {
    if !args.tables.is_empty() && args.form != cli::Form::Sql {
        return Err(Failure::usage("single tables are exported as SQL only")
            .hint(format!("dokku pgbackup:export {} --as sql --table …", args.service))
            .into());
    }
    let recipients = Some(Recipients::all(&args.recipients)).filter(|all| all.count() > 0);
    let mut out = DataOut::open(app.docker.interrupt(), &example(args, recipients.is_some()))?;
    let service = app.service(&args.service)?;
    let backup = app.choose(&service, args.backup.as_deref())?;
    if !backup.is_good() {
        app.ui.warn(&format!("the last verification of backup {} found something wrong", backup.id));
    }
    let (form, described) = match args.form {
        cli::Form::Tar => (Form::Tar, "a tar archive"),
        cli::Form::Sql => (Form::Sql { tables: &args.tables }, "plain SQL"),
        cli::Form::Custom => (Form::Custom, "an archive of pg_dump -Fc"),
    };
    let what = match args.tables.as_slice() {
        [] => String::new(),
        tables => format!("{} from ", tables.join(", ")),
    };
    app.ui.step(&format!("Exporting {what}backup {} of {} as {described}", backup.id, service.name));
    let report = export::export(&app.host(), &service, &backup, form, recipients.as_ref(), &mut out)?;
    let locked = recipients.map_or_else(String::new, |recipients| {
        format!(", encrypted for {}", units::plural(recipients.count() as u64, "key"))
    });
    app.ui.note(&format!("{} in {}{locked}", units::bytes(report.bytes), units::duration(report.duration)));
    Ok(())
}

/// A name for the file that the user did not name.
fn example(args: &ExportArgs, encrypted: bool) -> String {
    let ending = match args.form {
        cli::Form::Tar => "tar",
        cli::Form::Sql => "sql",
        cli::Form::Custom => "dump",
    };
    let name = args.service.as_str();
    let name = name.strip_suffix("-db").unwrap_or(name);
    format!("{name}.{ending}{}", if encrypted { ".age" } else { "" })
}
