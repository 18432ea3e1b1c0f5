//! Prompts from files of every kind that is read.

use super::records::Input;
use crate::error::Result;
use crate::text::PromptEntry;
use crate::text::prompt_file::{Columns, prompts};

/// The prompts that come from `input`, whose fields are called as `columns` says.
///
/// # Errors
/// As [`Input::records`] and [`prompts`]; every error names the file and the line or row.
pub fn from_input(input: &Input, columns: &Columns) -> Result<Vec<PromptEntry>> {
    let mut wanted = vec!["text", "ids", "id"];
    for (ours, theirs) in columns {
        wanted.retain(|name| name != ours);
        wanted.push(theirs);
    }
    prompts(&input.records(&wanted, "prompts_format", true)?, columns, &input.bounds)
}
