//! `[report]`: Markdown in which `{{...}}` stand for results.

use std::collections::BTreeMap;

use super::expect::Target;
use super::experiment::Experiment;
use super::filter::{Filter, Word, Words};
use super::rows::{Selection, number_column, place};
use super::statistics::Statistic;
use super::steps::Cells;
use crate::error::{Error, Result};

/// Rows of a table, where nothing says how many.
const ROWS: usize = 20;

/// What a report says.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// From top to bottom.
    pub pieces: Vec<Piece>,
}

/// A part of a report.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Markdown, in which values stand.
    Text(Vec<Inline>),
    /// Figures.
    Chart(Chart),
    /// Rows.
    Table(TableForm),
    /// What is expected, and whether it holds.
    Expect,
    /// The figures of a step, or its first rows where there are none.
    Step(Target),
}

/// A part of a text.
#[derive(Clone, Debug)]
pub enum Inline {
    /// Markdown.
    Text(String),
    /// One value.
    Value(ValueForm),
}

/// `{{chart ...}}`.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Which table.
    pub target: Target,
    /// The one figure of this name.
    pub name: Option<String>,
    /// Of so many prompts or pairs.
    pub prompts: usize,
    /// The head to show large.
    pub head: Option<(u32, u32)>,
    /// Where the scale ends.
    pub scale: Option<f64>,
}

/// `{{table ...}}`.
#[derive(Clone, Debug)]
pub struct TableForm {
    /// Which table.
    pub target: Target,
    /// Which rows.
    pub selection: Selection,
    /// Which columns; all where none is named.
    pub columns: Vec<String>,
    /// In which order.
    pub by: Option<By>,
    /// At most so many.
    pub rows: usize,
}

/// `{{value ...}}`.
#[derive(Clone, Debug)]
pub struct ValueForm {
    /// Which table and column.
    pub target: Target,
    /// Which rows.
    pub selection: Selection,
    /// The first of them in this order.
    pub by: Option<By>,
    /// Of all of them.
    pub statistic: Option<Statistic>,
}

/// An order of rows.
#[derive(Clone, Debug)]
pub struct By {
    /// By this column.
    pub column: String,
    /// The greatest first.
    pub descending: bool,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When something in braces cannot be understood, or stands where it cannot.
    pub fn parse(text: &str) -> Result<Self> {
        let mut pieces: Vec<Piece> = vec![];
        for (i, line) in text.lines().enumerate() {
            let found = parsed(line).map_err(|e| e.at(format!("report.template, line {}", i + 1)))?;
            match (found, pieces.last_mut()) {
                (Piece::Text(more), Some(Piece::Text(before))) => {
                    before.push(Inline::Text("\n".to_owned()));
                    before.extend(more);
                }
                (piece, _) => pieces.push(piece),
            }
        }
        Ok(Self { pieces })
    }

    /// A section for each step.
    pub fn of_steps(experiment: &Experiment) -> Self {
        let each = experiment.steps.iter().flat_map(|step| {
            let target = Target {
                written: format!("steps.{}", step.name),
                step: step.name.clone(),
                names: vec![],
                values: vec![],
            };
            [Piece::Text(vec![Inline::Text(format!("## {}", step.name))]), Piece::Step(target)]
        });
        Self { pieces: each.collect() }
    }

    /// Whether everything that it names is there.
    ///
    /// # Errors
    /// When something is not.
    pub fn check(&self, experiment: &Experiment, cells: &Cells) -> Result<()> {
        let check = |piece: &Piece| match piece {
            Piece::Expect | Piece::Step(_) => Ok(()),
            Piece::Chart(chart) => {
                chart.target.cells(experiment, cells)?;
                match chart.target.table(experiment, cells)? {
                    (_, []) => Ok(()),
                    (_, [name, ..]) => Err(chart.target.no_such(cells, experiment, name)),
                }
            }
            Piece::Table(form) => {
                form.target.cells(experiment, cells)?;
                let (table, rest) = form.target.table(experiment, cells)?;
                if let [name, ..] = rest {
                    return Err(form.target.no_such(cells, experiment, name));
                }
                let columns = form.selection.columns(table.info())?;
                form.columns
                    .iter()
                    .chain(form.by.iter().map(|by| &by.column))
                    .try_for_each(|name| place(&columns, name).map(|_| ()))
            }
            Piece::Text(inlines) => inlines.iter().try_for_each(|inline| match inline {
                Inline::Text(_) => Ok(()),
                Inline::Value(form) => form.check(experiment, cells),
            }),
        };
        self.pieces.iter().try_for_each(check).map_err(|e| e.at("report.template"))
    }
}

impl ValueForm {
    fn check(&self, experiment: &Experiment, cells: &Cells) -> Result<()> {
        let written = &self.target.written;
        if self.target.cells(experiment, cells)?.len() > 1 {
            return Err(Error::bad_input(format!("`{written}` has several cells, and a value is of one"))
                .hint("write which: steps.NAME[axis=value].COLUMN"));
        }
        let (table, rest) = self.target.table(experiment, cells)?;
        let columns = self.selection.columns(table.info())?;
        match rest {
            [column] => match self.statistic {
                Some(_) => number_column(&columns, column).map(|_| ()),
                None => place(&columns, column).map(|_| ()),
            },
            _ => Err(Error::bad_input(format!("`{written}` does not say which column is meant"))
                .hint("write steps.NAME.COLUMN, or steps.NAME.TABLE.COLUMN")),
        }?;
        self.by.iter().try_for_each(|by| place(&columns, &by.column).map(|_| ()))
    }
}

