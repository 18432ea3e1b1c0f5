//! Files of prompts and pairs, of every kind that is read, as records.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result, give_as, words};
use crate::table::read::{Most, Unpacked, Values, column_names, read_columns};
use crate::text::bounds::{Bounds, VALUE_BYTES, split};
use crate::text::prompt_file::{read_bytes, some_of};
use crate::text::records::{At, Record, Records, Written, fields_in, is_template};

/// Where records come from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The file; `-` is standard input.
    pub path: &'a Path,
    /// How it is written; none where its name says it.
    pub written: Option<Written>,
    /// How its bytes are had: of so many at most one more, which says that there are more.
    pub read: fn(&Path, usize) -> Result<Vec<u8>>,
    /// How much is read of it.
    pub bounds: Bounds,
}

/// The fields of a file that nothing is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// What messages call the file.
    file: String,
    /// Their names, as they come.
    pub names: Vec<String>,
}

impl Unused {
    /// Those of `names` in `file` that are none of the fields that are `read`, and that nothing which is read lies in.
    pub fn of<'n>(file: &str, names: &[String], read: impl Iterator<Item = &'n str>) -> Self {
        let read: BTreeSet<&str> = read.flat_map(fields_of).collect();
        let unused = names.iter().filter(|name| !name.is_empty() && !read.contains(name.as_str()));
        Self { file: file.to_owned(), names: unused.cloned().collect() }
    }

    /// What there is to say of them.
    pub fn said(&self) -> Option<String> {
        let names = some_of(self.names.iter().map(String::as_str));
        match self.names.len() {
            0 => None,
            1 => Some(format!("{}: the field {names} is not used", self.file)),
            _ => Some(format!("{}: the fields {names} are not used", self.file)),
        }
    }
}

/// The fields of a record that `name` is made of: itself, or what it lies in; of a template, those in it.
pub(super) fn fields_of(name: &str) -> Vec<&str> {
    let parts: Vec<&str> = if is_template(name) { fields_in(name).collect() } else { vec![name] };
    parts.into_iter().flat_map(|part| [part, part.split('.').next().unwrap_or_default()]).collect()
}

impl<'a> Input<'a> {
    /// A file whose name says how it is written.
    pub fn file(path: &'a Path) -> Self {
        Self { path, written: None, read: read_bytes, bounds: Bounds::default() }
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
            return from_parquet(path, &file, wanted, &self.bounds);
        }
        if known.is_none() && !nameless && path.exists() {
            let what = if lines {
                "this is not a kind of prompt file that is known"
            } else {
                "this is not a kind of file that pairs are read from"
            };
            return Err(Error::bad_input(format!("{file}: {what}")).hint(
                words(format!("use .{}; or say how it is written, ", kinds.join(", ."))) + give_as(option, kinds[0]),
            ));
        }
        if known.is_none() && nameless && !lines {
            return Err(Error::bad_input(format!("{file} has no name that says how it is written"))
                .hint(words("say it: ") + give_as(option, kinds.join(", or "))));
        }
        let bytes = (self.read)(path, self.bounds.bytes)?;
        self.bounds.check_bytes(&file, bytes.len())?;
        let written = match known {
            Some(written) => written,
            // Lines of text, unless that is so unlikely that it has to be said.
            None if bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| b"{[".contains(b)) => {
                return Err(Error::bad_input(format!(
                    "{file} looks like JSON, and has no name that says how it is written"
                ))
                .hint(
                    words("say it: ")
                        + give_as(option, "jsonl")
                        + ", or "
                        + give_as(option, "txt")
                        + " if each line is a text",
                ));
            }
            None => Written::Lines,
        };
        Records::parse(&file, bytes, written, &self.bounds)
    }
}

/// Bytes that a page of parquet has at most for each text, beside it: its length, and which rows have one.
const BESIDE: usize = 64;

/// The columns of a parquet file that are wanted, or that texts which are wanted are made of.
fn from_parquet(path: &Path, file: &str, wanted: &[&str], bounds: &Bounds) -> Result<Records> {
    let mut names: Vec<&str> = vec![];
    for name in wanted.iter().flat_map(|name| if is_template(name) { fields_in(name).collect() } else { vec![*name] }) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut records = Records { file: file.to_owned(), names: column_names(path)?, ..Records::default() };
    let size = |Unpacked { bytes, values, .. }: Unpacked| {
        let [bytes, values] = [bytes, values].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        bounds.check_bytes(file, values.saturating_mul(VALUE_BYTES).saturating_add(bytes))?;
        // The longest text is no shorter than all are on average, beside what a page says of each.
        let long = bytes.checked_div(values).unwrap_or_default().saturating_sub(BESIDE);
        bounds.check_text(long).map_err(|what| Error::bad_input(format!("{file}: {what}")).hint(split()))
    };
    let most = Most { rows: &|n| bounds.check_rows(file, n), size: &size };
    for (name, values) in read_columns(path, &names, &most)? {
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
