//! Colours in a grid, with labels along its sides and as much written in its cells as there is room for.

use super::Sized;
use super::canvas::{Anchor, Rect, Svg, Type, num};
use super::frame::{BAR, Band, CUT, SHORTEST_BAR, colour_bar, number_step};
use super::room::Room;
use crate::error::Result;
use crate::number::Locale;
use crate::view::colour::Rgb;
use crate::view::kind::{Cell, Heat, Item, Mark, Run, Shape, Side};
use crate::view::label::{fit_mono, mono_width, sans_width};

/// From this width on, a cell's token is written level; below it, upwards.
const LEVEL: f64 = 38.0;
/// The longest label of a row, in pixels.
const LONGEST: f64 = 130.0;
/// Line with the name of an axis.
const NAME: f64 = 20.0;
/// Line with position numbers.
const NUMBERS: f64 = 14.0;
/// What is said of numbers in cells: where none is written, what stands under them, and what a cell without one is.
const NO_ROOM: &str = "Numbers have no room in the cells.";
const ERRORS: &str = "Under a mean stands its standard error.";
const NO_NUMBER: &str = "A cell without a number rounds to 0.";

/// A heat map with the sizes of its parts.
pub(super) struct Drawn<'a> {
    heat: &'a Heat,
    locale: Locale,
    cell: (f64, f64),
    above: Option<Band>,
    below: Band,
    /// Pixels of the labels of rows, and of their numbers.
    room: (f64, f64),
    /// Size of the numbers in cells; none where one of them has no room, for then none is written.
    numbers: Option<f64>,
    /// Size of the second lines of cells, where all have room.
    second: Option<f64>,
    /// Whether its colour bar is drawn.
    bar: bool,
}

impl<'a> Drawn<'a> {
    /// It takes `room` pixels, where that is given and its cells do not get too narrow.
    pub fn new(heat: &'a Heat, locale: Locale, room: Room) -> Self {
        let cells = || heat.cells.iter().map(|(_, cell)| cell);
        let (rows, columns) = (heat.rows.items.len().max(1), heat.columns.items.len().max(1));
        let labels = |size: f64| heat.rows.items.iter().map(|item| mono_width(&item.label, size)).fold(0.0, f64::max);
        let positions =
            if heat.rows.numbered() { sans_width(&heat.rows.last().to_string(), 9.0).ceil() + 6.0 } else { 0.0 };
        // What a width leaves for a column.
        let given = room
            .width
            .map(|room| (room - BAR - NAME - labels(11.0).min(LONGEST).ceil() - 6.0 - positions) / columns as f64);
        let w = match heat.shape {
            // The grid grows to a width before its columns get narrow.
            Shape::Tokens => {
                let widest = cells().map(|cell| mono_width(&cell.label, 11.0)).fold(0.0, f64::max) + 8.0;
                let widest = widest.clamp(46.0, 76.0);
                given.unwrap_or(1400.0 / columns as f64).clamp(9.0, widest)
            }
            Shape::Numbers => given.unwrap_or(1100.0 / columns as f64).clamp(6.0, 44.0),
            Shape::Strips => {
                given.unwrap_or(900.0 / columns as f64).clamp(if given.is_some() { 1.0 } else { 6.0 }, 44.0)
            }
            Shape::Square => given
                .map_or(680.0 / rows.max(columns) as f64, |w| w.min(room.most().clamp(300.0, 680.0) / rows as f64))
                .clamp(4.0, 34.0),
        };
        let w = if given.is_some() && w < 9.0 { w } else { w.floor() };
        let own = || cells().filter(|cell| cell.mark != Mark::Nothing);
        let numbers = fitting(&[9.0, 8.0, 7.0], w, own().map(|cell| cell.label.as_str()));
        // Low rows do where no number has room.
        let written = room.width.is_none() || numbers.is_some() && own().any(|cell| !cell.label.is_empty());
        let h = match (heat.shape, rows) {
            (Shape::Square, _) => w,
            (Shape::Strips, _) => 11.0,
            (Shape::Tokens, ..17) if w >= LEVEL => 32.0,
            (Shape::Tokens, _) if w >= LEVEL => 20.0,
            (Shape::Tokens, ..25) => 48.0,
            (Shape::Tokens, ..33) => 40.0,
            (Shape::Tokens, _) => 34.0,
            // Room for the standard error of a mean.
            (Shape::Numbers, ..17) if cells().any(|cell| cell.error.is_some()) && written => 28.0,
            (Shape::Numbers, ..17) if written => 24.0,
            (Shape::Numbers, ..33) => 18.0,
            (Shape::Numbers, _) => 14.0,
        };
        let h = match heat.shape {
            // Tokens must be read, and squares be square.
            Shape::Square | Shape::Tokens => h,
            Shape::Strips => room.row(h, rows, 2.0),
            Shape::Numbers => room.row(h, rows, 4.0),
        };
        let (numbers, second) = match heat.shape {
            Shape::Tokens => (None, (h >= 26.0).then_some(9.0)),
            Shape::Strips => (None, None),
            Shape::Numbers | Shape::Square => {
                let numbers = numbers.filter(|_| h >= 12.0);
                let sizes: Vec<f64> = [8.0, 7.0].into_iter().filter(|size| numbers >= Some(*size)).collect();
                (numbers, fitting(&sizes, w, own().map(|cell| cell.below.as_str())).filter(|_| h >= 26.0))
            }
        };
        let labels = labels(label_size(h));
        let band = |side: &Side| Band::plan(side.items.iter().map(|item| item.label.as_str()), w, room);
        Self {
            heat,
            locale,
            cell: (w, h),
            above: (!heat.above.items.is_empty()).then(|| band(&heat.above)),
            below: band(&heat.columns),
            room: (labels.min(LONGEST).ceil(), positions),
            bar: true,
            numbers,
            second,
        }
    }

