//! Parquet in: tables that pellucid wrote, and prompt files that anybody wrote. The only module that knows polars.

pub use super::pages::Unpacked;
use super::pages::unpacked;
use super::provenance::{HOOK_NAMES, METADATA_KEY, Provenance};
use super::row::{Cell, ColumnInfo, Kind, Row};
use super::stream::{Rows, TableFile};
use super::thrift;
use crate::error::{Error, Result, nearest};
use polars::prelude::{ArrowDataType, DataFrame, ParquetReader, PolarsError, PolarsResult, SerReader, Series};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// A column of a prompt file. `None` is a null.
#[derive(Clone, Debug, PartialEq)]
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

/// Checks that the file at `path` holds the table of `R`, with the columns of its version, and says how it was made.
pub(super) fn checked_table<R: Row>(path: &Path) -> Result<Provenance> {
    let mut reader = open(path)?;
    let provenance = provenance_of(path, &mut reader)?;
    check_table::<R>(path, &provenance)?;
    let schema = guarded(path, || reader.schema())?;
    let version = provenance.table_version;
    for column in R::TABLE.columns.iter().filter(|column| column.since <= version) {
        let found = schema.get(column.name).map(|field| &field.dtype);
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
    Ok(provenance)
}

/// How the table in `path` was made, without reading its rows.
///
/// # Errors
/// The file cannot be read, is not parquet, is cut short, or was not written by pellucid.
pub fn read_provenance(path: impl AsRef<Path>) -> Result<Provenance> {
    let path = path.as_ref();
    provenance_of(path, &mut open(path)?)
}

/// What a parquet file calls its columns.
///
/// # Errors
/// The file cannot be read, is not parquet, or is cut short.
pub fn column_names(path: impl AsRef<Path>) -> Result<Vec<String>> {
    let path = path.as_ref();
    let mut reader = open(path)?;
    Ok(guarded(path, || reader.schema())?.iter_names().map(|name| name.to_string()).collect())
}

/// Those of the columns `wanted` that a parquet file has, in the order of `wanted`: for prompt files that other
/// programs wrote.
///
/// # Errors
/// The file cannot be read, is not parquet, is cut short, has none of the columns, or has one of another type than
/// text, whole numbers, or lists of token ids; `most` refuses what it holds.
pub fn read_columns(path: impl AsRef<Path>, wanted: &[&str], most: &Most) -> Result<Vec<(String, Values)>> {
    let path = path.as_ref();
    let mut reader = open(path)?;
    let schema = guarded(path, || reader.schema())?;
    let present: Vec<&str> = wanted.iter().copied().filter(|name| schema.contains(name)).collect();
    if present.is_empty() {
        let has: Vec<&str> = schema.iter_names().map(|name| name.as_str()).collect();
        let error = Error::bad_input(format!(
            "{} has no column named {}; it has {}",
            path.display(),
            or_list(wanted),
            if has.is_empty() { "no columns".to_owned() } else { or_list(&has).replace(" or ", " and ") }
        ));
        let near = wanted.iter().find_map(|name| nearest(name, has.iter().copied()).map(|has| (has, name)));
        return Err(error.hint(match near {
            Some((has, name)) => format!("rename `{has}` to `{name}`"),
            None => format!("name the column with the prompts `{}`", wanted.first().copied().unwrap_or("text")),
        }));
    }
    for name in &present {
        // Asked before reading: polars is built without the types that a prompt file has no use for, and panics on some.
        match schema.get(name).map(|field| &field.dtype) {
            Some(t) if is_text(t) || is_integer(t) => {}
            Some(ArrowDataType::List(item) | ArrowDataType::LargeList(item)) if is_integer(&item.dtype) => {}
            other => {
                return Err(Error::bad_input(format!(
                    "{}: column `{name}` has the type {}",
                    path.display(),
                    other.map_or("unknown".to_owned(), type_name)
                ))
                .hint("write it as plain strings, or as (lists of) 32 or 64 bit integers"));
            }
        }
    }
    let names = present.iter().map(|&name| name.to_owned()).collect();
    let (rows, size) = unfolded(path, &mut reader, &present)?;
    (most.rows)(rows)?;
    (most.size)(size)?;
    let frame = guarded(path, || reader.with_columns(Some(names)).finish())?;
    // A text that many rows share is written once.
    let mut texts = size.bytes;
    for name in &present {
        let column = guarded(path, || Ok(frame.column(name)?.as_materialized_series()))?;
        let of_column = column.str().map_or(0, |texts| texts.iter().flatten().map(|text| text.len() as u64).sum());
        texts = texts.saturating_add(of_column);
        (most.size)(Unpacked { bytes: texts, ..size })?;
    }
    present
        .iter()
        .map(|&name| {
            let column = guarded(path, || Ok(frame.column(name)?.as_materialized_series()))?;
            Ok((name.to_owned(), values(path, name, column)?))
        })
        .collect()
}

/// What is refused of a file, before it is unpacked.
pub struct Most<'a> {
    /// Refuses so many rows.
    pub rows: &'a dyn Fn(usize) -> Result<()>,
    /// Refuses so much.
    pub size: &'a dyn Fn(Unpacked) -> Result<()>,
}

