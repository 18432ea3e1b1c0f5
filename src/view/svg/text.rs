//! Tokens in the order of a text, each on its colour; and tables.

use super::Sized;
use super::canvas::{Anchor, Rect, Svg, Type};
use super::frame::{BAR, CUT, SHORTEST_BAR, colour_bar};
use super::heat::corner;
use super::room::Room;
use crate::error::Result;
use crate::number::Locale;
use crate::view::colour::Rgb;
use crate::view::kind::{Cell, Mark, Table, TableRow, Text};
use crate::view::label::{fit_mono, mono_width};

/// A line of text is at most this wide.
const WIDEST: f64 = 860.0;
/// Font size of tokens.
const SIZE: f64 = 13.0;
/// Height of a token, and of a line: token, number, and space below.
const TOKEN: f64 = 20.0;
const LINE: f64 = 38.0;
/// The longest token, in pixels.
const LONGEST: f64 = 320.0;
/// Height of a row of a table.
const ROW: f64 = 18.0;
/// Font size in tables.
const SMALL: f64 = 11.0;
/// The widest column of a table.
const COLUMN: f64 = 420.0;
/// Of a longer table, the first rows are drawn.
const MOST_ROWS: usize = 400;

/// Tokens, each with its place.
pub(super) struct Flow<'a> {
    text: &'a Text,
    locale: Locale,
    places: Vec<Rect>,
    size: (f64, f64),
    /// Whether its colour bar is drawn.
    bar: bool,
}

impl<'a> Flow<'a> {
    /// In lines that fit into `room` pixels, where that is given.
    pub fn new(text: &'a Text, locale: Locale, room: Room) -> Self {
        let widest = room.width.map_or(WIDEST, |room| (room - BAR - 8.0).max(120.0));
        let (mut x, mut y, mut places, mut wide) = (0.0, 0.0, vec![], 0f64);
        for (cell, ends) in text.tokens.iter().zip(text.ends()) {
            let label = mono_width(&cell.label, SIZE).min(LONGEST);
            let w = label.max(mono_width(&cell.below, 8.0)).ceil() + 4.0;
            if x > 0.0 && x + w > widest {
                (x, y) = (0.0, y + LINE);
            }
            places.push(Rect { x, y, w, h: TOKEN });
            wide = wide.max(x + w);
            x += w + 1.0;
            if ends {
                (x, y) = (0.0, y + LINE);
            }
        }
        let lines = places.last().map_or(0.0, |last| last.y + LINE);
        Self { text, locale, places, size: (wide, lines), bar: true }
    }
}

impl Sized for Flow<'_> {
    fn size(&self) -> (f64, f64) {
        (self.size.0 + 8.0 + BAR, self.size.1.max(if self.bar { SHORTEST_BAR } else { 0.0 }))
    }

    fn without_bar(&mut self) {
        self.bar = false;
    }

    fn notes(&self) -> Vec<&'static str> {
        let cut = |cell: &Cell| fit_mono(&cell.label, LONGEST, SIZE) != cell.label;
        self.text.tokens.iter().any(cut).then_some(CUT).into_iter().collect()
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) -> Result<()> {
        for (cell, place) in self.text.tokens.iter().zip(&self.places) {
            let r = Rect { x: left + place.x, y: top + place.y, ..*place };
            let fill = self.text.colours.of(cell.value);
            let label = fit_mono(&cell.label, LONGEST, SIZE);
            let middle = r.x + r.w / 2.0;
            let plain = cell.value.is_nan() || cell.mark == Mark::Nothing;
            svg.rect(r, if plain { Rgb::PAPER } else { fill }, Some(&cell.title));
            if !plain && self.text.colours.clips(cell.value) {
                corner(svg, r, fill.ink_on());
            }
            if cell.mark == Mark::Hit {
                svg.outline(r, Rgb::INK, 1.0);
            }
            let ink = if plain { Rgb::INK } else { fill.ink_on() };
            svg.text(middle, r.y + TOKEN / 2.0, &label, Type::new(SIZE).mono().at(Anchor::Middle).ink(ink));
            // Never by colour alone.
            let number = Type::new(8.0).at(Anchor::Middle).ink(Rgb::SOFT);
            svg.text(middle, r.y + TOKEN + 6.0, &cell.below, number);
        }
        if self.bar {
            colour_bar(svg, left + self.size.0 + 16.0, top, self.size.1.min(240.0), &self.text.colours, self.locale);
        }
        Ok(())
    }
}

