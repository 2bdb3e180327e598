//! What core tells of its work while it goes on; ui.rs shows it.

/// Told by long work; must be cheap to call often.
pub trait Progress: Sync {
    /// A new part of the work begins: `dumping`.
    fn step(&self, text: &str);
    /// Something the user should know and need not act on now.
    fn note(&self, text: &str);
    /// Something the user should act on.
    fn warn(&self, text: &str);
    /// How far the current step is, in bytes; `total` where it is known.
    fn bytes(&self, done: u64, total: Option<u64>);
    /// The current step ended.
    fn done(&self);
}

/// For tests, and where nobody looks.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
    fn bytes(&self, _: u64, _: Option<u64>) {}
    fn done(&self) {}
}
