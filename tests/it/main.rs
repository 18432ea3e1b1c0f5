//! All integration tests in one program: one link, and one place to look. A folder for each floor of `src`.

#[macro_use]
mod help;

/// The program that made the built-in model.
#[path = "../../models/demo/train/mod.rs"]
#[allow(dead_code)] // Its own program uses all of it.
mod train;

mod analysis;
mod arch;
mod cli;
mod dataset;
mod demo;
mod faults;
mod hook;
mod hostile;
mod house;
mod hub;
mod model;
mod ops;
mod report;
mod sample;
mod session;
mod sweep;
mod table;
mod text;
mod view;

use help::{bin, bound, forge, reference, shared, specs};
