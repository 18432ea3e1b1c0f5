//! Texts from parquet that anybody wrote, batch by batch: of a file of any size, no more is held than some rows of the columns that
//! are asked for.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use serde_json::Value;

use super::pages::unpacked;
use super::read::{damaged, guarded, open};
use crate::error::{Error, Result, bytes};

/// A parquet file, of which no row is read yet.
pub struct TextFile {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
}

/// Rows of the columns that are asked for.
pub struct Texts {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    columns: ProjectionMask,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    /// The row of the batch that was read last.
    at: usize,
    /// The next row of the file.
    row: usize,
}

/// Bytes of unpacked text that a batch should have.
const BATCH_BYTES: u64 = 1 << 25;
/// Rows of a batch at most.
const BATCH_ROWS: u64 = 1024;

impl TextFile {
    /// Opens a parquet file.
    ///
    /// # Errors
    /// The file cannot be read, is not parquet, or is cut short.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, metadata) = open(path)?;
        Ok(Self { path: path.to_owned(), file, metadata })
    }

    /// How many rows it says that it has.
    pub fn len(&self) -> usize {
        usize::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The names of its columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.metadata.schema().fields().iter().map(|field| field.name().as_str())
    }

    /// The names of those that have text.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let fields = self.metadata.schema().fields().iter();
        fields.filter(|field| is_text(field.data_type())).map(|field| field.name().as_str())
    }

    /// Reads these columns. A page may have `most` bytes when it is unpacked.
    ///
    /// # Errors
    /// A column has neither text nor whole numbers, or a page is larger; the file is damaged.
    pub fn read(mut self, names: &[String], most: usize) -> Result<Texts> {
        let shown = self.path.display();
        let is_read = |name: &str| names.iter().any(|n| n == name);
        for field in self.metadata.schema().fields().iter().filter(|field| is_read(field.name())) {
            let t = field.data_type();
            if !is_text(t) && !matches!(t, DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64) {
                let t = format!("{t}").to_lowercase();
                return Err(Error::bad_input(format!("{shown}: column `{}` has the type {t}", field.name()))
                    .hint("write it as plain strings, or as 32 or 64 bit integers"));
            }
        }
        let mut rows = BATCH_ROWS;
        for group in self.metadata.metadata().row_groups() {
            for chunk in group
                .columns()
                .iter()
                .filter(|chunk| chunk.column_path().parts().first().is_some_and(|name| is_read(name)))
            {
                let (start, length) = guarded(&self.path, || Ok(chunk.byte_range()))?;
                let range = start..start.saturating_add(length);
                let held = unpacked(&mut self.file, range).map_err(|e| damaged(&self.path, e))?;
                if held.largest > most as u64 {
                    return Err(Error::bad_input(format!(
                        "{shown} has a page of {}, and {} are read at once",
                        bytes(held.largest as usize),
                        bytes(most)
                    ))
                    .hint("write it again, with smaller pages"));
                }
                let each = held.bytes / held.values.max(1);
                rows = rows.min(BATCH_BYTES / each.max(1)).max(1);
            }
        }
        // Views of a page's text: what many rows share is held once.
        let view = |field: &Arc<Field>| match is_text(field.data_type()) {
            true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
            false => field.clone(),
        };
        let schema = Schema::new(self.metadata.schema().fields().iter().map(view).collect::<Vec<_>>());
        let (metadata, columns, reader) = guarded(&self.path, || {
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(Arc::new(schema));
            let metadata = ArrowReaderMetadata::try_new(self.metadata.metadata().clone(), options)?;
            // By their places: by its name, `a` would be `a.b` as well.
            let fields = self.metadata.schema().fields().iter().enumerate();
            let wanted = fields.filter(|(_, field)| is_read(field.name())).map(|(i, _)| i);
            let columns = ProjectionMask::roots(metadata.parquet_schema(), wanted);
            let file = self.file.try_clone()?;
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
                .with_projection(columns.clone())
                .with_batch_size(rows as usize)
                .build()?;
            Ok((metadata, columns, reader))
        })?;
        Ok(Texts { path: self.path, file: self.file, metadata, columns, reader, batch: None, at: 0, row: 0 })
    }
}

impl Texts {
    /// Goes to the next row, and says which it is; none at the end.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn next(&mut self) -> Result<Option<usize>> {
        self.at += 1;
        while self.batch.as_ref().is_none_or(|batch| self.at >= batch.num_rows()) {
            // Before the next is read, so that one is held.
            self.batch = None;
            self.batch = guarded(&self.path, || self.reader.next().transpose().map_err(ParquetError::from))?;
            self.at = 0;
            if self.batch.is_none() {
                return Ok(None);
            }
        }
        self.row += 1;
        Ok(Some(self.row - 1))
    }

    /// The next row of the file.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Goes to a row, which is then the next and the last. Of the pages before it in its row group only headers are read.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn seek(&mut self, row: usize) -> Result<()> {
        let (mut group, mut before) = (0, row);
        for rows in self.metadata.metadata().row_groups().iter().map(|group| group.num_rows() as usize) {
            if before < rows {
                break;
            }
            (group, before) = (group + 1, before - rows);
        }
        (self.batch, self.at, self.row) = (None, 0, row);
        self.reader = guarded(&self.path, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, self.metadata.clone())
                .with_projection(self.columns.clone())
                .with_row_groups(vec![group])
                .with_offset(before)
                .with_limit(1)
                .with_batch_size(1)
                .build()
        })?;
        Ok(())
    }

    /// What the columns hold in the row, in the order of the file.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        let columns = self.batch.iter().flat_map(RecordBatch::columns);
        columns.map(|column| value(column, self.at))
    }
}

fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        _ => column.as_string_view_opt().map_or(Value::Null, |texts| texts.value(row).into()),
    }
}

fn is_text(t: &DataType) -> bool {
    matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
