//! Rows as text: for a terminal, for another program, for a page.

use super::row::{Cell, ColumnInfo, Row, TOKEN};
use crate::error::{Error, Result};
use crate::number::Locale;
use crate::visible::{visible, visible_prose};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::io::{self, Write};
use std::marker::PhantomData;

/// How rows are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Format {
    /// For people: aligned columns, rounded numbers, columns without any value left out.
    #[default]
    Table,
    /// One JSON array of objects.
    Json,
    /// One JSON object on each line.
    Ndjson,
    /// Comma-separated values with a header line.
    Csv,
    /// A table for a markdown page, numbers rounded.
    Markdown,
    /// The bytes of the table's parquet file, for another program.
    Parquet,
}

/// How text is written where another program may take it for more than text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// In CSV, text that a spreadsheet would take for a formula begins with an apostrophe: text that begins with `=`, `+`, `-`, `@`,
    /// a tab or a carriage return. Numbers stay as they are.
    pub csv_safe: bool,
}

/// Writes `rows` to `out`.
///
/// `json`, `ndjson` and `csv` hold every value exactly (a number that is not finite is `null` in JSON). In JSON, characters that
/// a terminal would obey or that end a line are escapes. `table` and `markdown` are for reading: invisible characters of tokens
/// are made visible as [`visible`] does, so that no token can break a line or command the terminal. No colours.
///
/// # Errors
/// `out` cannot be written.
pub fn write_rows<R: Row>(rows: &[R], format: Format, out: &mut dyn Write) -> Result<()> {
    if format == Format::Table {
        return write_table(rows, out).map_err(unwritten);
    }
    let mut text = TextWriter::new(format, TextOptions::default(), out)?;
    rows.iter().try_for_each(|row| text.push(row))?;
    text.finish()
}

/// Writes rows one after another, and holds none of them.
pub struct TextWriter<'a, R> {
    to: To<'a>,
    options: TextOptions,
    written: u64,
    row: PhantomData<R>,
}

