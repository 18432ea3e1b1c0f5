//! Records of JSON, one at a time: of lines, and of a list of any length.

use std::fmt;
use std::io::BufRead;
use std::str::from_utf8;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::fields::Fields;
use super::source::Source;
use super::{Reading, Records, Text, Wrong};
use crate::error::Result;
use crate::text::bounds::json_bytes;
use crate::text::records::At;

/// A file of JSON.
struct Json {
    source: Source,
    fields: Fields,
    reading: Reading,
    /// The record.
    bytes: Vec<u8>,
    shape: Shape,
    /// The list has a record already.
    begun: bool,
}

/// How records stand in their file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One on each line.
    Lines,
    /// Not known yet: no record was read.
    Unknown,
    /// In a list.
    List,
    /// One after another, with space between them.
    Values,
    /// The list is over.
    Over,
    /// Somewhere before a record that was read already: what stands between is known to be right.
    Inside,
}

/// The records of a file with one on each line.
pub(super) fn lines(source: Source, reading: &Reading) -> Box<dyn Records> {
    Box::new(Json::new(source, reading, Shape::Lines))
}

/// The records of a file with a list of them, or with one after another.
pub(super) fn list(source: Source, reading: &Reading) -> Box<dyn Records> {
    Box::new(Json::new(source, reading, Shape::Unknown))
}

impl Records for Json {
    fn next(&mut self) -> Result<Option<Text>, Wrong> {
        let line = match self.shape {
            Shape::Lines => self.line()?,
            _ => self.item()?,
        };
        line.map(|line| self.record(line)).transpose()
    }

    fn place(&self) -> u64 {
        self.source.at
    }

    fn seek(&mut self, place: u64) -> Result<()> {
        if self.shape != Shape::Lines {
            self.shape = Shape::Inside;
        }
        self.source.seek(place)
    }

    fn field(&self) -> Option<&str> {
        self.fields.name()
    }
}

/// What a file of JSON is.
const HINT: &str = "a .json file holds a list of strings or of objects, or one object on each line";

impl Json {
    fn new(source: Source, reading: &Reading, shape: Shape) -> Self {
        Self { source, fields: Fields::new(reading), reading: reading.clone(), bytes: vec![], shape, begun: false }
    }

    /// Reads the next line that is not blank, and says which it is.
    fn line(&mut self) -> Result<Option<usize>, Wrong> {
        while self.source.next_line(&mut self.bytes)? {
            if !self.bytes.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(self.source.line - 1));
            }
        }
        Ok(None)
    }

    /// Reads the next value of a list, or of values one after another, and says in which line it begins. Where it ends is seen by
    /// its brackets and quotes alone, so that one that is no JSON does not hide those behind it.
    fn item(&mut self) -> Result<Option<usize>, Wrong> {
        self.bytes.clear();
        let Some(first) = self.between()? else { return Ok(None) };
        let begins = self.source.line;
        let (mut depth, mut quoted, mut escaped, mut too_long) = (0u64, false, false, false);
        // A value without brackets or quotes ends where something else begins.
        let bare = !b"{[\"".contains(&first);
        loop {
            let piece = self.source.peek()?;
            if piece.is_empty() {
                if bare && self.shape == Shape::Values {
                    break;
                }
                let what = format!("the file ends inside of the record that begins in line {begins}");
                return Err(self.source.wrong(what, HINT));
            }
            let (mut n, mut lines, mut over) = (0, 0, false);
            for &byte in piece {
                // No byte that `between` does not pass over or refuse: a value has one byte at least.
                if bare && b" \t\r\n,]".contains(&byte) {
                    over = true;
                    break;
                }
                n += 1;
                lines += usize::from(byte == b'\n');
                if quoted {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => quoted = false,
                        _ => {}
                    }
                } else {
                    match byte {
                        b'"' => quoted = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
                if !bare && !quoted && depth == 0 {
                    over = true;
                    break;
                }
            }
            if !too_long {
                self.bytes.extend_from_slice(&piece[..n]);
            }
            self.source.consume(n);
            self.source.line += lines;
            too_long |= self.source.check(self.bytes.len(), None).is_err();
            if over {
                break;
            }
        }
        if too_long { Err(self.source.too_long(Some(At::Line(begins)))) } else { Ok(Some(begins)) }
    }

    /// Passes over what stands before the next value, and gives its first byte; none at the end.
    fn between(&mut self) -> Result<Option<u8>, Wrong> {
        let mut comma = false;
        loop {
            let Some(&byte) = self.source.peek()?.first() else {
                return match self.shape {
                    Shape::List => Err(self.source.wrong("the file ends inside of its list", HINT)),
                    _ => Ok(None),
                };
            };
            match (byte, self.shape) {
                (b'\n', _) => self.source.line += 1,
                (b' ' | b'\t' | b'\r', _) => {}
                (b'[', Shape::Unknown) => self.shape = Shape::List,
                (_, Shape::Unknown) => {
                    self.shape = Shape::Values;
                    continue;
                }
                (b'[' | b',', Shape::Inside) => {}
                (_, Shape::Over) => {
                    return Err(self.source.wrong("there is more behind the list", HINT));
                }
                (b']', Shape::List) if !comma => self.shape = Shape::Over,
                (b',', Shape::List) if !comma && self.begun => comma = true,
                (b',' | b']', _) => {
                    return Err(self.source.wrong("there is nothing before this comma or bracket", HINT));
                }
                (_, Shape::List) if self.begun && !comma => {
                    return Err(self.source.wrong("there is no comma between two records", HINT));
                }
                _ => {
                    self.begun = true;
                    return Ok(Some(byte));
                }
            }
            self.source.consume(1);
        }
    }

    /// What the record in `self.bytes` says, which begins in `line`.
    fn record(&mut self, line: usize) -> Result<Text, Wrong> {
        let at = Some(At::Line(line));
        let wrong = |what: String, hint: &str| Wrong::Document { at, what, hint: hint.into() };
        let json = from_utf8(&self.bytes).map_err(|_| wrong("this is not UTF-8".into(), "save the file as UTF-8"))?;
        // Most records are so short that they need not be counted.
        if json.len() > self.reading.bounds.bytes / 64 {
            let refused =
                |e: crate::Error| wrong(e.message().to_owned(), "write the text to a file without other fields");
            self.reading.bounds.check_bytes("this record", json_bytes(json)).map_err(refused)?;
        }
        let not_json = |e: serde_json::Error| {
            wrong(format!("this is not JSON: {e}"), "put one object on each line: {\"text\": \"...\"}")
        };
        if !self.fields.known() {
            self.fields.of_record(&serde_json::from_str(json).map_err(not_json)?, at)?;
        }
        let value = match json.trim_start().starts_with('{') {
            true => {
                let mut from = serde_json::Deserializer::from_str(json);
                let value = Needed(&self.fields.needed).deserialize(&mut from).map_err(not_json)?;
                from.end().map_err(not_json)?;
                value
            }
            false => serde_json::from_str(json).map_err(not_json)?,
        };
        self.fields.text(value, at, &|| serde_json::from_str(json).ok())
    }
}

/// Reads an object with these fields alone. The rest is passed over, which is much faster.
struct Needed<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Needed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Needed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = from.next_key_seed(Key(self.0))? {
            match key {
                Some(key) => drop(object.insert(key.clone(), from.next_value()?)),
                None => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        Ok(object.into())
    }
}

/// One of these names, or another.
struct Key<'a>(&'a [String]);

impl<'a, 'de> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<&'a String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Option<&'a String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|name| *name == key))
    }
}
