//! A data set of activations on disk: a row for each token, in files that other programs read. It knows nothing of models.
//!
//! A corpus, in its order or another one, is cut into *blocks* of consecutive documents. A block is written by one process, whole or not at all, and its bytes depend
//! on nothing but the request: not on how many processes there are, nor on which rows came together. So any number of shards, in any
//! order, stopped and resumed, leave the same files, and joining them means to look whether all are there.
//!
//! | file | what it is |
//! |---|---|
//! | `data-000007.parquet`, `data-000007-1.parquet`, .. | the rows of block 7; a file ends before it would pass 512 MiB |
//! | `blocks/000007.json` | its record, written last: the files' sizes and hashes, the documents, sums for statistics |
//! | `request.json` | what was asked for; written first, so that no other request writes here |
//! | `shard-3-of-16.json` | that a shard is complete; gone when all are joined |
//! | `manifest.json` | that everything is here; written last |

mod block;
mod file;
mod folder;
mod layout;
mod merge;
mod parquet;
mod record;
mod round;
mod status;
mod tensors;

pub use crate::session::Shard;
pub use block::BlockWriter;
pub use folder::{Dataset, Opening};
pub use layout::{Dtype, Form, HookColumn, Layout, Rows, ScalarColumn, Scalars, Values};
pub use merge::{Manifest, Merging, Whole, merge, several};
pub use record::{DocumentRecord, FileRecord, Record};
pub use status::{ShardStatus, Status, status};

/// What a file of rows is called in its provenance.
pub const FORMAT: &str = "export";
/// Raised whenever columns, files or records change their names or meanings.
pub const FORMAT_VERSION: u32 = 1;
