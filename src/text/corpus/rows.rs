//! Rows of tables, one at a time: of CSV and TSV, and of parquet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use super::fields::{Fields, utf8};
use super::found::Found;
use super::source::Source;
use super::{Reading, Records, Text, Wrong};
use crate::error::{Error, Result};
use crate::table::texts::{TextFile, Texts};
use crate::text::records::At;

/// A file with a header and rows.
struct Separated {
    source: Source,
    fields: Fields,
    reader: Reader,
    /// The cells of a row, one behind the other, and where each ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
    /// How many there are.
    columns: usize,
    names: Vec<String>,
    /// Of the columns that are needed.
    needed: Vec<usize>,
    delimiter: u8,
}

/// The rows of a file whose cells are separated by `delimiter`.
pub(super) fn separated(source: Source, delimiter: u8, reading: &Reading) -> Result<Box<dyn Records>> {
    let mut file = Separated {
        source,
        fields: Fields::new(reading),
        reader: ReaderBuilder::new().delimiter(delimiter).build(),
        cells: vec![0; 1 << 12],
        ends: vec![0; 64],
        columns: 0,
        names: vec![],
        needed: vec![],
        delimiter,
    };
    file.header()?;
    Ok(Box::new(file))
}

impl Separated {
    /// Reads the names of the columns, and decides which are needed.
    fn header(&mut self) -> Result<()> {
        let shown = self.source.shown();
        let wrong =
            |what| Error::bad_input(format!("{shown}:1: {what}")).hint("begin with a line of the columns' names");
        match self.row() {
            Err(Wrong::File(error)) => return Err(error),
            Err(Wrong::Document { what, .. }) => return Err(wrong(what)),
            // A file without a line is an empty one.
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
        }
        let name = |i| String::from_utf8(self.cell(i).to_vec()).map_err(|_| wrong("the header is not UTF-8".into()));
        self.names = (0..self.columns).map(name).collect::<Result<_>>()?;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.fields.of_header(&names, &names, &shown)?;
        self.needed = (0..names.len()).filter(|i| self.fields.needed.iter().any(|name| name == names[*i])).collect();
        Ok(())
    }

    /// The bytes of a cell of the row that was read.
    fn cell(&self, i: usize) -> &[u8] {
        let from = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.cells[from..self.ends[i]]
    }

    /// Reads the next row, and says in which line it begins.
    fn row(&mut self) -> Result<Option<usize>, Wrong> {
        loop {
            let newline = match self.source.peek()?.first() {
                None => return Ok(None),
                Some(b'\n') => 1,
                Some(b'\r') => 0,
                Some(_) => break,
            };
            self.source.consume(1);
            self.source.line += newline;
        }
        let begins = self.source.line;
        let (mut filled, mut columns, mut too_long) = (0, 0, false);
        loop {
            let before = self.reader.line();
            let piece = self.source.peek()?;
            let (outcome, read, written, ended) =
                self.reader.read_record(piece, &mut self.cells[filled..], &mut self.ends[columns..]);
            self.source.consume(read);
            self.source.line += (self.reader.line() - before) as usize;
            (filled, columns) = (filled + written, columns + ended);
            match outcome {
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::InputEmpty => {}
                // What is too long is read to its end, into the same place.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull
                    if self.source.check(self.cells.len() + self.ends.len() * size_of::<usize>(), None).is_err() =>
                {
                    (filled, columns, too_long) = (0, 0, true);
                }
                ReadRecordResult::OutputFull => self.cells.resize(2 * self.cells.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
            }
        }
        self.columns = columns;
        if too_long { Err(self.source.too_long(Some(At::Line(begins)))) } else { Ok(Some(begins)) }
    }
}

impl Records for Separated {
    fn next(&mut self) -> Result<Option<Text>, Wrong> {
        let Some(line) = self.row()? else { return Ok(None) };
        let at = At::Line(line);
        if self.columns != self.names.len() {
            let what = format!("this row has {} columns, but the header has {}", self.columns, self.names.len());
            let hint = match self.delimiter {
                b',' => "put text with a comma or a newline in it between double quotes",
                _ => "put text with a tab or a newline in it between double quotes",
            };
            return Err(Wrong::Document { at: Some(at), what, hint: hint.into() });
        }
        let mut record = Map::new();
        for &i in &self.needed {
            record.insert(self.names[i].clone(), utf8(self.cell(i).to_vec(), Some(at))?.into());
        }
        self.fields.text(record.into(), at, &|| None).map(Some)
    }
}

/// A file of parquet.
struct Parquet {
    rows: Texts,
    fields: Fields,
    names: Vec<String>,
    /// How many bytes of the file stand for a row, and where they are counted.
    bytes_per_row: f64,
    before: u64,
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
    Ok(Box::new(Parquet {
        rows,
        fields,
        names,
        bytes_per_row,
        before: read.load(Ordering::Relaxed),
        read: read.clone(),
    }))
}

impl Records for Parquet {
    fn next(&mut self) -> Result<Option<Text>, Wrong> {
        let Some(row) = self.rows.next()? else { return Ok(None) };
        let read = self.before + (self.bytes_per_row * (row + 1) as f64) as u64;
        self.read.store(read, Ordering::Relaxed);
        let record: Map<String, Value> = self.names.iter().cloned().zip(self.rows.values()).collect();
        self.fields.text(record.into(), At::Row(row), &|| None).map(Some)
    }
}