    /// Pixels left of the cells.
    fn left(&self) -> f64 {
        NAME + self.room.0 + 6.0 + self.room.1
    }

    /// Pixels over the cells.
    fn over(&self) -> f64 {
        self.above.map_or(0.0, |band| NAME + band.depth)
    }

    /// Pixels of the cells.
    fn cells(&self) -> (f64, f64) {
        let (w, h) = self.cell;
        (self.heat.columns.items.len() as f64 * w, self.heat.rows.items.len() as f64 * h)
    }

    /// Pixels of the line with position numbers.
    fn positions(&self) -> f64 {
        if self.heat.columns.numbered() { NUMBERS } else { 0.0 }
    }

    /// Labels, numbers and names along the sides of the cells, which lie at (`left`, `top`).
    fn sides(&self, svg: &mut Svg, left: f64, top: f64) {
        let (heat, (w, h), (cw, ch)) = (self.heat, self.cells(), self.cell);
        let number = Type::new(9.0).ink(Rgb::SOFT);
        let size = label_size(ch);
        let every = ((size + 1.0) / ch).ceil().max(1.0) as usize;
        for (i, item) in heat.rows.items.iter().enumerate().step_by(every) {
            let y = top + (i as f64 + 0.5) * ch;
            if let Some(n) = item.number {
                svg.text(left - 5.0, y, &n.to_string(), number.at(Anchor::End));
            }
            let label = fit_mono(&item.label, self.room.0 + 1.0, size);
            svg.text(left - self.room.1 - 5.0, y, &label, Type::new(size).mono().at(Anchor::End));
        }
        let step = number_step(heat.columns.last(), cw, 9.0);
        for (i, item) in heat.columns.items.iter().enumerate() {
            let x = left + (i as f64 + 0.5) * cw;
            if let Some(n) = item.number.filter(|_| i.is_multiple_of(step)) {
                svg.text(x, top + h + 8.0, &n.to_string(), number.at(Anchor::Middle));
            }
            self.below.draw(svg, i, x, top + h + self.positions(), false, &item.label);
        }
        let name = Type::new(11.0).at(Anchor::Middle);
        // A narrow grid is narrower than the names of its axes: then they begin with it.
        let along = |side: &Side, y: f64, svg: &mut Svg| match side.fitting(w) {
            Some(text) => svg.text(left + w / 2.0, y, text, name),
            None => svg.text(left, y, side.names.last().map_or("", String::as_str), name.at(Anchor::Start)),
        };
        if let Some(band) = self.above {
            for (i, item) in heat.above.items.iter().enumerate() {
                band.draw(svg, i, left + (i as f64 + 0.5) * cw, top, true, &item.label);
            }
            along(&heat.above, top - self.over() + NAME / 2.0, svg);
        }
        svg.text(left - self.left() + 7.0, top + h / 2.0, heat.rows.fitting(h).unwrap_or(""), name.upwards());
        along(&heat.columns, top + h + self.positions() + self.below.depth + NAME / 2.0, svg);
    }

