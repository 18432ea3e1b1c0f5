//! Prompts from records: which field is the text, which are token ids, and what a prompt is called.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::bounds::{Bounds, split};
use super::ids::parse_ids;
use super::prompt::{PromptEntry, PromptInput};
use super::records::{At, Record, Records, field, fields_in, is_template, shortened};
use super::tokenizer::quoted;
use crate::error::{Error, Result, Said, give, give_as, nearest, said, words};

/// The fields of a prompt: `text`, or `ids`; `id`, its name; `subject`, which takes the place of `{}` in the text.
pub const FIELDS: [&str; 4] = ["text", "ids", "id", "subject"];

/// What a file calls our fields, where it calls them otherwise: ours, and the file's, which may lie inside others
/// (`rewrite.prompt`) or be a text with fields in braces (`The capital of {country} is`).
pub type Columns = [(String, String)];

/// Checks that `columns` speaks of `known` fields of `whose`, and of each once.
///
/// # Errors
/// Names the field.
pub fn check_columns(columns: &Columns, known: &[&str], whose: &str) -> Result<()> {
    for (i, (ours, _)) in columns.iter().enumerate() {
        if !known.contains(&ours.as_str()) {
            let e = Error::no_such(format!("{whose} have no column `{ours}`"));
            return Err(e.nearest_or(ours, known.iter().copied(), format!("they have {}", known.join(", "))));
        }
        if columns[..i].iter().any(|(earlier, _)| earlier == ours) {
            return Err(
                Error::bad_input(give("columns") + format!(" says twice what `{ours}` is called")).hint("say it once")
            );
        }
    }
    Ok(())
}

/// The error for a field that was asked for and that no record has; none where there is one that has it.
pub fn missing_column(records: &Records, theirs: &str) -> Option<Error> {
    if records.names.iter().any(|name| name == theirs) || records.all.iter().any(|r| field(&r.value, theirs).is_some())
    {
        return None;
    }
    let parts: Vec<&str> = if is_template(theirs) { fields_in(theirs).collect() } else { vec![theirs] };
    let has_it = |part: &&str| !records.all.iter().any(|record| field(&record.value, part).is_some());
    let part = parts.into_iter().find(has_it).unwrap_or(theirs);
    let has = match records.names.iter().all(String::is_empty) {
        true => "no names for anything".to_owned(),
        false => some_of(records.names.iter().map(String::as_str)),
    };
    let e = Error::bad_input(format!("{} has no column `{part}`; it has {has}", records.file));
    Some(e.nearest_or(
        part,
        records.names.iter().map(String::as_str),
        said("say how the file calls its columns: {columns=text=prompt} for prompts, clean=prompt for pairs"),
    ))
}

