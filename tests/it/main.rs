//! All integration tests in one program: one link, and one place to look.

#[macro_use]
mod shared;

mod chart;
mod laws;
mod modules;
mod parity;
mod reference;
mod table;
mod text_prompt_files;
mod text_source;
mod text_tokenizer_cases;
mod text_tokenizer_files;
mod text_tokenizer_models;
