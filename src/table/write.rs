//! Parquet out: rows are streamed into a temporary file beside the destination, which takes its name when finished.

use super::provenance::{METADATA_KEY, Provenance};
use super::row::{Cell, ColumnInfo, ColumnType, Row};
use crate::error::{Error, Result};
use crate::whole::temporary_beside;
use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Float64Builder, Int64Builder, StringBuilder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field as ArrowField, Schema};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, encode_arrow_schema};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempPath;

/// Rows that are collected before they are encoded.
const BATCH_ROWS: usize = 8 * 1024;
/// Rows of a row group: what a reader must decode at once, and the most that the writer holds encoded.
const GROUP_ROWS: usize = 256 * 1024;

/// Writes rows of `R` to one parquet file, in bounded memory.
///
/// The file appears under its name only when [`TableWriter::finish`] returns; a writer that is dropped before leaves
/// nothing behind. The same rows and the same provenance give the same bytes.
pub struct TableWriter<R: Row> {
    path: PathBuf,
    temporary: TempPath,
    parquet: ArrowWriter<File>,
    schema: Arc<Schema>,
    columns: Vec<Column>,
    pending: usize,
    written: u64,
    provenance: Provenance,
    rows: PhantomData<R>,
}

impl<R: Row> TableWriter<R> {
    /// A writer whose file will appear at `path` with `provenance` in it (its table name, table version and pellucid
    /// version are filled in). The folder must exist.
    ///
    /// # Errors
    /// The destination is a folder, or its folder does not exist or cannot be written.
    pub fn create(path: impl AsRef<Path>, mut provenance: Provenance) -> Result<Self> {
        let path = path.as_ref().to_owned();
        if path.is_dir() {
            return Err(Error::bad_input(format!("cannot write a table to {}: it is a folder", path.display()))
                .hint("give the name of a file, e.g. one that ends in .parquet"));
        }
        provenance.stamp::<R>();
        let temporary = temporary_beside(&path)?;
        let (file, temporary) = temporary.into_parts();
        let schema = Arc::new(schema(R::TABLE.columns));
        let parquet = ArrowWriter::try_new_with_options(file, schema.clone(), options::<R>())
            .map_err(|e| write_failed(&path, e))?;
        let columns = columns::<R>();
        Ok(Self { path, temporary, parquet, schema, columns, pending: 0, written: 0, provenance, rows: PhantomData })
    }

    /// Adds one row.
    ///
    /// # Errors
    /// The disk is full or the file cannot be written.
    pub fn push(&mut self, row: &R) -> Result<()> {
        fill(&mut self.columns, row);
        self.pending += 1;
        self.written += 1;
        if self.pending == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// As [`TableWriter::push`].
    pub fn extend<'a>(&mut self, rows: impl IntoIterator<Item = &'a R>) -> Result<()>
    where
        R: 'a,
    {
        rows.into_iter().try_for_each(|row| self.push(row))
    }

    /// How many rows were added.
    pub fn len(&self) -> u64 {
        self.written
    }

    /// Whether no row was added.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// The provenance, which is written last: a run that is stopped can still set `complete` to false.
    pub fn provenance_mut(&mut self) -> &mut Provenance {
        &mut self.provenance
    }

    /// Completes the file and gives it its name, replacing a file that has it; returns where it lies.
    ///
    /// # Errors
    /// The disk is full, or the file cannot be written or renamed. Nothing is left behind then.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.flush()?;
        self.provenance.stamp::<R>();
        let json = self.provenance.to_json();
        // Once more within the arrow schema, where pyarrow's `schema.metadata` looks.
        let schema = made_as(self.schema.as_ref().clone(), &json);
        self.parquet.append_key_value_metadata(KeyValue::new(METADATA_KEY.to_owned(), json));
        self.parquet
            .append_key_value_metadata(KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&schema)));
        let path = self.path;
        let file = self.parquet.into_inner().map_err(|e| write_failed(&path, e))?;
        // The name must not appear before the bytes are safe, whatever happens to the machine.
        file.sync_all().map_err(|e| Error::cannot_write(&path, e))?;
        drop(file);
        self.temporary.persist(&path).map_err(|e| Error::cannot_write(&path, e.error))?;
        Ok(path)
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending == 0 {
            return Ok(());
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        self.pending = 0;
        RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(ParquetError::from)
            .and_then(|batch| self.parquet.write(&batch))
            .map_err(|e| write_failed(&self.path, e))
    }
}

