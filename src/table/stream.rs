//! Parquet in, a batch at a time: the rows of a table that pellucid wrote, as often and as few of them as somebody asks for.
//!
//! Whoever draws or prints a table reads it from here, so that no command holds its rows: a table has a row for each key of each
//! query of each head, or for each token of a vocabulary, and a file is where they fit.

use super::provenance::Provenance;
use super::read::{checked_table, damaged, guarded, missing, refuse_name, was_renamed};
use super::row::{Cell, ColumnInfo, ColumnType, Row};
use crate::error::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use std::fs::File;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Rows that are decoded together.
const BATCH_ROWS: usize = 8 * 1024;

/// Where the rows of a table are: in a file, or in memory. They can be gone through any number of times.
#[allow(clippy::len_without_is_empty)] // Nobody asks a table that is seen whether it is empty: without rows it is refused.
pub trait Rows<R: Row> {
    /// How many there are.
    fn len(&self) -> usize;

    /// Gives the rows of `range` to `f`, in order.
    ///
    /// # Errors
    /// The file cannot be read or is damaged; what `f` says.
    fn rows(&mut self, range: Range<usize>, f: &mut dyn FnMut(R) -> Result<()>) -> Result<()>;

    /// Gives the values of these columns, in this order, of the rows of `range` to `f`: nothing else is read of them.
    ///
    /// # Errors
    /// As [`Rows::rows`].
    fn cells(
        &mut self,
        range: Range<usize>,
        columns: &[&str],
        f: &mut dyn FnMut(&[Cell<'_>]) -> Result<()>,
    ) -> Result<()>;
}

/// Rows that are in memory.
pub struct Held<'a, R>(pub &'a [R]);

impl<R: Row> Rows<R> for Held<'_, R> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn rows(&mut self, range: Range<usize>, f: &mut dyn FnMut(R) -> Result<()>) -> Result<()> {
        self.0[range].iter().cloned().try_for_each(f)
    }

    fn cells(
        &mut self,
        range: Range<usize>,
        columns: &[&str],
        f: &mut dyn FnMut(&[Cell<'_>]) -> Result<()>,
    ) -> Result<()> {
        let places = places::<R>(columns);
        self.0[range].iter().try_for_each(|row| f(&picked(row, &places)))
    }
}

impl<R: Row> Rows<R> for Vec<R> {
    fn len(&self) -> usize {
        self.len()
    }

    fn rows(&mut self, range: Range<usize>, f: &mut dyn FnMut(R) -> Result<()>) -> Result<()> {
        Held(self).rows(range, f)
    }

    fn cells(
        &mut self,
        range: Range<usize>,
        columns: &[&str],
        f: &mut dyn FnMut(&[Cell<'_>]) -> Result<()>,
    ) -> Result<()> {
        Held(self).cells(range, columns, f)
    }
}

/// A table in a file, whose rows are read as they are asked for.
pub struct TableFile<R> {
    path: PathBuf,
    /// Open for as long as this value is, whatever becomes of the name.
    file: File,
    metadata: ArrowReaderMetadata,
    provenance: Provenance,
    len: usize,
    /// What was read last, so that reading can go on from there.
    cursor: Option<Cursor>,
    row: PhantomData<R>,
}

/// A place in the file.
struct Cursor {
    /// The columns that are read, as places in the table's declaration.
    columns: Vec<usize>,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    next: usize,
    /// Which row of the table that is.
    at: usize,
}

/// Takes the columns of a batch, and which of its rows are meant.
type TakeBatch<'a> = dyn FnMut(&[Column<'_>], Range<usize>) -> Result<()> + 'a;

impl<R: Row> TableFile<R> {
    /// Opens the table in `path`. It stays readable when the file is renamed or replaced.
    ///
    /// # Errors
    /// The file cannot be read, is not parquet, is cut short, was not written by pellucid, holds another table than `R`, or is of
    /// a newer version than this program knows.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let (file, metadata, provenance) = checked_table::<R>(&path)?;
        let len = usize::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        Ok(Self { path, file, metadata, provenance, len, cursor: None, row: PhantomData })
    }

    /// How the table was made.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives every row to `f`, in the order of the file.
    ///
    /// # Errors
    /// The file cannot be read or is damaged; what `f` says.
    pub fn each(&mut self, f: &mut dyn FnMut(R) -> Result<()>) -> Result<()> {
        self.rows(0..self.len, f)
    }

    /// The columns of the declaration that this version of the table has.
    fn known(&self) -> Vec<usize> {
        let version = self.provenance.table_version;
        (0..R::TABLE.columns.len()).filter(|i| R::TABLE.columns[*i].since <= version).collect()
    }

    /// A cursor at row `at` that reads these columns: the one that is there, if it has not passed the row yet.
    fn cursor(&mut self, at: usize, columns: Vec<usize>) -> Result<&mut Cursor> {
        let near = |c: &Cursor| c.columns == columns && (c.at..c.at + 2 * BATCH_ROWS).contains(&at);
        if !self.cursor.as_ref().is_some_and(near) {
            let names = columns.iter().map(|i| R::TABLE.columns[*i].name);
            let mask = ProjectionMask::columns(self.metadata.parquet_schema(), names);
            let reader = guarded(&self.path, || {
                let file = self.file.try_clone()?;
                ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                    .with_projection(mask)
                    .with_batch_size(BATCH_ROWS)
                    .with_offset(at)
                    .build()
            })?;
            self.cursor = Some(Cursor { columns, reader, batch: None, next: 0, at });
        }
        self.cursor.as_mut().ok_or_else(|| Error::compute("a table has no place to read from").fault())
    }

    /// Gives the batches that hold the rows of `range` to `f`, each with the rows that are meant.
    fn batches(&mut self, range: Range<usize>, columns: &[usize], f: &mut TakeBatch<'_>) -> Result<()> {
        let (path, end) = (self.path.clone(), range.end.min(self.len));
        let renamed = was_renamed(&self.provenance).then(|| self.provenance.spec.clone());
        let cursor = self.cursor(range.start, columns.to_vec())?;
        while cursor.at < end {
            if cursor.batch.as_ref().is_none_or(|batch| cursor.next >= batch.num_rows()) {
                let batch = guarded(&path, || cursor.reader.next().transpose().map_err(ParquetError::from))?;
                (cursor.batch, cursor.next) = (batch, 0);
            }
            let Some(batch) = cursor.batch.as_ref().filter(|batch| batch.num_rows() > 0) else {
                return Err(damaged(&path, "it has fewer rows than it says"));
            };
            let from = cursor.next.max(cursor.next + range.start.saturating_sub(cursor.at));
            let to = batch.num_rows().min(cursor.next + (end - cursor.at));
            if from < to {
                let infos = columns.iter().map(|i| &R::TABLE.columns[*i]);
                let arrays: Vec<Column<'_>> =
                    infos.map(|info| Column::of(&path, batch, info)).collect::<Result<_>>()?;
                if let Some(spec) = &renamed {
                    check_names::<R>(&path, spec, columns, &arrays, from..to)?;
                }
                f(&arrays, from..to)?;
            }
            cursor.at += to - cursor.next;
            cursor.next = to;
        }
        Ok(())
    }
}

