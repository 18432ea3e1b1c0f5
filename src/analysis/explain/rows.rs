//! The table of numbers that the page makes of other tables.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One number of the page that no other table has.
    ExplainRow = "explain" version 1 keyed by model, name, place, token_id:
    "Numbers that the page `explain.html` shows and no other table beside it has: sizes of the model, sums and differences of other tables' \
     numbers, and what a second model says. One row is one number.";
    model: String, "", "the model that it is of";
    name: String, "", "what it is called";
    place: Option<u32>, "index", "which one, where there are several: a position, a rank or a step";
    token: Option<String>, TOKEN, "the token that it is of";
    token_id: Option<u32>, "vocabulary id", "its id";
    value: f64, "of the number", "the number";
    unit: String, "", "its unit";
    how: String, "", "what it is made of";
}
