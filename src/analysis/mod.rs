//! Analyses: one file, one question, one function, one table.

pub mod activations;
pub mod attention;
pub mod attribute;
pub mod describe;
pub mod lens;
pub mod patch;
pub mod path;
pub mod tokens;
pub mod verify;

pub use crate::sweep::{Need, Watch};
pub use activations::save_activations;
pub use attention::attention;
pub use lens::{LensOptions, lens};
