//! The command line: what it writes, where it writes it, and what it refuses.

pub mod commands;
pub mod numbers;
pub mod options;
pub mod output;
pub mod pipes;
pub mod refusals;
pub mod refused;
pub mod serve;
pub mod starved;
pub mod text;