/// Rows as one batch that says how they were made.
pub(super) fn batch<R: Row>(rows: &[R], provenance: &Provenance) -> Result<RecordBatch> {
    let mut columns = columns::<R>();
    rows.iter().for_each(|row| fill(&mut columns, row));
    let schema = made_as(schema(R::TABLE.columns), &provenance.to_json());
    let arrays = columns.iter_mut().map(Column::finish).collect();
    RecordBatch::try_new(schema.into(), arrays).map_err(|e| Error::compute(e.to_string()).fault())
}

fn columns<R: Row>() -> Vec<Column> {
    R::TABLE.columns.iter().map(|c| Column::new(c.kind)).collect()
}

fn fill<R: Row>(columns: &mut [Column], row: &R) {
    let mut columns = columns.iter_mut();
    row.visit(&mut |cell| {
        if let Some(column) = columns.next() {
            column.push(cell);
        }
    });
}

/// With the provenance where pyarrow's `schema.metadata` looks.
fn made_as(schema: Schema, json: &str) -> Schema {
    schema.with_metadata([(METADATA_KEY, json)])
}

/// The arrow schema of `columns`, each with its unit and meaning as field metadata.
fn schema(columns: &[ColumnInfo]) -> Schema {
    Schema::new(
        columns
            .iter()
            .map(|c| {
                let metadata = [("meaning".to_owned(), c.meaning.to_owned()), ("unit".to_owned(), c.unit.to_owned())];
                ArrowField::new(c.name, data_type(c.kind), c.nullable)
                    .with_metadata(std::collections::HashMap::from(metadata))
            })
            .collect::<Vec<_>>(),
    )
}

fn options<R: Row>() -> ArrowWriterOptions {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_created_by(format!("pellucid {}", env!("CARGO_PKG_VERSION")));
    for column in R::TABLE.columns {
        // Keys and tokens repeat, so dictionaries shrink them; measured numbers hardly ever do.
        let repeats = !matches!(column.kind, ColumnType::F32 | ColumnType::F64);
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column.name), repeats);
    }
    // The arrow schema carries the provenance, which is known only at the end: `finish` writes it.
    ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true)
}

macro_rules! columns {
    ($($kind:ident: $type:ident, $builder:ty;)+) => {
        fn data_type(kind: ColumnType) -> DataType {
            match kind {
                $(ColumnType::$kind => DataType::$type,)+
            }
        }

        /// The values of one column that are not yet encoded.
        enum Column {
            $($kind($builder),)+
        }

        impl Column {
            fn new(kind: ColumnType) -> Self {
                match kind {
                    $(ColumnType::$kind => Self::$kind(<$builder>::new()),)+
                }
            }

            fn push(&mut self, cell: Cell<'_>) {
                match (self, cell) {
                    $((Self::$kind(builder), Cell::$kind(x)) => builder.append_value(x),)+
                    // Only `Cell::Null` comes here: cells and columns are made from the same declaration.
                    $((Self::$kind(builder), _) => builder.append_null(),)+
                }
            }

            fn finish(&mut self) -> ArrayRef {
                match self {
                    $(Self::$kind(builder) => Arc::new(builder.finish()),)+
                }
            }
        }
    };
}
columns! {
    U32: UInt32, UInt32Builder;
    U64: UInt64, UInt64Builder;
    I64: Int64, Int64Builder;
    F32: Float32, Float32Builder;
    F64: Float64, Float64Builder;
    Bool: Boolean, BooleanBuilder;
    Str: Utf8, StringBuilder;
}

fn write_failed(path: &Path, error: ParquetError) -> Error {
    // parquet keeps an answer of the system as the cause, inside.
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(e) => Error::cannot_write(path, *e),
            Err(other) => Error::io(format!("cannot write {}: {other}", path.display())).because(other).fault(),
        },
        other => Error::io(format!("cannot write {}: {other}", path.display())).because(other).fault(),
    }
}
