//! Prompts from files of every kind that is read.

use std::path::Path;

use crate::error::{Error, Result};
use crate::table::read::{Values, read_columns};
use crate::text::{PromptEntry, PromptInput, read_prompts};

/// The prompts of a `.txt`, `.jsonl`, `.csv` or `.parquet` file.
///
/// # Errors
/// As [`read_prompts`]; every error names the file and the line or row.
pub fn from_file(path: &Path) -> Result<Vec<PromptEntry>> {
    read_prompts(path, from_parquet)
}

/// One prompt for each row: column `text`, or `ids` (lists of token ids), and an optional `id`.
fn from_parquet(path: &Path) -> Result<Vec<PromptEntry>> {
    let (mut inputs, mut names) = (None, None);
    for (column, values) in read_columns(path, &["text", "ids", "id"])? {
        match (column.as_str(), values) {
            ("id", values) => names = Some(values),
            (_, values) if inputs.is_none() => inputs = Some(values),
            _ => {
                return Err(Error::bad_input(format!("{} has both `text` and `ids`", path.display()))
                    .hint("leave one of the two columns out"));
            }
        }
    }
    let bad = |row: usize, what: &str| Error::bad_input(format!("{}: row {row}: {what}", path.display()));
    let inputs: Vec<Option<PromptInput>> = match inputs {
        Some(Values::Text(texts)) => texts.into_iter().map(|t| t.map(PromptInput::Text)).collect(),
        Some(Values::Ids(ids)) => ids.into_iter().map(|i| i.map(PromptInput::Ids)).collect(),
        Some(Values::Integers(_)) | None => {
            return Err(Error::bad_input(format!("{} has no column of prompts", path.display()))
                .hint("name a column of strings `text`, or one of lists of token ids `ids`"));
        }
    };
    let names: Vec<Option<String>> = match names {
        Some(Values::Text(names)) => names,
        Some(Values::Integers(names)) => names.into_iter().map(|n| n.map(|n| n.to_string())).collect(),
        Some(Values::Ids(_)) => return Err(bad(0, "`id` is a list, and one id is wanted")),
        None => vec![],
    };
    (inputs.into_iter().enumerate())
        .map(|(i, input)| {
            let input = input.ok_or_else(|| bad(i, "there is no prompt"))?;
            Ok(PromptEntry { id: names.get(i).cloned().flatten(), input })
        })
        .collect()
}
