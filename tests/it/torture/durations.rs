//! How long each command takes here and now, as far as is known yet.

use std::collections::BTreeMap;
use std::time::Duration;

use super::orders::Command;

#[derive(Default)]
pub struct Durations(BTreeMap<Command, Duration>);

impl Durations {
    pub fn of(&self, command: Command) -> Duration {
        self.0.get(&command).copied().unwrap_or(Duration::from_millis(match command {
            Command::Verify | Command::Import => 3500,
            Command::Create | Command::Diff | Command::Restore | Command::RestoreTable | Command::Move => {
                1500
            }
            Command::Undo | Command::Push | Command::Pull => 600,
            Command::Prune | Command::Delete | Command::BringBack => 200,
        }))
    }

    /// Of a run that went to its end.
    pub fn set(&mut self, command: Command, took: Duration) {
        self.0.insert(command, took);
    }
}
