//! What a model is, as data: [`Spec`](spec::Spec), the `config.json` reader, weight names, and the families.

pub mod config;
pub mod family;
pub mod keys;
pub mod process;
pub mod spec;
pub mod weights;

pub use spec::Spec;
