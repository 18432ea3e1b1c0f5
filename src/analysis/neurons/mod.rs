//! Neurons: the MLP as keys and values.
//!
//! An MLP's output is a sum over its neurons, each of which adds its activation times its own row of the output map: what it reads is a
//! key, what it writes a value (Geva et al. 2021, "Transformer feed-forward layers are key-value memories").
//!
//! - `banks.rs`: which neurons there are, dense or of experts, and what each writes to the stream;
//! - `prompt.rs`: how far their writes push a token on prompts;
//! - `vocab.rs`: the tokens that a write promotes and suppresses;
//! - `corpus/`: how neurons, or columns of any hook, behave over corpora, and at which tokens they are active.

mod banks;
pub mod corpus;
mod options;
mod prompt;
pub mod rows;
mod view;
mod vocab;

pub use banks::Unit;
pub use corpus::rows::{NeuronCardRow, NeuronExampleRow, NeuronStatsRow};
pub use options::Neurons;
pub use rows::{NeuronLayerRow, NeuronRow, NeuronVocabRow};
