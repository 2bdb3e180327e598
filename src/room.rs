//! What must stay free on a disk while we fill it: a Postgres server that cannot write its log stops.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::error::Failure;
use crate::files::{self, Space};
use crate::settings::Room;
use crate::units;

/// How often the free space is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a Postgres server needs, however small its disk: to drop a database it writes a checkpoint, for which it makes new
/// segments of its log first, 16 MB each. With less, what a restore has begun could not be removed.
pub const SERVER_NEEDS: u64 = 64_000_000;

/// Looks at a disk now and then, and ends the work before there is no room left.
#[derive(Debug)]
pub struct RoomWatch<'a> {
    /// Something on the disk, and what is told of it.
    folder: &'a Path,
    min_free: Room,
    hint: &'static str,
    looked: Option<Instant>,
}

impl<'a> RoomWatch<'a> {
    pub fn new(folder: &'a Path, min_free: Room, hint: &'static str) -> Self {
        RoomWatch { folder, min_free, hint, looked: None }
    }

    /// An error as soon as less is free than must be.
    pub fn look(&mut self) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let space = files::space(self.folder)?;
        let stays = stays_free(space, self.min_free);
        if space.free >= stays {
            return Ok(());
        }
        let (free, stays) = (units::bytes(space.free), units::bytes(stays));
        let place = self.folder.display();
        Err(Failure::refused(format!(
            "the disk is nearly full: only {free} are left in {place}, and {stays} are to stay free"
        ))
        .hint(self.hint)
        .into())
    }
}

/// Even without a `min-free`, a server needs some room.
fn stays_free(space: Space, min_free: Room) -> u64 {
    min_free.of(space.total).max(space.reserve())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_keeps_some_room() {
        let space = Space { free: 0, total: 1_000_000 };
        assert_eq!(stays_free(space, Room::Bytes(0)), 50_000);
        assert_eq!(stays_free(space, Room::Percent(10)), 100_000);
        assert_eq!(stays_free(space, Room::Bytes(300_000)), 300_000);
    }
}