/// How many rows the file says that it has, and what is in these columns when they are unpacked.
fn unfolded(path: &Path, reader: &mut ParquetReader<File>, columns: &[&str]) -> Result<(usize, Unpacked)> {
    let metadata = guarded(path, || reader.get_metadata().cloned())?;
    let mut file = File::open(path)?;
    let (mut rows, mut all) = (0usize, Unpacked::default());
    for group in &metadata.row_groups {
        rows = rows.saturating_add(group.num_rows());
        let chunks = columns.iter().flat_map(|name| group.columns_under_root_iter(name).into_iter().flatten());
        for chunk in chunks {
            let range = guarded(path, || Ok(chunk.byte_range()))?;
            let here = unpacked(&mut file, range).map_err(|e| {
                Error::bad_input(format!("cannot read {} as parquet: {e}", path.display()))
                    .hint("the file may be damaged; copy or write it again")
            })?;
            all.bytes = all.bytes.saturating_add(here.bytes);
            all.values = all.values.saturating_add(here.values);
        }
    }
    Ok((rows, all))
}

/// A reader over a file that begins and ends as a parquet file does.
fn open(path: &Path) -> Result<ParquetReader<File>> {
    let shown = path.display();
    if path.is_dir() {
        return Err(Error::bad_input(format!("{shown} is a folder, not a parquet file"))
            .hint("name one of the .parquet files in it"));
    }
    let mut file = File::open(path).map_err(|e| Error::cannot_read(path, e))?;
    let mut ends = [[0; 4]; 2];
    let mut whole = false;
    let mut read = || -> std::io::Result<()> {
        file.read_exact(&mut ends[0])?;
        // The shortest file: the mark, a footer of no length, its length, the mark.
        let size = file.seek(SeekFrom::End(0))?;
        if size < 12 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        file.seek(SeekFrom::End(-8))?;
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        file.read_exact(&mut ends[1])?;
        let length = u32::from_le_bytes(length);
        let start = size.checked_sub(u64::from(length) + 12).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        file.seek(SeekFrom::Start(start + 4))?;
        let mut footer = vec![0; length as usize];
        file.read_exact(&mut footer)?;
        whole = thrift::is_whole(&footer);
        file.rewind()
    };
    let outcome = read();
    match (ends, outcome) {
        ([a, b], Ok(())) if &a == b"PAR1" && &b == b"PAR1" && whole => Ok(ParquetReader::new(file)),
        ([a, b], Ok(())) if &a == b"PAR1" && &b == b"PAR1" => {
            Err(Error::bad_input(format!("the footer of the parquet file {shown} is damaged"))
                .hint("copy or write the file again"))
        }
        ([a, _], _) if &a == b"PAR1" => Err(Error::bad_input(format!("the parquet file {shown} is cut short"))
            .hint("copy or write it again; pellucid itself never leaves half a file")),
        (_, Err(e)) if e.kind() != std::io::ErrorKind::UnexpectedEof => Err(Error::cannot_read(path, e)),
        _ => Err(Error::bad_input(format!("{shown} is not a parquet file"))
            .hint("give a table that pellucid wrote, or a prompt file in parquet")),
    }
}

/// Runs polars on somebody else's file. Most broken files are errors; on some (a type that this build leaves out, a
/// page that lies about its length) polars panics, and that is the file's fault, not a reason to die.
fn guarded<T>(path: &Path, read: impl FnOnce() -> PolarsResult<T>) -> Result<T> {
    // Whatever it does at once on its threads starts them.
    let start = || drop(DataFrame::empty().apply_columns_par(Clone::clone));
    match crate::guard::guarded_with_threads(start, read)? {
        Some(Ok(value)) => Ok(value),
        Some(Err(PolarsError::IO { error, .. })) => {
            let kind = error.kind();
            let own = std::sync::Arc::into_inner(error).unwrap_or_else(|| kind.into());
            Err(Error::cannot_read(path, own))
        }
        Some(Err(e)) => Err(Error::bad_input(format!("cannot read {} as parquet: {e}", path.display()))
            .hint("the file may be damaged; copy or write it again")),
        None => Err(Error::bad_input(format!("cannot read {} as parquet: its contents are damaged", path.display()))
            .hint("copy or write the file again")),
    }
}

