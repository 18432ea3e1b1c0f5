//! Analyses: one file, one question, one function, one table.

pub mod activations;
pub mod attention;
pub mod attribute;
pub mod describe;
mod finite;
pub mod lens;
pub mod need;
pub mod patch;
pub mod path;
pub mod tokens;
pub mod verify;
mod waves;

use crate::error::Result;

pub use activations::save_activations;
pub use attention::attention;
pub use lens::{LensOptions, lens};
pub use need::Need;

/// Told how far an analysis is, and asked whether to go on.
pub trait Watch {
    /// `done` of `total` steps are over.
    ///
    /// # Errors
    /// To stop the analysis, with the reason.
    fn at(&self, done: usize, total: usize) -> Result<()>;
}

/// Watches nothing.
impl Watch for () {
    fn at(&self, _: usize, _: usize) -> Result<()> {
        Ok(())
    }
}
