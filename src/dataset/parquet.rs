//! Rows to parquet: wide columns as lists of one length, encoded side by side.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, BooleanArray, FixedSizeListArray, Float16Array, Float32Array, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, TypePtr};
use rayon::prelude::*;

use super::file::{Done, Hashed};
use super::layout::{Dtype, HookColumn, KEYS, Layout, Rows, Scalars, Values};
use super::round::to_f16;
use crate::error::{Error, Result};
use crate::table::METADATA_KEY;

/// Activations hardly compress: the lowest level saves what there is to save, the exponents.
const LEVEL: i32 = 1;
/// The item of a list is called as pyarrow calls it.
const ITEM: &str = "element";

/// What files of one data set share.
pub(super) struct Shape {
    schema: Arc<Schema>,
    root: TypePtr,
    properties: WriterPropertiesPtr,
}

impl Shape {
    /// Files with these columns, which say of themselves that they were made so.
    pub fn new(layout: &Layout, provenance: &str) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::compute(e.to_string()).fault();
        let schema = Schema::new(fields(layout)).with_metadata([(METADATA_KEY, provenance)]);
        let zstd = ZstdLevel::try_new(LEVEL).map_err(|e| failed(&e))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(zstd))
            .set_created_by(format!("pellucid {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(vec![KeyValue::new(METADATA_KEY.to_owned(), provenance.to_owned())]));
        for hook in &layout.hooks {
            // A path of parts: the dots in a hook's name are no steps.
            let path = ColumnPath::new(vec![hook.name.clone(), "list".to_owned(), ITEM.to_owned()]);
            // Of f16, DuckDB reads no split bytes.
            let split = !hook.index && layout.dtype == Dtype::F32;
            let encoding = if split { Encoding::BYTE_STREAM_SPLIT } else { Encoding::PLAIN };
            properties = properties
                .set_column_encoding(path.clone(), encoding)
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        for scalar in layout.scalars.iter().filter(|s| !s.index) {
            properties = properties.set_column_dictionary_enabled(ColumnPath::new(vec![scalar.name.clone()]), false);
        }
        let mut properties = properties.build();
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let root = ArrowSchemaConverter::new().convert(&schema).map_err(|e| failed(&e))?.root_schema_ptr();
        Ok(Self { schema: schema.into(), root, properties: properties.into() })
    }
}

fn fields(layout: &Layout) -> Vec<Field> {
    let key = |name: &str| {
        let (of, null, unit, meaning) = match name {
            "doc" => (DataType::UInt64, false, "index", "the document's number in the corpus"),
            "doc_id" => (DataType::Utf8, false, "", "the document's name"),
            "seq" => (DataType::UInt32, false, "index", "the sequence's number in its block of documents"),
            "pos" => (DataType::UInt32, false, "index", "the position in the sequence"),
            "token_id" => (DataType::UInt32, false, "index", "the token"),
            "token" => (DataType::Utf8, false, "token", "its text"),
            "byte_start" => {
                (DataType::UInt32, true, "bytes", "where it begins in the document; null if it is not there")
            }
            "byte_end" => (DataType::UInt32, true, "bytes", "where it ends"),
            _ => (DataType::Boolean, false, "", "whether it is a special token"),
        };
        said(Field::new(name, of, null), &[("unit", unit), ("meaning", meaning)])
    };
    let hook = |h: &HookColumn| {
        let shape = serde_json::json!(h.shape).to_string();
        let list = DataType::FixedSizeList(item(h, layout.dtype), h.width() as i32);
        said(Field::new(&h.name, list, false), &[("axes", &h.axes), ("shape", &shape)])
    };
    let scalars = layout.scalars.iter().map(|s| {
        let of = if s.index { DataType::UInt32 } else { DataType::Float32 };
        said(Field::new(&s.name, of, true), &[("unit", &s.unit), ("meaning", &s.meaning)])
    });
    KEYS.into_iter().map(key).chain(scalars).chain(layout.hooks.iter().map(hook)).collect()
}

fn said(field: Field, what: &[(&str, &str)]) -> Field {
    let metadata: HashMap<String, String> = what.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    field.with_metadata(metadata)
}

fn item(hook: &HookColumn, dtype: Dtype) -> Arc<Field> {
    let of = match dtype {
        _ if hook.index => DataType::UInt32,
        Dtype::F16 => DataType::Float16,
        _ => DataType::Float32,
    };
    Arc::new(Field::new(ITEM, of, false))
}

/// A parquet file in the making.
pub(super) struct File {
    writer: SerializedFileWriter<Hashed>,
    /// Encodes a row group's columns.
    factory: ArrowRowGroupWriterFactory,
    stage: PathBuf,
    columns: Vec<ArrowColumnWriter>,
}

impl File {
    pub fn create(shape: &Shape, stage: &Path) -> Result<Self> {
        let file = Hashed::create(stage)?;
        let writer = SerializedFileWriter::new(file, shape.root.clone(), shape.properties.clone())
            .map_err(|e| failed(stage, e))?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, shape.schema.clone());
        Ok(Self { writer, factory, stage: stage.to_owned(), columns: vec![] })
    }

    /// Encodes rows into the row group that is open.
    pub fn rows(&mut self, shape: &Shape, layout: &Layout, rows: Rows) -> Result<()> {
        if self.columns.is_empty() {
            let group = self.writer.flushed_row_groups().len();
            self.columns = self.factory.create_column_writers(group).map_err(|e| failed(&self.stage, e))?;
        }
        let arrays = columns(layout, rows)?;
        let fields = shape.schema.fields();
        let stage = &self.stage;
        let done = self.columns.par_iter_mut().zip(arrays).zip(fields.par_iter()).map(|((writer, array), field)| {
            let leaves = compute_leaves(field, &array).map_err(|e| failed(stage, e))?;
            drop(array);
            leaves.iter().try_for_each(|leaf| writer.write(leaf)).map_err(|e| failed(stage, e))
        });
        done.collect::<Result<()>>()
    }

    /// Closes the row group that is open: its bytes, still in memory.
    pub fn close(&mut self) -> Result<Group> {
        let columns = std::mem::take(&mut self.columns);
        let chunks: Result<Vec<_>, _> = columns.into_par_iter().map(ArrowColumnWriter::close).collect();
        Ok(Group(chunks.map_err(|e| failed(&self.stage, e))?))
    }

    /// Adds a row group.
    pub fn add(&mut self, group: Group) -> Result<()> {
        let write = || {
            let mut to = self.writer.next_row_group()?;
            group.0.into_iter().try_for_each(|chunk| chunk.append_to_row_group(&mut to))?;
            to.close().map(|_| ())
        };
        write().map_err(|e| failed(&self.stage, e))
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.writer.inner().bytes()
    }

    pub fn finish(self, name: String, rows: u64) -> Result<Done> {
        let file = self.writer.into_inner().map_err(|e| failed(&self.stage, e))?;
        file.done(name, rows)
    }
}

