//! TOML read strictly: keys that are not known are errors that name the nearest one, and every value has its type.

use toml::{Table, Value};

use crate::error::{Error, Result};

/// Refuses keys of `table`, which is called `of`, that are not `known`.
///
/// # Errors
/// When there is one.
pub fn only(table: &Table, of: &str, known: &[&str]) -> Result<()> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let place = if of.is_empty() { "the file has no table".to_owned() } else { format!("`[{of}]` has no key") };
            Err(Error::no_such(format!("{place} `{key}`")).nearest_or(
                key,
                known.iter().copied(),
                format!("there are {}", known.join(", ")),
            ))
        }
    }
}

/// The table called `name`; an empty one where there is none.
///
/// # Errors
/// When it is something else.
pub fn table(root: &Table, name: &str) -> Result<Table> {
    match root.get(name) {
        None => Ok(Table::new()),
        Some(Value::Table(table)) => Ok(table.clone()),
        Some(other) => Err(wrong(name, other, "a table")),
    }
}

/// The text called `key`, where there is one.
///
/// # Errors
/// When it is something else.
pub fn text(table: &Table, of: &str, key: &str) -> Result<Option<String>> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(&format!("{of}.{key}"), other, "text")),
    }
}

/// The error of a value of another type than it should have.
pub fn wrong(name: &str, value: &Value, should: &str) -> Error {
    Error::bad_input(format!("`{name}` is {}, and should be {should}", a_kind(value)))
        .hint(format!("write {should} there; docs/experiments.md has an example"))
}

/// What a value is.
pub fn a_kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A value as it stands in a text.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(x) => x.to_string(),
        other => other.to_string(),
    }
}

/// Whether a name can stand between dots.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}
