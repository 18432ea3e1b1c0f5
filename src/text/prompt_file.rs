//! Prompt files: .txt, .jsonl, .csv and .parquet.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use super::prompt::{PromptEntry, PromptInput};
use super::tokenizer::quoted;
use crate::error::{Error, Result, nearest};

/// Reads the columns `text` or `ids`, and `id` if there is one, of a parquet file. Given to [`read_prompts`], so that only
/// the table module needs to know the format.
pub type ReadParquet = fn(&Path) -> Result<Vec<PromptEntry>>;

/// The prompts in a file, at least one. Its extension says how it is written:
///
/// - `.txt`: one text for each line. A line ends at `\n` or `\r\n`; lines with nothing but white space are skipped, all
///   other white space is part of the prompt.
/// - `.jsonl` (or `.ndjson`): one object for each line, with `text` (a string) or `ids` (whole numbers), and `id` (a string
///   or a whole number) if wanted. Other keys are ignored; blank lines are skipped.
/// - `.csv`: a header with `text` or `ids` (whole numbers with spaces or commas between them), and `id` if wanted. Other
///   columns are ignored.
/// - `.parquet`: the same columns, read by `parquet`.
///
/// A prompt without an `id` is called by its index, from 0. A byte order mark at the beginning of the file is dropped.
///
/// # Errors
/// Each names the file and, where there is one, the line: a file that cannot be read, is not UTF-8, has an unknown extension
/// or no prompts; a line that is malformed, or holds an empty prompt or an id that was used before.
pub fn read_prompts(path: &Path, parquet: ReadParquet) -> Result<Vec<PromptEntry>> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let entries: Vec<(usize, PromptEntry)> = match extension.as_str() {
        "txt" => txt(&read_text(path)?),
        "jsonl" | "ndjson" => jsonl(path, &read_text(path)?)?,
        "csv" => csv(path, &read_text(path)?)?,
        "parquet" => parquet(path)?.into_iter().enumerate().collect(),
        _ => {
            return Err(Error::bad_input(format!(
                "{}: this is not a kind of prompt file that is known",
                path.display()
            ))
            .hint("use .txt, .jsonl, .csv or .parquet"));
        }
    };
    let place = |line: usize| match extension.as_str() {
        "parquet" => format!("{}: row {line}", path.display()),
        _ => format!("{}:{line}", path.display()),
    };
    if entries.is_empty() {
        return Err(Error::bad_input(format!("{}: there are no prompts in this file", path.display()))
            .hint("put one prompt on each line"));
    }
    let mut lines = HashMap::new();
    for (index, (line, entry)) in entries.iter().enumerate() {
        let empty = match &entry.input {
            PromptInput::Text(text) => text.is_empty(),
            PromptInput::Ids(ids) => ids.is_empty(),
        };
        if empty {
            return Err(Error::bad_input(format!("{}: this prompt is empty", place(*line)))
                .hint("remove it: a prompt needs at least one token"));
        }
        let id = entry.id.clone().unwrap_or_else(|| index.to_string());
        if let Some(earlier) = lines.insert(id.clone(), *line) {
            let what = if extension == "parquet" { "row" } else { "line" };
            return Err(Error::bad_input(format!(
                "{}: the id {} is already that of {what} {earlier}",
                place(*line),
                quoted(&id)
            ))
            .hint("give each prompt an id of its own, or give none"));
        }
    }
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// A file of text, without the byte order mark that it may begin with.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = fs_err::read(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            Error::no_such(format!("there is no file {}", path.display())).hint("check the path").because(e)
        }
        ErrorKind::IsADirectory => {
            Error::bad_input(format!("{} is a folder, not a file", path.display())).hint("name one of the files in it")
        }
        _ => Error::io(e.to_string()).hint("check the file's permissions").because(e),
    })?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..valid].iter().filter(|&&b| b == b'\n').count();
        at(path, line, "this line is not UTF-8").hint("save the file as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// What is wrong with a line of a file.
pub(crate) fn at(path: &Path, line: usize, what: impl std::fmt::Display) -> Error {
    Error::bad_input(format!("{}:{line}: {what}", path.display()))
}

/// The lines that are not blank, numbered from 1, without their ends.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty())
}

fn txt(text: &str) -> Vec<(usize, PromptEntry)> {
    lines(text).map(|(line, text)| (line, PromptEntry::text(text))).collect()
}

