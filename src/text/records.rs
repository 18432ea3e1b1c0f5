//! Files of records, as prompts and pairs come in: lines of text, JSON, JSON lines, CSV and TSV, all read into the same.
//!
//! A record is a JSON value: an object with a field for each column, or a string or list where the file has no names for
//! what is in it. Tables in parquet become the same records elsewhere, because only one module knows that format.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::bounds::{Bounds, json_bytes, row_bytes, structure};
use super::separated::{Row, Separated, unequal};
use crate::error::{Error, Result, Sentence};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// Lines of text.
    Lines,
    /// One JSON object on each line.
    JsonLines,
    /// A JSON list, or an object that holds one; or JSON lines, which many files of that name are.
    Json,
    /// Comma-separated values under a header.
    Csv,
    /// The same with tabs.
    Tsv,
    /// Parquet.
    Parquet,
}

impl Written {
    /// The names by which a format is asked for, which are what files end in.
    pub const NAMES: [&str; 6] = ["txt", "jsonl", "json", "csv", "tsv", "parquet"];

    /// By a name, which is what files end in.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "txt" => Self::Lines,
            "jsonl" | "ndjson" => Self::JsonLines,
            "json" => Self::Json,
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }

    /// By what the file's name ends in.
    pub fn of(path: &Path) -> Option<Self> {
        Self::named(path.extension()?.to_str()?)
    }
}

/// Where in its file a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// It begins in this line, from 1.
    Line(usize),
    /// This row, from 0, of a file without lines.
    Row(usize),
}

/// As `line 3`.
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

impl At {
    /// The place in the file that is called `file`: `a.csv:3`.
    pub fn of(&self, file: &str) -> String {
        match self {
            Self::Line(line) => format!("{file}:{line}"),
            Self::Row(row) => format!("{file}: row {row}"),
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it is.
    pub at: At,
    /// What it holds.
    pub value: Value,
}

/// The records of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// What messages call the file.
    pub file: String,
    /// All records, in the file's order.
    pub all: Vec<Record>,
    /// The names of their fields: of a header, or of all objects, as they come.
    pub names: Vec<String>,
    /// The line that has the names, for a file with a header.
    pub header: Option<usize>,
}

impl Records {
    /// Parses `bytes`, which are a file that messages call `file`.
    ///
    /// # Errors
    /// Names the line: what is not UTF-8, not JSON, or has another number of columns than the header; a JSON value that holds
    /// no list of records; what is more than `bounds` allow. Parquet is not read here.
    pub fn parse(file: &str, bytes: Vec<u8>, written: Written, bounds: &Bounds) -> Result<Self> {
        if written == Written::Parquet {
            return Err(Error::bad_input(format!(
                "{file} is read as parquet, which must be a file that ends in .parquet"
            ))
            .hint("write it to a file first"));
        }
        let text = utf8(file, bytes)?;
        let mut records = Self { file: file.to_owned(), ..Self::default() };
        match written {
            Written::Lines | Written::JsonLines => bounds.check_rows(file, lines(&text).count())?,
            _ => {}
        }
        match written {
            Written::Lines => {
                let line = |(line, text): (usize, &str)| Record { at: At::Line(line), value: text.into() };
                records.all = lines(&text).map(line).collect();
            }
            Written::JsonLines | Written::Json => {
                bounds.check_bytes(file, json_bytes(&text))?;
                if written == Written::Json { records.json(&text)? } else { records.json_lines(&text)? }
            }
            Written::Csv => records.separated(&text, b',', bounds)?,
            Written::Tsv => records.separated(&text, b'\t', bounds)?,
            Written::Parquet => {}
        }
        bounds.check_rows(file, records.all.len())?;
        if records.header.is_none() {
            records.names = names(&records.all);
        }
        Ok(records)
    }

    /// What is wrong with a record.
    pub fn wrong(&self, at: At, what: impl fmt::Display) -> Sentence {
        Error::bad_input(format!("{}: {what}", at.of(&self.file)))
    }

    /// What is wrong with a line.
    fn line(&self, line: usize, what: impl fmt::Display) -> Sentence {
        self.wrong(At::Line(line), what)
    }