    /// What is to be said of the numbers in cells, of a grid that has some.
    fn of_numbers(&self) -> Vec<&'static str> {
        let own = || self.heat.cells.iter().map(|(_, cell)| cell).filter(|cell| cell.mark != Mark::Nothing);
        let has_numbers = matches!(self.heat.shape, Shape::Numbers | Shape::Square);
        let some = own().any(|cell| !cell.label.is_empty());
        if !has_numbers || self.numbers.is_none() {
            return if has_numbers && some { vec![NO_ROOM] } else { vec![] };
        }
        let under = |cell: &Cell| self.second.is_some() && !cell.below.is_empty();
        let errors = own().any(|cell| cell.error.is_some() && under(cell));
        let none = own().any(|cell| cell.value.is_finite() && cell.label.is_empty() && !under(cell));
        errors.then_some(ERRORS).into_iter().chain((some && none).then_some(NO_NUMBER)).collect()
    }

    /// As much of its token as a cell has room for, and the size of its letters.
    fn token(&self, cell: &Cell) -> (String, f64) {
        let (w, h) = self.cell;
        let size = if w < LEVEL { (w - 4.0).min(10.0) } else { 11.0 };
        (fit_mono(&cell.label, if w < LEVEL { h - 9.0 } else { w - 6.0 }, size), size)
    }

    fn cell(&self, svg: &mut Svg, r: Rect, cell: &Cell) {
        let (x, y) = (r.x + r.w / 2.0, r.y + r.h / 2.0);
        // A hair of the background between cells, where they are large enough to spare it; none over an area.
        let hair = if self.heat.areas.is_empty() && r.w.min(r.h) >= 9.0 { 0.5 } else { 0.0 };
        let inner = shrunk(r, hair);
        if cell.mark == Mark::Nothing {
            svg.rect(inner, Rgb::PAPER, Some(&cell.title));
            let half = (r.w / 2.0 - 2.0).clamp(0.5, 3.0);
            return svg.line(&[(x - half, y), (x + half, y)], Rgb::NONE, 1.0);
        }
        let fill = self.heat.colours.of(cell.value);
        let ink = fill.ink_on();
        svg.rect(inner, fill, Some(&cell.title));
        if cell.mark == Mark::Hit {
            // Narrow cells have no room between outline and token.
            let by = if r.w < 20.0 { 1.0 } else { 2.0 };
            svg.outline(shrunk(r, by), ink, by.sqrt());
        }
        if self.heat.colours.clips(cell.value) {
            corner(svg, inner, ink);
        }
        let t = Type::new(9.0).at(Anchor::Middle).ink(ink);
        match self.heat.shape {
            Shape::Tokens if r.w < LEVEL => {
                let (token, size) = self.token(cell);
                svg.text(x, y, &token, Type { size, ..t }.mono().upwards());
            }
            Shape::Tokens => {
                let (token, size) = self.token(cell);
                svg.text(x, if self.second.is_some() { y - 5.0 } else { y }, &token, Type { size, ..t }.mono());
                if let Some(size) = self.second {
                    svg.text(x, y + 8.0, &cell.below, Type { size, ..t });
                }
            }
            _ => {
                let Some(size) = self.numbers else { return };
                let t = Type { size, ..t };
                match self.second.filter(|_| !cell.below.is_empty()) {
                    Some(second) => {
                        svg.text(x, y - 5.0, if cell.label.is_empty() { "0" } else { &cell.label }, t);
                        svg.text(x, y + 6.0, &cell.below, Type { size: second, ..t });
                    }
                    None => svg.text(x, y, &cell.label, t),
                }
            }
        }
    }
}

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        let (w, h) = self.cells();
        let below = self.positions() + self.below.depth + NAME;
        // The bar goes down beside what stands below the cells.
        let beside = if self.bar { SHORTEST_BAR + 8.0 } else { 0.0 };
        (self.left() + w + BAR, self.over() + (h + below).max(beside))
    }

    fn without_bar(&mut self) {
        self.bar = false;
    }

    fn notes(&self) -> Vec<&'static str> {
        let (heat, h) = (self.heat, self.cell.1);
        let size = label_size(h);
        let row = |item: &Item| fit_mono(&item.label, self.room.0 + 1.0, size) != item.label;
        let cut = self.below.cut
            || self.above.is_some_and(|band| band.cut)
            || heat.rows.items.iter().any(row)
            || heat.shape == Shape::Tokens && heat.cells.iter().any(|(_, cell)| self.token(cell).0 != cell.label);
        self.of_numbers().into_iter().chain(cut.then_some(CUT)).collect()
    }

    fn draw(&self, svg: &mut Svg, x: f64, y: f64) -> Result<()> {
        let ((w, h), (cw, ch)) = (self.cells(), self.cell);
        let (left, top) = (x + self.left(), y + self.over());
        svg.rect(Rect { x: left, y: top, w, h }, Rgb::FAINT, None);
        for area in self.heat.areas.iter().filter(|area| !area.runs.is_empty()) {
            let fill = area.value.map_or(Rgb::PAPER, |value| self.heat.colours.of(value));
            svg.group(left, top, (cw, ch), &area.title, |svg| svg.path(&path(&area.runs), fill));
        }
        for ((row, column), cell) in &self.heat.cells {
            let (x, y) = (left + *column as f64 * cw, top + *row as f64 * ch);
            self.cell(svg, Rect { x, y, w: cw, h: ch }, cell);
        }
        self.sides(svg, left, top);
        if self.bar {
            colour_bar(svg, left + w + 16.0, top, h.min(240.0), &self.heat.colours, self.locale);
        }
        Ok(())
    }
}

