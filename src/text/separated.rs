//! Rows of CSV and TSV, one at a time: no more is held than the row, and it is known in which line it begins.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// A file whose cells are separated by a delimiter.
pub(super) struct Separated<R> {
    from: R,
    reader: Reader,
    /// The cells of the row, one behind the other, and where each ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
    columns: usize,
    /// Bytes that a row has at most.
    most: usize,
    /// The line that comes next, from 1.
    line: usize,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A row that begins in this line.
    At(usize),
    /// One that is longer than a row may be.
    TooLong(usize),
    End,
}

impl<R: BufRead> Separated<R> {
    pub fn new(from: R, delimiter: u8, most: usize) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter).build();
        Self { from, reader, cells: vec![0; 1 << 12], ends: vec![0; 64], columns: 0, most, line: 1 }
    }

    /// Where it is read from.
    pub fn from(&self) -> &R {
        &self.from
    }

    /// Where it is read from, which may go to the beginning of another row: after a row, nothing of it is remembered.
    pub fn inner_mut(&mut self) -> &mut R {
        &mut self.from
    }

    /// How many cells the row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The bytes of a cell of the row.
    pub fn cell(&self, i: usize) -> &[u8] {
        let from = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cells[from..self.ends[i]]
    }

    /// Reads the next row. Lines without anything are passed over.
    pub fn next(&mut self) -> io::Result<Row> {
        while let Some(end @ (b'\n' | b'\r')) = self.from.fill_buf()?.first() {
            self.line += usize::from(*end == b'\n');
            self.from.consume(1);
        }
        let begins = self.line;
        let (mut filled, mut too_long) = (0, false);
        self.columns = 0;
        loop {
            let before = self.reader.line();
            let (cells, ends) = (&mut self.cells[filled..], &mut self.ends[self.columns..]);
            let (outcome, read, written, ended) = self.reader.read_record(self.from.fill_buf()?, cells, ends);
            self.from.consume(read);
            self.line += (self.reader.line() - before) as usize;
            filled += written;
            self.columns += ended;
            match outcome {
                ReadRecordResult::Record if too_long || filled > self.most => return Ok(Row::TooLong(begins)),
                ReadRecordResult::Record => return Ok(Row::At(begins)),
                ReadRecordResult::End => return Ok(Row::End),
                ReadRecordResult::InputEmpty => {}
                // What is too long is read to its end, into the same place.
                _ if self.cells.len() + self.ends.len() * size_of::<usize>() > self.most => {
                    (filled, self.columns, too_long) = (0, 0, true);
                }
                ReadRecordResult::OutputFull => self.cells.resize(2 * self.cells.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
            }
        }
    }
}

/// What is wrong with a row that has not as many columns as the header, and what to do.
pub(super) fn unequal(columns: usize, header: usize, delimiter: u8) -> (String, String) {
    let named = if delimiter == b'\t' { "tab" } else { "comma" };
    (
        format!("this row has {columns} columns, but the header has {header}"),
        format!("put text with a {named} or a newline in it between double quotes"),
    )
}
