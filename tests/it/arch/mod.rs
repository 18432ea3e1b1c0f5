//! What a model is, as data: the keys of `config.json`, and what follows from them.

pub mod accept;
pub mod config;
pub mod docs;
pub mod models;
