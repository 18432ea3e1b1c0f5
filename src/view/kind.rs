//! The kinds of views: what a figure shows, without pixels, for every renderer.

use super::axis::Axis;
use super::colour::{Colours, Rgb};
use crate::number::Locale;
use crate::table::Provenance;
use std::sync::Arc;

pub use super::arcs::{Arcs, Link};

/// A figure without pixels: what there is to see of some rows of a table.
#[derive(Clone, Debug)]
pub struct View {
    /// Stem of its file's name, such as `attention-L3H1-p2`.
    pub name: String,
    /// What is shown.
    pub title: String,
    /// Of which model, and of which prompt or pair.
    pub subtitle: String,
    /// Sentences. The first says what was found, the others what the values mean.
    pub caption: Vec<String>,
    /// Sentences that say what the marks of a picture mean.
    pub legend: Vec<String>,
    /// What is drawn, from top to bottom.
    pub panels: Vec<Panel>,
    /// More to read, where there is no picture to point at.
    pub more: Vec<Panel>,
    /// Where the table is from that it is of.
    pub provenance: Arc<Provenance>,
    /// How its numbers are written.
    pub locale: Locale,
}

/// A part of a view.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its own title, where there are several; else empty.
    pub heading: String,
    /// What it shows.
    pub body: Body,
}

/// What a panel shows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Body {
    /// Colours in a grid.
    Heat(Heat),
    /// A value for each of several named steps: bars, or a line.
    Steps(Steps),
    /// Lines over numbers.
    Lines(Lines),
    /// Dots between two axes.
    Scatter(Scatter),
    /// Small multiples.
    Tiles(Tiles),
    /// Tokens coloured by a value.
    Text(Text),
    /// Candidates, each with bars.
    Board(Board),
    /// Texts with common beginnings.
    Tree(Tree),
    /// Places on a line, with arcs between them.
    Arcs(Arcs),
    /// A plain table.
    Table(Table),
}

/// What stands for itself in a grid, a chart or a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// The value that is drawn; NaN where there is none.
    pub value: f64,
    /// What is written in it: a token or a number.
    pub label: String,
    /// A second, smaller line.
    pub below: String,
    /// All its facts in one line.
    pub title: String,
    /// The standard error of its value.
    pub error: Option<f64>,
    /// What is drawn on it beside its colour.
    pub mark: Mark,
}

/// What is drawn on a cell beside its colour, which is never alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mark {
    /// Nothing.
    #[default]
    Plain,
    /// It is what was looked for.
    Hit,
    /// Nothing happened here: it has no colour.
    Nothing,
    /// In a text, a word that stands before a line and begins it.
    Begins,
}

/// One side of a grid or chart.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// What stands along it; where there is no room for it, the next that fits.
    pub names: Vec<String>,
    /// What stands at each place.
    pub items: Vec<Item>,
}

/// A place along a side.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// A token, made visible, or a number.
    pub label: String,
    /// The position of a token.
    pub number: Option<u32>,
}

/// What cells of a heat map have written in them, which decides their shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// A token, and below it a number.
    Tokens,
    /// A number.
    Numbers,
    /// A number; rows and columns are the same positions, so that cells are square.
    Square,
    /// Nothing: rows are many, and low. Of words there is no room for them.
    Strips,
}

/// Neighbouring places of a row: the row, the first column, and the first that is no longer one of them.
pub type Run = (u32, u32, u32);

/// Places that look alike and have no cells of their own.
#[derive(Clone, Debug)]
pub struct Area {
    /// Which they are.
    pub runs: Vec<Run>,
    /// Their value; of none, the background.
    pub value: Option<f64>,
    /// What they are.
    pub title: String,
}

/// Colours in a grid; the first row is on top.
#[derive(Clone, Debug)]
pub struct Heat {
    /// Down.
    pub rows: Side,
    /// Along.
    pub columns: Side,
    /// What stands over the columns too, of columns that have it.
    pub above: Side,
    /// At (row, column), in this order.
    pub cells: Vec<((usize, usize), Cell)>,
    /// Under them.
    pub areas: Vec<Area>,
    /// What their values mean.
    pub colours: Colours,
    /// What is written in them.
    pub shape: Shape,
    /// What a place is that has none, such as `not measured`.
    pub absent: &'static str,
}

/// A value for each of several named steps.
#[derive(Clone, Debug)]
pub struct Steps {
    /// The steps.
    pub x: Side,
    /// The axis of their values.
    pub y: Axis,
    /// What lies beyond is cut off there, with an arrow.
    pub limits: (f64, f64),
    /// One for each step.
    pub points: Vec<Cell>,
    /// Whether steps are near each other in kind as well: then a line joins them, else there are bars.
    pub joined: bool,
}

