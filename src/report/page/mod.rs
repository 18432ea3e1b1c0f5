//! A report: what an experiment says of the tables of its steps, as one page of HTML and as Markdown with figures beside it.
//!
//! It is made of tables and template alone, so the same twice is the same bytes. Text of models and users is data, and escaped.

mod html;
mod markdown;
pub mod write;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::engine::Asked;
use super::expect::{Outcome, Target};
use super::experiment::Experiment;
use super::rows::{Frame, Selection, place, table};
use super::statistics::Statistic;
use super::steps::Cells;
use super::template::{By, Chart, Inline, Piece, TableForm, Template, ValueForm};
use crate::analysis::seen;
use crate::error::{Error, Result};
use crate::number::Locale;
use crate::session::words::shell;
use crate::table::{Provenance, markdown_text, read_provenance};
use crate::view::{Figure, Options, View};

/// What the page of HTML is called, and the page of Markdown, which sites show with a folder.
pub const NAMES: [&str; 2] = ["report.html", "README.md"];

/// A report.
pub struct Page<'a> {
    experiment: &'a Experiment,
    blocks: Vec<Block>,
    outcomes: &'a [Outcome],
    made: Vec<Made>,
    /// The models, and what else every table says of them.
    models: BTreeSet<[String; 4]>,
}

/// A part of a report, from top to bottom.
enum Block {
    /// Markdown.
    Text(String),
    Figure(Box<Drawn>),
    Table(Grid),
    Expect,
}

/// A figure.
struct Drawn {
    view: View,
    /// Its own file, where it is a picture.
    file: Option<(String, String)>,
    /// The cell that it is of, where its step has several.
    of: Option<String>,
}

/// Rows as they are read.
struct Grid {
    /// What it is of.
    caption: String,
    /// The columns, and whether they have numbers.
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
    /// How many rows are left out.
    more: usize,
}

/// How the results of a cell were made.
struct Made {
    label: String,
    asked: Asked,
    /// The files of its figures.
    figures: Vec<String>,
}

/// What makes a page.
struct Maker<'a> {
    experiment: &'a Experiment,
    cells: &'a Cells,
    done: &'a dyn Fn(usize) -> Asked,
    taken: BTreeSet<String>,
    blocks: Vec<Block>,
    figures: Vec<(usize, String)>,
}

impl<'a> Page<'a> {
    /// Makes the report of an experiment whose cells have the results that `done` says.
    ///
    /// # Errors
    /// When a table cannot be read, or what the template names is not in it.
    pub fn new(
        experiment: &'a Experiment,
        cells: &'a Cells,
        done: &'a dyn Fn(usize) -> Asked,
        outcomes: &'a [Outcome],
    ) -> Result<Self> {
        let template = experiment.template.clone().unwrap_or_else(|| Template::of_steps(experiment));
        let mut maker = Maker { experiment, cells, done, taken: BTreeSet::new(), blocks: vec![], figures: vec![] };
        template.pieces.iter().try_for_each(|piece| maker.piece(piece)).map_err(|e| e.at("report.template"))?;
        if !outcomes.is_empty() && !maker.blocks.iter().any(|block| matches!(block, Block::Expect)) {
            maker.blocks.push(Block::Expect);
        }
        let Maker { blocks, figures, .. } = maker;
        let (mut made, mut models) = (vec![], BTreeSet::new());
        for (i, cell) in cells.all.iter().enumerate() {
            let asked = done(i);
            let of_cell = figures.iter().filter(|(of, _)| *of == i).map(|(_, file)| file.clone());
            models.extend(provenance(&cells.known[cell.step].tables, &asked.folder).map(|from| {
                let revision = from.revision.map_or_else(String::new, |revision| format!("@{revision}"));
                [from.model + &revision, from.weights_hash, from.dtype, from.pellucid_version]
            }));
            made.push(Made { label: cell.label.clone(), asked, figures: of_cell.collect() });
        }
        Ok(Self { experiment, blocks, outcomes, made, models })
    }

    /// Whether the template begins without a heading after sections that have one.
    fn needs_heading(&self) -> bool {
        let begins = |block: &Block| !matches!(block, Block::Text(text) if text.trim().is_empty());
        let headed = |block: &Block| matches!(block, Block::Text(text) if text.trim_start().starts_with('#'));
        let first = self.blocks.iter().find(|block| begins(block));
        (self.experiment.published.is_some() || self.experiment.found.is_some())
            && first.is_some_and(|block| !headed(block) && !matches!(block, Block::Expect))
    }

