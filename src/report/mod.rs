//! Experiment files: steps that are commands, what is expected of their results, and the report that is made of their tables.
//!
//! An [`Experiment`] is read from TOML and checked as a whole; [`expanded`](steps::expanded) makes [`Cell`](steps::Cell)s of its steps, one for
//! each combination of the matrix that a step names; [`engine`] runs those whose results are not there. [`expect`] and [`template`] read
//! tables alone, and so does the [`page`]: the same tables give the same report.

pub mod engine;
pub mod expect;
pub mod experiment;
pub mod fill;
pub mod filter;
pub mod keys;
pub mod lock;
pub mod matrix;
pub mod page;
pub mod rows;
mod statistics;
pub mod steps;
pub mod template;

pub use engine::{Engine, State, Steps};
pub use experiment::Experiment;
