//! Analyses: one folder, one question, one function, its tables.
//!
//! A folder's `rows.rs` declares its tables, and [`tables`] lists them all.

pub mod attention;
pub mod attribute;
pub mod cache;
pub mod hooks;
pub mod lens;
pub mod model;
pub mod patch;
pub mod path;
#[cfg(feature = "charts")]
pub mod seen;
pub mod tables;
pub mod tokens;
pub mod training;
pub mod verify;

use crate::table::TableInfo;

pub use crate::sweep::{Need, Watch};
pub use attention::attention;
pub use attention::rows::AttentionRow;
pub use attribute::rows::AttributionRow;
pub use cache::save_activations;
pub use hooks::HookRow;
pub use lens::rows::LensRow;
pub use lens::{LensOptions, lens};
pub use model::ModelRow;
pub use patch::rows::{PatchMeanRow, PatchRow};
pub use path::rows::{PathMeanRow, PathRow};
pub use tables::{ColumnRow, docs};
pub use tokens::rows::TokenRow;
pub use training::TrainingRow;
pub use verify::rows::{ReferenceRow, VerifyRow};

/// The tables of each analysis, in the order of the documentation.
const TABLES: &[&[&TableInfo]] = &[
    lens::rows::TABLES,
    attention::rows::TABLES,
    tokens::rows::TABLES,
    hooks::rows::TABLES,
    model::rows::TABLES,
    patch::rows::TABLES,
    path::rows::TABLES,
    attribute::rows::TABLES,
    training::TABLES,
    verify::rows::TABLES,
    tables::rows::TABLES,
];

/// Every table that this version can write, in the order of the documentation.
pub fn tables() -> impl Iterator<Item = &'static TableInfo> {
    TABLES.iter().flat_map(|of_one| of_one.iter().copied())
}