    /// All files of the report: their names and contents.
    ///
    /// # Errors
    /// None that are known; the renderer's are passed on.
    pub fn files(&self) -> Result<Vec<(String, String)>> {
        let [html, markdown] = NAMES;
        let mut files = vec![(html.to_owned(), self.html()?), (markdown.to_owned(), self.markdown())];
        for block in &self.blocks {
            if let Block::Figure(drawn) = block {
                files.extend(drawn.file.clone());
            }
        }
        Ok(files)
    }
}

/// How the first table of a step that is there was made.
fn provenance(tables: &[&str], folder: &Path) -> Option<Provenance> {
    tables.iter().find_map(|name| read_provenance(folder.join(format!("{name}.parquet"))).ok())
}

impl Maker<'_> {
    fn piece(&mut self, piece: &Piece) -> Result<()> {
        match piece {
            Piece::Text(inlines) => {
                let each = |inline: &Inline| match inline {
                    Inline::Text(text) => Ok(text.clone()),
                    Inline::Value(form) => self.value(form).map(|value| markdown_text(&value)),
                };
                let text = inlines.iter().map(each).collect::<Result<String>>()?;
                self.blocks.push(Block::Text(text));
                Ok(())
            }
            Piece::Expect => {
                self.blocks.push(Block::Expect);
                Ok(())
            }
            Piece::Chart(chart) => self.charts(chart),
            Piece::Table(form) => self.tables(form),
            Piece::Step(target) => {
                let before = self.blocks.len();
                let chart = Chart { target: target.clone(), name: None, prompts: 1, head: None, scale: None };
                match self.charts(&chart) {
                    Ok(()) if self.blocks.len() > before => Ok(()),
                    _ => {
                        self.blocks.truncate(before);
                        let (selection, columns) = (Selection::default(), vec![]);
                        let form = TableForm { target: target.clone(), selection, columns, by: None, rows: 20 };
                        if self.known(target)?.is_empty() { Ok(()) } else { self.tables(&form) }
                    }
                }
            }
        }
    }

    fn known(&self, target: &Target) -> Result<&[&'static str]> {
        let (step, _) = self.experiment.step(&target.step)?;
        Ok(&self.cells.known[step].tables)
    }

    fn path(&self, cell: usize, table: &str) -> PathBuf {
        (self.done)(cell).folder.join(format!("{table}.parquet"))
    }

    /// The label of a cell, where its step has several.
    fn label(&self, cell: usize) -> Option<String> {
        let cell = &self.cells.all[cell];
        (!cell.values.is_empty()).then(|| cell.label.clone())
    }

    fn charts(&mut self, chart: &Chart) -> Result<()> {
        let named = !chart.target.names.is_empty();
        for cell in chart.target.cells(self.experiment, self.cells)? {
            let table = match named {
                true => chart.target.table(self.experiment, self.cells)?.0.info().name,
                // As a terminal does: the last one that is for it.
                false => {
                    let is_there = |name: &&&str| self.path(cell, name).is_file();
                    let all = self.known(&chart.target)?.iter().filter(is_there).map(|name| table(name));
                    let all = all.collect::<Result<Vec<_>>>()?;
                    let drawn = all.iter().rev().filter_map(|table| table.drawable());
                    let drawn: Vec<_> = drawn.collect();
                    let Some(last) = drawn.iter().find(|drawable| drawable.shown).or(drawn.first()) else {
                        return Err(Error::bad_input(format!("`{}` has nothing to draw", chart.target.written))
                            .hint("show it as a table"));
                    };
                    last.table
                }
            };
            self.figures_of(chart, cell, table)?;
        }
        Ok(())
    }

    fn figures_of(&mut self, chart: &Chart, cell: usize, table: &str) -> Result<()> {
        let options = Options {
            max_prompts: chart.prompts,
            heads: chart.head.into_iter().collect(),
            scale: chart.scale,
            ..Options::default()
        };
        let (mut views, mut names) = (vec![], vec![]);
        seen::views(self.path(cell, table), &options, &mut |view| {
            names.push(view.name.clone());
            if chart.name.as_ref().is_none_or(|name| *name == view.name) {
                views.push(view);
            }
            Ok(())
        })?;
        if let (Some(name), true) = (&chart.name, views.is_empty()) {
            let says = format!("`{}` has no figure `{name}`", chart.target.written);
            let all = format!("there are {}", names.join(", "));
            return Err(Error::no_such(says).nearest_or(name, names.iter().map(String::as_str), all));
        }
        for view in views {
            let figure = Figure::of(&view)?;
            let file = figure.map(|figure| (self.file_name(cell, &figure.file_name()), figure.svg));
            self.figures.extend(file.iter().map(|(name, _)| (cell, name.clone())));
            let of = self.label(cell);
            self.blocks.push(Block::Figure(Box::new(Drawn { view, file, of })));
        }
        Ok(())
    }

    /// A name for a figure's file that no other has.
    fn file_name(&mut self, cell: usize, name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' };
        let label: String = self.cells.all[cell].label.chars().map(plain).collect();
        let begun = format!("{}-{name}", label.trim_end_matches('-'));
        let mut name = begun.clone();
        for n in 2.. {
            if self.taken.insert(name.clone()) {
                break;
            }
            name = format!("{n}-{begun}");
        }
        name
    }

    fn tables(&mut self, form: &TableForm) -> Result<()> {
        for cell in form.target.cells(self.experiment, self.cells)? {
            let (table, _) = form.target.table(self.experiment, self.cells)?;
            let info = table.info();
            let frame = form.selection.read(table, &self.path(cell, info.name))?;
            let order = ordered(&frame, form.by.as_ref())?;
            let mut columns: Vec<usize> =
                form.columns.iter().map(|name| place(&frame.columns, name)).collect::<Result<_>>()?;
            if columns.is_empty() {
                let has = |i: &usize| frame.rows.iter().any(|row| !frame.columns[*i].in_words(&row[*i]).is_empty());
                columns = (0..frame.columns.len()).filter(has).collect();
            }
            let row = |i: &usize| columns.iter().map(|c| frame.columns[*c].in_words(&frame.rows[*i][*c])).collect();
            let of = self.label(cell).unwrap_or_else(|| form.target.step.clone());
            self.blocks.push(Block::Table(Grid {
                caption: format!("{} of {of}", info.name),
                columns: (columns.iter())
                    .map(|i| (frame.columns[*i].name.to_owned(), frame.columns[*i].is_number()))
                    .collect(),
                rows: order.iter().take(form.rows).map(row).collect(),
                more: order.len().saturating_sub(form.rows),
            }));
        }
        Ok(())
    }

    fn value(&self, form: &ValueForm) -> Result<String> {
        let (table, rest) = form.target.table(self.experiment, self.cells)?;
        let cells = form.target.cells(self.experiment, self.cells)?;
        let (Some(cell), Some(column)) = (cells.first(), rest.first()) else {
            return Err(Error::compute("a value is of no column").fault());
        };
        let frame = form.selection.read(table, &self.path(*cell, table.info().name))?;
        let at = place(&frame.columns, column)?;
        if let Some(statistic) = form.statistic {
            return self.statistic(statistic, &frame, column, &form.target);
        }
        let order = ordered(&frame, form.by.as_ref())?;
        match (&order[..], &form.by) {
            ([only], None) => Ok(frame.columns[at].in_words(&frame.rows[*only][at])),
            ([first, ..], Some(_)) => Ok(frame.columns[at].in_words(&frame.rows[*first][at])),
            (rows, _) => Err(Error::bad_input(format!(
                "`{{{{value {}}}}}` fits {} rows, and should fit one",
                form.target.written,
                rows.len()
            ))
            .hint("choose one with where=\"...\" or by=\"...\", or give stat=\"mean\"")),
        }
    }

    fn statistic(&self, statistic: Statistic, frame: &Frame, column: &str, target: &Target) -> Result<String> {
        let numbers: Vec<f64> = frame.numbers(column)?.into_iter().map(|(_, x)| x).collect();
        statistic.of(&numbers).map(|x| Locale::EN.in_table(x)).ok_or_else(|| {
            let says = format!("`{}` has no rows of which there could be a {}", target.written, statistic.name());
            Error::bad_input(says).hint("select others")
        })
    }
}