fn provenance_of(path: &Path, reader: &mut ParquetReader<File>) -> Result<Provenance> {
    let metadata = guarded(path, || reader.get_metadata().cloned())?;
    let entries = metadata.key_value_metadata().as_deref().unwrap_or_default();
    let Some(json) = entries.iter().find(|e| e.key == METADATA_KEY).and_then(|e| e.value.as_ref()) else {
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
        Kind::U32 => Cell::U32(0),
        Kind::U64 => Cell::U64(0),
        Kind::I64 => Cell::I64(0),
        Kind::F32 => Cell::F32(0.0),
        Kind::F64 => Cell::F64(0.0),
        Kind::Bool => Cell::Bool(false),
        Kind::Str => Cell::Str(""),
    }
}

fn values(path: &Path, name: &str, column: &Series) -> Result<Values> {
    if let Ok(text) = column.str() {
        return Ok(Values::Text(text.iter().map(|s| s.map(str::to_owned)).collect()));
    }
    if let Ok(lists) = column.list() {
        let id = |row: usize, x: Option<i64>| match x.map(u32::try_from) {
            Some(Ok(id)) => Ok(id),
            bad => Err(Error::bad_input(format!(
                "{}: row {row} of column `{name}` holds {}, which is no token id",
                path.display(),
                match (bad, x) {
                    (Some(_), Some(x)) => x.to_string(),
                    _ => "a null".to_owned(),
                }
            ))
            .hint("token ids are whole numbers from 0; rows are counted from 0")),
        };
        let rows = (0..lists.len()).map(|row| match lists.get_as_series(row) {
            None => Ok(None),
            Some(list) => integers(path, &list)?.into_iter().map(|x| id(row, x)).collect::<Result<_>>().map(Some),
        });
        return Ok(Values::Ids(rows.collect::<Result<_>>()?));
    }
    Ok(Values::Integers(integers(path, column)?))
}

fn integers(path: &Path, column: &Series) -> Result<Vec<Option<i64>>> {
    guarded(path, || {
        Ok(if let Ok(c) = column.i64() {
            c.iter().collect()
        } else if let Ok(c) = column.i32() {
            c.iter().map(|x| x.map(i64::from)).collect()
        } else if let Ok(c) = column.u32() {
            c.iter().map(|x| x.map(i64::from)).collect()
        } else {
            // What does not fit is out of every range that could be meant; the largest value says so as well.
            column.u64()?.iter().map(|x| x.map(|x| i64::try_from(x).unwrap_or(i64::MAX))).collect()
        })
    })
}

/// Whether a column of type `t` holds values of `kind`; polars gives text one of several types.
fn fits(kind: Kind, t: &ArrowDataType) -> bool {
    match kind {
        Kind::U32 => *t == ArrowDataType::UInt32,
        Kind::U64 => *t == ArrowDataType::UInt64,
        Kind::I64 => *t == ArrowDataType::Int64,
        Kind::F32 => *t == ArrowDataType::Float32,
        Kind::F64 => *t == ArrowDataType::Float64,
        Kind::Bool => *t == ArrowDataType::Boolean,
        Kind::Str => is_text(t),
    }
}

fn is_text(t: &ArrowDataType) -> bool {
    matches!(t, ArrowDataType::Utf8 | ArrowDataType::LargeUtf8 | ArrowDataType::Utf8View)
}

fn is_integer(t: &ArrowDataType) -> bool {
    matches!(t, ArrowDataType::Int32 | ArrowDataType::Int64 | ArrowDataType::UInt32 | ArrowDataType::UInt64)
}

fn type_name(t: &ArrowDataType) -> String {
    match t {
        t if is_text(t) => "string".to_owned(),
        ArrowDataType::List(item) | ArrowDataType::LargeList(item) => format!("list of {}", type_name(&item.dtype)),
        ArrowDataType::Dictionary(_, item, _) => format!("dictionary of {}", type_name(item)),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn or_list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
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