impl Side {
    /// The first of its names that fits into so many pixels.
    fn fitting(&self, room: f64) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| sans_width(name, 11.0) <= room)
    }
}

/// The first of some sizes at which all labels have room in cells.
fn fitting<'a>(sizes: &[f64], w: f64, labels: impl Iterator<Item = &'a str> + Clone) -> Option<f64> {
    sizes.iter().copied().find(|size| labels.clone().all(|label| sans_width(label, *size) <= w - 2.0))
}

fn label_size(h: f64) -> f64 {
    (h - 1.0).clamp(8.0, 11.0)
}

fn shrunk(r: Rect, by: f64) -> Rect {
    Rect { x: r.x + by, y: r.y + by, w: r.w - 2.0 * by, h: r.h - 2.0 * by }
}

/// The mark of an effect beyond the scale: the upper right corner of its cell.
pub(super) fn corner(svg: &mut Svg, cell: Rect, ink: Rgb) {
    let side = (cell.w.min(cell.h) / 3.0).min(7.0);
    let (right, top) = (num(cell.x + cell.w), num(cell.y));
    svg.mark(&format!("M{right} {top}v{0}l-{0} -{0}z", num(side)), ink);
}

/// A path over runs of unit cells, each one rectangle.
pub(super) fn path(runs: &[Run]) -> String {
    let rectangle = |(row, from, to): &Run| format!("M{from} {row}h{n}v1h-{n}z", n = to - from);
    runs.iter().map(rectangle).collect()
}
