//! Files of prompts and pairs, of every kind that is read, as records.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::table::read::{Values, column_names, read_columns};
use crate::text::prompt_file::read_bytes;
use crate::text::records::{At, Record, Records, Written, fields_in, is_template};

/// Where records come from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The file; `-` is standard input.
    pub path: &'a Path,
    /// How it is written; none where its name says it.
    pub written: Option<Written>,
    /// How its bytes are had.
    pub read: fn(&Path) -> Result<Vec<u8>>,
}

impl<'a> Input<'a> {
    /// A file whose name says how it is written.
    pub fn file(path: &'a Path) -> Self {
        Self { path, written: None, read: read_bytes }
    }

    /// Its records. `wanted` are the columns that are read of a parquet file; `option` is how a format is asked for, and
    /// `lines` whether lines of text would do.
    ///
    /// # Errors
    /// As [`Records::parse`], and when it is not known how the file is written.
    pub fn records(&self, wanted: &[&str], option: &str, lines: bool) -> Result<Records> {
        let path = self.path;
        let stdin = path == Path::new("-");
        let file = if stdin { "stdin".to_owned() } else { path.display().to_string() };
        let known = self.written.or_else(|| Written::of(path)).filter(|written| lines || *written != Written::Lines);
        // A pipe has no name that could say it.
        let nameless = stdin || std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let kinds = Written::NAMES.into_iter().filter(|name| lines || *name != "txt").collect::<Vec<_>>();
        if known == Some(Written::Parquet) && !nameless {
            return from_parquet(path, &file, wanted);
        }
        if known.is_none() && !nameless && path.exists() {
            let what = if lines {
                "this is not a kind of prompt file that is known"
            } else {
                "this is not a kind of file that pairs are read from"
            };
            return Err(Error::bad_input(format!("{file}: {what}")).hint(format!(
                "use .{}; or say how it is written, {option} {}",
                kinds.join(", ."),
                kinds[0]
            )));
        }
        if known.is_none() && nameless && !lines {
            return Err(Error::bad_input(format!("{file} has no name that says how it is written"))
                .hint(format!("say it: {option} {}", kinds.join(", or "))));
        }
        let bytes = (self.read)(path)?;
        let written = match known {
            Some(written) => written,
            // Lines of text, unless that is so unlikely that it has to be said.
            None if bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| b"{[".contains(b)) => {
                return Err(Error::bad_input(format!(
                    "{file} looks like JSON, and has no name that says how it is written"
                ))
                .hint(format!("say it: {option} jsonl, or {option} txt if each line is a text")));
            }
            None => Written::Lines,
        };
        Records::parse(&file, bytes, written)
    }
}

/// The columns of a parquet file that are wanted, or that texts which are wanted are made of.
fn from_parquet(path: &Path, file: &str, wanted: &[&str]) -> Result<Records> {
    let mut names: Vec<&str> = vec![];
    for name in wanted.iter().flat_map(|name| if is_template(name) { fields_in(name).collect() } else { vec![*name] }) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut records = Records { file: file.to_owned(), names: column_names(path)?, ..Records::default() };
    for (name, values) in read_columns(path, &names)? {
        let values: Vec<Value> = match values {
            Values::Text(texts) => texts.into_iter().map(Value::from).collect(),
            Values::Ids(ids) => ids.into_iter().map(Value::from).collect(),
            Values::Integers(numbers) => numbers.into_iter().map(Value::from).collect(),
        };
        if records.all.is_empty() {
            let empty = |row| Record { at: At::Row(row), value: Map::new().into() };
            records.all = (0..values.len()).map(empty).collect();
        }
        for (record, value) in records.all.iter_mut().zip(values) {
            record.value[&name] = value;
        }
    }
    Ok(records)
}
