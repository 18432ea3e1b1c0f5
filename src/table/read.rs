//! Parquet in: tables that pellucid wrote, and prompt files that anybody wrote.

#[cfg(feature = "frames")]
pub use super::columns::read_columns;
pub use super::pages::Unpacked;
use super::provenance::{HOOK_NAMES, METADATA_KEY, Provenance};
use super::row::{Cell, ColumnInfo, ColumnType, Row};
use super::stream::{Rows, TableFile};
use super::thrift;
use crate::error::{Error, Result};
use arrow_schema::{DataType, Field};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A column of a prompt file. `None` is a null.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Text.
    Text(Vec<Option<String>>),
    /// Whole numbers.
    Integers(Vec<Option<i64>>),
    /// Lists of token ids.
    Ids(Vec<Option<Vec<u32>>>),
}

/// All rows of a table that pellucid wrote, in the order of the file, and how it was made.
///
/// What an older version of the table does not have is filled in as `docs/tables.md` says; the provenance stays that of the
/// file.
///
/// # Errors
/// The file cannot be read, is not parquet, is cut short, was not written by pellucid, holds another table than `R`,
/// or is of a newer version than this program knows.
pub fn read_rows<R: Row>(path: impl AsRef<Path>) -> Result<(Vec<R>, Provenance)> {
    read_some_rows(path, 0, usize::MAX)
}

/// The rows of a table from row `from` on, `n` at most: no more of the file is held.
///
/// # Errors
/// As [`read_rows`].
pub fn read_some_rows<R: Row>(path: impl AsRef<Path>, from: usize, n: usize) -> Result<(Vec<R>, Provenance)> {
    let mut table = TableFile::<R>::open(path)?;
    let to = from.saturating_add(n).min(table.len());
    // How many rows there are is what the file says, and may be wrong.
    let mut rows = Vec::with_capacity(to.saturating_sub(from).min(1 << 16));
    table.rows(from..to, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, table.provenance().clone()))
}

/// Opens the file at `path`, which must hold the table of `R` with the columns of its version, and says how it was made.
pub(super) fn checked_table<R: Row>(path: &Path) -> Result<(File, ArrowReaderMetadata, Provenance)> {
    let (file, metadata) = open(path)?;
    let provenance = provenance_of(path, &metadata)?;
    check_table::<R>(path, &provenance)?;
    let version = provenance.table_version;
    for column in R::TABLE.columns.iter().filter(|column| column.since <= version) {
        let found = metadata.schema().field_with_name(column.name).ok().map(Field::data_type);
        if !found.is_some_and(|t| fits(column.kind, t)) {
            let found = found.map_or("does not exist".to_owned(), |t| format!("has the type {}", type_name(t)));
            return Err(Error::bad_input(format!(
                "{}: column `{}` should have the type {}, but {found}",
                path.display(),
                column.name,
                column.kind.name()
            ))
            .hint("the file was changed since pellucid wrote it; write the table again"));
        }
    }
    Ok((file, metadata, provenance))
}

/// How the table in `path` was made, without reading its rows.
///
/// # Errors
/// The file cannot be read, is not parquet, is cut short, or was not written by pellucid.
pub fn read_provenance(path: impl AsRef<Path>) -> Result<Provenance> {
    let path = path.as_ref();
    provenance_of(path, &open(path)?.1)
}

