//! `[expect]`: what is expected of the tables of steps, and whether it holds.

use std::path::PathBuf;

use toml::Value;

use super::experiment::Experiment;
use super::filter::{Compare, Filter, Word, Words};
use super::keys::wrong;
use super::rows::{Frame, Selection, number_column, place, table};
use super::statistics::{Statistic, correlation, rank_correlation};
use super::steps::Cells;
use crate::error::{Error, Result};
use crate::number::Locale;
use crate::view::viewed::AnyTable;

/// A table of a step: `steps.NAME.TABLE[axis=value]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// As it was written.
    pub written: String,
    /// The step.
    pub step: String,
    /// What stands after the step's name: a table, or in a template a column.
    pub names: Vec<String>,
    /// The cells of the matrix that are meant.
    pub values: Vec<(String, String)>,
}

impl Target {
    /// Takes it.
    ///
    /// # Errors
    /// When something else comes.
    pub fn read(words: &mut Words) -> Result<Self> {
        let mut written = words.name("steps.NAME")?;
        let mut values = vec![];
        let base = written.clone();
        let mut parts = base.split('.').map(str::to_owned);
        let (of, step) = (parts.next(), parts.next().filter(|step| !step.is_empty()));
        let (Some("steps"), Some(step)) = (of.as_deref(), step) else {
            return Err(Error::bad_input(format!("`{written}` is no result of a step"))
                .hint("write steps.NAME, or steps.NAME.TABLE"));
        };
        let mut names: Vec<String> = parts.collect();
        if words.took(&["["]) {
            loop {
                let axis = words.name("an axis of the matrix")?;
                words.need("=")?;
                match words.take() {
                    Some(Word::Bare(value) | Word::Quoted(value)) => values.push((axis, value)),
                    _ => return Err(words.wrong("a value of the matrix")),
                }
                if !words.took(&[","]) {
                    break;
                }
            }
            words.need("]")?;
            // `steps.a[at=z].table`
            if let Some(Word::Bare(more)) = words.peek()
                && let Some(more) = more.strip_prefix('.')
            {
                names.extend(more.split('.').map(str::to_owned));
                words.take();
            }
            let shown: Vec<String> = values.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
            written = format!("{base}[{}]", shown.join(","));
        }
        Ok(Self { written, step, names, values })
    }

    /// The cells that are meant, in their order.
    ///
    /// # Errors
    /// When there is none.
    pub fn cells(&self, experiment: &Experiment, cells: &Cells) -> Result<Vec<usize>> {
        let (step, _) = experiment.step(&self.step)?;
        cells.chosen(experiment, step, &self.values)
    }

    /// The table that is meant, the first of the step where none is named; `rest` are names that are no table's.
    ///
    /// # Errors
    /// When the step has none of this name.
    pub fn table(&self, experiment: &Experiment, cells: &Cells) -> Result<(&'static dyn AnyTable, &[String])> {
        let (step, _) = experiment.step(&self.step)?;
        let known = cells.all.iter().find(|cell| cell.step == step).map(|_| &cells.known[step]);
        let tables = known.map_or(&[][..], |known| &known.tables[..]);
        let none = || Error::bad_input(format!("the step `{}` writes no table", self.step)).hint("name another step");
        match self.names.split_first() {
            Some((name, rest)) if tables.contains(&name.as_str()) => Ok((table(name)?, rest)),
            _ => Ok((table(tables.first().ok_or_else(none)?)?, &self.names)),
        }
    }

    /// The error of a name that means nothing.
    pub fn no_such(&self, cells: &Cells, experiment: &Experiment, name: &str) -> Error {
        let tables = experiment.step(&self.step).map(|(step, _)| cells.known[step].tables.clone()).unwrap_or_default();
        Error::no_such(format!("the step `{}` has no table `{name}`", self.step)).nearest_or(
            name,
            tables.iter().copied(),
            format!("there are {}", tables.join(", ")),
        )
    }
}

/// Rows of a step's table.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Which table.
    pub target: Target,
    /// Which rows.
    pub selection: Selection,
}

