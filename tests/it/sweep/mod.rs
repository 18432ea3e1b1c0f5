//! Patched runs that go together, each beside a whole forward pass with one value written over.

pub mod changed;
pub mod exact;
pub mod metrics;
pub mod patch;
pub mod query_head;
pub mod several;
pub mod wave;
