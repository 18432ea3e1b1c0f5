//! Kernels and their rounding, as far as they are not tested beside themselves in `src/ops/`.

pub mod levels;
pub mod rounding;
