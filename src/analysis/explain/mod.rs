//! Explain: one prompt followed through the whole model, on one page that anyone can read.
//!
//! [`facts`] runs the other analyses and keeps their rows; [`page`] says them, in English and Chinese. Every number on the page is a number of
//! a table beside it, and says which; every sentence that claims something is chosen by what was computed.

pub mod claims;
pub mod facts;
mod made;
mod near;
mod options;
pub mod page;
pub mod rows;
mod view;

pub use facts::Facts;
pub use made::{Letter, TENTHS, letter as word};
pub use options::{Explain, Explained, Lang, PAGE};
pub use rows::ExplainRow;
