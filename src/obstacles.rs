//! Why a dump cannot go into a server.

use anyhow::Result;

use crate::error::Failure;
use crate::pg_version::PgVersion;
use crate::service_name::ServiceName;

/// Extensions that a server with those `available` lacks; `needed` are `name version` as manifests keep them.
pub fn missing_extensions(needed: &[String], available: &[String]) -> Vec<String> {
    let names = needed.iter().filter_map(|extension| extension.split(' ').next());
    names.filter(|name| !available.iter().any(|one| one == name)).map(str::to_owned).collect()
}

/// Refuses what cannot go back into an older server: `target`'s, of version `into`.
pub fn refuse_older_server(target: &ServiceName, from: PgVersion, into: PgVersion) -> Result<()> {
    let Some(why) = version_obstacle(from, into) else { return Ok(()) };
    let major = from.major();
    Err(Failure::refused(why)
        .hint(format!(
            "restore into one that fits: dokku postgres:create {target}-{major} --image-version {major}"
        ))
        .into())
}

/// Whether the dump of a server of version `from` can go into `into`, else why not.
pub fn version_obstacle(from: PgVersion, into: PgVersion) -> Option<String> {
    (!from.can_restore_into(into)).then(|| {
        format!(
            "the backup is of Postgres {}, the server is the older Postgres {}: a dump cannot go back to an older major version",
            from.major(),
            into.major()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_cannot_take_is_told() {
        let needed = ["citext 1.6", "postgis 3.4"].map(str::to_owned);
        assert_eq!(missing_extensions(&needed, &["citext".to_owned()]), ["postgis"]);
        let (older, newer) = (PgVersion(160_001), PgVersion(170_000));
        assert_eq!(version_obstacle(older, newer), None);
        assert!(
            version_obstacle(newer, older)
                .unwrap()
                .contains("of Postgres 17, the server is the older Postgres 16")
        );
    }
}
