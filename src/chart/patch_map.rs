//! A sweep over two axes as a heat map: red where the metric rises, blue where it falls, a dash where nothing changes.

use super::attention::runs;
use super::axis::Axis;
use super::colour::{Rgb, diverging};
use super::frame::{BAR, Band, HEAD, MARGIN, SHORTEST_BAR, colour_bar, number_step};
use super::label::{fit_mono, mono_width, sans_width};
use super::patch::{MOST_ROWS, sheet};
use super::patch_sweep::Sweep;
use super::patch_words::{Coord, axis_name, places, short_place};
use super::svg::{Anchor, Rect, Svg, Type};
use crate::error::Result;
use crate::table::{Patch, Provenance, visible};
use std::collections::BTreeMap;

/// A figure draws at most this many cells one by one; the weakest of more are one mark, without titles.
const MOST_CELLS: usize = 12_000;
/// The grid grows to this width before its columns get narrow.
const WIDEST: f64 = 1100.0;
/// The longest label of a row, in pixels.
const LONGEST: f64 = 130.0;
/// Line with the name of an axis.
const NAME: f64 = 20.0;
/// Line with position numbers.
const NUMBERS: f64 = 14.0;

/// The figure: `rows` down or, where layers are among them, up as in the logit lens; `column` along.
pub(super) fn map(sweep: &Sweep<'_>, rows: &[Coord], column: Coord, provenance: &Provenance) -> Result<String> {
    let map = Map::of(sweep, rows, column);
    let (left, (w, h)) = (map.left(), map.size());
    let size = (left + w + BAR, h.max(SHORTEST_BAR) + map.below());
    let mut more = vec![];
    if sweep.rows.iter().any(|r| sweep.nothing_changed(r)) {
        let mark = if map.least > 0.0 { "White" } else { "A dash" };
        more.push(format!("{mark}: {}.", sweep.nothing()));
    }
    if map.hidden > 0 {
        let (shown, all) = (map.rows.len(), map.rows.len() + map.hidden);
        more.push(format!("Of {all} rows, the {shown} with the strongest effects are shown."));
    }
    if map.least > 0.0 {
        more.push(format!("Cells weaker than {:.2e} are drawn as 0.", map.least));
    }
    sheet(sweep, provenance, size, &more, |svg| {
        map.draw(svg, MARGIN + left, HEAD);
        let bar = Axis::signed(&sweep.quantity(), map.most);
        colour_bar(svg, MARGIN + left + w + 16.0, HEAD, h.min(240.0), &bar, |v| diverging(v, map.most));
        Ok(())
    })
}

