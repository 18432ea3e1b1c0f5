//! What tests share: running the program, bounds from arithmetic, references, models made for a test.

pub mod bin;
pub mod bound;
#[macro_use]
pub mod fixtures;
pub mod forge;
pub mod reference;
#[macro_use]
pub mod shared;
pub mod specs;
