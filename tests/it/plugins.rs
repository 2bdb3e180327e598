//! Plugins that tests put beside pgbackup: one with a hook, one that says who may use what.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::bench::{Service, world};

/// A plugin with one hook, which does its work until it is dropped. Tests run side by side and a command of another one
/// may be about to call it: so it appears whole, and from then on answers as if it were not there.
pub struct Hook {
    off: PathBuf,
}

/// How the plugins that are hooks of tests are called at the end.
const HOOK: &str = "-hook";

impl Hook {
    /// `label` decides when its turn is: plugins are called in the order of their names.
    pub fn new(label: &str, trigger: &str, script: &str) -> Self {
        let plugin =
            enable_plugin(label, &[(trigger, format!("[[ ! -e \"${{0%/*}}/off\" ]] || exit 0\n{script}"))]);
        Hook { off: plugin.join("off") }
    }

    /// Another plugin that does not let a service be destroyed, after pgbackup was asked.
    pub fn veto(service: &Service) -> Self {
        let script = format!("[[ $1 != pre-delete || $3 != {} ]]\n", service.name);
        Self::new(&format!("zz-veto-{}", service.name), "service-action", &script)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        fs::write(&self.off, "").unwrap();
    }
}

/// A plugin with these hooks, each a script of bash; its folder.
fn enable_plugin(label: &str, hooks: &[(&str, String)]) -> PathBuf {
    let name = format!("{label}-{}{HOOK}", std::process::id());
    let made = world().join("plugins").join(&name);
    fs::create_dir_all(&made).unwrap();
    let config = "[plugin]\ndescription = \"x\"\nversion = \"1\"\n[plugin.config]\n";
    fs::write(made.join("plugin.toml"), config).unwrap();
    for (trigger, script) in hooks {
        let hook = made.join(trigger);
        fs::write(&hook, format!("#!/usr/bin/env bash\n{script}")).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let plugin = world().join("plugins/enabled").join(&name);
    fs::rename(&made, &plugin).unwrap();
    plugin
}

/// A service or an app that somebody may not use, until this is dropped. One plugin for all of them: what several print
/// is allowed by all, because dokku takes everything that any of them prints.
pub struct Denied {
    rule: PathBuf,
}

impl Denied {
    /// To the owner of that ssh key; everybody else is called `default`.
    pub fn to(user: &str, name: &str) -> Self {
        Self::rule(&format!("denied.{user}.{name}"))
    }

    /// To everybody, by a plugin that fails as soon as it is asked about that name.
    pub fn by_failing(name: &str) -> Self {
        Self::rule(&format!("broken.{name}"))
    }

    fn rule(rule: &str) -> Self {
        static RULES: OnceLock<PathBuf> = OnceLock::new();
        let rules = RULES.get_or_init(|| {
            let script = |first: u32| {
                format!(
                    "user=$2; shift {first}\n\
                    for name; do [[ ! -e ${{0%/*}}/broken.$name ]] || exit 3; done\n\
                    for name; do [[ -e ${{0%/*}}/denied.$user.$name ]] || echo \"$name\"; done\n"
                )
            };
            enable_plugin("access", &[("user-auth-service", script(3)), ("user-auth-app", script(2))])
        });
        let rule = rules.join(rule);
        fs::write(&rule, "").unwrap();
        Denied { rule }
    }
}

impl Drop for Denied {
    fn drop(&mut self) {
        fs::remove_file(&self.rule).unwrap();
    }
}

/// Those of test processes before this one; nothing calls them yet.
pub fn remove_hooks(root: &Path) {
    for plugin in fs::read_dir(root.join("plugins/enabled")).unwrap().flatten() {
        if plugin.file_name().to_string_lossy().ends_with(HOOK) {
            fs::remove_dir_all(plugin.path()).unwrap();
        }
    }
}
