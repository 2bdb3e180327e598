//! The environment dokku gives a plugin: the only reader of environment variables.

#![expect(clippy::disallowed_methods, reason = "this file reads the environment")]

use std::env;
use std::path::{Path, PathBuf};

use crate::remote::place::Credentials;

/// What dokku exports (`/usr/bin/dokku`, "export …") and what a terminal says of itself.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `DOKKU_LIB_ROOT`: everything of ours and of dokku-postgres is below it.
    pub lib_root: PathBuf,
    /// `DOKKU_LIB_HOST_ROOT`: the same folder as the docker daemon sees it (dokku itself may run in a container).
    pub lib_host_root: PathBuf,
    /// `DOKKU_ROOT`: the apps' repositories.
    pub dokku_root: PathBuf,
    /// `PLUGIN_ENABLED_PATH`, for asking which plugins answer a trigger.
    pub plugins: Option<PathBuf>,
    /// `DOCKER_BIN`, else `docker`.
    pub docker: PathBuf,
    /// `SSH_USER` and `SSH_NAME`: whom access control asks about.
    pub ssh_user: String,
    pub ssh_name: String,
    /// `--quiet`, `--force` and `--trace` given before the command reach a plugin only as these variables.
    pub quiet: bool,
    pub force: bool,
    pub trace: bool,
    /// `NO_COLOR`, `DOKKU_NO_COLOR` or a terminal without colours.
    pub no_color: bool,
    /// Processors this process may use.
    pub cores: usize,
    /// `DOKKU_LOGS_DIR`.
    pub logs: PathBuf,
    /// Of the deploy that is going on.
    pub deploy: DeployEnvironment,
}

/// What dokku says of a deploy to those whom it calls in its course.
#[derive(Debug, Clone, Default)]
pub struct DeployEnvironment {
    /// `DOKKU_BUILD_ID`, one for each deploy; since dokku 0.38.
    pub build_id: Option<String>,
    /// `DOKKU_BUILD_SOURCE`: `git-hook`, `ps:rebuild`, `git:sync`, `config-redeploy`, `ps:restart`, …; since dokku 0.38.
    pub source: Option<String>,
    /// `DOKKU_PID`: the process of the command that the user gave.
    pub pid: Option<String>,
    /// `DOKKU_COMMAND`: that command's name.
    pub command: Option<String>,
}

impl DeployEnvironment {
    /// What started the deploy, in words that both versions of dokku have: `git-hook`, `ps:rebuild`, `git:from-image`.
    pub fn began_with(&self) -> Option<&str> {
        self.source.as_deref().or(self.command.as_deref())
    }
}

impl Environment {
    /// The access key of an S3 store that this command was given, as Amazon's tools read it.
    pub fn aws_credentials() -> Option<Credentials> {
        Some(Credentials {
            access_key_id: text("AWS_ACCESS_KEY_ID")?,
            secret_access_key: text("AWS_SECRET_ACCESS_KEY")?,
            session_token: text("AWS_SESSION_TOKEN"),
        })
    }

    pub fn read() -> Self {
        let lib_root = path("DOKKU_LIB_ROOT").unwrap_or_else(|| PathBuf::from("/var/lib/dokku"));
        let docker = path("DOCKER_BIN").or_else(|| which::which("docker").ok());
        Environment {
            lib_host_root: path("DOKKU_LIB_HOST_ROOT").unwrap_or_else(|| lib_root.clone()),
            lib_root,
            dokku_root: path("DOKKU_ROOT").unwrap_or_else(|| PathBuf::from("/home/dokku")),
            plugins: path("PLUGIN_ENABLED_PATH"),
            docker: docker.unwrap_or_else(|| PathBuf::from("docker")),
            ssh_user: text("SSH_USER").unwrap_or_else(|| "dokku".to_owned()),
            ssh_name: text("SSH_NAME").or_else(|| text("NAME")).unwrap_or_else(|| "default".to_owned()),
            quiet: is_set("DOKKU_QUIET_OUTPUT"),
            force: is_set("DOKKU_APPS_FORCE_DELETE"),
            trace: is_set("DOKKU_TRACE"),
            no_color: is_set("NO_COLOR")
                || is_set("DOKKU_NO_COLOR")
                || text("TERM").is_none_or(|term| term == "dumb" || term == "unknown"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            logs: path("DOKKU_LOGS_DIR").unwrap_or_else(|| PathBuf::from("/var/log/dokku")),
            deploy: DeployEnvironment {
                build_id: text("DOKKU_BUILD_ID"),
                source: text("DOKKU_BUILD_SOURCE"),
                pid: text("DOKKU_PID"),
                command: text("DOKKU_COMMAND"),
            },
        }
    }

    /// Who gave the command: the ssh key's name, else the user at the server's shell.
    pub fn who(&self) -> &str {
        if self.ssh_name == "default" { &self.ssh_user } else { &self.ssh_name }
    }

    /// `path` (below `lib_root`) as the docker daemon must be told it.
    pub fn host_path(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.lib_root)
            .map_or_else(|_| path.to_owned(), |rest| self.lib_host_root.join(rest))
    }
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    text(name).map(PathBuf::from)
}

fn is_set(name: &str) -> bool {
    text(name).is_some()
}