    fn json_lines(&mut self, text: &str) -> Result<()> {
        for (line, text) in lines(text) {
            let hint = "put one object on each line: {\"text\": \"...\"}";
            let value: Value =
                serde_json::from_str(text).map_err(|e| self.line(line, format!("this is not JSON: {e}")).hint(hint))?;
            if !value.is_object() {
                return Err(self.line(line, format!("this is not an object: {}", shortened(&value))).hint(hint));
            }
            self.all.push(Record { at: At::Line(line), value });
        }
        Ok(())
    }

    fn json(&mut self, text: &str) -> Result<()> {
        let whole: Value = match serde_json::from_str(text) {
            Ok(whole) => whole,
            Err(_) if text.trim().is_empty() => return Ok(()),
            // Many a file of JSON lines is called .json.
            Err(_) if lines(text).next().is_some_and(|(_, line)| serde_json::from_str::<Value>(line).is_ok()) => {
                return self.json_lines(text);
            }
            Err(e) => {
                return Err(self
                    .line(e.line(), format!("this is not JSON: {e}"))
                    .hint("a .json file holds a list of strings or of objects, or one object on each line"));
            }
        };
        let list = match whole {
            Value::Array(list) => {
                let at = starts(text);
                let place = |i: usize| at.get(i).map_or(At::Row(i), |line| At::Line(*line));
                self.all = list.into_iter().enumerate().map(|(i, value)| Record { at: place(i), value }).collect();
                return Ok(());
            }
            // One record, if it has no list of them.
            Value::Object(object) => match self.list_in(&object)? {
                Some(key) => object.get(&key).and_then(Value::as_array).cloned().unwrap_or_default(),
                None => vec![Value::Object(object)],
            },
            other => {
                return Err(self
                    .line(1, format!("this is neither a list nor an object: {}", shortened(&other)))
                    .hint("a .json file holds a list of strings or of objects"));
            }
        };
        self.all = list.into_iter().enumerate().map(|(i, value)| Record { at: At::Row(i), value }).collect();
        Ok(())
    }

    /// The key of an object under which its records are: its one list of objects.
    fn list_in(&self, object: &Map<String, Value>) -> Result<Option<String>> {
        let of_objects =
            |value: &Value| value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_object));
        let lists: Vec<&String> = object.iter().filter(|(_, v)| of_objects(v)).map(|(key, _)| key).collect();
        match lists[..] {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            [one, other, ..] => Err(self
                .line(1, format!("this object has several lists of records: `{one}`, `{other}`"))
                .hint("write the list that is meant to a file of its own")),
        }
    }

    fn separated(&mut self, text: &str, delimiter: u8, bounds: &Bounds) -> Result<()> {
        // All of it is held already.
        let mut rows = Separated::new(text.as_bytes(), delimiter, usize::MAX);
        // Cells of text are text.
        let cell = |rows: &Separated<&[u8]>, i| String::from_utf8_lossy(rows.cell(i)).into_owned();
        rows.next()?;
        self.header = Some(1);
        self.names = (0..rows.columns()).map(|i| cell(&rows, i)).collect();
        // Each row has the names of all columns.
        let (names, mut bytes) = (self.names.iter().map(String::len).sum(), text.len());
        while let Row::At(line) | Row::TooLong(line) = rows.next()? {
            let columns = rows.columns();
            if columns != self.names.len() {
                let (what, hint) = unequal(columns, self.names.len(), delimiter);
                return Err(self.line(line, what).hint(hint));
            }
            bytes += row_bytes(names, (0..columns).map(|i| rows.cell(i)));
            bounds.check_bytes(&self.file, bytes)?;
            bounds.check_rows(&self.file, self.all.len() + 1)?;
            let value: Map<String, Value> =
                self.names.iter().enumerate().map(|(i, name)| (name.clone(), cell(&rows, i).into())).collect();
            self.all.push(Record { at: At::Line(line), value: value.into() });
        }
        Ok(())
    }
}

