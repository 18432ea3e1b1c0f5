//! Tables: what every analysis makes, every file holds and every chart is drawn from.
//!
//! A row type declares its columns once, with their meaning and unit, beside the analysis that makes it; the struct, the
//! parquet schema, the writer, the reader and `docs/tables.md` all come from that declaration ([`row`]).
//!
//! A table goes out through [`TableWriter`] (parquet) or [`write_rows`] (text for a terminal or another program), and
//! comes back through [`read`].

#[cfg(feature = "frames")]
mod columns;
mod format;
pub mod joined;
mod made;
pub(crate) mod older;
mod pages;
mod parts;
mod provenance;
pub mod read;
pub mod row;
mod stream;
pub(crate) mod texts;
mod thrift;
mod write;

pub(crate) use crate::visible::is_invisible;
pub use crate::visible::{visible, visible_prose};
pub use arrow_array::RecordBatch;
pub(crate) use format::markdown as markdown_text;
pub use format::{Format, TextOptions, TextWriter, write_rows};
pub use made::Table;
pub use parts::{Around, Done, Measured, MeasuredMean, Outcome, OutcomeMean, Place};
pub use provenance::{HOOK_NAMES, METADATA_KEY, Provenance};
pub use read::{read_provenance, read_rows, read_some_rows};
pub use row::{Cell, ColumnInfo, ColumnType, Field, Part, Row, TOKEN, TableInfo};
pub use stream::{Held, Rows, TableFile};
pub use write::TableWriter;
