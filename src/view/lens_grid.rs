//! The grid of the logit lens: how large its cells are, and what is written in and around them.

use super::axis::Axis;
use super::colour::{Rgb, viridis};
use super::frame::{Band, colour_bar, number_step};
use super::label::{fit_mono, mono_width, sans_width, short_probability};
use super::lens::Lens;
use super::svg::{Anchor, Rect, Svg, Type};
use crate::analysis::LensRow;
use crate::table::visible;

/// The grid grows to this width before its columns get narrow.
const WIDEST: f64 = 1400.0;
/// From this width on, a cell's token is written level; below it, upwards.
const LEVEL: f64 = 38.0;
/// Line with the name of an axis.
const NAME: f64 = 18.0;
/// Line with position numbers.
const NUMBERS: f64 = 14.0;

/// Sizes of a grid, in pixels.
pub(super) struct Grid {
    rows: usize,
    columns: usize,
    cell: (f64, f64),
    labels: f64,
    above: Band,
    below: Band,
}

impl Grid {
    pub fn plan(lens: &Lens) -> Self {
        let (rows, columns) = (lens.sites.len().max(1), lens.columns.len().max(1));
        let tops = lens.cells.values().map(|cell| &cell.top);
        let widest = tops.map(|r| mono_width(&visible(&r.token), 11.0)).fold(0.0, f64::max) + 8.0;
        let w = (WIDEST / columns as f64).clamp(9.0, widest.clamp(46.0, 76.0)).floor();
        let h = match (w >= LEVEL, rows) {
            (true, ..=16) => 32.0,
            (true, _) => 20.0,
            (false, ..=24) => 48.0,
            (false, ..=32) => 40.0,
            (false, _) => 34.0,
        };
        let labels = lens.sites.iter().map(|s| sans_width(&s.label, 11.0)).fold(0.0, f64::max).ceil();
        Self {
            rows,
            columns,
            cell: (w, h),
            labels,
            above: Band::plan(lens.columns.iter().filter_map(|c| c.next.as_deref()), w),
            below: Band::plan(lens.columns.iter().map(|c| c.input.as_str()), w),
        }
    }

    /// Pixels left of the cells.
    pub fn left(&self) -> f64 {
        NAME + self.labels + 8.0
    }

    /// Pixels of the cells.
    pub fn width(&self) -> f64 {
        self.columns as f64 * self.cell.0
    }

    /// Pixels from the axis name on top to the one at the bottom.
    pub fn height(&self) -> f64 {
        NAME + self.above.depth + self.rows as f64 * self.cell.1 + NUMBERS + self.below.depth + NAME
    }

    /// Draws everything, the upper left corner at (`x`, `y`).
    pub fn draw(&self, svg: &mut Svg, lens: &Lens, x: f64, y: f64) {
        let (w, h) = self.cell;
        let (left, top) = (x + self.left(), y + NAME + self.above.depth);
        let all = Rect { x: left, y: top, w: self.width(), h: self.rows as f64 * h };
        svg.rect(all, Rgb::FAINT, None);
        for (&(site, column), cell) in &lens.cells {
            // The last layer is on top.
            let (x, y) = (left + column as f64 * w, top + (self.rows - 1 - site) as f64 * h);
            self.cell(svg, Rect { x, y, w, h }, &cell.top, &lens.facts(site, cell));
        }
        for (site, shown) in lens.sites.iter().enumerate() {
            let y = top + (self.rows as f64 - 0.5 - site as f64) * h;
            svg.text(left - 6.0, y, &shown.label, Type::new(11.0).at(Anchor::End));
        }
        let floor = top + all.h;
        let step = number_step(lens.columns.last().map_or(0, |c| c.pos), w, 9.0);
        for (i, column) in lens.columns.iter().enumerate() {
            let middle = left + (i as f64 + 0.5) * w;
            if let Some(next) = &column.next {
                self.above.draw(svg, i, middle, top, true, next);
            }
            if i.is_multiple_of(step) {
                let t = Type::new(9.0).at(Anchor::Middle).ink(Rgb::SOFT);
                svg.text(middle, floor + 8.0, &column.pos.to_string(), t);
            }
            self.below.draw(svg, i, middle, floor + NUMBERS, false, &column.input);
        }
        self.names(svg, lens, all, y);
        colour_bar(svg, left + all.w + 16.0, top, all.h.min(240.0), &Axis::quarters("probability"), viridis);
    }

    fn cell(&self, svg: &mut Svg, r: Rect, row: &LensRow, facts: &str) {
        let fill = viridis(f64::from(row.prob));
        let ink = fill.ink_on();
        // A hair of the background between cells.
        let inner = Rect { x: r.x + 0.5, y: r.y + 0.5, w: r.w - 1.0, h: r.h - 1.0 };
        svg.rect(inner, fill, Some(facts));
        let right = row.next_token_id == Some(row.token_id);
        if right {
            // Narrow cells have no room between outline and token.
            let by = if r.w < 20.0 { 1.0 } else { 2.0 };
            svg.outline(Rect { x: r.x + by, y: r.y + by, w: r.w - 2.0 * by, h: r.h - 2.0 * by }, ink, by.sqrt());
        }
        let (x, y) = (r.x + r.w / 2.0, r.y + r.h / 2.0);
        let token = visible(&row.token);
        if r.w < LEVEL {
            let size = (r.w - 4.0).min(10.0);
            let t = Type::new(size).mono().ink(ink).at(Anchor::Middle).upwards();
            svg.text(x, y, &fit_mono(&token, r.h - 9.0, size), t);
        } else {
            let t = Type::new(11.0).mono().ink(ink).at(Anchor::Middle);
            let token = fit_mono(&token, r.w - 6.0, 11.0);
            if r.h >= 30.0 {
                svg.text(x, y - 5.0, &token, t);
                svg.text(x, y + 8.0, &short_probability(row.prob), Type::new(9.0).ink(ink).at(Anchor::Middle));
            } else {
                svg.text(x, y, &token, t);
            }
        }
    }

    fn names(&self, svg: &mut Svg, lens: &Lens, all: Rect, y: f64) {
        let t = Type::new(11.0).at(Anchor::Middle);
        let middle = all.x + all.w / 2.0;
        // A narrow grid is narrower than the names of its axes: then they begin with it.
        let (x, along) = if all.w < 190.0 { (all.x, t.at(Anchor::Start)) } else { (middle, t) };
        if lens.columns.iter().any(|c| c.next.is_some()) {
            svg.text(x, y + NAME / 2.0, "token that follows in the prompt", along);
        }
        svg.text(x, y + self.height() - NAME / 2.0, "position and token read there", along);
        let name = match &lens.shared {
            Some(site) => format!("layer ({})", crate::table::visible_prose(site)),
            None => "site".to_owned(),
        };
        let name = if sans_width(&name, 11.0) > all.h { "layer".to_owned() } else { name };
        svg.text(all.x - self.left() + 6.0, all.y + all.h / 2.0, &name, t.upwards());
    }
}
