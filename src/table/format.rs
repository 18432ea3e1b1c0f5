//! Rows as text: for a terminal, for another program, for a page.

use super::row::{Cell, ColumnInfo, Row, TOKEN};
use crate::error::{Error, Result};
use crate::visible::{visible, visible_prose};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::io::{self, Write};

/// How rows are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
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
}

/// Writes `rows` to `out`.
///
/// `json`, `ndjson` and `csv` hold every value exactly (a number that is not finite is `null` in JSON). `table` and
/// `markdown` are for reading: invisible characters of tokens are made visible as [`visible`] does, so that no token
/// can break a line or command the terminal. No colours.
///
/// # Errors
/// `out` cannot be written.
pub fn write_rows<R: Row>(rows: &[R], format: Format, out: &mut dyn Write) -> Result<()> {
    let written = match format {
        Format::Table => write_table(rows, out),
        Format::Json => write_json(rows, out),
        Format::Ndjson => rows.iter().try_for_each(|row| {
            serde_json::to_writer(&mut *out, row)?;
            out.write_all(b"\n")
        }),
        Format::Csv => write_csv(rows, out),
        Format::Markdown => write_markdown(rows, out),
    };
    // The kind is kept as the cause: a closed pipe is not a failure to its reader.
    written.map_err(|e| Error::cannot_write_to("the rows", e))
}

fn write_json<R: Row>(rows: &[R], out: &mut dyn Write) -> io::Result<()> {
    // An array with one row on each line: still greppable, still JSON.
    out.write_all(b"[")?;
    for (i, row) in rows.iter().enumerate() {
        out.write_all(if i == 0 { b"\n  " } else { b",\n  " })?;
        serde_json::to_writer(&mut *out, row)?;
    }
    out.write_all(if rows.is_empty() { b"]\n" } else { b"\n]\n" })
}

fn write_csv<R: Row>(rows: &[R], out: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(R::TABLE.columns.iter().map(|c| c.name)).map_err(io_error)?;
    for row in rows {
        let mut failed = None;
        row.visit(&mut |cell| {
            if failed.is_none() {
                failed = csv.write_field(exact(cell)).err();
            }
        });
        match failed {
            Some(e) => return Err(io_error(e)),
            None => csv.write_record(None::<&[u8]>).map_err(io_error)?,
        }
    }
    csv.flush()
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
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
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

fn write_markdown<R: Row>(rows: &[R], out: &mut dyn Write) -> io::Result<()> {
    let columns = R::TABLE.columns;
    let names: Vec<&str> = columns.iter().map(|c| c.name).collect();
    writeln!(out, "| {} |", names.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(names.len()))?;
    for row in rows {
        let cells = row.cells();
        let line: Vec<String> = columns.iter().zip(cells).map(|(c, cell)| markdown(&short(c, cell))).collect();
        writeln!(out, "| {} |", line.join(" | "))?;
    }
    Ok(())
}

/// Text that markdown shows as it is: every character with a meaning there is escaped.
fn markdown(text: &str) -> String {
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
        Cell::F32(x) => round(f64::from(x)),
        Cell::F64(x) => round(x),
        Cell::Str(s) if column.unit == TOKEN => visible(s),
        Cell::Str(s) => visible_prose(s),
        other => exact(other),
    }
}

/// About four significant digits; small probabilities in scientific notation.
fn round(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || !x.is_finite() {
        format!("{x}")
    } else if !(0.001..1e7).contains(&size) {
        format!("{x:.2e}")
    } else if size < 10.0 {
        format!("{x:.4}")
    } else if size < 1000.0 {
        format!("{x:.2}")
    } else {
        format!("{x:.1}")
    }
}
