//! Which field of a record is the text of a document, and which its id.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::source::longer;
use super::{Reading, Text, Wrong};
use crate::error::{Error, give_as, nearest, said};
use crate::text::prompt_file::some_of;
use crate::text::records::{At, field, fields_in, is_template, shortened};

/// What is read of each record of a file.
pub(super) struct Fields {
    reading: Reading,
    /// The text's field, once it is known.
    text: Option<String>,
    /// The fields of a record that are needed; none while the text's is not known.
    pub needed: Vec<String>,
}

impl Fields {
    pub fn new(reading: &Reading) -> Self {
        let mut fields = Self { reading: reading.clone(), text: None, needed: vec![] };
        if let Some(text) = &reading.text {
            fields.set(text.clone());
        }
        fields
    }

    /// Whether it is known which fields are needed.
    pub fn known(&self) -> bool {
        self.text.is_some()
    }

    /// The text's field, once it is known.
    pub fn name(&self) -> Option<&str> {
        self.text.as_deref()
    }

    fn set(&mut self, text: String) {
        let named = parts(&text).into_iter().chain(parts(self.id()));
        // The name itself, or the field in which it is.
        let mut needed: Vec<String> =
            named.flat_map(|name| [name, name.split('.').next().unwrap_or(name)]).map(str::to_owned).collect();
        needed.sort();
        needed.dedup();
        (self.needed, self.text) = (needed, Some(text));
    }

    /// The field with the id.
    fn id(&self) -> &str {
        self.reading.id.as_deref().unwrap_or("id")
    }

    /// Decides for a file with a header; `names` are all of its columns, `with_text` those that can hold text.
    ///
    /// # Errors
    /// A column that was asked for is not there, or none has text, or several.
    pub fn of_header(&mut self, names: &[&str], with_text: &[&str], file: &str) -> Result<(), Error> {
        if self.text.is_none() {
            let text = only(with_text).map_err(|what| {
                Error::bad_input(format!("{file}: {what}; it has {}", said_of(names))).hint(said(SAY_WHICH))
            })?;
            self.set(text.to_owned());
        }
        let asked = [self.text.as_deref(), self.reading.id.as_deref()];
        for name in asked.into_iter().flatten() {
            if let Some(part) = parts(name).into_iter().find(|part| !names.contains(part)) {
                let e = Error::bad_input(format!("{file} has no column `{part}`; it has {}", said_of(names)));
                return Err(e.nearest_or(part, names.iter().copied(), said(SAY_WHICH)));
            }
        }
        Ok(())
    }

    /// Decides by a whole record, if that is not done yet.
    pub fn of_record(&mut self, record: &Value, at: Option<At>) -> Result<(), Wrong> {
        let (None, Some(object)) = (&self.text, record.as_object()) else { return Ok(()) };
        let with_text: Vec<&str> = object.iter().filter(|(_, v)| v.is_string()).map(|(k, _)| &**k).collect();
        let text = only(&with_text).map_err(|what| {
            let names: Vec<&str> = object.keys().map(String::as_str).collect();
            Wrong::Document { at, what: format!("{what}; it has {}", said_of(&names)), hint: said(SAY_WHICH) }
        })?;
        self.set(text.to_owned());
        Ok(())
    }

    /// The text of a record, which has the fields that are needed; `whole` is the record with all fields, for messages.
    pub fn text(&self, mut record: Value, at: Option<At>, whole: &dyn Fn() -> Option<Value>) -> Result<Text, Wrong> {
        let wrong = |what: String| Wrong::Document { at, what, hint: said(SAY_WHICH) };
        let name = self.text.as_deref().unwrap_or("text");
        let id = self.id_of(&record).map_err(wrong)?;
        let text = match &mut record {
            // A list of strings has no names.
            Value::String(text) if !is_template(name) => std::mem::take(text),
            Value::Object(object) => match object.get_mut(name) {
                Some(Value::String(text)) => std::mem::take(text),
                _ => match field(&record, name).map(Cow::into_owned) {
                    Some(Value::String(text)) => text,
                    Some(other) => return Err(wrong(format!("`{name}` is not a string: {}", shortened(&other)))),
                    None => return Err(self.missing(name, at, whole)),
                },
            },
            other => return Err(wrong(format!("this is neither a string nor an object: {}", shortened(other)))),
        };
        self.reading.check(text.len(), at)?;
        Ok(Text { at, id, text })
    }

    /// A document's id; none where it has none and none was asked for.
    fn id_of(&self, record: &Value) -> Result<Option<String>, String> {
        match (field(record, self.id()).as_deref(), &self.reading.id) {
            (Some(Value::String(id)), _) if !id.is_empty() => Ok(Some(id.clone())),
            (Some(Value::Number(id)), _) if id.is_u64() || id.is_i64() => Ok(Some(id.to_string())),
            (_, None) => Ok(None),
            (None, Some(name)) => Err(format!("there is no id in `{name}`")),
            (Some(other), Some(name)) => {
                Err(format!("`{name}` is neither a string nor a whole number: {}", shortened(other)))
            }
        }
    }

    fn missing(&self, name: &str, at: Option<At>, whole: &dyn Fn() -> Option<Value>) -> Wrong {
        let whole = whole().unwrap_or_default();
        let names: Vec<&str> = whole.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let hint = nearest(name, names.iter().copied()).map(|near| give_as("text", near) + " would read that");
        Wrong::Document {
            at,
            what: format!("there is no text in `{name}`; this has {}", said_of(&names)),
            hint: hint.unwrap_or_else(|| said(SAY_WHICH)),
        }
    }
}

const SAY_WHICH: &str = "say which field has the text, {text=NAME}";

/// The fields that a text is made of: one, or those of a template.
fn parts(name: &str) -> Vec<&str> {
    if is_template(name) { fields_in(name).collect() } else { vec![name] }
}

/// The field with the text, where nobody says which it is.
fn only<'a>(with_text: &[&'a str]) -> Result<&'a str, &'static str> {
    match with_text {
        names if names.contains(&"text") => Ok("text"),
        [] => Err("no field has text"),
        [only] => Ok(only),
        _ => Err("several fields have text, and none of them is called `text`"),
    }
}

fn said_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".into(),
        names => some_of(names.iter().copied()),
    }
}

impl Reading {
    /// Refuses a text of `n` bytes if it is too long.
    pub(super) fn check(&self, n: usize, at: Option<At>) -> Result<(), Wrong> {
        self.bounds.check_text(n).map_err(|what| Wrong::Document { at, what, hint: longer() })
    }
}

/// Text, if it is that.
pub(super) fn utf8(bytes: Vec<u8>, at: Option<At>) -> Result<String, Wrong> {
    let hint = "save the file as UTF-8";
    String::from_utf8(bytes).map_err(|_| Wrong::Document { at, what: "this is not UTF-8".into(), hint: hint.into() })
}
