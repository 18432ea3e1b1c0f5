//! pellucid: see inside a Transformer.

pub mod analysis;
pub mod arch;
pub mod chart;
pub mod error;
pub mod hook;
pub mod model;
pub mod ops;
pub mod table;
pub mod text;

pub use error::{Error, Result};