/// What a line is.
fn parsed(line: &str) -> Result<Piece> {
    let (mut inlines, mut rest) = (vec![], line);
    while let Some(at) = rest.find("{{") {
        let open =
            || Error::bad_input("`{{` has no `}}` on its line").hint("close it; docs/experiments.md has examples");
        let (inside, after) = rest[at + 2..].split_once("}}").ok_or_else(open)?;
        let alone = rest[..at].trim().is_empty() && inlines.is_empty() && after.trim().is_empty();
        match form(inside)? {
            Form::Block(piece) if alone => return Ok(piece),
            Form::Block(_) => {
                return Err(Error::bad_input(format!("`{{{{{inside}}}}}` stands in a line of text"))
                    .hint("put it on a line of its own; only values stand in text"));
            }
            Form::Inline(value) => {
                inlines.push(Inline::Text(rest[..at].to_owned()));
                inlines.push(Inline::Value(value));
            }
        }
        rest = after;
    }
    inlines.push(Inline::Text(rest.to_owned()));
    Ok(Piece::Text(inlines))
}

enum Form {
    Block(Piece),
    Inline(ValueForm),
}

fn form(inside: &str) -> Result<Form> {
    const NAMES: [&str; 4] = ["chart", "table", "value", "expect"];
    let mut words = Words::of(inside)?;
    let name = words.name("chart, table, value or expect")?;
    match name.as_str() {
        "expect" => words.end().map(|()| Form::Block(Piece::Expect)),
        "chart" => {
            let target = Target::read(&mut words)?;
            let mut more = Attributes::read(words, &["name", "prompts", "head", "scale"])?;
            let head = more.take("head").map(|head| crate::view::head(&head)).transpose();
            let scale: Option<f64> = more.parsed("scale", "a number over 0")?;
            let chart = Chart {
                target,
                name: more.take("name"),
                prompts: more.parsed("prompts", "a number")?.unwrap_or(1).max(1),
                head: head.map_err(|why| Error::bad_input(why).hint("write head=\"2.0\""))?,
                scale,
            };
            Ok(Form::Block(Piece::Chart(chart)))
        }
        "table" => {
            let target = Target::read(&mut words)?;
            let mut more = Attributes::read(words, &["where", "per", "columns", "by", "rows"])?;
            let form = TableForm {
                target,
                selection: more.selection()?,
                columns: more.names("columns")?,
                by: more.by(),
                rows: more.parsed("rows", "a number")?.unwrap_or(ROWS),
            };
            Ok(Form::Block(Piece::Table(form)))
        }
        "value" => {
            let target = Target::read(&mut words)?;
            let mut more = Attributes::read(words, &["where", "per", "by", "stat"])?;
            let statistic = more.take("stat").map(|name| Statistic::named(&name)).transpose()?;
            Ok(Form::Inline(ValueForm { target, selection: more.selection()?, by: more.by(), statistic }))
        }
        other => Err(Error::no_such(format!("`{{{{{inside}}}}}` begins with `{other}`, which gives nothing"))
            .nearest_or(other, NAMES, format!("there are {}", NAMES.join(", ")))),
    }
}

/// `key="value"` after the name of a result.
struct Attributes(BTreeMap<String, String>);

impl Attributes {
    fn read(mut words: Words, known: &[&str]) -> Result<Self> {
        let mut all = BTreeMap::new();
        while words.peek().is_some() {
            let key = words.name("a key such as rows=10")?;
            if !known.contains(&key.as_str()) {
                return Err(Error::no_such(format!("there is no `{key}=` there")).nearest_or(
                    &key,
                    known.iter().copied(),
                    format!("there are {}", known.join(", ")),
                ));
            }
            words.need("=")?;
            match words.take() {
                Some(Word::Bare(value) | Word::Quoted(value)) => all.insert(key, value),
                _ => return Err(words.wrong("a value")),
            };
        }
        Ok(Self(all))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    fn parsed<T: std::str::FromStr>(&mut self, key: &str, what: &str) -> Result<Option<T>> {
        let wrong =
            |text: &String| Error::bad_input(format!("`{key}={text}` is not {what}")).hint(format!("write {what}"));
        self.take(key).map(|text| text.parse().map_err(|_| wrong(&text))).transpose()
    }

    fn names(&mut self, key: &str) -> Result<Vec<String>> {
        let Some(text) = self.take(key) else { return Ok(vec![]) };
        let mut words = Words::of(&text)?;
        let names = words.names("the name of a column")?;
        words.end().map(|()| names)
    }

    fn selection(&mut self) -> Result<Selection> {
        let filter = self.take("where").map(|line| Filter::parse(&line)).transpose()?.unwrap_or_default();
        Ok(Selection { filter, per: self.names("per")? })
    }

    fn by(&mut self) -> Option<By> {
        let by = self.take("by")?;
        Some(match by.strip_prefix('-') {
            Some(column) => By { column: column.to_owned(), descending: true },
            None => By { column: by, descending: false },
        })
    }
}