impl Source {
    fn read(words: &mut Words) -> Result<Self> {
        let target = Target::read(words)?;
        let filter = if words.took(&["where"]) { Filter::read(words)? } else { Filter::default() };
        let per = if words.took(&["per"]) { words.names("the name of a column")? } else { vec![] };
        Ok(Self { target, selection: Selection { filter, per } })
    }

    fn table(&self, experiment: &Experiment, cells: &Cells) -> Result<&'static dyn AnyTable> {
        match self.target.table(experiment, cells)? {
            (table, []) => Ok(table),
            (_, [name, ..]) => Err(self.target.no_such(cells, experiment, name)),
        }
    }
}

/// What is expected.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// In words.
    pub words: String,
    /// As it was written.
    pub written: String,
    source: Source,
    claim: Claim,
}

#[derive(Clone, Debug)]
enum Claim {
    Each(Quantity, Filter),
    Rows(Compare, f64),
    Statistic(Statistic, String, Compare, Right),
    Share(Filter, Compare, f64),
    Place { of: Filter, most: f64, top: bool, by: String, size: bool },
    Correlation { ranks: bool, columns: [String; 2], with: Option<Source>, compare: Compare, value: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Quantity {
    All,
    Any,
    No,
}

#[derive(Clone, Debug)]
enum Right {
    Number(f64),
    Statistic(Statistic, String, Source),
}

/// Whether something expected holds.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was expected, in words.
    pub words: String,
    /// As it was written.
    pub written: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was found, of each cell.
    pub found: String,
}

impl Expectation {
    /// Reads what a key of `[expect]` says: one, or a list of them.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn read((words, value): (&String, &Value)) -> Result<Vec<Self>> {
        let one = |value: &Value| match value {
            Value::String(text) => Self::parse(words, text).map_err(|e| e.at(format!("expect.\"{words}\""))),
            other => Err(wrong(&format!("expect.\"{words}\""), other, "text, or a list of texts")),
        };
        match value {
            Value::Array(all) if all.is_empty() => {
                Err(wrong(&format!("expect.\"{words}\""), value, "a list that is not empty"))
            }
            Value::Array(all) => all.iter().map(one).collect(),
            value => one(value).map(|one| vec![one]),
        }
    }

    fn parse(in_words: &str, line: &str) -> Result<Self> {
        let mut words = Words::of(line)?;
        let source = Source::read(&mut words)?;
        words.need(":")?;
        let claim = Claim::read(&mut words)?;
        words.end()?;
        Ok(Self { words: in_words.to_owned(), written: line.trim().to_owned(), source, claim })
    }

    /// Whether its steps, tables and columns are there.
    ///
    /// # Errors
    /// When one is not.
    pub fn check(&self, experiment: &Experiment, cells: &Cells) -> Result<()> {
        let check = || {
            self.source.target.cells(experiment, cells)?;
            let columns = self.source.selection.columns(self.source.table(experiment, cells)?.info())?;
            let other = |source: &Source| {
                source.target.cells(experiment, cells)?;
                source.selection.columns(source.table(experiment, cells)?.info())
            };
            match &self.claim {
                Claim::Each(_, filter) | Claim::Share(filter, ..) => filter.on(&columns).map(|_| ()),
                Claim::Rows(..) => Ok(()),
                Claim::Statistic(_, column, _, right) => {
                    number_column(&columns, column)?;
                    match right {
                        Right::Number(_) => Ok(()),
                        Right::Statistic(_, column, source) => number_column(&other(source)?, column).map(|_| ()),
                    }
                }
                Claim::Place { of, by, .. } => {
                    of.on(&columns)?;
                    number_column(&columns, by).map(|_| ())
                }
                Claim::Correlation { columns: [a, b], with, .. } => {
                    number_column(&columns, a)?;
                    let theirs = with.as_ref().map(other).transpose()?;
                    number_column(theirs.as_ref().unwrap_or(&columns), b).map(|_| ())
                }
            }
        };
        check().map_err(|e: Error| e.at(format!("expect.\"{}\"", self.words)))
    }