/// What a parquet file calls its columns.
///
/// # Errors
/// The file cannot be read, is not parquet, or is cut short.
pub fn column_names(path: impl AsRef<Path>) -> Result<Vec<String>> {
    let (_, metadata) = open(path.as_ref())?;
    Ok(metadata.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// Refuses: prompt files in parquet are read by polars.
///
/// # Errors
/// Always.
#[cfg(not(feature = "frames"))]
pub fn read_columns(path: impl AsRef<Path>, _: &[&str], _: &Most) -> Result<Vec<(String, Values)>> {
    let error = Error::bad_input(format!("{}: this build reads no prompts from parquet", path.as_ref().display()));
    Err(error.hint("build pellucid with the feature `frames`, or give the prompts as jsonl"))
}

/// What is refused of a file, before it is unpacked.
pub struct Most<'a> {
    /// Refuses so many rows.
    pub rows: &'a dyn Fn(usize) -> Result<()>,
    /// Refuses so much.
    pub size: &'a dyn Fn(Unpacked) -> Result<()>,
}

/// Opens a file that begins and ends as a parquet file does, and reads its footer.
pub(super) fn open(path: &Path) -> Result<(File, ArrowReaderMetadata)> {
    let shown = path.display();
    if path.is_dir() {
        return Err(Error::bad_input(format!("{shown} is a folder, not a parquet file"))
            .hint("name one of the .parquet files in it"));
    }
    let mut file = File::open(path).map_err(|e| Error::cannot_read(path, e))?;
    let mut ends = [[0; 4]; 2];
    let mut whole = false;
    let mut read = || -> io::Result<()> {
        file.read_exact(&mut ends[0])?;
        // The shortest file: the mark, a footer of no length, its length, the mark.
        let size = file.seek(SeekFrom::End(0))?;
        if size < 12 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.seek(SeekFrom::End(-8))?;
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        file.read_exact(&mut ends[1])?;
        let length = u32::from_le_bytes(length);
        let start = size.checked_sub(u64::from(length) + 12).ok_or(io::ErrorKind::UnexpectedEof)?;
        file.seek(SeekFrom::Start(start + 4))?;
        let mut footer = vec![0; length as usize];
        file.read_exact(&mut footer)?;
        whole = thrift::is_whole(&footer);
        Ok(())
    };
    let outcome = read();
    match (ends, outcome) {
        ([a, b], Ok(())) if &a == b"PAR1" && &b == b"PAR1" && whole => {
            // Types as parquet has them: what another program noted of its own beside them changes nothing.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let metadata = guarded(path, || ArrowReaderMetadata::load(&file, options))?;
            Ok((file, metadata))
        }
        ([a, b], Ok(())) if &a == b"PAR1" && &b == b"PAR1" => {
            Err(Error::bad_input(format!("the footer of the parquet file {shown} is damaged"))
                .hint("copy or write the file again"))
        }
        ([a, _], _) if &a == b"PAR1" => Err(Error::bad_input(format!("the parquet file {shown} is cut short"))
            .hint("copy or write it again; pellucid itself never leaves half a file")),
        (_, Err(e)) if e.kind() != io::ErrorKind::UnexpectedEof => Err(Error::cannot_read(path, e)),
        _ => Err(Error::bad_input(format!("{shown} is not a parquet file"))
            .hint("give a table that pellucid wrote, or a prompt file in parquet")),
    }
}

pub(super) fn damaged(path: &Path, how: impl std::fmt::Display) -> Error {
    Error::bad_input(format!("cannot read {} as parquet: {how}", path.display()))
        .hint("the file may be damaged; copy or write it again")
}

/// Runs the reader on somebody else's file. Most broken files are errors; on some it panics, and that is the file's fault, not a
/// reason to die.
pub(super) fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    match crate::guard::guarded(read) {
        Some(Ok(value)) => Ok(value),
        Some(Err(ParquetError::External(e))) => Err(match e.downcast::<io::Error>() {
            // The system's, not a decompressor's.
            Ok(e) if e.raw_os_error().is_some() => Error::cannot_read(path, *e),
            Ok(e) => damaged(path, e),
            Err(e) => damaged(path, e),
        }),
        Some(Err(e)) => Err(damaged(path, e)),
        None => Err(Error::bad_input(format!("cannot read {} as parquet: its contents are damaged", path.display()))
            .hint("copy or write the file again")),
    }
}

