//! Rows of any table as data: some of them, or one for each value of some columns, in the order of the file.

use std::collections::HashMap;
use std::path::Path;

use super::filter::{Filter, Word};
use crate::analysis::any_tables;
use crate::error::{Error, Result};
use crate::number::Locale;
use crate::table::{Cell, ColumnInfo, ColumnType, TOKEN, TableInfo, visible, visible_prose};
use crate::view::viewed::AnyTable;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// None.
    Null,
    /// A whole number: an index, an id, a count.
    Whole(i64),
    /// Any other number.
    Real(f64),
    /// True or false.
    Flag(bool),
    /// Text.
    Text(String),
}

impl Datum {
    /// It as a number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(x) => Some(*x as f64),
            Self::Real(x) => Some(*x),
            Self::Flag(x) => Some(f64::from(u8::from(*x))),
            Self::Null | Self::Text(_) => None,
        }
    }

    fn of(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::U32(x) => Self::Whole(x.into()),
            Cell::U64(x) => i64::try_from(x).map_or(Self::Real(x as f64), Self::Whole),
            Cell::I64(x) => Self::Whole(x),
            Cell::F32(x) => Self::Real(x.into()),
            Cell::F64(x) => Self::Real(x),
            Cell::Bool(x) => Self::Flag(x),
            Cell::Str(text) => Self::Text(text.to_owned()),
        }
    }
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    kind: ColumnType,
    unit: &'static str,
}

impl Column {
    fn of(info: &ColumnInfo) -> Self {
        Self { name: info.name, kind: info.kind, unit: info.unit }
    }

    /// Whether it has numbers.
    pub fn is_number(&self) -> bool {
        !matches!(self.kind, ColumnType::Str | ColumnType::Bool)
    }

    /// Whether a mean of its numbers says something: they are no names.
    fn has_mean(&self) -> bool {
        self.is_number() && !matches!(self.unit, "index" | "vocabulary id")
    }

    /// A value that was written, as one of this column.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn datum(&self, word: &Word) -> Result<Datum> {
        let text = match word {
            Word::Bare(text) | Word::Quoted(text) => text,
            Word::Sign(sign) => *sign,
        };
        let wrong = || {
            let kind = if self.kind == ColumnType::Bool { "true or false" } else { "numbers" };
            Error::bad_input(format!("`{text}` is compared with the column `{}`, which has {kind}", self.name))
                .hint("`pellucid tables` says what each column has")
        };
        match (word, self.kind) {
            (Word::Bare(text), _) if text == "null" => Ok(Datum::Null),
            (_, ColumnType::Str) => Ok(Datum::Text(text.to_owned())),
            (_, ColumnType::Bool) => text.parse().map(Datum::Flag).map_err(|_| wrong()),
            // 0.1 is in such a column what it is as f32.
            (_, ColumnType::F32) => text.parse::<f32>().map(|x| Datum::Real(x.into())).map_err(|_| wrong()),
            _ => text.parse().map(Datum::Real).map_err(|_| wrong()),
        }
    }

    /// A value of this column in words.
    pub fn in_words(&self, datum: &Datum) -> String {
        match datum {
            Datum::Null => String::new(),
            Datum::Whole(x) => x.to_string(),
            Datum::Real(x) => Locale::EN.in_table(*x),
            Datum::Flag(x) => x.to_string(),
            Datum::Text(text) if self.unit == TOKEN => visible(text),
            Datum::Text(text) => visible_prose(text),
        }
    }
}

/// The place of the column called `name`.
///
/// # Errors
/// When there is none.
pub fn place(columns: &[Column], name: &str) -> Result<usize> {
    columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let names = || columns.iter().map(|column| column.name);
        let all = names().collect::<Vec<_>>().join(", ");
        Error::no_such(format!("the table has no column `{name}`")).nearest_or(name, names(), format!("it has {all}"))
    })
}

/// The table called `name`.
///
/// # Errors
/// When there is none.
pub fn table(name: &str) -> Result<&'static dyn AnyTable> {
    let found = any_tables().into_iter().find(|table| table.info().name == name);
    found.ok_or_else(|| Error::compute(format!("there is no table `{name}`")).fault())
}

/// Which rows of a table are meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Those for which this holds.
    pub filter: Filter,
    /// One for each value of these columns, with the means of all other numbers; without columns, the rows themselves.
    pub per: Vec<String>,
}

