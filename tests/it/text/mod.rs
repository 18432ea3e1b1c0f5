//! Where models, tokenizers, prompts and pairs come from.

pub mod chats;
pub mod corpus;
pub mod corpus_python;
pub mod ids;
pub mod inputs;
pub mod pairs;
pub mod positions;
mod prepended;
pub mod prompt_files;
pub mod prompts;
pub mod recognised;
pub mod source;
pub mod tokenizer_cases;
pub mod tokenizer_files;
pub mod tokenizer_matrix;
pub mod tokenizer_models;
