//! The command line: what it writes, where it writes it, and what it refuses.

pub mod commands;
pub mod helps;
pub mod numbers;
pub mod options;
pub mod output;
pub mod pipes;
pub mod ranges;
pub mod refusals;
pub mod refused;
pub mod serve;
pub mod starved;
mod stdin;
pub mod text;
pub mod unlike;