fn jsonl(path: &Path, text: &str) -> Result<Vec<(usize, PromptEntry)>> {
    lines(text)
        .map(|(line, text)| {
            let value: Value = serde_json::from_str(text).map_err(|e| {
                at(path, line, format!("this is not JSON: {e}"))
                    .hint("put one object on each line: {\"text\": \"...\"}")
            })?;
            let entry = from_object(&value).map_err(|e| {
                at(path, line, e).hint("each object needs \"text\" (a string) or \"ids\" (a list of ids)")
            })?;
            Ok((line, entry))
        })
        .collect()
}

/// The prompt in one JSON object; the error is the end of a sentence.
fn from_object(value: &Value) -> Result<PromptEntry, String> {
    let object = value.as_object().ok_or_else(|| format!("this is not an object: {}", shortened(value)))?;
    let input = match (object.get("text"), object.get("ids")) {
        (Some(_), Some(_)) => return Err("this object has both `text` and `ids`".into()),
        (Some(Value::String(text)), None) => PromptInput::Text(text.clone()),
        (Some(other), None) => return Err(format!("`text` is not a string: {}", shortened(other))),
        (None, Some(ids)) => {
            let id = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
            let ids = ids.as_array().and_then(|list| list.iter().map(id).collect::<Option<Vec<u32>>>());
            PromptInput::Ids(
                ids.ok_or_else(|| format!("`ids` is not a list of token ids: {}", shortened(&object["ids"])))?,
            )
        }
        (None, None) => {
            let found: Vec<String> = object.keys().map(|key| format!("`{key}`")).collect();
            let found = if found.is_empty() { "nothing".into() } else { found.join(", ") };
            return Err(format!("this object has neither `text` nor `ids`, but {found}"));
        }
    };
    let id = match object.get("id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(Value::Number(id)) if id.is_u64() || id.is_i64() => Some(id.to_string()),
        Some(other) => return Err(format!("`id` is neither a string nor a whole number: {}", shortened(other))),
    };
    Ok(PromptEntry { id, input })
}

/// A value for an error message: its beginning.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn csv(path: &Path, text: &str) -> Result<Vec<(usize, PromptEntry)>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| at(path, 1, e))?.clone();
    let column = |name: &str| header.iter().position(|h| h == name);
    let id_column = column("id");
    let (input_column, as_text) = match (column("text"), column("ids")) {
        (Some(text), None) => (text, true),
        (None, Some(ids)) => (ids, false),
        (Some(_), Some(_)) => {
            return Err(at(path, 1, "the header has both `text` and `ids`").hint("leave one of the two columns out"));
        }
        (None, None) => {
            let found: Vec<String> = header.iter().map(|h| format!("`{h}`")).collect();
            let near = nearest("text", header.iter()).or_else(|| nearest("ids", header.iter()));
            return Err(at(path, 1, format!("the header has neither `text` nor `ids`, but {}", found.join(", ")))
                .hint(match near {
                    Some(near) => format!("rename the column `{near}`"),
                    None => "the first line names the columns: id,text".to_owned(),
                }));
        }
    };
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| {
            at(path, csv_line(text, e.position()), csv_problem(&e))
                .hint("put text with a comma or a newline in it between double quotes")
        })?;
        let line = csv_line(text, record.position());
        let cell = record.get(input_column).unwrap_or_default();
        let input = if as_text {
            PromptInput::Text(cell.to_owned())
        } else {
            let ids = cell.split([' ', ',']).filter(|part| !part.is_empty());
            let ids: Result<Vec<u32>, String> =
                ids.map(|part| part.parse().map_err(|_| format!("{} is not a token id", quoted(part)))).collect();
            PromptInput::Ids(ids.map_err(|e| at(path, line, e).hint("write token ids as 12 34 56"))?)
        };
        let id = id_column.and_then(|c| record.get(c)).filter(|id| !id.is_empty()).map(str::to_owned);
        entries.push((line, PromptEntry { id, input }));
    }
    Ok(entries)
}

/// The line that a record begins in, from 1. The reader's own position is before the blank lines that it skips.
pub(crate) fn csv_line(text: &str, position: Option<&csv::Position>) -> usize {
    let Some(position) = position else { return 1 };
    let rest = text.as_bytes().get(position.byte() as usize..).unwrap_or_default();
    let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).filter(|&&b| b == b'\n').count();
    position.line() as usize + blank
}

/// What the csv reader has to say, without the place, which our own message gives.
pub(crate) fn csv_problem(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("this row has {len} columns, but the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}
