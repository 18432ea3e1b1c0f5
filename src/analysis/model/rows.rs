//! The table of facts about a model.

use crate::table;

table! {
    /// One fact about a model.
    ModelRow = "model" version 1 keyed by property:
    "What a model is: family, sizes and choices that distinguish it. One row is one property.";
    property: String, "", "name of the property";
    value: String, "", "its value, as text";
}
