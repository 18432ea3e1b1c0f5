//! From logits to a next token.

mod draws;
mod options;
mod pools;
