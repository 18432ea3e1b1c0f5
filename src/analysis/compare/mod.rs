//! Compare: what do two models differ in, and what does that change?
//!
//! From their configurations come the choices of architecture that differ ([`traits`]) and the parameters of each part; no weight is
//! read for that. With prompts both models continue the same texts ([`positions`], [`bytes`]): where both read the same tokens, their
//! distributions are compared at every position (Kullback and Leibler 1951; Lin 1991); where tokenizers differ, their surprise at the same
//! bytes. The first model is the reference. Weights of one model at a time are in memory.

pub mod bytes;
mod options;
mod pass;
pub mod positions;
pub mod rows;
mod spec;
mod texts;
pub mod traits;
mod view;

pub use options::{Compare, Comparison};
pub use rows::{CompareBytesRow, CompareModelsRow, CompareParametersRow, ComparePositionsRow, CompareSpecRow};
pub use spec::{parameters, specs};
