//! The commands that are struck, each with what makes it possible and what it may remove.

use std::fs;
use std::path::PathBuf;

use super::scene::Scene;
use crate::bench::dokku;
use crate::operations::copy_to;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    Create,
    Verify,
    Restore,
    RestoreTable,
    Undo,
    Prune,
    Delete,
    Import,
    Push,
    Pull,
    Diff,
    /// What moves the backups away before a service is destroyed.
    Move,
    /// The first command after a destroy that was stopped: it brings them back.
    BringBack,
}

/// One command, ready to run.
#[derive(Default)]
pub struct Order {
    pub args: Vec<String>,
    pub stdin: Option<PathBuf>,
    /// Backups that may be gone afterwards.
    pub may_go: Vec<String>,
}

impl Command {
    pub const ALL: [Command; 13] = [
        Command::Create,
        Command::Verify,
        Command::Restore,
        Command::RestoreTable,
        Command::Undo,
        Command::Prune,
        Command::Delete,
        Command::Import,
        Command::Push,
        Command::Pull,
        Command::Diff,
        Command::Move,
        Command::BringBack,
    ];

    /// As the table of the campaign calls it.
    pub fn name(self) -> &'static str {
        match self {
            Command::Create => "create",
            Command::Verify => "verify",
            Command::Restore => "restore",
            Command::RestoreTable => "restore --table",
            Command::Undo => "undo",
            Command::Prune => "prune",
            Command::Delete => "delete",
            Command::Import => "import",
            Command::Push => "push",
            Command::Pull => "pull",
            Command::Diff => "diff",
            Command::Move => "the move before a destroy",
            Command::BringBack => "the way back after a destroy that was stopped",
        }
    }

    /// Whether containers of pgbackup's work for it.
    pub fn has_sidecars(self) -> bool {
        !matches!(
            self,
            Command::Undo
                | Command::Prune
                | Command::Delete
                | Command::Push
                | Command::Pull
                | Command::BringBack
        )
    }

    /// Whether it asks docker anything.
    pub fn asks_docker(self) -> bool {
        self != Command::Push
    }

    /// Whether it prints the id of a new backup.
    pub fn makes(self) -> bool {
        matches!(self, Command::Create | Command::Import)
    }

    /// Whether the live database may be another one afterwards.
    pub fn swaps(self) -> bool {
        matches!(self, Command::Restore | Command::Undo)
    }

    /// Whether it comes by where other tests mount something meanwhile.
    pub fn is_about_destroyed(self) -> bool {
        matches!(self, Command::Move | Command::BringBack)
    }

    pub fn prepare(self, scene: &mut Scene) -> Order {
        let name = scene.service.name.clone();
        let order = |words: &[&str]| Order { args: strings(words), ..Order::default() };
        match self {
            Command::Create => order(&["--quiet", "pgbackup:create", &name]),
            Command::Verify => order(&["pgbackup:verify", &name]),
            Command::Restore => order(&["--force", "pgbackup:restore", &name]),
            Command::RestoreTable => order(&["pgbackup:restore", &name, "--table", "cows"]),
            Command::Undo => {
                if scene.databases().len() < 2 {
                    scene.service.pgbackup("restore", &["--force"]).ok();
                    scene.swapped();
                }
                order(&["pgbackup:undo", &name])
            }
            Command::Prune => {
                let [first, second, stays] = [1, 2, 3].map(|day| copy(scene, day));
                scene.good.insert(stays);
                Order { may_go: vec![first, second], ..order(&["pgbackup:prune", &name]) }
            }
            Command::Delete => {
                let id = copy(scene, 1);
                Order { may_go: vec![id.clone()], ..order(&["--force", "pgbackup:delete", &name, &id]) }
            }
            Command::Import => {
                Order { stdin: Some(scene.dump.clone()), ..order(&["--quiet", "pgbackup:import", &name]) }
            }
            Command::Push => {
                let id = newest(scene);
                let is_there = scene.service.backup(&id).join("pushed.toml").exists();
                let id = if is_there { scene.create() } else { id };
                order(&["pgbackup:push", &name, &id])
            }
            Command::Pull => {
                let id = scene.pushed.take().unwrap_or_else(|| {
                    let id = scene.create();
                    scene.service.pgbackup("push", &[&id]).ok();
                    id
                });
                // What was pulled before goes again.
                let _ = fs::remove_dir_all(scene.service.backup(&id));
                scene.good.remove(&id);
                scene.pushed = Some(id.clone());
                order(&["pgbackup:pull", &name, &id])
            }
            Command::Diff => order(&["pgbackup:diff", &name]),
            Command::Move => order(&["--force", "postgres:destroy", &name]),
            Command::BringBack => {
                let destroy = dokku(&["--force", "postgres:destroy", &name]).fails_with("");
                let told = format!("{}{}", destroy.stdout, destroy.stderr);
                assert!(!scene.service.backups().exists(), "the backups were not moved away:\n{told}");
                order(&["pgbackup:prune", &name])
            }
        }
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn newest(scene: &Scene) -> String {
    scene.good.last().unwrap().clone()
}

/// A scheduled backup of long ago, which retention does not keep.
fn copy(scene: &mut Scene, day: u32) -> String {
    let id = format!("202601{day:02}T030000Z-aa{day:02}");
    let _ = fs::remove_dir_all(scene.service.backup(&id));
    scene.good.remove(&id);
    let made = copy_to(&scene.service, &newest(scene), &id, "scheduled");
    // It stands for one that was made long ago.
    assert!(std::process::Command::new("sync").arg("-f").arg(made).status().unwrap().success());
    id
}