/// An encoded row group.
pub(super) struct Group(Vec<ArrowColumnChunk>);

impl Group {
    /// Its bytes in a file.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|chunk| chunk.close().bytes_written).sum()
    }
}

/// The columns of rows, in the order of the schema.
fn columns(layout: &Layout, rows: Rows) -> Result<Vec<ArrayRef>> {
    let hooks: Vec<ArrayRef> = (layout.hooks.par_iter().zip(&rows.hooks))
        .map(|(hook, values)| list(layout, hook, values, &rows))
        .collect::<Vec<Result<ArrayRef>>>()
        .into_iter()
        .collect::<Result<_>>()?;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from(rows.doc)),
        texts(rows.doc_id.iter().map(|id| &**id)),
        Arc::new(UInt32Array::from(rows.seq)),
        Arc::new(UInt32Array::from(rows.pos)),
        Arc::new(UInt32Array::from(rows.token_id)),
        texts(rows.token.iter().map(String::as_str)),
        Arc::new(UInt32Array::from(rows.byte_start)),
        Arc::new(UInt32Array::from(rows.byte_end)),
        Arc::new(BooleanArray::from(rows.special)),
    ];
    columns.extend(rows.scalars.into_iter().map(|scalars| -> ArrayRef {
        match scalars {
            Scalars::F32(values) => Arc::new(Float32Array::from(values)),
            Scalars::U32(values) => Arc::new(UInt32Array::from(values)),
        }
    }));
    columns.extend(hooks);
    Ok(columns)
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    texts.for_each(|text| builder.append_value(text));
    Arc::new(builder.finish())
}

/// A hook's values as lists.
fn list(layout: &Layout, hook: &HookColumn, values: &Values, rows: &Rows) -> Result<ArrayRef> {
    let flat: ArrayRef = match values {
        Values::U32(values) => Arc::new(UInt32Array::from(values.clone())),
        Values::F32(values) if layout.dtype == Dtype::F16 => {
            Arc::new(Float16Array::from(to_f16(values, layout.clip, hook, rows)?))
        }
        Values::F32(values) => Arc::new(Float32Array::from(values.clone())),
    };
    let list = FixedSizeListArray::try_new(item(hook, layout.dtype), hook.width() as i32, flat, None);
    list.map(|list| Arc::new(list) as ArrayRef).map_err(|e| Error::compute(e.to_string()).fault())
}

fn failed(folder: &Path, error: ParquetError) -> Error {
    // parquet keeps an answer of the system as the cause, inside.
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(e) => Error::cannot_write(folder, *e),
            Err(other) => Error::io(format!("cannot write {}: {other}", folder.display())).because(other).fault(),
        },
        other => Error::io(format!("cannot write {}: {other}", folder.display())).because(other).fault(),
    }
}