struct Map<'a, 's> {
    sweep: &'s Sweep<'a>,
    /// From top to bottom, each with its label.
    rows: Vec<(&'a Patch, String)>,
    columns: Vec<(&'a Patch, String)>,
    cells: BTreeMap<(usize, usize), &'a Patch>,
    row_axis: String,
    column: Coord,
    /// Rows that are not drawn.
    hidden: usize,
    /// The effect of full colour.
    most: f64,
    /// Weaker cells are not drawn one by one.
    least: f64,
    cell: (f64, f64),
    band: Band,
}

impl<'a, 's> Map<'a, 's> {
    fn of(sweep: &'s Sweep<'a>, coords: &[Coord], column: Coord) -> Self {
        let queries = matches!(coords, [c] if c.is_position());
        let key = |r: &Patch| coords.iter().map(|c| c.of(r)).collect::<Vec<_>>();
        let mut rows = places(&sweep.rows, coords);
        let all = rows.len();
        if all > MOST_ROWS && !queries {
            let mut strength = BTreeMap::<_, f64>::new();
            for row in &sweep.rows {
                let most = strength.entry(key(row)).or_insert(-1.0);
                *most = most.max(sweep.strength(row));
            }
            let of = |k: &Vec<_>| strength.get(k).copied().unwrap_or(-1.0);
            // Stable: of equals the first stay.
            rows.sort_by(|a, b| of(&b.0).total_cmp(&of(&a.0)));
            rows.truncate(MOST_ROWS);
            rows.sort_by(|a, b| a.0.cmp(&b.0));
        }
        if coords.contains(&Coord::Layer) {
            rows.reverse();
        }
        let columns = places(&sweep.rows, &[column]);
        let row_at: BTreeMap<_, _> = rows.iter().enumerate().map(|(i, (k, _))| (k.clone(), i)).collect();
        let column_at: BTreeMap<_, _> = columns.iter().enumerate().map(|(i, (k, _))| (k[0], i)).collect();
        let mut cells = BTreeMap::new();
        for row in &sweep.rows {
            if let (Some(r), Some(c)) = (row_at.get(&key(row)), column_at.get(&column.of(row))) {
                cells.entry((*r, *c)).or_insert(*row);
            }
        }
        let label = |coords: &[Coord], row: &Patch| match coords {
            [c] if c.is_position() => c.token(row).map_or_else(|| short_place(coords, row), visible),
            _ => short_place(coords, row),
        };
        let columns: Vec<_> = columns.into_iter().map(|(_, r)| (r, label(&[column], r))).collect();
        let (n, across) = (rows.len().max(1) as f64, columns.len().max(1) as f64);
        let w = match queries {
            true => (680.0 / n.max(across)).clamp(4.0, 34.0).floor(),
            false => (WIDEST / across).clamp(6.0, 44.0).floor(),
        };
        let h = match rows.len() {
            _ if queries => w,
            ..17 => 24.0,
            17..33 => 18.0,
            _ => 14.0,
        };
        Self {
            sweep,
            hidden: all - rows.len(),
            rows: rows.into_iter().map(|(_, r)| (r, label(coords, r))).collect(),
            least: threshold(cells.values().map(|r| sweep.strength(r)).collect()),
            cells,
            row_axis: axis_name(coords),
            column,
            most: sweep.most(),
            cell: (w, h),
            band: Band::plan(columns.iter().map(|c| c.1.as_str()), w),
            columns,
        }
    }

    /// Pixels of the cells.
    fn size(&self) -> (f64, f64) {
        (self.columns.len() as f64 * self.cell.0, self.rows.len() as f64 * self.cell.1)
    }

    fn label_size(&self) -> f64 {
        (self.cell.1 - 1.0).clamp(8.0, 11.0)
    }

    fn label_room(&self) -> f64 {
        let size = self.label_size();
        self.rows.iter().map(|r| mono_width(&r.1, size)).fold(0.0, f64::max).min(LONGEST).ceil()
    }

    /// Whether rows are tokens: then their positions stand beside them.
    fn numbered(&self) -> bool {
        self.rows.first().is_some_and(|(r, _)| self.row_axis == Coord::QueryPos.name() && r.token.is_some())
    }

    fn number_room(&self) -> f64 {
        let numbers = self.rows.iter().filter_map(|(r, _)| r.query_pos).map(|p| sans_width(&p.to_string(), 9.0));
        if self.numbered() { numbers.fold(0.0, f64::max).ceil() + 6.0 } else { 0.0 }
    }

    /// Pixels left of the cells.
    fn left(&self) -> f64 {
        NAME + self.label_room() + 6.0 + self.number_room()
    }

    /// Whether columns are tokens: then their positions stand over them.
    fn positions(&self) -> bool {
        self.columns.iter().any(|(r, _)| self.column.token(r).is_some())
    }

    /// Pixels below the cells.
    fn below(&self) -> f64 {
        if self.positions() { NUMBERS + self.band.depth + NAME } else { self.band.depth + NAME }
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) {
        let ((w, h), (cw, ch)) = (self.size(), self.cell);
        svg.rect(Rect { x: left, y: top, w, h }, Rgb::FAINT, None);
        let weak = |row: &&&Patch| self.sweep.strength(row) < self.least && self.sweep.value(row).is_finite();
        if self.least > 0.0 {
            for (still, fill) in [(true, Rgb::PAPER), (false, diverging(0.0, 1.0))] {
                let all = self.cells.iter().filter(|(_, r)| weak(r) && self.sweep.nothing_changed(r) == still);
                svg.path_over(left, top, (cw, ch), &runs(all.map(|(at, _)| *at)), fill);
            }
        }
        for (&(row, column), patch) in self.cells.iter().filter(|(_, r)| !weak(r)) {
            let (x, y) = (left + column as f64 * cw, top + row as f64 * ch);
            self.cell(svg, Rect { x, y, w: cw, h: ch }, patch);
        }
        let size = self.label_size();
        let every = ((size + 1.0) / ch).ceil().max(1.0) as usize;
        for (i, (row, label)) in self.rows.iter().enumerate().step_by(every) {
            let y = top + (i as f64 + 0.5) * ch;
            if self.numbered() {
                let number = row.query_pos.map_or(String::new(), |p| p.to_string());
                svg.text(left - 5.0, y, &number, Type::new(9.0).ink(Rgb::SOFT).at(Anchor::End));
            }
            let label = fit_mono(label, self.label_room() + 1.0, size);
            svg.text(left - self.number_room() - 5.0, y, &label, Type::new(size).mono().at(Anchor::End));
        }
        let numbers = if self.positions() { NUMBERS } else { 0.0 };
        let last = self.columns.last().and_then(|(r, _)| self.column.of(r)).unwrap_or(0);
        let step = number_step(last, cw, 9.0);
        for (i, (row, label)) in self.columns.iter().enumerate() {
            let x = left + (i as f64 + 0.5) * cw;
            if numbers > 0.0 && i.is_multiple_of(step) {
                let number = self.column.of(row).map_or(String::new(), |p| p.to_string());
                svg.text(x, top + h + 8.0, &number, Type::new(9.0).ink(Rgb::SOFT).at(Anchor::Middle));
            }
            self.band.draw(svg, i, x, top + h + numbers, false, label);
        }
        let name = Type::new(11.0).at(Anchor::Middle);
        let row_axis = if sans_width(&self.row_axis, 11.0) > h { "" } else { &self.row_axis };
        svg.text(left - self.left() + 7.0, top + h / 2.0, row_axis, name.upwards());
        let tokens = if self.positions() { " and its token" } else { "" };
        let along = format!("{}{tokens}", self.column.name());
        // A narrow grid is narrower than the name of its axis: then it begins with it.
        let (x, name) =
            if sans_width(&along, 11.0) > w { (left, name.at(Anchor::Start)) } else { (left + w / 2.0, name) };
        svg.text(x, top + h + self.below() - NAME / 2.0, &along, name);
    }

    fn cell(&self, svg: &mut Svg, r: Rect, row: &Patch) {
        let value = self.sweep.value(row);
        let (x, y) = (r.x + r.w / 2.0, r.y + r.h / 2.0);
        // A hair of the background between cells, where they are large enough to spare it.
        let hair = if r.w.min(r.h) >= 10.0 { 0.5 } else { 0.0 };
        let inner = Rect { x: r.x + hair, y: r.y + hair, w: r.w - 2.0 * hair, h: r.h - 2.0 * hair };
        if self.sweep.nothing_changed(row) {
            svg.rect(inner, Rgb::PAPER, Some(&self.sweep.facts(row)));
            let half = (r.w / 2.0 - 2.0).clamp(0.5, 3.0);
            svg.line(&[(x - half, y), (x + half, y)], Rgb::NONE, 1.0);
            return;
        }
        let fill = diverging(value, self.most);
        svg.rect(inner, fill, Some(&self.sweep.facts(row)));
        let text = in_cell(value, self.most);
        if r.h >= 12.0 && sans_width(&text, 9.0) <= r.w - 2.0 {
            svg.text(x, y, &text, Type::new(9.0).at(Anchor::Middle).ink(fill.ink_on()));
        }
    }
}

/// The least effect that is drawn, so that at most [`MOST_CELLS`] are; 0 if all are.
fn threshold(mut strengths: Vec<f64>) -> f64 {
    if strengths.len() <= MOST_CELLS {
        return 0.0;
    }
    let (_, least, _) = strengths.select_nth_unstable_by(MOST_CELLS - 1, |a, b| b.total_cmp(a));
    // What is no number has no strength and is drawn all the same.
    least.max(f64::MIN_POSITIVE)
}

/// An effect as a cell has it: as many decimals as the largest, `most`, needs for two digits, and none if it is too
/// weak for them.
pub(super) fn in_cell(value: f64, most: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let decimals = match most {
        100.0.. => 0,
        10.0.. => 1,
        0.1.. => 2,
        0.01.. => 3,
        _ => return String::new(),
    };
    let text = format!("{value:.decimals$}");
    if text.trim_matches(['-', '0', '.']).is_empty() {
        return String::new();
    }
    match text.strip_prefix("-0.") {
        Some(rest) => format!("-.{rest}"),
        None => text.strip_prefix("0.").map_or(text.clone(), |rest| format!(".{rest}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_cells_are_short() {
        assert_eq!(
            (in_cell(0.7712, 1.0), in_cell(-0.7712, 1.0), in_cell(1.0, 1.0)),
            (".77".into(), "-.77".into(), "1.00".into())
        );
        assert_eq!(
            (in_cell(0.004, 1.0), in_cell(-0.004, 1.0), in_cell(0.004, 0.05)),
            ("".into(), "".into(), ".004".into())
        );
        assert_eq!(
            (in_cell(-13.26, 20.0), in_cell(200.4, 300.0), in_cell(10.0, 20.0)),
            ("-13.3".into(), "200".into(), "10.0".into())
        );
        assert_eq!(in_cell(f64::NAN, 1.0), "NaN");
    }

    #[test]
    fn of_many_cells_the_strongest_are_drawn() {
        assert_eq!(threshold(vec![0.5; MOST_CELLS]), 0.0);
        let strengths: Vec<f64> = (0..MOST_CELLS + 100).map(|i| i as f64).collect();
        assert_eq!(threshold(strengths), 100.0);
    }
}
