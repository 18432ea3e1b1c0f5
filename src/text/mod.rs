//! Text in, tokens out: where a model's files are, its tokenizer, and the prompts that a run reads.
//!
//! - [`source`]: a model's name becomes [`Files`], with `config.json` and weights among them; [`hub`] fetches them;
//! - [`files`]: they are read in one way, from a folder or from the program itself, which holds those of [`DEMO`];
//! - [`tokenizer`]: text becomes [`Token`]s, each with the bytes of the prompt it stands for;
//! - [`checkpoints`]: one name for several models;
//! - [`chat`]: text as what a user says in a chat;
//! - [`Merges`]: how its tokens came about;
//! - [`records`], [`prompt_file`] and [`prompt`]: files and arguments become checked [`Prompt`]s;
//! - [`corpus`]: the documents of files of any size, as a stream;
//! - what is no model or no file of one is said to be what it is (`kind.rs`);
//! - [`positions`]: positions in prompts that have names.

mod added;
mod align;
mod bos;
pub mod bounds;
pub mod chat;
pub mod checkpoints;
mod class;
pub mod corpus;
mod demo;
pub mod files;
mod growth;
mod guarded;
pub mod hub;
pub mod ids;
mod kind;
mod merges;
mod older;
pub mod pair;
mod pick;
pub mod positions;
pub mod prompt;
pub mod prompt_file;
pub mod records;
mod separated;
pub mod source;
mod spelling;
pub mod tokenizer;

pub use chat::{Around, Chat};
pub use checkpoints::{Checkpoint, checkpoints};
pub use corpus::{Corpus, Document, Documents, Index, OnError, Reading, Skipped, Txt};
pub use demo::DEMO;
pub use files::{File, Files};
pub use hub::{Fetching, Hub, Want};
pub use kind::check_weights;
pub use merges::{Merge, Merged, Merges};
pub use pair::{Named, Pair};
pub use positions::NamedPosition;
pub use prompt::{Prompt, PromptEntry, PromptInput, build_prompts};
pub use source::ModelSource;
pub(crate) use spelling::legible;
pub use tokenizer::{Bos, Token, Tokenizer, Word};