/// The prompts in `records`, at least one. A string is a text, a list of numbers is token ids, and an object has `text` or
/// `ids`, and `id` if wanted; `columns` says what the file calls them. Other fields are ignored.
///
/// A prompt without an `id` is called by its index, from 0.
///
/// # Errors
/// Each names the file and, where there is one, the line: no prompts at all; a record that has none, an empty one, or an id
/// that was used before; a column that was asked for and is not there; a text longer than `bounds` allow.
pub fn prompts(records: &Records, columns: &Columns, bounds: &Bounds) -> Result<Vec<PromptEntry>> {
    check_columns(columns, &FIELDS, "prompts")?;
    if records.all.is_empty() {
        return Err(Error::bad_input(format!("{}: there are no prompts in this file", records.file))
            .hint("put one prompt on each line"));
    }
    let asked = columns.iter().filter(|(_, theirs)| !theirs.is_empty());
    if let Some(error) = asked.into_iter().find_map(|(_, theirs)| missing_column(records, theirs)) {
        return Err(error);
    }
    let fields = Fields::new(records, columns, bounds)?;
    let mut places: HashMap<String, At> = HashMap::new();
    let mut entries = Vec::with_capacity(records.all.len());
    for (index, record) in records.all.iter().enumerate() {
        let entry = fields.entry(record).map_err(|(what, hint)| records.wrong(record.at, what).hint(hint))?;
        let empty = match &entry.input {
            PromptInput::Text(text) => text.is_empty(),
            PromptInput::Ids(ids) => ids.is_empty(),
        };
        if empty {
            return Err(records
                .wrong(record.at, "this prompt is empty")
                .hint("remove it: a prompt needs at least one token"));
        }
        if let PromptInput::Text(text) = &entry.input {
            bounds.check_text(text.len()).map_err(|what| records.wrong(record.at, what).hint(split()))?;
        }
        let id = entry.id.clone().unwrap_or_else(|| index.to_string());
        if let Some(earlier) = places.insert(id.clone(), record.at) {
            return Err(records
                .wrong(record.at, format!("the id {} is already that of {earlier}", quoted(&id)))
                .hint("give each prompt an id of its own, or give none"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// What is wrong with a record, and what to do.
type Wrong = (String, Said);

/// What the file calls our fields; none where a field is not asked for.
struct Fields<'a> {
    text: Option<&'a str>,
    ids: Option<&'a str>,
    id: Option<&'a str>,
    subject: Option<&'a str>,
    bounds: &'a Bounds,
}

impl<'a> Fields<'a> {
    fn new(records: &Records, columns: &'a Columns, bounds: &'a Bounds) -> Result<Self> {
        let said = |ours: &str| columns.iter().find(|(o, _)| o == ours).map(|(_, theirs)| theirs.as_str());
        let (text, ids) = match (said("text"), said("ids")) {
            (None, None) => (Some("text"), Some("ids")),
            said => said,
        };
        let id = Some(said("id").unwrap_or("id")).filter(|name| !name.is_empty());
        let fields = Self { text, ids, id, subject: said("subject"), bounds };
        if let (Some(line), Some(text), Some(ids)) = (records.header, text, ids) {
            fields.check_header(records, line, text, ids)?;
        }
        Ok(fields)
    }

    /// What a header lacks is said of it, once.
    fn check_header(&self, records: &Records, line: usize, text: &str, ids: &str) -> Result<()> {
        let has = |name: &str| records.names.iter().any(|n| n == name);
        let wrong = |what: String| records.wrong(At::Line(line), what);
        match (has(text), has(ids)) {
            (true, true) => Err(wrong(format!("the header has both `{text}` and `{ids}`"))
                .hint(said("say which is meant, {columns=text=NAME} or {columns=ids=NAME}"))),
            (false, false) => {
                let names = || records.names.iter().map(String::as_str);
                let near = nearest(text, names()).or_else(|| nearest(ids, names()));
                let e = wrong(format!("the header has neither `{text}` nor `{ids}`, but {}", some_of(names())));
                Err(e.hint(match near {
                    Some(near) => {
                        words(format!("if `{near}` has the prompts, say so: "))
                            + give_as("columns", format!("text={near}"))
                    }
                    None => said("say which column has the prompts: {columns=text=NAME}"),
                }))
            }
            _ => Ok(()),
        }
    }

    fn entry(&self, record: &Record) -> Result<PromptEntry, Wrong> {
        let needs = || {
            said("each object needs \"text\" (a string) or \"ids\" (a list of ids); {columns} says how they are called")
        };
        let id_list = "write token ids as 12 34 56";
        let value = &record.value;
        let object = match value {
            Value::String(text) if self.text.is_none_or(|name| !is_template(name)) => {
                return Ok(PromptEntry::text(text));
            }
            Value::Array(_) => {
                return list(value).map(PromptEntry::ids).ok_or_else(|| {
                    (
                        format!("this is not a list of token ids: {}", shortened(value)),
                        "ids are whole numbers: [1, 2, 3]".into(),
                    )
                });
            }
            Value::Object(object) => object,
            other => {
                return Err((
                    format!("this is neither a string, a list of token ids nor an object: {}", shortened(other)),
                    needs(),
                ));
            }
        };
        let get = |name: Option<&str>| name.and_then(|name| field(value, name));
        let (text, ids) = (self.text.unwrap_or("text"), self.ids.unwrap_or("ids"));
        let input = match (get(self.text), get(self.ids)) {
            (Some(_), Some(_)) => {
                return Err((format!("this object has both `{text}` and `{ids}`"), "leave one of them out".into()));
            }
            (Some(found), None) => match found.as_ref() {
                Value::String(text) => PromptInput::Text(self.with_subject(text, value)?),
                other => return Err((format!("`{text}` is not a string: {}", shortened(other)), needs())),
            },
            (None, Some(found)) => PromptInput::Ids(match found.as_ref() {
                Value::String(text) => parse_ids(text).map_err(|e| (e.to_string(), id_list.into()))?,
                other => list(other)
                    .ok_or_else(|| (format!("`{ids}` is not a list of token ids: {}", shortened(other)), needs()))?,
            }),
            (None, None) if [text, ids].iter().any(|name| object.contains_key(*name)) => {
                return Err(("there is no prompt".into(), "fill it in, or take the line out".into()));
            }
            (None, None) => {
                let found =
                    if object.is_empty() { "nothing".into() } else { some_of(object.keys().map(String::as_str)) };
                let wanted = match (self.text, self.ids) {
                    (Some(_), None) => format!("no `{text}`"),
                    (None, Some(_)) => format!("no `{ids}`"),
                    _ => format!("neither `{text}` nor `{ids}`"),
                };
                return Err((format!("this object has {wanted}, but {found}"), needs()));
            }
        };
        let id = match get(self.id).as_deref() {
            None => None,
            Some(Value::String(id)) => Some(id.clone()).filter(|id| !id.is_empty()),
            Some(Value::Number(id)) if id.is_u64() || id.is_i64() => Some(id.to_string()),
            Some(other) => {
                let name = self.id.unwrap_or("id");
                return Err((
                    format!("`{name}` is neither a string nor a whole number: {}", shortened(other)),
                    needs(),
                ));
            }
        };
        Ok(PromptEntry { id, input })
    }

    /// The text with its subject in the place that `{}` holds for it.
    fn with_subject(&self, text: &str, record: &Value) -> Result<String, Wrong> {
        let Some(name) = self.subject else { return Ok(text.to_owned()) };
        let hint = "the subject takes the place of {} in the text";
        match field(record, name).as_deref() {
            Some(Value::String(subject)) if text.contains("{}") => {
                // Before it is put in every place: they may be many, and it may be long.
                let grown = text.matches("{}").count().saturating_mul(subject.len());
                self.bounds.check_text(text.len().saturating_add(grown)).map_err(|what| (what, split()))?;
                Ok(text.replace("{}", subject))
            }
            Some(Value::String(_)) => {
                Err((format!("there is no {{}} for the subject in {}", quoted(text)), hint.into()))
            }
            _ => Err((format!("there is no text in `{name}`, the subject"), hint.into())),
        }
    }
}

/// A list of token ids.
fn list(value: &Value) -> Option<Vec<u32>> {
    let id = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    value.as_array()?.iter().map(id).collect()
}

/// Names in quotes: as many as a sentence has room for.
pub(crate) fn some_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    const LONGEST: usize = 40;
    let quoted = |name: &str| format!("`{}`", crate::visible::shortened(name, LONGEST));
    let mut names = names.filter(|name| !name.is_empty());
    let mut shown: Vec<String> = names.by_ref().take(SHOWN).map(quoted).collect();
    match names.count() {
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}

/// The bytes of a file: no more than `most` of them and one, which says that there are more.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn read_bytes(path: &Path, most: usize) -> Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![];
        std::fs::File::open(path)?.take(most.saturating_add(1) as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e| Error::cannot_read(path, e))
}
