//! The tables that analyses make: their columns as rows, and their page.

mod docs;
pub mod rows;
mod words;

use crate::glossary::Term;
use crate::table::TableInfo;
pub use docs::docs;
pub use rows::{ColumnRow, TermRow};
pub use words::glossary;

/// The columns of a table, one a row.
pub fn columns(table: &TableInfo) -> Vec<ColumnRow> {
    table
        .columns
        .iter()
        .map(|c| ColumnRow {
            table: table.name.into(),
            column: c.name.into(),
            kind: c.kind.name().into(),
            nullable: c.nullable,
            unit: c.unit.into(),
            meaning: c.meaning.into(),
        })
        .collect()
}

/// Terms of the glossary as rows.
pub fn terms<'a>(of: impl IntoIterator<Item = &'a Term>) -> Vec<TermRow> {
    of.into_iter()
        .map(|term| TermRow {
            key: term.key.into(),
            term: term.en.into(),
            meaning: term.means.into(),
            term_zh: term.zh.into(),
            meaning_zh: term.means_zh.into(),
            seen: term.seen.into(),
        })
        .collect()
}