impl<R: Row> Rows<R> for TableFile<R> {
    fn len(&self) -> usize {
        self.len
    }

    fn rows(&mut self, range: Range<usize>, f: &mut dyn FnMut(R) -> Result<()>) -> Result<()> {
        let (known, path, how) = (self.known(), self.path.clone(), self.provenance.clone());
        // For each column of the declaration its place among those that are read.
        let place: Vec<Option<usize>> =
            (0..R::TABLE.columns.len()).map(|i| known.iter().position(|known| *known == i)).collect();
        self.batches(range, &known, &mut |columns, rows| {
            for row in rows {
                let mut at = 0;
                let mut next = || {
                    let cell = place.get(at).copied().flatten().map(|i| columns[i].cell(row));
                    at += 1;
                    cell.unwrap_or_else(|| R::TABLE.columns.get(at - 1).map_or(Cell::Null, missing))
                };
                let mut built = R::build(&mut next).ok_or_else(|| {
                    Error::bad_input(format!("{}: a row does not fit the table `{}`", path.display(), R::TABLE.name))
                        .hint("the file was changed since pellucid wrote it; write the table again")
                })?;
                if how.table_version < R::TABLE.version {
                    built.upgrade(&how);
                }
                f(built)?;
            }
            Ok(())
        })
    }