/// Lines over numbers.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// Whether a value holds until the next: lines go in steps.
    pub stairs: bool,
    /// The weaker first.
    pub lines: Vec<Line>,
    /// Facts of some values of x.
    pub titles: Vec<(f64, String)>,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is called; where it has no name and one point, that is a mark on another line.
    pub name: String,
    /// Its last value, written.
    pub end: String,
    /// Whether it is drawn over the others, thick.
    pub strong: bool,
    /// A value that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
}

/// Dots between two axes.
#[derive(Clone, Debug)]
pub struct Scatter {
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// Whether both are of the same quantity: then a line shows where both values are the same.
    pub diagonal: bool,
    /// What the kinds of dots are called, where there are several.
    pub kinds: Vec<String>,
    /// The dots.
    pub dots: Vec<Dot>,
    /// Which of them have words beside them where there is room, those that matter most first.
    pub words: Vec<(usize, String)>,
}

/// One of [`Scatter`].
#[derive(Clone, Debug, Default)]
pub struct Dot {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Of which kind it is, where there are several.
    pub kind: Option<usize>,
    /// Whether its words stand out.
    pub strong: bool,
    /// All its facts in one line.
    pub title: String,
}

/// Candidates under each other, each with bars of one scale.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// What the candidates are.
    pub name: String,
    /// What the bars are: one, or two to be compared.
    pub bars: Vec<String>,
    /// The candidates.
    pub entries: Vec<Entry>,
    /// Below which entry something ends, and what is said of it.
    pub ends: Option<(usize, String)>,
}

/// A candidate.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What it is.
    pub label: String,
    /// The lengths of its bars, and what is written beside each.
    pub bars: Vec<(f64, String)>,
    /// A word beside it.
    pub note: String,
    /// All its facts in one line.
    pub title: String,
    /// Whether it is out: then its last bar is empty.
    pub out: bool,
    /// Whether it stands for many.
    pub others: bool,
}

/// Texts with common beginnings, each of which is there once.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// How many texts there are.
    pub total: f64,
    /// Each before those that part from it, which are one deeper.
    pub branches: Vec<Branch>,
}

/// What some texts have in common.
#[derive(Clone, Debug, Default)]
pub struct Branch {
    /// How many forks lie before it.
    pub depth: usize,
    /// How many texts it is of.
    pub weight: f64,
    /// Its text, made visible.
    pub text: String,
    /// What is said of its fork.
    pub note: String,
    /// All its facts in one line.
    pub title: String,
}

/// Small multiples: the same grid many times.
#[derive(Clone, Debug)]
pub struct Tiles {
    /// Cells of a tile, across and down.
    pub size: (usize, usize),
    /// Colours come in so many steps, each way.
    pub steps: u32,
    /// What values mean.
    pub colours: Colours,
    /// The tiles.
    pub tiles: Vec<Tile>,
}

/// One of [`Tiles`].
#[derive(Clone, Debug)]
pub struct Tile {
    /// Which line of tiles, and which of the line.
    pub at: (usize, usize),
    /// What it is called.
    pub name: String,
    /// What there is to see, in one line.
    pub title: String,
    /// Row after row; none where there is nothing to see.
    pub cells: Vec<Option<f32>>,
}

impl Tiles {
    /// How many rows and columns become one cell, of tiles with so many, of which `along` stand side by side. What is smaller
    /// could not be seen, and a figure of thousands of heads holds no more than can be seen.
    pub fn merged(along: usize, rows: usize, columns: usize) -> usize {
        let most = (660.0 / along.max(1) as f64 - 4.0).clamp(22.0, 75.0) as usize;
        rows.max(columns).div_ceil(most).max(1)
    }
}

/// Tokens coloured by a value, in the order of the text.
#[derive(Clone, Debug)]
pub struct Text {
    /// What values mean.
    pub colours: Colours,
    /// Label: the token, made visible; below it, its value.
    pub tokens: Vec<Cell>,
}

/// A plain table; with colours, a board of candidates; with depths, a tree.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns; that of row labels first.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<TableRow>,
    /// What the values of cells mean that have one.
    pub colours: Option<Colours>,
}

/// A row of a [`Table`].
#[derive(Clone, Debug, Default)]
pub struct TableRow {
    /// How deep it is in a tree.
    pub depth: usize,
    /// What it is called.
    pub label: String,
    /// Its cells, after the label.
    pub cells: Vec<Cell>,
}

impl Cell {
    /// A cell that says something and has no value.
    pub fn said(label: impl Into<String>) -> Self {
        Self { value: f64::NAN, label: label.into(), ..Self::default() }
    }

