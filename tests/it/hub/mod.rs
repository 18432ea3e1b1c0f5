//! Models fetched from a Hub, which the tests serve themselves.

pub mod cache;
pub mod fetch;
pub mod refused;
pub mod server;
pub mod trust;
