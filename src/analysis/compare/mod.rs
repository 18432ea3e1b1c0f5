//! Compare: what do two models differ in, and what does that change?
//!
//! From their configurations come the choices of architecture that differ ([`traits`]) and the parameters of each part; no weight is
//! read for that. With prompts both models continue the same texts ([`positions`], [`bytes`]): where both read the same tokens, their
//! distributions are compared at every position (Kullback and Leibler 1951; Lin 1991); where tokenizers differ, their surprise at the same
//! bytes. The first model is the reference. Weights of one model at a time are in memory.
//!
//! Two runs of one analysis are compared by their tables ([`runs`]), row by row.

pub mod bytes;
mod options;
mod pass;
pub mod positions;
pub mod rows;
pub mod runs;
mod runs_view;
mod spec;
mod texts;
pub mod traits;
mod view;

pub use options::{Compare, Comparison};
pub use rows::{
    CompareBytesRow, CompareColumnsRow, CompareModelsRow, CompareParametersRow, ComparePositionsRow, CompareRunsRow,
    CompareSpecRow,
};
pub use runs::Runs;
pub use spec::{parameters, specs};
