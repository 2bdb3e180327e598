//! Random moments that can be had again: the seed is printed, and `PGBACKUP_TORTURE_SEED` brings the same ones. The
//! tests always have the same seed, each campaign another one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::tally::is_campaign;

/// A stream of numbers (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn of(what: &str) -> Self {
        let now = || u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
        let usual = || if is_campaign() { now() } else { 1 };
        let seed =
            std::env::var("PGBACKUP_TORTURE_SEED").map_or_else(|_| usual(), |seed| seed.parse().unwrap());
        eprintln!("{what}: PGBACKUP_TORTURE_SEED={seed}");
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % limit.max(1)
    }

    /// A place among `count`.
    pub fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(u64::try_from(count).unwrap())).unwrap()
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// Some of them, in their order.
    pub fn some<T>(&mut self, mut all: Vec<T>, count: usize) -> Vec<T> {
        while all.len() > count {
            all.remove(usize::try_from(self.below(all.len() as u64)).unwrap());
        }
        all
    }

    pub fn moment(&mut self, within: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(within.as_micros()).unwrap()))
    }
}
