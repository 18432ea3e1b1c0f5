//! A request from beginning to end: the model it names, the prompts it gives, the folder its results go to.

pub mod analysis;
pub mod claim;
pub mod corpora;
pub mod folder;
mod lock;
pub mod models;
pub mod open;
pub mod owned;
pub mod pairs;
pub mod parts;
pub mod pieces;
pub mod plan;
pub mod prompts;
pub mod records;
pub mod request;
pub mod run;
pub mod shards;
pub mod sink;
pub mod spaces;
mod vector;
pub(crate) mod words;

pub use crate::sweep::Shard;
pub use analysis::{Analysis, Input, On, Page, Results};
pub use claim::{Claim, Claiming, Waiting};
pub use corpora::{Corpora, PromptsAndCorpora};
pub use folder::RunFolder;
pub use models::{Member, Models};
pub use open::Session;
pub use parts::Parts;
pub use pieces::Pieces;
pub use plan::Plan;
pub use request::{Answers, Pairs, Prompts, Request, Steered, Swept, Target, Targeted, WithDataset, chosen, options};
pub use run::Tables;
pub use shards::Shards;
pub use sink::{Destination, Found, Sink, To};
pub use vector::read_vector;
