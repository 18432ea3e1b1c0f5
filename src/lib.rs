//! pellucid: see inside a Transformer.

pub mod chart;
pub mod error;
pub mod table;
pub mod text;

pub use error::{Error, Result};
