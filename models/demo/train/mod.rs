//! How the built-in model is made: text, tokenizer, weights, and what is said of them.

pub mod card;
pub mod corpus;
pub mod export;
pub mod first;
pub mod grammar;
pub mod mechanisms;
pub mod names;
pub mod optimizer;
pub mod repetition;
pub mod roles;
pub mod shape;
pub mod silence;
pub mod skills;
pub mod statistics;
pub mod training;