/// Some rows of a table.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The columns.
    pub columns: Vec<Column>,
    /// Those that say which row a row is.
    pub keys: Vec<usize>,
    /// The rows.
    pub rows: Vec<Vec<Datum>>,
}

impl Selection {
    /// The columns that are left of a table.
    ///
    /// # Errors
    /// When the selection names others than it has.
    pub fn columns(&self, info: &TableInfo) -> Result<Vec<Column>> {
        let all: Vec<Column> = info.columns.iter().map(Column::of).collect();
        self.filter.on(&all)?;
        let keys = self.per.iter().map(|name| place(&all, name)).collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Ok(all);
        }
        let others = (0..all.len()).filter(|i| !keys.contains(i) && all[*i].has_mean());
        // A mean is no whole number, whatever it is of.
        let other = |i: usize| Column { kind: ColumnType::F64, ..all[i].clone() };
        Ok(keys.iter().map(|i| all[*i].clone()).chain(others.map(other)).collect())
    }

    /// Reads the rows from the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read as that table, or has no such columns.
    pub fn read(&self, table: &dyn AnyTable, path: &Path) -> Result<Frame> {
        let info = table.info();
        let (all, columns): (Vec<Column>, _) = (info.columns.iter().map(Column::of).collect(), self.columns(info)?);
        let (filter, mut rows) = (self.filter.on(&all)?, vec![]);
        table.cells(path, &mut |cells| {
            let row: Vec<Datum> = cells.iter().copied().map(Datum::of).collect();
            if filter.is(&row) {
                rows.push(row);
            }
            Ok(())
        })?;
        if self.per.is_empty() {
            let keys = info.keys().iter().map(|key| place(&all, key.name)).collect::<Result<_>>()?;
            return Ok(Frame { columns, keys, rows });
        }
        let places = columns.iter().map(|column| place(&all, column.name)).collect::<Result<Vec<_>>>()?;
        let rows = means(&rows, places.split_at(self.per.len()));
        Ok(Frame { columns, keys: (0..self.per.len()).collect(), rows })
    }
}

/// One row for each value of the columns `keys`, in the order in which they come, with the means of `others`: sums in f64, in the order of the rows.
fn means(rows: &[Vec<Datum>], (keys, others): (&[usize], &[usize])) -> Vec<Vec<Datum>> {
    /// The values of the keys, and of each other column its sum and how many numbers are in it.
    type Group = (Vec<Datum>, Vec<(f64, usize)>);
    let (mut groups, mut places): (Vec<Group>, HashMap<String, usize>) = Default::default();
    for row in rows {
        let key: Vec<Datum> = keys.iter().map(|i| row[*i].clone()).collect();
        let at = *places.entry(format!("{key:?}")).or_insert(groups.len());
        if at == groups.len() {
            groups.push((key, vec![(0.0, 0); others.len()]));
        }
        for ((sum, n), i) in groups[at].1.iter_mut().zip(others) {
            if let Some(x) = row[*i].number() {
                (*sum, *n) = (*sum + x, *n + 1);
            }
        }
    }
    let mean = |(sum, n): (f64, usize)| if n == 0 { Datum::Null } else { Datum::Real(sum / n as f64) };
    groups.into_iter().map(|(key, sums)| key.into_iter().chain(sums.into_iter().map(mean)).collect()).collect()
}

impl Frame {
    /// The numbers of a column, and in which row each is.
    ///
    /// # Errors
    /// When there is no such column, or it has no numbers.
    pub fn numbers(&self, name: &str) -> Result<Vec<(usize, f64)>> {
        let at = number_column(&self.columns, name)?;
        let each = |(i, row): (usize, &Vec<Datum>)| Some((i, row[at].number().filter(|x| x.is_finite())?));
        Ok(self.rows.iter().enumerate().filter_map(each).collect())
    }

    /// What tells a row from others, as text.
    pub fn key(&self, row: usize) -> String {
        let each = self.keys.iter().map(|i| format!("{}={:?}", self.columns[*i].name, self.rows[row][*i]));
        each.collect::<Vec<_>>().join(",")
    }
}

/// The place of the column `name`, which has numbers.
///
/// # Errors
/// When there is none, or it has other values.
pub fn number_column(columns: &[Column], name: &str) -> Result<usize> {
    let at = place(columns, name)?;
    match columns[at].is_number() {
        true => Ok(at),
        false => Err(Error::bad_input(format!("the column `{name}` has no numbers")).hint("name one that has")),
    }
}