    fn cells(
        &mut self,
        range: Range<usize>,
        columns: &[&str],
        f: &mut dyn FnMut(&[Cell<'_>]) -> Result<()>,
    ) -> Result<()> {
        let places = places::<R>(columns);
        if self.provenance.table_version < R::TABLE.version {
            // What an older version does not have is made of its whole rows.
            return self.rows(range, &mut |row| f(&picked(&row, &places)));
        }
        self.batches(range, &places, &mut |columns, rows| {
            let mut cells = Vec::with_capacity(columns.len());
            for row in rows {
                cells.clear();
                cells.extend(columns.iter().map(|column| column.cell(row)));
                f(&cells)?;
            }
            Ok(())
        })
    }
}

/// The places of these columns in the declaration of the table. All names are written in this program.
fn places<R: Row>(columns: &[&str]) -> Vec<usize> {
    columns.iter().filter_map(|name| R::TABLE.columns.iter().position(|c| c.name == *name)).collect()
}

fn picked<'a, R: Row>(row: &'a R, places: &[usize]) -> Vec<Cell<'a>> {
    let cells = row.cells();
    places.iter().map(|i| cells[*i]).collect()
}

/// The values of one column of a batch.
enum Column<'a> {
    U32(&'a arrow_array::PrimitiveArray<UInt32Type>),
    U64(&'a arrow_array::PrimitiveArray<UInt64Type>),
    I64(&'a arrow_array::PrimitiveArray<Int64Type>),
    F32(&'a arrow_array::PrimitiveArray<Float32Type>),
    F64(&'a arrow_array::PrimitiveArray<Float64Type>),
    Bool(&'a arrow_array::BooleanArray),
    Str(&'a arrow_array::StringArray),
}

impl<'a> Column<'a> {
    fn of(path: &Path, batch: &'a RecordBatch, info: &ColumnInfo) -> Result<Self> {
        let array: &ArrayRef = batch
            .column_by_name(info.name)
            .ok_or_else(|| damaged(path, format!("column `{}` cannot be found in it", info.name)))?;
        if !info.nullable && array.null_count() > 0 {
            return Err(Error::bad_input(format!(
                "{}: column `{}` has a missing value, and may have none",
                path.display(),
                info.name
            ))
            .hint("the file was changed since pellucid wrote it; write the table again"));
        }
        let column = match info.kind {
            ColumnType::U32 => array.as_primitive_opt().map(Self::U32),
            ColumnType::U64 => array.as_primitive_opt().map(Self::U64),
            ColumnType::I64 => array.as_primitive_opt().map(Self::I64),
            ColumnType::F32 => array.as_primitive_opt().map(Self::F32),
            ColumnType::F64 => array.as_primitive_opt().map(Self::F64),
            ColumnType::Bool => array.as_boolean_opt().map(Self::Bool),
            ColumnType::Str => array.as_string_opt::<i32>().map(Self::Str),
        };
        column.ok_or_else(|| damaged(path, format!("column `{}` has another type than it says", info.name)))
    }

    fn cell(&self, row: usize) -> Cell<'a> {
        fn valid<'a>(array: &'a dyn Array, row: usize, value: impl FnOnce() -> Cell<'a>) -> Cell<'a> {
            if array.is_null(row) { Cell::Null } else { value() }
        }
        match *self {
            Self::U32(a) => valid(a, row, || Cell::U32(a.value(row))),
            Self::U64(a) => valid(a, row, || Cell::U64(a.value(row))),
            Self::I64(a) => valid(a, row, || Cell::I64(a.value(row))),
            Self::F32(a) => valid(a, row, || Cell::F32(a.value(row))),
            Self::F64(a) => valid(a, row, || Cell::F64(a.value(row))),
            Self::Bool(a) => valid(a, row, || Cell::Bool(a.value(row))),
            Self::Str(a) => valid(a, row, || Cell::Str(a.value(row))),
        }
    }
}

/// Refuses rows of hooks whose names meant another tensor when the file was written.
fn check_names<R: Row>(
    path: &Path,
    spec: &serde_json::Value,
    columns: &[usize],
    arrays: &[Column<'_>],
    rows: Range<usize>,
) -> Result<()> {
    for (_, column) in columns.iter().zip(arrays).filter(|(i, _)| names_hooks(&R::TABLE.columns[**i])) {
        for row in rows.clone() {
            if let Cell::Str(sites) = column.cell(row) {
                refuse_name(path, spec, sites)?;
            }
        }
    }
    Ok(())
}

fn names_hooks(info: &ColumnInfo) -> bool {
    matches!(info.unit, "site" | "hook name")
}
