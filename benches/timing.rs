//! Taking the time: rounds in which every contender has its turn, so that what else the machine does meets them all.

use std::fmt;
use std::time::Instant;

/// Measurements of one thing, in seconds or whatever it is measured in.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Samples(values)
    }

    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        } else {
            self.0[middle]
        }
    }
}

/// Seconds: the median, and from where to where they went.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (self.0[0], self.0[self.0.len() - 1]);
        if self.median() < 1.0 {
            return write!(f, "{:.0} ms ({:.0}–{:.0})", self.median() * 1e3, low * 1e3, high * 1e3);
        }
        write!(f, "{:.2} s ({low:.2}–{high:.2})", self.median())
    }
}

/// How long `work` takes, seconds.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

/// Every contender once in each round; each gives its own measurement, so that what it prepares does not count.
pub fn side_by_side<const N: usize>(
    rounds: usize,
    mut contenders: [&mut dyn FnMut() -> f64; N],
) -> [Samples; N] {
    let mut taken = [(); N].map(|()| Vec::new());
    for _ in 0..rounds {
        for (values, contender) in taken.iter_mut().zip(&mut contenders) {
            values.push(contender());
        }
    }
    taken.map(Samples::of)
}