/// A table with the widths of its columns.
pub(super) struct Rows<'a> {
    table: &'a Table,
    widths: Vec<f64>,
}

impl<'a> Rows<'a> {
    /// It takes `room` pixels, where that is given and its columns do not get too narrow.
    pub fn new(table: &'a Table, room: Room) -> Self {
        let rows = || table.rows.iter().take(MOST_ROWS);
        let width = |label: &str| mono_width(label, SMALL).min(COLUMN);
        let mut widths: Vec<f64> = table.columns.iter().map(|name| width(name)).collect();
        for row in rows() {
            let cells = row.cells.iter().map(|cell| width(&cell.written()));
            let label = width(&row.label) + 16.0 * row.depth as f64;
            for (i, w) in std::iter::once(label).chain(cells).enumerate() {
                match widths.get_mut(i) {
                    Some(width) => *width = width.max(w),
                    None => widths.push(w),
                }
            }
        }
        let mut widths: Vec<f64> = widths.into_iter().map(|w| w.ceil() + 12.0).collect();
        if let Some(room) = room.width {
            // The widest columns are cut, all to one width.
            let wide = |most: f64| widths.iter().map(|w| w.min(most)).sum::<f64>();
            let cut = (60..=COLUMN as usize + 12).rev().map(|most| most as f64).find(|most| wide(*most) <= room);
            let most = cut.unwrap_or(60.0);
            widths.iter_mut().for_each(|w| *w = w.min(most));
        }
        Self { table, widths }
    }

    fn shown(&self) -> usize {
        self.table.rows.len().min(MOST_ROWS)
    }
}

impl Rows<'_> {
    /// The width that is left for the words of column `i`.
    fn words(&self, i: usize) -> f64 {
        self.widths.get(i).map_or(0.0, |w| w - 8.0)
    }
}

impl Sized for Rows<'_> {
    fn notes(&self) -> Vec<&'static str> {
        let cut = |i: usize, text: &str, indent: f64| fit_mono(text, self.words(i) - indent, SMALL) != text;
        let row = |row: &TableRow| {
            cut(0, &row.label, 16.0 * row.depth as f64)
                || row.cells.iter().enumerate().any(|(i, cell)| cut(i + 1, &cell.written(), 0.0))
        };
        let any = self.table.columns.iter().enumerate().any(|(i, name)| cut(i, name, 0.0))
            || self.table.rows.iter().take(MOST_ROWS).any(row);
        any.then_some(CUT).into_iter().collect()
    }

    fn size(&self) -> (f64, f64) {
        let left_out = if self.table.rows.len() > MOST_ROWS { 1.0 } else { 0.0 };
        (self.widths.iter().sum(), (self.shown() as f64 + 1.0 + left_out) * ROW)
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) -> Result<()> {
        let t = Type::new(SMALL);
        let mut x = left;
        for (name, w) in self.table.columns.iter().zip(&self.widths) {
            svg.text(x, top + ROW / 2.0, &fit_mono(name, w - 8.0, SMALL), t.bold());
            x += w;
        }
        for (i, row) in self.table.rows.iter().take(MOST_ROWS).enumerate() {
            let y = top + (i as f64 + 1.0) * ROW;
            let indent = 16.0 * row.depth as f64;
            let label = fit_mono(&row.label, self.widths.first().map_or(0.0, |w| w - 8.0) - indent, SMALL);
            svg.text(left + indent, y + ROW / 2.0, &label, t.mono());
            let mut x = left;
            for (cell, w) in row.cells.iter().zip(self.widths.windows(2)) {
                x += w[0];
                let fill = self.table.colour(cell);
                if fill.is_some() || !cell.title.is_empty() {
                    let r = Rect { x: x - 4.0, y: y + 0.5, w: w[1] - 4.0, h: ROW - 1.0 };
                    svg.rect(r, fill.unwrap_or(Rgb::PAPER), Some(&cell.title));
                }
                let text = fit_mono(&cell.written(), w[1] - 8.0, SMALL);
                svg.text(x, y + ROW / 2.0, &text, t.mono().ink(fill.map_or(Rgb::INK, Rgb::ink_on)));
            }
        }
        if self.table.rows.len() > MOST_ROWS {
            let more = format!("and {} more", self.table.rows.len() - MOST_ROWS);
            svg.text(left, top + (MOST_ROWS as f64 + 1.5) * ROW, &more, t.ink(Rgb::SOFT));
        }
        Ok(())
    }
}
