//! How much is read of a file of prompts or pairs. A file of a few bytes can stand for gigabytes, so what it becomes is counted
//! before it becomes that.

use serde_json::Value;

use crate::error::{Error, Result, Said, bytes as in_bytes, said};

/// What one value of a record takes, with its share of the list or the object that it is in.
pub(crate) const VALUE_BYTES: usize = size_of::<Value>() + 24;
/// What one field of a record takes beside its name and its value: a place in the object's index, and two allocations.
const FIELD_BYTES: usize = 64;
/// What a byte of a text takes while it is made into tokens, in the tokenizer and here: measured as 440 where each byte is a
/// token of its own, by `prompt_bombs::what_a_text_takes_while_it_is_made_into_tokens`.
pub(crate) const TOKENIZED_BYTES: usize = 500;

/// Bounds on what is read of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rows, lines or records.
    pub rows: usize,
    /// Memory that the file's records take, and that its longest text takes while it is made into tokens. In bytes.
    pub bytes: usize,
}

impl Default for Bounds {
    /// A million rows, 1 GB.
    fn default() -> Self {
        Self { rows: 1_000_000, bytes: 1_000_000_000 }
    }
}

impl Bounds {
    /// Refuses `n` rows in `file` if they are too many.
    ///
    /// # Errors
    /// With both numbers.
    pub fn check_rows(&self, file: &str, n: usize) -> Result<()> {
        if n <= self.rows {
            return Ok(());
        }
        Err(Error::bad_input(format!("{file} has more rows than the {} that are read of a file", self.rows))
            .hint(said("raise that with {input_rows=N}, or cut the file")))
    }

    /// Refuses `file` if its records take more than is allowed: `bytes`, or more than that.
    ///
    /// # Errors
    /// With both numbers.
    pub fn check_bytes(&self, file: &str, bytes: usize) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        // With room for what was not counted yet.
        let enough = bytes.div_ceil(500_000_000).max(2);
        Err(Error::bad_input(format!(
            "{file} would take more memory than the {} that are allowed for what is read: {} or more",
            in_bytes(self.bytes),
            in_bytes(bytes)
        ))
        .hint(said("raise that with {input_bytes=SIZE}") + format!(", such as {enough}GB, or cut the file")))
    }

    /// Whether a text of `n` bytes can be made into tokens.
    ///
    /// # Errors
    /// With what it would take, to follow the text's place.
    pub fn check_text(&self, n: usize) -> Result<(), String> {
        let needs = n.saturating_mul(TOKENIZED_BYTES);
        if needs <= self.bytes {
            return Ok(());
        }
        Err(format!(
            "this text is {n} bytes long and would take {} of memory while it is made into tokens, and {} are allowed",
            in_bytes(needs),
            in_bytes(self.bytes)
        ))
    }
}

/// What to do about a text that is too long.
pub(crate) fn split() -> Said {
    said("split it into several prompts, or raise that with {input_bytes=SIZE}")
}

/// The bytes of JSON that are in no string, and the quotes that begin one.
pub(super) fn structure(json: &str) -> impl Iterator<Item = u8> {
    let (mut quoted, mut escaped) = (false, false);
    json.bytes().filter(move |byte| {
        let inside = quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        !inside
    })
}

/// What the JSON in `text` takes as values at most, its own bytes included: counted by its commas, colons and brackets.
pub(crate) fn json_bytes(text: &str) -> usize {
    let (mut values, mut fields) = (1usize, 0usize);
    for byte in structure(text) {
        match byte {
            b',' | b'[' | b'{' => values += 1,
            b':' => fields += 1,
            _ => {}
        }
    }
    values.saturating_mul(VALUE_BYTES).saturating_add(fields.saturating_mul(FIELD_BYTES)).saturating_add(text.len())
}

/// What a row of named cells takes as a record.
pub(crate) fn row_bytes<'a>(names: usize, cells: impl Iterator<Item = &'a [u8]>) -> usize {
    names + cells.map(|cell| cell.len() + VALUE_BYTES + FIELD_BYTES).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_takes_is_counted_by_its_values() {
        for (json, values, fields) in [("[]", 2, 0), (r#"["a,b[\",:", 2]"#, 3, 0), (r#"{"a": [1, 2]}"#, 4, 1)] {
            assert_eq!(json_bytes(json), values * VALUE_BYTES + fields * FIELD_BYTES + json.len(), "{json}");
        }
    }
}
