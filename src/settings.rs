//! Settings in TOML: those of the service, then those for all services, then the defaults.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::error::Failure;
use crate::files;
use crate::layout::{Layout, ServiceLayout};

/// More than anybody writes by hand.
const MAX_SIZE: u64 = 1024 * 1024;
/// More parallel jobs than this only load the server (and need a connection each).
const DEFAULT_MAX_JOBS: usize = 4;
const MAX_JOBS: usize = 64;

/// The settings in force for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Parallel jobs of `pg_dump` and `pg_restore`.
    pub jobs: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    jobs: Option<usize>,
}

impl Settings {
    /// Reads both files; `cores` gives the default for `jobs`.
    pub fn load(layout: &Layout, service: &ServiceLayout, cores: usize) -> Result<Self> {
        let own = read(&service.settings())?;
        let global = read(&layout.global_settings())?;
        Ok(Settings { jobs: own.jobs.or(global.jobs).unwrap_or_else(|| cores.clamp(1, DEFAULT_MAX_JOBS)) })
    }
}

fn read(path: &Path) -> Result<SettingsFile> {
    if !path.exists() {
        return Ok(SettingsFile::default());
    }
    let text = String::from_utf8_lossy(&files::read_bounded(path, MAX_SIZE)?).into_owned();
    let broken = |why: &dyn std::fmt::Display| {
        Failure::failed(format!("the settings in {} cannot be used: {why}", path.display()))
            .hint("correct the file, or move it away to go back to the defaults")
    };
    let file: SettingsFile = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        broken(&format!("line {line}: {}", error.message()))
    })?;
    if file.jobs.is_some_and(|jobs| !(1..=MAX_JOBS).contains(&jobs)) {
        return Err(broken(&format!("jobs must be a number from 1 to {MAX_JOBS}")).into());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(own: &str) -> Result<Settings> {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let service = layout.service(&"db".parse().unwrap());
        files::create_private_folders(&service.own()).unwrap();
        files::write_private(&service.settings(), own.as_bytes()).unwrap();
        Settings::load(&layout, &service, 8)
    }

    #[test]
    fn the_service_goes_before_the_default() {
        assert_eq!(load("").unwrap().jobs, 4);
        assert_eq!(load("jobs = 7").unwrap().jobs, 7);
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        for text in ["jobs = 0", "jobs = \"x\"", "job = 3", "jobs ="] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains("settings.toml"), "{error}");
        }
        assert!(load("\njobs =").unwrap_err().to_string().contains("line 2"));
    }
}
