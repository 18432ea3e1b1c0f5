//! Folders with results, stopped sweeps, and the memory that a request takes.

pub mod folders;
pub mod library;
pub mod patch_long;
pub mod patch_memory;
pub mod plan_memory;
pub mod shards;
pub mod strangers;
pub mod threads;
pub mod two_at_once;