    /// Whether it holds of the tables in the folders of cells.
    ///
    /// # Errors
    /// When a table cannot be read, or has no rows of which it could hold.
    pub fn holds(&self, experiment: &Experiment, cells: &Cells, folder: &dyn Fn(usize) -> PathBuf) -> Result<Outcome> {
        let read = |source: &Source, cell: usize| {
            let table = source.table(experiment, cells)?;
            source.selection.read(table, &folder(cell).join(format!("{}.parquet", table.info().name)))
        };
        // Another table is that of the same cell, where it has one.
        let other = |source: &Source, of: usize| {
            let theirs = source.target.cells(experiment, cells)?;
            let values = &cells.all[of].values;
            let same = |i: &usize| cells.all[*i].values.iter().all(|value| values.contains(value));
            let cell = if theirs.len() == 1 { theirs.first() } else { theirs.iter().find(|i| same(i)) };
            let none = || {
                Error::bad_input(format!(
                    "`{}` has several cells, and none is that of `{}`",
                    source.target.written, cells.all[of].label
                ))
                .hint("write which: steps.NAME[axis=value]")
            };
            read(source, *cell.ok_or_else(none)?)
        };
        let all = self.source.target.cells(experiment, cells)?;
        let (mut holds, mut found) = (true, vec![]);
        for cell in &all {
            let of_cell = || self.claim.holds(&read(&self.source, *cell)?, &|source| other(source, *cell));
            let (does, said) = of_cell().map_err(|e: Error| e.at(format!("expect.\"{}\"", self.words)))?;
            holds &= does;
            found.push(if all.len() > 1 { format!("{}: {said}", cells.all[*cell].label) } else { said });
        }
        Ok(Outcome { words: self.words.clone(), written: self.written.clone(), holds, found: found.join("; ") })
    }
}

impl Claim {
    fn read(words: &mut Words) -> Result<Self> {
        for (word, quantity) in [("all", Quantity::All), ("any", Quantity::Any), ("no", Quantity::No)] {
            if words.took(&[word]) {
                return Ok(Self::Each(quantity, Filter::read(words)?));
            }
        }
        if words.took(&["rows"]) {
            return Ok(Self::Rows(Compare::read(words)?, words.number()?));
        }
        if words.took(&["share", "of"]) {
            return Ok(Self::Share(Filter::read(words)?, Compare::read(words)?, words.number()?));
        }
        let ranks = words.took(&["rank", "correlation", "of"]);
        if ranks || words.took(&["correlation", "of"]) {
            let a = words.name("the name of a column")?;
            words.need("and")?;
            let columns = [a, words.name("the name of a column")?];
            let with = if words.took(&["in"]) { Some(Source::read(words)?) } else { None };
            return Ok(Self::Correlation {
                ranks,
                columns,
                with,
                compare: Compare::read(words)?,
                value: words.number()?,
            });
        }
        if let Some(statistic) = Statistic::took(words) {
            let (column, compare) = (words.name("the name of a column")?, Compare::read(words)?);
            let right = match Statistic::took(words) {
                None => Right::Number(words.number()?),
                Some(theirs) => {
                    let column = words.name("the name of a column")?;
                    words.need("in")?;
                    Right::Statistic(theirs, column, Source::read(words)?)
                }
            };
            return Ok(Self::Statistic(statistic, column, compare, right));
        }
        let of = Filter::read(words)?;
        words.need("in")?;
        let top = words.took(&["top"]);
        if !top {
            words.need("bottom")?;
        }
        let most = words.number()?;
        words.need("by")?;
        let size = words.took(&["|"]);
        let by = words.name("the name of a column")?;
        if size {
            words.need("|")?;
        }
        Ok(Self::Place { of, most, top, by, size })
    }

