//! Rows of tables, one at a time: of CSV and TSV, and of parquet.

use std::str::from_utf8;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use super::fields::{Fields, utf8};
use super::found::Found;
use super::source::Source;
use super::{Reading, Records, Text, Wrong};
use crate::error::{Error, Result};
use crate::table::texts::{TextFile, Texts};
use crate::text::records::At;
use crate::text::separated::{Row, Separated, unequal};

/// A file with a header and rows.
struct Table {
    rows: Separated<Source>,
    fields: Fields,
    names: Vec<String>,
    /// Of the columns that are needed.
    needed: Vec<usize>,
    delimiter: u8,
}

/// The rows of a file whose cells are separated by `delimiter`.
pub(super) fn separated(source: Source, delimiter: u8, reading: &Reading) -> Result<Box<dyn Records>> {
    let most = source.most();
    let rows = Separated::new(source, delimiter, most);
    let mut table = Table { rows, fields: Fields::new(reading), names: vec![], needed: vec![], delimiter };
    table.header()?;
    Ok(Box::new(table))
}

impl Table {
    /// Reads the names of the columns, and decides which are needed.
    fn header(&mut self) -> Result<()> {
        let shown = self.rows.from().shown();
        let wrong =
            |what| Error::bad_input(format!("{shown}:1: {what}")).hint("begin with a line of the columns' names");
        match self.row()? {
            Row::At(_) => {}
            Row::TooLong(_) => return Err(wrong("this is too long for a header")),
            // A file without a line is an empty one.
            Row::End => return Ok(()),
        }
        let name = |i| from_utf8(self.rows.cell(i)).map(str::to_owned).map_err(|_| wrong("the header is not UTF-8"));
        self.names = (0..self.rows.columns()).map(name).collect::<Result<_>>()?;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.fields.of_header(&names, &names, &shown)?;
        self.needed = (0..names.len()).filter(|i| self.fields.needed.iter().any(|name| name == names[*i])).collect();
        Ok(())
    }

    fn row(&mut self) -> Result<Row> {
        self.rows.next().map_err(|e| self.rows.from().failed(e))
    }
}

impl Records for Table {
    fn next(&mut self) -> Result<Option<Text>, Wrong> {
        let at = match self.row()? {
            Row::At(line) => Some(At::Line(line)),
            Row::TooLong(line) => return Err(self.rows.from().too_long(Some(At::Line(line)))),
            Row::End => return Ok(None),
        };
        if self.rows.columns() != self.names.len() {
            let (what, hint) = unequal(self.rows.columns(), self.names.len(), self.delimiter);
            return Err(Wrong::Document { at, what, hint: hint.into() });
        }
        let mut record = Map::new();
        for &i in &self.needed {
            record.insert(self.names[i].clone(), utf8(self.rows.cell(i).to_vec(), at)?.into());
        }
        self.fields.text(record.into(), at, &|| None).map(Some)
    }

    fn place(&self) -> u64 {
        self.rows.from().at
    }

    fn seek(&mut self, place: u64) -> Result<()> {
        self.rows.inner_mut().seek(place)
    }

    fn field(&self) -> Option<&str> {
        self.fields.name()
    }
}

/// A file of parquet.
struct Parquet {
    rows: Texts,
    fields: Fields,
    names: Vec<String>,
    /// How many bytes of the file stand for a row; how many were read before it, and are read after it, and where they are counted.
    bytes_per_row: f64,
    before: u64,
    after: u64,
    read: Arc<AtomicU64>,
}

/// The rows of a parquet file, of which only the columns that are needed are read.
pub(super) fn parquet(found: &Found, reading: &Reading, read: &Arc<AtomicU64>) -> Result<Box<dyn Records>> {
    let file = TextFile::open(&found.path)?;
    let all: Vec<&str> = file.columns().collect();
    let with_text: Vec<&str> = file.texts().collect();
    let mut fields = Fields::new(reading);
    fields.of_header(&all, &with_text, &found.shown)?;
    let names: Vec<String> =
        all.iter().filter(|n| fields.needed.iter().any(|needed| needed == *n)).map(|n| (*n).to_owned()).collect();
    let bytes_per_row = found.bytes as f64 / file.len().max(1) as f64;
    let rows = file.read(&names, reading.bounds.bytes / 16)?;
    let before = read.load(Ordering::Relaxed);
    let after = before + found.bytes;
    Ok(Box::new(Parquet { rows, fields, names, bytes_per_row, before, after, read: read.clone() }))
}

impl Records for Parquet {
    fn next(&mut self) -> Result<Option<Text>, Wrong> {
        let Some(row) = self.rows.next()? else { return Ok(None) };
        let read = self.before + (self.bytes_per_row * (row + 1) as f64) as u64;
        self.read.store(read.min(self.after), Ordering::Relaxed);
        let record: Map<String, Value> = self.names.iter().cloned().zip(self.rows.values()).collect();
        self.fields.text(record.into(), Some(At::Row(row)), &|| None).map(Some)
    }

    fn place(&self) -> u64 {
        self.rows.row() as u64
    }

    fn seek(&mut self, place: u64) -> Result<()> {
        self.rows.seek(place as usize)
    }

    fn field(&self) -> Option<&str> {
        self.fields.name()
    }
}
