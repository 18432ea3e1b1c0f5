//! Two tables joined on their keys: the same facts of two runs, side by side.

use serde_json::{Map, Value};

#[cfg(feature = "frames")]
pub use super::columns::join;

/// Rows of two files that have the same keys, in the order of the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// How many rows each file has.
    pub rows: [usize; 2],
    /// The keys of each row that both have, by name; without those that are null.
    pub keys: Vec<Map<String, Value>>,
    /// The numbers of these rows in both files, column by column.
    pub columns: Vec<Both>,
    /// Whether several rows of a file have the same keys: those are matched in their order.
    pub repeated: bool,
}

/// A column of numbers in two files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Both {
    /// What it is called.
    pub name: String,
    /// Its values in each file; none where they are null.
    pub values: [Vec<Option<f64>>; 2],
}

/// Refuses: tables are joined by polars.
///
/// # Errors
/// Always.
#[cfg(not(feature = "frames"))]
pub fn join(paths: [&std::path::Path; 2], _: &[&str], _: &[&str]) -> crate::error::Result<Joined> {
    let error = crate::error::Error::bad_input(format!("{}: this build joins no tables", paths[0].display()));
    Err(error.hint("build pellucid with the feature `frames`"))
}
