//! Linear algebra, in f64: decompositions of small matrices, which are nalgebra's, and principal components of many rows.

pub mod decompose;
pub mod principal;
