//! Files that are broken or made to break: one sentence, and no more memory than their size explains.

pub mod bombs;
pub mod chats;
pub mod models;
pub mod prompts;
pub mod tables;
pub mod tokenizers;
pub mod torch;
