//! A backup as plain SQL: `pg_restore` prints it, and needs no server for that.

use std::io::Write;

use anyhow::Result;

use crate::catalog::Backup;
use crate::docker::{self, JobContainer};
use crate::dokku::Service;
use crate::error::Failure;
use crate::host::Host;
use crate::plain_text::shell_word;
use crate::postgres;
use crate::scratch::Scratch;
use crate::server;

/// Streams the script out of a container without network.
pub fn write(host: &Host<'_>, service: &Service, backup: &Backup, out: &mut dyn Write) -> Result<()> {
    // Nothing is put into it. Its lock tells those who clear what killed runs left that this container is in use.
    let scratch = Scratch::begin(host, service, &backup.id)?;
    let image = image(host, service, backup)?;
    let job = JobContainer {
        name: format!("pgbackup.{}.{}.export", service.name, scratch.name),
        service: service.name.to_string(),
        backup: scratch.name.clone(),
        image: image.clone(),
        network: "none".to_owned(),
        user: server::own_identity(),
        mounts: vec![(host.dokku.environment().host_path(&backup.folder), "/backup", true)],
        env: Vec::new(),
        shm_size: None,
        writable: false,
        gentle: false,
        processors: None,
        command: postgres::print_command("/backup/dump"),
    };
    let output = host.docker.start_printing_job(&job)?.hand_on(|piece| Ok(out.write_all(piece)?))?;
    if output.success() {
        return Ok(());
    }
    if docker::docker_itself_failed(&output) {
        return Err(docker::start_failure(&output, &image));
    }
    let why = postgres::explain(&output.stderr).unwrap_or_else(|| output.ending());
    Err(Failure::tool(format!("pg_restore failed on backup {}: {why}", backup.id))
        .details(output.last_words(8))
        .into())
}

/// The image that the backup was made with, by its id: its `pg_restore` prints what its `pg_dump` would have, which every
/// newer server takes. Else that of the service's container, which need not run; else whatever has the name now.
fn image(host: &Host<'_>, service: &Service, backup: &Backup) -> Result<String> {
    let made_with = &backup.manifest.server;
    if !made_with.image_id.is_empty() && host.docker.has_image(&made_with.image_id)? {
        return Ok(made_with.image_id.clone());
    }
    if let Some(container) = host.docker.container(&service.container())? {
        if host.docker.has_image(&container.image_id)? {
            return Ok(container.image_id);
        }
    }
    if !made_with.image.is_empty() && host.docker.has_image(&made_with.image)? {
        return Ok(made_with.image.clone());
    }
    let what = "neither the service's container nor the image";
    Err(Failure::refused(format!(
        "{what} {} that the backup was made with is on this server",
        made_with.image
    ))
    .hint(format!(
        "fetch it with: docker pull {}; or take another form, which needs none: --as custom",
        shell_word(&made_with.image)
    ))
    .into())
}
