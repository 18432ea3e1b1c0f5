//! `[matrix]`: axes with their values, and which combinations there are.

use toml::{Table, Value};

use super::keys::{is_plain, shown, wrong};
use crate::error::{Error, Result};

/// No more combinations than these are ever made.
const MOST: usize = 1_000_000;

/// Axes with their values.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// The axes, in the order of the file.
    pub axes: Vec<Axis>,
    zip: bool,
    exclude: Vec<Table>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Its name.
    pub name: String,
    /// Its values: texts, numbers or flags.
    pub values: Vec<Value>,
}

impl Matrix {
    /// Reads the table.
    ///
    /// # Errors
    /// When an axis has no values or the same twice, lists side by side have different lengths, or nothing is excluded by what excludes.
    pub fn read(table: &Table) -> Result<Self> {
        let mut matrix = Self::default();
        for (key, value) in table {
            match (key.as_str(), value) {
                ("combine", Value::String(how)) if how == "product" || how == "zip" => matrix.zip = how == "zip",
                ("combine", other) => {
                    let said = format!("`matrix.combine` is `{}`, and should be product or zip", shown(other));
                    return Err(Error::bad_input(said).hint("leave it out for all combinations"));
                }
                ("exclude", Value::Array(list)) => matrix.exclude = list.iter().map(excluded).collect::<Result<_>>()?,
                ("exclude", other) => return Err(wrong("matrix.exclude", other, "a list of tables")),
                (_, Value::Array(values)) => matrix.axes.push(Axis::read(key, values)?),
                (_, other) => return Err(wrong(&format!("matrix.{key}"), other, "a list of values")),
            }
        }
        for (name, value) in matrix.exclude.iter().flatten() {
            let axis = matrix.axis(name)?;
            if !axis.values.iter().any(|one| shown(one) == shown(value)) {
                return Err(Error::no_such(format!(
                    "`matrix.exclude` names {name} = {}, which there is not",
                    shown(value)
                ))
                .hint(format!("write a value of that axis: {}", axis.listed())));
            }
        }
        // Side by side, one value may stand with several of another axis.
        for axis in matrix.axes.iter().filter(|_| !matrix.zip) {
            let is_twice = |i: usize| axis.values[..i].iter().any(|before| shown(before) == shown(&axis.values[i]));
            if let Some(i) = (0..axis.values.len()).find(|i| is_twice(*i)) {
                return Err(Error::bad_input(format!("`matrix.{}` has {} twice", axis.name, shown(&axis.values[i])))
                    .hint("leave one of them out"));
            }
        }
        if let (true, [first, rest @ ..]) = (matrix.zip, &matrix.axes[..])
            && let Some(other) = rest.iter().find(|axis| axis.values.len() != first.values.len())
        {
            let lengths = (first.values.len(), other.values.len());
            return Err(Error::bad_input(format!(
                "`matrix.{}` has {} values and `matrix.{}` has {}, and side by side they need as many",
                first.name, lengths.0, other.name, lengths.1
            ))
            .hint("give lists of one length, or combine = \"product\""));
        }
        Ok(matrix)
    }

    /// The axis of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn axis(&self, name: &str) -> Result<&Axis> {
        let known = || self.axes.iter().map(|axis| axis.name.as_str());
        self.axes.iter().find(|axis| axis.name == name).ok_or_else(|| {
            let all = known().collect::<Vec<_>>().join(", ");
            let otherwise =
                if all.is_empty() { "there is no [matrix] in the file".to_owned() } else { format!("there are {all}") };
            Error::no_such(format!("the matrix has no axis `{name}`")).nearest_or(name, known(), otherwise)
        })
    }

    /// How many combinations there are before any is excluded.
    pub fn size(&self) -> usize {
        match (&self.axes[..], self.zip) {
            ([], _) => 0,
            ([first, ..], true) => first.values.len(),
            (axes, false) => axes.iter().fold(1, |size, axis| size.saturating_mul(axis.values.len())),
        }
    }

    /// Each combination: of every axis, which value. Without axes there is one.
    ///
    /// # Errors
    /// When there are too many, or none.
    pub fn combinations(&self) -> Result<Vec<Vec<usize>>> {
        let size = self.size();
        if size > MOST {
            return Err(Error::bad_input(format!("the matrix has {size} cells, and no more than {MOST} can be run"))
                .hint("leave out values of an axis"));
        }
        let mut all: Vec<Vec<usize>> = match self.zip {
            true => (0..size).map(|i| vec![i; self.axes.len()]).collect(),
            // The last axis varies fastest.
            false => self.axes.iter().fold(vec![vec![]], |begun, axis| {
                let each = |before: &Vec<usize>| {
                    (0..axis.values.len()).map(|i| [&before[..], &[i]].concat()).collect::<Vec<_>>()
                };
                begun.iter().flat_map(each).collect()
            }),
        };
        for exclude in &self.exclude {
            let before = all.len();
            all.retain(|cell| !self.is(cell, exclude));
            if all.len() == before {
                return Err(Error::bad_input(format!("`matrix.exclude` has {exclude:?}, which excludes nothing"))
                    .hint("leave it out, or name values of one cell"));
            }
        }
        match all.is_empty() {
            true => Err(Error::bad_input("all cells of the matrix are excluded").hint("leave some")),
            false => Ok(all),
        }
    }

    fn is(&self, cell: &[usize], exclude: &Table) -> bool {
        let value = |name: &str| {
            let at = self.axes.iter().position(|axis| axis.name == name)?;
            Some(shown(&self.axes[at].values[cell[at]]))
        };
        exclude.iter().all(|(name, wanted)| value(name).is_some_and(|value| value == shown(wanted)))
    }
}

impl Axis {
    fn read(name: &str, values: &[Value]) -> Result<Self> {
        if !is_plain(name) {
            return Err(Error::bad_input(format!(
                "the axis `{name}` has a name that cannot be written in a reference"
            ))
            .hint("use letters, digits, - and _"));
        }
        if values.is_empty() {
            return Err(Error::bad_input(format!("`matrix.{name}` has no values")).hint("give at least one"));
        }
        for (i, value) in values.iter().enumerate() {
            if matches!(value, Value::Array(_) | Value::Table(_) | Value::Datetime(_)) {
                return Err(wrong(&format!("matrix.{name}[{i}]"), value, "text, a number, or true or false"));
            }
        }
        Ok(Self { name: name.to_owned(), values: values.to_vec() })
    }

    /// All values in words.
    pub fn listed(&self) -> String {
        self.values.iter().map(shown).collect::<Vec<_>>().join(", ")
    }
}

fn excluded(value: &Value) -> Result<Table> {
    match value {
        Value::Table(table) if !table.is_empty() => Ok(table.clone()),
        other => Err(wrong("matrix.exclude", other, "a list of tables such as { AXIS = VALUE }")),
    }
}
