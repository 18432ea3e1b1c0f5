//! pellucid: see inside a Transformer.
//!
//! Begin with a [`Session`](session::Session), which loads a model, makes prompts and pairs of texts, and runs an analysis on them. What
//! there is to ask stands in [`analysis`], hooks on every activation in [`hook`].

// A library neither prints nor panics on what it is given; tests may (clippy.toml).
#![warn(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]
// What the command line alone uses is no fault of a build without it.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

pub mod analysis;
pub mod arch;
#[cfg(feature = "cli")]
#[doc(hidden)] // For the program, fuzzing and tests.
pub mod cli;
pub mod dataset;
pub mod error;
pub mod glossary;
mod guard;
pub mod hook;
#[doc(hidden)] // For the program.
pub mod limits;
pub mod model;
pub mod number;
pub mod ops;
pub mod range;
#[cfg(feature = "reports")]
pub mod report;
pub mod sample;
pub mod session;
pub mod sweep;
pub mod table;
pub mod text;
pub mod view;
mod visible;
#[doc(hidden)] // For the program that trains the built-in model, and tests.
pub mod whole;

/// candle, whose tensors hooks see: of the version that this is built with.
pub use candle_core as candle;
pub use error::{Error, Result};

/// Examples in Rust on the README and on pages in `docs/` are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/library.md")]
#[doc = include_str!("../docs/from-transformerlens.md")]
struct Pages;
