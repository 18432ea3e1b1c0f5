//! Names of hooks, and what other programs see under the same names.

pub mod bridge;
pub mod hooked;
pub mod names;