    /// What is written in it, in one line.
    pub fn written(&self) -> String {
        format!("{} {}", self.label, self.below).trim_end().to_owned()
    }
}

impl Text {
    /// Whether a line ends behind each token: before words that begin one, where there are such, else at line breaks of the text.
    pub fn ends(&self) -> Vec<bool> {
        let begins = |i: usize| self.tokens.get(i).is_some_and(|cell| cell.mark == Mark::Begins);
        let lined = (0..self.tokens.len()).any(begins);
        let ends = |(i, cell): (usize, &Cell)| if lined { begins(i + 1) } else { cell.label.ends_with('↵') };
        self.tokens.iter().enumerate().map(ends).collect()
    }
}

impl Side {
    /// A side whose places have labels alone.
    pub fn new(name: impl Into<String>, labels: impl IntoIterator<Item = String>) -> Self {
        let items = labels.into_iter().map(|label| Item { label, number: None }).collect();
        Self { names: vec![name.into()], items }
    }

    /// What it is called, in full.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether its places have numbers.
    pub fn numbered(&self) -> bool {
        self.items.iter().any(|item| item.number.is_some())
    }

    /// The largest number.
    pub fn last(&self) -> u32 {
        self.items.iter().rev().find_map(|item| item.number).unwrap_or(0)
    }
}

impl Item {
    /// As a head of a table: the number, and the label.
    pub fn head(&self) -> String {
        self.number.map_or(self.label.clone(), |number| format!("{number} {}", self.label).trim_end().to_owned())
    }
}

/// Places, given in order of (row, column), as runs of neighbours.
pub fn runs(cells: impl Iterator<Item = (usize, usize)>) -> Vec<Run> {
    let mut runs: Vec<Run> = vec![];
    for (row, column) in cells.map(|(row, column)| (row as u32, column as u32)) {
        match runs.last_mut() {
            Some((r, _, to)) if *r == row && *to == column => *to += 1,
            _ => runs.push((row, column, column + 1)),
        }
    }
    runs
}

impl Steps {
    /// Where a value is drawn.
    pub fn cut(&self, value: f64) -> f64 {
        value.clamp(self.limits.0, self.limits.1)
    }

    /// Whether a value lies beyond the limits. What lies a hair beyond, by rounding, does not.
    pub fn beyond(&self, value: f64) -> bool {
        let hair = (self.limits.1 - self.limits.0) * 1e-4;
        value.is_finite() && (value > self.limits.1 + hair || value < self.limits.0 - hair)
    }
}

impl View {
    /// One panel without a heading.
    pub fn panel(body: Body) -> Vec<Panel> {
        vec![Panel { heading: String::new(), body }]
    }

    /// `model · about`, with the first digits of the revision if there is one.
    pub fn subtitle(provenance: &Provenance, about: &str) -> String {
        let revision = provenance.revision.as_deref().map(|r| format!("@{}", r.chars().take(8).collect::<String>()));
        let incomplete = match &provenance.shard {
            Some(shard) => format!(" · incomplete: part {shard} of the run"),
            None if !provenance.complete => " · incomplete: the run was stopped".to_owned(),
            None => String::new(),
        };
        let of = &provenance.model;
        crate::table::visible_prose(&format!("{of}{} · {about}{incomplete}", revision.unwrap_or_default()))
    }
}

impl Body {
    /// What colours mean, where there are any.
    pub fn colours(&self) -> Option<&Colours> {
        match self {
            Self::Heat(heat) => Some(&heat.colours),
            Self::Tiles(tiles) => Some(&tiles.colours),
            Self::Text(text) => Some(&text.colours),
            Self::Table(table) => table.colours.as_ref(),
            Self::Steps(_) | Self::Lines(_) | Self::Scatter(_) | Self::Board(_) | Self::Tree(_) | Self::Arcs(_) => None,
        }
    }
}

impl Board {
    /// The longest bar.
    pub fn most(&self) -> f64 {
        self.entries.iter().flat_map(|entry| &entry.bars).map(|(length, _)| *length).fold(f64::MIN_POSITIVE, f64::max)
    }
}

impl Table {
    /// The colour of a cell, where it has a value.
    pub fn colour(&self, cell: &Cell) -> Option<Rgb> {
        let colours = self.colours.as_ref()?;
        (cell.value.is_finite() && cell.mark != Mark::Nothing).then(|| colours.of(cell.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_run() {
        assert_eq!(runs([(0, 0), (0, 1), (0, 3), (1, 3)].into_iter()), [(0, 0, 2), (0, 3, 4), (1, 3, 4)]);
        assert_eq!(runs(std::iter::empty()), []);
    }
}