/// The rows in the order that is asked for; equal ones as they stand.
fn ordered(frame: &Frame, by: Option<&By>) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = (0..frame.rows.len()).collect();
    if let Some(By { column, descending }) = by {
        let at = place(&frame.columns, column)?;
        // Missing values come last either way.
        let key = |i: usize| frame.rows[i][at].number().filter(|x| !x.is_nan());
        let text = |i: usize| frame.columns[at].in_words(&frame.rows[i][at]);
        order.sort_by(|a, b| match (key(*a), key(*b)) {
            (Some(a), Some(b)) if *descending => b.total_cmp(&a),
            (Some(a), Some(b)) => a.total_cmp(&b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) if *descending => text(*b).cmp(&text(*a)),
            (None, None) => text(*a).cmp(&text(*b)),
        });
    }
    Ok(order)
}

impl Made {
    fn command(&self) -> String {
        shell(&self.asked.command)
    }

    fn folder(&self) -> String {
        self.asked.folder.to_string_lossy().into_owned()
    }
}

impl Grid {
    fn rest(&self) -> Option<String> {
        (self.more > 0).then(|| format!("... and {} more rows", self.more))
    }
}

impl Drawn {
    /// What it is of, before its title.
    fn heading(&self) -> Option<&str> {
        self.of.as_deref()
    }
}
