//! Polars, in the only module that knows it: prompt files in parquet that anybody wrote, and joins of tables.

use super::joined::{Both, Joined};
use super::pages::{Unpacked, unpacked};
use super::read::{Most, Values, damaged, open};
use crate::error::{Error, Result, nearest};
use polars::prelude::{
    AnyValue, ArrowDataType, DataFrame, DataFrameJoinOps, DataType, JoinArgs, JoinType, MaintainOrderJoin, NamedFrom,
    ParquetReader, PolarsError, PolarsResult, SerReader, Series,
};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// Those of the columns `wanted` that a parquet file has, in the order of `wanted`: for prompt files that other
/// programs wrote.
///
/// # Errors
/// The file cannot be read, is not parquet, is cut short, has none of the columns, or has one of another type than
/// text, whole numbers, or lists of token ids; `most` refuses what it holds.
pub fn read_columns(path: impl AsRef<Path>, wanted: &[&str], most: &Most) -> Result<Vec<(String, Values)>> {
    let path = path.as_ref();
    let mut reader = ParquetReader::new(open(path)?.0);
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

/// What tells rows with the same keys apart: which of them a row is.
const NTH: &str = " nth";
/// Behind the name of a column of the second file.
const SECOND: &str = " of the second";

/// Joins two tables, each in a file, on the columns `keys`; of the rows that both have, the columns `numbers`. Rows with the same keys
/// are matched in their order. A null is a key like any other.
///
/// # Errors
/// A file cannot be read, or lacks one of the columns.
pub fn join(paths: [&Path; 2], keys: &[&str], numbers: &[&str]) -> Result<Joined> {
    let wanted = || Some(keys.iter().chain(numbers).map(|&name| name.to_owned()).collect());
    let read = |path: &Path| {
        let reader = ParquetReader::new(open(path)?.0);
        let mut frame = guarded(path, || reader.with_columns(wanted()).finish())?;
        let (nth, repeated) = numbered(path, &frame, keys)?;
        guarded(path, || frame.with_column(Series::new(NTH.into(), nth).into()).map(|_| ()))?;
        Ok::<_, Error>((frame, repeated))
    };
    let ((a, repeated_a), (mut b, repeated_b)) = (read(paths[0])?, read(paths[1])?);
    let rows = [a.height(), b.height()];
    let (first, second) = (paths[0], paths[1]);
    for name in numbers {
        guarded(second, || b.rename(name, format!("{name}{SECOND}").into()).map(|_| ()))?;
    }
    let on: Vec<&str> = keys.iter().copied().chain([NTH]).collect();
    let how = JoinArgs { nulls_equal: true, maintain_order: MaintainOrderJoin::Left, ..JoinArgs::new(JoinType::Inner) };
    let joined = guarded(first, || a.join(&b, on.iter().copied(), on.iter().copied(), how, None))?;
    let series = |name: &str| guarded(first, || Ok(joined.column(name)?.as_materialized_series().clone()));
    let of_keys = keys.iter().map(|name| Ok(((*name).to_owned(), series(name)?))).collect::<Result<Vec<_>>>()?;
    let row = |row: usize| {
        let each = of_keys.iter().map(|(name, column)| Ok((name.clone(), key(column, row)?)));
        each.filter(|found| !matches!(found, Ok((_, Value::Null)))).collect::<PolarsResult<Map<_, _>>>()
    };
    let keys = guarded(first, || (0..joined.height()).map(row).collect())?;
    let floats = |name: &str| {
        let column = series(name)?;
        guarded(first, || Ok(column.cast(&DataType::Float64)?.f64()?.iter().collect::<Vec<_>>()))
    };
    let both = |name: &&str| {
        let values = [floats(name)?, floats(&format!("{name}{SECOND}"))?];
        Ok(Both { name: (*name).to_owned(), values })
    };
    let columns = numbers.iter().map(both).collect::<Result<_>>()?;
    Ok(Joined { rows, keys, columns, repeated: repeated_a || repeated_b })
}

/// Of each row, how many before it have the same keys; and whether any has.
fn numbered(path: &Path, frame: &DataFrame, keys: &[&str]) -> Result<(Vec<u32>, bool)> {
    let nth = guarded(path, || {
        let column = |name: &&str| Ok(frame.column(name)?.as_materialized_series().clone());
        let columns = keys.iter().map(column).collect::<PolarsResult<Vec<_>>>()?;
        let mut seen: HashMap<String, u32> = HashMap::new();
        let mut nth = Vec::with_capacity(frame.height());
        for row in 0..frame.height() {
            let each = columns.iter().map(|column| key(column, row)).collect::<PolarsResult<Vec<_>>>()?;
            let count = seen.entry(Value::from(each).to_string()).or_default();
            nth.push(*count);
            *count += 1;
        }
        Ok(nth)
    })?;
    let repeated = nth.iter().any(|n| *n > 0);
    Ok((nth, repeated))
}

/// One key of a row.
fn key(column: &Series, row: usize) -> PolarsResult<Value> {
    Ok(match column.get(row)? {
        AnyValue::Null => Value::Null,
        AnyValue::UInt32(x) => x.into(),
        AnyValue::UInt64(x) => x.into(),
        AnyValue::Int64(x) => x.into(),
        AnyValue::Boolean(x) => x.into(),
        other => other.str_value().into_owned().into(),
    })
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
            let here = unpacked(&mut file, range).map_err(|e| damaged(path, e))?;
            all.bytes = all.bytes.saturating_add(here.bytes);
            all.values = all.values.saturating_add(here.values);
        }
    }
    Ok((rows, all))
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
        Some(Err(e)) => Err(damaged(path, e)),
        None => Err(Error::bad_input(format!("cannot read {} as parquet: its contents are damaged", path.display()))
            .hint("copy or write the file again")),
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
