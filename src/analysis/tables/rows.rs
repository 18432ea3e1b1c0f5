//! The table of tables' columns.

use crate::table;

table! {
    /// One column of a table.
    ColumnRow = "tables" version 1:
    "The columns of the tables that pellucid writes. One row is one column.";
    table: String, "", "the table";
    column: String, "", "the column's name";
    kind: String, "", "the type of its values";
    nullable: bool, "", "whether a value may be missing";
    unit: String, "", "what its values are counted in; empty for plain names and flags";
    meaning: String, "", "what it says";
}

impl crate::view::Seen for ColumnRow {
    const DRAWN: bool = false;
}