    fn holds(&self, rows: &Frame, other: &dyn Fn(&Source) -> Result<Frame>) -> Result<(bool, String)> {
        let number = |x: f64| Locale::EN.number(x as f32);
        let none = |what: &str| {
            Error::bad_input(format!("there are no rows {what}")).hint("select others, or look at the table")
        };
        match self {
            Self::Rows(compare, n) => {
                let (found, s) = (rows.rows.len(), if rows.rows.len() == 1 { "" } else { "s" });
                Ok((compare.holds(found as f64, *n), format!("{found} row{s}")))
            }
            Self::Each(quantity, filter) => {
                let filter = filter.on(&rows.columns)?;
                let (fit, all) = (rows.rows.iter().filter(|row| filter.is(row)).count(), rows.rows.len());
                if all == 0 {
                    return Err(none("to look at"));
                }
                let holds = match quantity {
                    Quantity::All => fit == all,
                    Quantity::Any => fit > 0,
                    Quantity::No => fit == 0,
                };
                Ok((holds, format!("{fit} of {all} rows")))
            }
            Self::Share(filter, compare, share) => {
                let filter = filter.on(&rows.columns)?;
                let (fit, all) = (rows.rows.iter().filter(|row| filter.is(row)).count(), rows.rows.len());
                if all == 0 {
                    return Err(none("to look at"));
                }
                let found = fit as f64 / all as f64;
                Ok((compare.holds(found, *share), format!("{} ({fit} of {all} rows)", Locale::EN.percent(found))))
            }
            Self::Statistic(statistic, column, compare, right) => {
                let of = |statistic: Statistic, frame: &Frame, column: &str| {
                    let numbers: Vec<f64> = frame.numbers(column)?.into_iter().map(|(_, x)| x).collect();
                    statistic
                        .of(&numbers)
                        .ok_or_else(|| none(&format!("of which there could be a {}", statistic.name())))
                };
                let left = of(*statistic, rows, column)?;
                let said = format!("{} of {column} is {}", statistic.name(), number(left));
                match right {
                    Right::Number(right) => Ok((compare.holds(left, *right), said)),
                    Right::Statistic(theirs, column, source) => {
                        let right = of(*theirs, &other(source)?, column)?;
                        let other = format!("{} of {column} in {}", theirs.name(), source.target.written);
                        Ok((compare.holds(left, right), format!("{said}, {other} is {}", number(right))))
                    }
                }
            }
            Self::Place { of, most, top, by, size } => {
                let (fitted, at) = (of.on(&rows.columns)?, place(&rows.columns, by)?);
                let value = |x: f64| if *size { x.abs() } else { x } * if *top { 1.0 } else { -1.0 };
                let all: Vec<(usize, f64)> = rows.numbers(by)?.into_iter().map(|(i, x)| (i, value(x))).collect();
                let meant = all.iter().filter(|(i, _)| fitted.is(&rows.rows[*i]));
                let best = meant.copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
                let (row, best) = best.ok_or_else(|| none(&format!("with {of}")))?;
                let rank = 1 + all.iter().filter(|(_, x)| *x > best).count();
                let found = rows.columns[at].in_words(&rows.rows[row][at]);
                let end = if *top { "top" } else { "bottom" };
                let said = format!("{of} is number {rank} of {} from the {end} by {by}, with {found}", all.len());
                Ok((rank as f64 <= *most, said))
            }
            Self::Correlation { ranks, columns: [a, b], with, compare, value } => {
                let pairs = match with {
                    None => {
                        let theirs: std::collections::HashMap<usize, f64> = rows.numbers(b)?.into_iter().collect();
                        let own = rows.numbers(a)?.into_iter();
                        own.filter_map(|(i, x)| Some((x, *theirs.get(&i)?))).collect::<Vec<_>>()
                    }
                    Some(source) => {
                        let frame = other(source)?;
                        let theirs: std::collections::HashMap<String, f64> =
                            frame.numbers(b)?.into_iter().map(|(i, x)| (frame.key(i), x)).collect();
                        let own = rows.numbers(a)?.into_iter();
                        own.filter_map(|(i, x)| Some((x, *theirs.get(&rows.key(i))?))).collect()
                    }
                };
                let r = if *ranks { rank_correlation(&pairs) } else { correlation(&pairs) };
                let r = r.ok_or_else(|| none("that both vary in"))?;
                let name = if *ranks { "rank correlation" } else { "correlation" };
                Ok((compare.holds(r, *value), format!("{name} {} over {} rows", number(r), pairs.len())))
            }
        }
    }
}
