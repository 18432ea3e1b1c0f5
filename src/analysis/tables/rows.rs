//! The table of tables' columns, and that of the glossary.

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

table! {
    /// One term of the glossary.
    TermRow = "glossary" version 1:
    "What the field's words mean, in English and Chinese. One row is one term.";
    key: String, "", "what links call the term";
    term: String, "", "its name in English; after a comma, other names";
    meaning: String, "", "what it means";
    term_zh: String, "", "its name in Chinese";
    meaning_zh: String, "", "what it means, in Chinese";
    seen: String, "", "the command that shows it";
}

impl crate::view::Seen for TermRow {
    const DRAWN: bool = false;
}
