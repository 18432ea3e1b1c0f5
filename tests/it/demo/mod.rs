//! The built-in model: its text, its training, and whether what is said of it is true.

pub mod built_in;
pub mod grammar;
pub mod names;
pub mod training;
