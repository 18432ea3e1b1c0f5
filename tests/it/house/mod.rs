//! Rules of the house, and pages that are made from the code.

pub mod docs;
pub mod invariants;
pub mod tidy;