/// What a record has under `name`: the field of that name; one inside others, `a.b` or `a.0`; or a text made of fields, where
/// `name` holds some in braces, such as `The capital of {country} is`. None when there is nothing, or null.
pub fn field<'a>(record: &'a Value, name: &str) -> Option<Cow<'a, Value>> {
    if is_template(name) {
        return filled(record, name).map(|text| Cow::Owned(text.into()));
    }
    let inside = || {
        name.split('.').try_fold(record, |value, key| match value {
            Value::Array(list) => list.get(key.parse::<usize>().ok()?),
            value => value.get(key),
        })
    };
    record.get(name).or_else(inside).filter(|value| !value.is_null()).map(Cow::Borrowed)
}

/// Whether `name` is a text with fields in braces, and no field's name.
pub fn is_template(name: &str) -> bool {
    fields_in(name).next().is_some()
}

/// The names of the fields that a template holds.
pub fn fields_in(template: &str) -> impl Iterator<Item = &str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}'))
        .map(|(name, _)| name)
        .filter(|name| !name.is_empty())
}

fn filled(record: &Value, template: &str) -> Option<String> {
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        match after.split_once('}') {
            Some((name, after)) if !name.is_empty() => {
                match field(record, name)?.as_ref() {
                    Value::String(value) => text.push_str(value),
                    Value::Array(_) | Value::Object(_) => return None,
                    value => text.push_str(&value.to_string()),
                }
                rest = after;
            }
            _ => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    Some(text)
}

/// The names of all objects' fields, as they come.
fn names(records: &[Record]) -> Vec<String> {
    let (mut names, mut seen) = (vec![], HashSet::new());
    for key in records.iter().filter_map(|r| r.value.as_object()).flat_map(Map::keys) {
        if seen.insert(key) {
            names.push(key.clone());
        }
    }
    names
}

/// A file of text, without the byte order mark that it may begin with.
fn utf8(file: &str, bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..valid].iter().filter(|&&b| b == b'\n').count();
        Error::bad_input(format!("{file}:{line}: this line is not UTF-8")).hint("save the file as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The lines that are not blank, numbered from 1, without their ends.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty())
}

/// The lines, from 1, in which the items of a JSON list begin; `text` is known to be one.
fn starts(text: &str) -> Vec<usize> {
    let (mut starts, mut line, mut depth, mut waiting) = (vec![], 1, 0, false);
    for byte in structure(text) {
        if waiting && !byte.is_ascii_whitespace() && byte != b']' {
            starts.push(line);
            waiting = false;
        }
        match byte {
            b'\n' => line += 1,
            b'[' | b'{' => {
                depth += 1;
                waiting |= depth == 1;
            }
            b']' | b'}' => depth -= 1,
            b',' if depth == 1 => waiting = true,
            _ => {}
        }
    }
    starts
}

/// A value for an error message: its beginning.
pub(crate) fn shortened(value: &Value) -> String {
    crate::visible::shortened(&value.to_string(), 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_of_a_list_know_their_lines() {
        let text = "[\n {\"a\": [1, 2,\n 3]},\n\n \"x,]\\\"[\", 7\n, [\n]]\n";
        let records = Records::parse("f", text.into(), Written::Json, &Bounds::default()).unwrap();
        let lines: Vec<At> = records.all.iter().map(|r| r.at).collect();
        assert_eq!(lines, [2, 5, 5, 6].map(At::Line));
        assert!(starts("[ ]").is_empty());
    }

    #[test]
    fn fields_inside_fields_and_templates() {
        let record = json!({"a": {"b": "x", "c": [1, {"d": "y"}]}, "a.b": "dotted", "n": 3, "none": null});
        assert_eq!(field(&record, "a.c.1.d").unwrap().as_ref(), "y");
        assert_eq!(field(&record, "a.b").unwrap().as_ref(), "dotted", "the name itself comes first");
        assert_eq!(field(&record, "{a.c.1.d} and {n}{}").unwrap().as_ref(), "y and 3{}");
        for nothing in ["none", "a.d", "a.c.7", "n.x", "{nope} x", "{a}"] {
            assert!(field(&record, nothing).is_none(), "{nothing}");
        }
        assert!(!is_template("{}") && !is_template("a.b") && is_template("{x}"));
    }
}
