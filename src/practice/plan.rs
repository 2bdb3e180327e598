//! What a practice run is going to make, and why it may not.

use anyhow::Result;

use super::note::read;
use crate::catalog::Backup;
use crate::code::Code;
use crate::deployed::{self, AppRecord};
use crate::dokku::is_app_name;
use crate::error::Failure;
use crate::host::Host;
use crate::service_name::ServiceName;

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct PracticeOptions {
    /// The app to make.
    pub app: String,
    /// The service to make.
    pub service: Option<ServiceName>,
    /// The app whose code is taken, when the backup knows several.
    pub from_app: Option<String>,
    /// Other code than the backup's.
    pub commit: Option<String>,
    pub image: Option<String>,
    pub image_version: Option<String>,
    pub jobs: Option<usize>,
}

/// Everything a practice run is going to make.
#[derive(Debug, Clone)]
pub struct PracticePlan {
    pub backup: Backup,
    /// The app whose code is taken, as the backup knows it.
    pub from: AppRecord,
    /// The same as it runs now.
    pub running: AppRecord,
    pub app: String,
    pub service: ServiceName,
    pub image: String,
    pub image_version: String,
    /// What the new app's repository will be at.
    pub code: Code,
}

/// Looks at everything and changes nothing.
pub fn plan(host: &Host<'_>, backup: Backup, options: &PracticeOptions) -> Result<PracticePlan> {
    let from = source_app(host, &backup, options.from_app.as_deref())?;
    let app = options.app.clone();
    if !is_app_name(&app) {
        return Err(Failure::usage(format!("{app:?} is not a name for an app")).into());
    }
    let service = match &options.service {
        Some(service) => service.clone(),
        None => format!("{app}-db").parse().map_err(Failure::usage)?,
    };
    refuse_what_exists(host, &app, &service)?;
    let (image, tag) =
        image_parts(&backup.manifest.server.image, &backup.manifest.server.version_num.to_string());
    let code = chosen_code(host, &from, options.commit.as_deref())?;
    Ok(PracticePlan {
        running: deployed::running(host.dokku, &from.name)?,
        image: options.image.clone().unwrap_or(image),
        image_version: options.image_version.clone().unwrap_or(tag),
        backup,
        from,
        app,
        service,
        code,
    })
}

fn source_app(host: &Host<'_>, backup: &Backup, wanted: Option<&str>) -> Result<AppRecord> {
    // An app that the user may not see is none that the backup knows.
    let all: Vec<String> = backup.manifest.apps.iter().map(|app| app.name.clone()).collect();
    let visible = host.dokku.visible_apps(&all)?;
    let apps: Vec<AppRecord> =
        backup.manifest.apps.iter().filter(|app| visible.contains(&app.name)).cloned().collect();
    let names: Vec<String> = apps.iter().map(|app| app.name.clone()).collect();
    let found = match (wanted, apps.as_slice()) {
        (Some(wanted), [only]) if is_app_name(wanted) && host.dokku.app_exists(wanted) => {
            // The only app may have another name by now.
            Some(AppRecord { name: wanted.to_owned(), ..only.clone() })
        }
        (Some(wanted), _) => apps.iter().find(|app| app.name == wanted).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    };
    let may_see = |app: &AppRecord| {
        host.dokku.visible_apps(std::slice::from_ref(&app.name)).is_ok_and(|seen| !seen.is_empty())
    };
    if let Some(gone) = found.as_ref().filter(|app| !host.dokku.app_exists(&app.name)) {
        return Err(Failure::refused(format!("app {} is not there any more", gone.name))
            .hint("has it another name now? take its code with --from-app <app>")
            .into());
    }
    found.filter(may_see).ok_or_else(|| {
        let failure = match (wanted, apps.len()) {
            (Some(wanted), _) => Failure::not_found(format!("backup {} knows no app {wanted}", backup.id)),
            (None, 0) => Failure::refused(format!("no app was linked when backup {} was made", backup.id)),
            (None, _) => Failure::usage(format!("backup {} knows several apps", backup.id)),
        };
        let known = if names.is_empty() { String::new() } else { format!("; it knows {}", names.join(", ")) };
        failure.hint(format!("say whose code to take with --from-app <app>{known}")).into()
    })
}

pub(super) fn refuse_what_exists(host: &Host<'_>, app: &str, service: &ServiceName) -> Result<()> {
    let earlier = read(host, app)?;
    let taken = if host.dokku.app_exists(app) {
        format!("app {app} exists already")
    } else if service_exists(host, service) {
        format!("service {service} exists already")
    } else if let Some(left) = earlier.as_ref().filter(|made| service_exists(host, &made.service)) {
        // Its note is about to be replaced, and without the note nobody would remove it.
        format!("service {} is left from a practice run with the same app", left.service)
    } else {
        return Ok(());
    };
    let hint = if earlier.is_some() {
        format!(
            "if it is from an earlier practice run, remove it with: dokku pgbackup:practice --cleanup {app}"
        )
    } else {
        "a practice run makes its own; choose another name".to_owned()
    };
    Err(Failure::refused(taken).hint(hint).into())
}

pub(super) fn service_exists(host: &Host<'_>, service: &ServiceName) -> bool {
    host.dokku.layout().service(service).root().exists()
}

/// `registry:5000/postgres:17.6` → `registry:5000/postgres`, `17.6`. An image without a tag, of a digest for example, is
/// taken in the `version` that its server had.
fn image_parts(image: &str, version: &str) -> (String, String) {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        _ => (name.to_owned(), version.to_owned()),
    }
}

/// The commit that the new app is put at, which must be in the repository of the app that it is taken from.
fn chosen_code(host: &Host<'_>, from: &AppRecord, wanted: Option<&str>) -> Result<Code> {
    let repository = host.dokku.repository(&from.name);
    let name = &from.name;
    if let Some(wanted) = wanted {
        let commit = repository.resolve(wanted).ok_or_else(|| {
            Failure::not_found(format!("the repository of {name} has no commit {wanted:?}"))
                .hint(format!("deploy it to {name} once, or choose another one"))
        })?;
        return Ok(deployed::with_facts(Code { commit: Some(commit), ..Code::default() }, &repository));
    }
    // Before its first deploy an app runs nothing; then the data is for what was about to come.
    let code =
        if from.code.short().is_some() { from.code.clone() } else { from.coming.clone().unwrap_or_default() };
    if code.image().is_some() {
        return Ok(code);
    }
    match code.commit.as_deref() {
        Some(commit) if repository.facts(commit).is_some() => Ok(code),
        Some(commit) => {
            Err(Failure::refused(format!("the repository of {name} does not have commit {commit} any more"))
                .hint("choose another one with --commit <sha>")
                .into())
        }
        None => Err(Failure::refused(format!("the backup does not know which commit {name} was running"))
            .hint("choose one with --commit <sha>")
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_a_name_and_a_tag() {
        for (image, name, tag) in [
            ("postgres:17.6", "postgres", "17.6"),
            ("registry:5000/a/postgres@sha256:abc", "registry:5000/a/postgres", "17.6"),
            ("postgis/postgis:17-3.5", "postgis/postgis", "17-3.5"),
            ("postgres:17@sha256:abc", "postgres", "17"),
        ] {
            assert_eq!(image_parts(image, "17.6"), (name.to_owned(), tag.to_owned()));
        }
    }
}
