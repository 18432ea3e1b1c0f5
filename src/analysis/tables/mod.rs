//! The tables that analyses make: their columns as rows, and their page.

mod docs;
pub mod rows;

use crate::table::TableInfo;
pub use docs::docs;
pub use rows::ColumnRow;

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