fn provenance_of(path: &Path, metadata: &ArrowReaderMetadata) -> Result<Provenance> {
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let ours = entries.into_iter().flatten().find(|e| e.key == METADATA_KEY);
    let Some(json) = ours.and_then(|e| e.value.as_ref()) else {
        return Err(Error::bad_input(format!("{} is a parquet file, but not a table of pellucid", path.display()))
            .hint("give a file that pellucid wrote; programs that rewrite parquet often drop its metadata"));
    };
    serde_json::from_str(json).map_err(|e| {
        Error::bad_input(format!("{} does not say properly how it was made: {e}", path.display()))
            .hint("the file may come from a newer pellucid; update, or write the table again")
            .because(e)
    })
}

fn check_table<R: Row>(path: &Path, provenance: &Provenance) -> Result<()> {
    let (table, shown) = (R::TABLE, path.display());
    if provenance.table != table.name {
        return Err(Error::bad_input(format!("{shown} holds the table `{}`, not `{}`", provenance.table, table.name))
            .hint(format!("give a file with the table `{}`", table.name)));
    }
    if provenance.table_version > table.version {
        return Err(Error::bad_input(format!(
            "{shown} holds version {} of the table `{}`; this program knows version {}",
            provenance.table_version, table.name, table.version
        ))
        .hint(format!("it was written by pellucid {}; update pellucid", provenance.pellucid_version)));
    }
    Ok(())
}

/// Whether names of hooks may have meant another tensor when the file was written.
pub(super) fn was_renamed(provenance: &Provenance) -> bool {
    provenance.hook_names < HOOK_NAMES
}

/// Refuses a row of such a file whose hooks, `sites`, have names that meant another tensor.
pub(super) fn refuse_name(path: &Path, spec: &serde_json::Value, sites: &str) -> Result<()> {
    match sites.split('+').find(|site| meant_another(spec, site)) {
        None => Ok(()),
        Some(site) => Err(Error::bad_input(format!(
            "{} was written when `{site}` meant another value than it does now",
            path.display()
        ))
        .hint("make it again: its command is in its metadata; docs/hooks.md says what names meant")),
    }
}

/// Whether the name of a hook meant another tensor in files of the first version: in them, normalized values had gain and bias,
/// and queries, keys and values were read after norms and clamps.
fn meant_another(spec: &serde_json::Value, site: &str) -> bool {
    let blocks = || spec["blocks"].as_array().into_iter().flatten();
    let any = |key: &str| blocks().any(|block| !block["attention"]["inner"][key].is_null());
    match site.rsplit('.').next().map(|last| last.trim_start_matches("hook_")) {
        Some("normalized") => true,
        Some("q" | "k") => any("qk_norm") || any("clip_qkv"),
        Some("v") => any("clip_qkv"),
        _ => false,
    }
}

/// What a column has before [`Row::upgrade`], in a file of a version that does not have it.
pub(super) fn missing(info: &ColumnInfo) -> Cell<'static> {
    match info.kind {
        _ if info.nullable => Cell::Null,
        ColumnType::U32 => Cell::U32(0),
        ColumnType::U64 => Cell::U64(0),
        ColumnType::I64 => Cell::I64(0),
        ColumnType::F32 => Cell::F32(0.0),
        ColumnType::F64 => Cell::F64(0.0),
        ColumnType::Bool => Cell::Bool(false),
        ColumnType::Str => Cell::Str(""),
    }
}

/// Whether a column of type `t` holds values of `kind`.
fn fits(kind: ColumnType, t: &DataType) -> bool {
    match kind {
        ColumnType::U32 => *t == DataType::UInt32,
        ColumnType::U64 => *t == DataType::UInt64,
        ColumnType::I64 => *t == DataType::Int64,
        ColumnType::F32 => *t == DataType::Float32,
        ColumnType::F64 => *t == DataType::Float64,
        ColumnType::Bool => *t == DataType::Boolean,
        ColumnType::Str => *t == DataType::Utf8,
    }
}

fn type_name(t: &DataType) -> String {
    match t {
        DataType::Utf8 => "string".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_reader_is_an_error() {
        let e = guarded::<()>(Path::new("bad.parquet"), || panic!("range end index out of range")).unwrap_err();
        assert_eq!(e.message(), "cannot read bad.parquet as parquet: its contents are damaged");
        assert!(e.hint_text().is_some());
    }
}
