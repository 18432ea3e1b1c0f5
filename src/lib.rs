//! pellucid: see inside a Transformer.

pub mod analysis;
pub mod arch;
pub mod chart;
pub mod cli;
pub mod error;
mod guard;
pub mod hook;
pub mod model;
pub mod ops;
pub mod run;
pub mod table;
pub mod text;
pub mod whole;

pub use error::{Error, Result};