enum To<'a> {
    Json(&'a mut dyn Write),
    Ndjson(&'a mut dyn Write),
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
    Markdown(&'a mut dyn Write),
}

impl<'a, R: Row> TextWriter<'a, R> {
    /// Begins. [`Format::Table`], whose columns are as wide as their widest value, is written as [`Format::Markdown`].
    ///
    /// # Errors
    /// `out` cannot be written; [`Format::Parquet`] is no text.
    pub fn new(format: Format, options: TextOptions, out: &'a mut dyn Write) -> Result<Self> {
        let names = || R::TABLE.columns.iter().map(|c| c.name);
        let to = match format {
            // An array with one row on each line: still greppable, still JSON.
            Format::Json => out.write_all(b"[").map(|()| To::Json(out)),
            Format::Ndjson => Ok(To::Ndjson(out)),
            Format::Csv => {
                let mut csv = Box::new(csv::Writer::from_writer(out));
                csv.write_record(names()).map_err(io_error).map(|()| To::Csv(csv))
            }
            Format::Parquet => {
                return Err(Error::bad_input("parquet is no text, and these rows are written as text")
                    .hint("use json, ndjson or csv"));
            }
            Format::Table | Format::Markdown => {
                let names: Vec<&str> = names().collect();
                let head = format!("| {} |\n|{}\n", names.join(" | "), "---|".repeat(names.len()));
                out.write_all(head.as_bytes()).map(|()| To::Markdown(out))
            }
        };
        Ok(Self { to: to.map_err(unwritten)?, options, written: 0, row: PhantomData })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn push(&mut self, row: &R) -> Result<()> {
        let first = self.written == 0;
        self.written += 1;
        match &mut self.to {
            To::Json(out) => {
                out.write_all(if first { b"\n  " } else { b",\n  " }).and_then(|()| write_object(row, *out))
            }
            To::Ndjson(out) => write_object(row, *out).and_then(|()| out.write_all(b"\n")),
            To::Csv(csv) => write_record(row, self.options, csv),
            To::Markdown(out) => write_line(row, *out),
        }
        .map_err(unwritten)
    }

    /// Ends.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn finish(self) -> Result<()> {
        match self.to {
            To::Json(out) => out.write_all(if self.written == 0 { b"]\n" } else { b"\n]\n" }),
            To::Csv(mut csv) => csv.flush(),
            To::Ndjson(_) | To::Markdown(_) => Ok(()),
        }
        .map_err(unwritten)
    }
}

/// The kind is kept as the cause: a closed pipe is not a failure to its reader.
fn unwritten(e: io::Error) -> Error {
    Error::cannot_write_to("the rows", e)
}

fn write_object<R: Row>(row: &R, out: &mut dyn Write) -> io::Result<()> {
    row.serialize(&mut serde_json::Serializer::with_formatter(out, Escaping)).map_err(io::Error::from)
}

/// Compact JSON in which characters that a terminal would obey, or that end a line for some reader, are escapes.
struct Escaping;

impl serde_json::ser::Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        // JSON itself demands it of the controls up to U+001F only.
        let obeyed = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| obeyed(*c)) {
            out.write_all(&rest.as_bytes()[..at])?;
            write!(out, "\\u{:04x}", c as u32)?;
            rest = &rest[at + c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

fn write_record<R: Row>(row: &R, options: TextOptions, csv: &mut csv::Writer<&mut dyn Write>) -> io::Result<()> {
    let mut failed = None;
    row.visit(&mut |cell| {
        if failed.is_none() {
            let formula =
                options.csv_safe && matches!(cell, Cell::Str(s) if s.starts_with(['=', '+', '-', '@', '\t', '\r']));
            let text = exact(cell);
            failed = csv.write_field(if formula { format!("'{text}") } else { text }).err();
        }
    });
    match failed {
        Some(e) => Err(io_error(e)),
        None => csv.write_record(None::<&[u8]>).map_err(io_error),
    }
}

fn write_line<R: Row>(row: &R, out: &mut dyn Write) -> io::Result<()> {
    let cells = row.cells();
    let line: Vec<String> = R::TABLE.columns.iter().zip(cells).map(|(c, cell)| markdown(&short(c, cell))).collect();
    writeln!(out, "| {} |", line.join(" | "))
}

/// What went wrong below the csv writer, which wraps it: a closed pipe must be seen as one.
fn io_error(e: csv::Error) -> io::Error {
    match e.is_io_error().then(|| e.into_kind()) {
        Some(csv::ErrorKind::Io(e)) => e,
        _ => io::Error::other("a row could not be written as CSV"),
    }
}

fn write_table<R: Row>(rows: &[R], out: &mut dyn Write) -> io::Result<()> {
    let columns = R::TABLE.columns;
    let mut used = vec![rows.is_empty(); columns.len()];
    for row in rows {
        for (used, cell) in used.iter_mut().zip(row.cells()) {
            *used |= cell != Cell::Null;
        }
    }
    let keep = |i: &usize| used[*i];
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header((0..columns.len()).filter(keep).map(|i| columns[i].name));
    for row in rows {
        let cells = row.cells();
        table.add_row((0..columns.len()).filter(keep).map(|i| {
            let aligned = if matches!(cells[i], Cell::Str(_) | Cell::Bool(_)) {
                CellAlignment::Left
            } else {
                CellAlignment::Right
            };
            comfy_table::Cell::new(short(&columns[i], cells[i])).set_alignment(aligned)
        }));
    }
    writeln!(out, "{table}")
}

/// Text that markdown shows as it is: every character with a meaning there is escaped.
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '$' | '!' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// The value, exactly.
fn exact(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::U32(x) => x.to_string(),
        Cell::U64(x) => x.to_string(),
        Cell::I64(x) => x.to_string(),
        // The shortest digits that read back as the same number.
        Cell::F32(x) => x.to_string(),
        Cell::F64(x) => x.to_string(),
        Cell::Bool(x) => x.to_string(),
        Cell::Str(s) => s.to_owned(),
    }
}

/// The value, for reading.
fn short(column: &ColumnInfo, cell: Cell<'_>) -> String {
    match cell {
        Cell::F32(x) => Locale::EN.in_table(f64::from(x)),
        Cell::F64(x) => Locale::EN.in_table(x),
        Cell::Str(s) if column.unit == TOKEN => visible(s),
        Cell::Str(s) => visible_prose(s),
        other => exact(other),
    }
}
