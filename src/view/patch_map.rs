//! A sweep over two axes as a heat map: red where the metric rises, blue where it falls, a dash where nothing changes.

use super::attention::runs;
use super::axis::Axis;
use super::colour::{Rgb, diverging};
use super::frame::{BAR, Band, HEAD, MARGIN, SHORTEST_BAR, colour_bar, number_step};
use super::label::{fit_mono, mono_width, sans_width};
use super::mark::Mark;
use super::patch::{MOST_ROWS, sheet};
use super::patch_sweep::Sweep;
use super::patch_words::{Coord, Place, axis_name, on_axis, places, short_place};
use super::svg::{Anchor, Rect, Svg, Type, num};
use crate::error::Result;
use crate::table::Provenance;
use std::collections::{BTreeMap, BTreeSet};

/// A figure draws at most this many cells one by one; the weakest of more are one mark, without titles.
const MOST_CELLS: usize = 12_000;
/// Of more columns than this that are no positions, the strongest are drawn.
const MOST_COLUMNS: usize = 150;
/// The grid grows to this width before its columns get narrow.
const WIDEST: f64 = 1100.0;
/// The longest label of a row, in pixels.
const LONGEST: f64 = 130.0;
/// Line with the name of an axis.
const NAME: f64 = 20.0;
/// Line with position numbers.
const NUMBERS: f64 = 14.0;

/// The figure: `rows` down or, where layers are among them, up as in the logit lens; `columns` along.
pub(super) fn map(sweep: &Sweep<'_>, rows: &[Coord], columns: &[Coord], provenance: &Provenance) -> Result<String> {
    let map = Map::of(sweep, rows, columns);
    let (left, (w, h)) = (map.left(), map.size());
    let size = (left + w + BAR, h.max(SHORTEST_BAR) + map.below());
    let mut more = vec![sweep.colours("marked by a corner")];
    if let Some(errors) = sweep.errors() {
        let shown = if map.errors { "Under each mean stands its standard error. " } else { "" };
        more.push(format!("{shown}{errors}"));
    }
    if sweep.rows.iter().any(|r| sweep.nothing_changed(r)) {
        let mark = if map.least > 0.0 { "White" } else { "A dash" };
        more.push(format!("{mark}: {}.", sweep.nothing()));
    }
    if map.hidden > 0 {
        let (shown, all) = (map.rows.len(), map.rows.len() + map.hidden);
        more.push(format!("Of {all} rows, the {shown} with the strongest effects are shown."));
    }
    if map.hidden_columns > 0 {
        let (shown, all) = (map.columns.len(), map.columns.len() + map.hidden_columns);
        more.push(format!("Of {all} columns, the {shown} with the strongest effects are shown."));
    }
    if map.absent() {
        more.push("Grey: no path.".to_owned());
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
    rows: Vec<(&'a Mark, String)>,
    columns: Vec<(&'a Mark, String)>,
    cells: BTreeMap<(usize, usize), &'a Mark>,
    row_axis: String,
    /// What goes along.
    along: Vec<Coord>,
    /// Its name.
    column_axis: String,
    /// Rows and columns that are not drawn.
    hidden: usize,
    hidden_columns: usize,
    /// The effect of full colour.
    most: f64,
    /// Weaker cells are not drawn one by one.
    least: f64,
    cell: (f64, f64),
    band: Band,
    /// Whether standard errors stand in the cells.
    errors: bool,
}

impl<'a, 's> Map<'a, 's> {
    fn of(sweep: &'s Sweep<'a>, coords: &[Coord], along: &[Coord]) -> Self {
        let queries = matches!(coords, [c] if c.is_position());
        let (mut rows, hidden) = strongest(sweep, coords, MOST_ROWS);
        let (mut columns, hidden_columns) = strongest(sweep, along, MOST_COLUMNS);
        if hidden > 0 {
            // What only rows that are not drawn have a path from has no cell.
            let drawn: BTreeSet<_> = rows.iter().map(|(k, _)| k.clone()).collect();
            let own = sweep.rows.iter().filter(|r| drawn.contains(&key(coords, r)));
            let seen: BTreeSet<_> = own.map(|r| key(along, r)).collect();
            columns.retain(|(k, _)| seen.contains(k));
        }
        if coords.iter().any(|c| c.is_layer()) {
            rows.reverse();
        }
        let index = |places: &[Place]| -> BTreeMap<Vec<Option<u32>>, usize> {
            places.iter().enumerate().map(|(i, (k, _))| (k.clone(), i)).collect()
        };
        let (row_at, column_at) = (index(&rows), index(&columns));
        let mut cells = BTreeMap::new();
        for row in &sweep.rows {
            if let (Some(r), Some(c)) = (row_at.get(&key(coords, row)), column_at.get(&key(along, row))) {
                cells.entry((*r, *c)).or_insert(*row);
            }
        }
        let label = |coords: &[Coord], row: &Mark| match coords {
            [c] if c.is_position() => on_axis(*c, row),
            _ => short_place(coords, row),
        };
        let columns: Vec<_> = columns.into_iter().map(|(_, r)| (r, label(along, r))).collect();
        let (n, across) = (rows.len().max(1) as f64, columns.len().max(1) as f64);
        let w = match queries {
            true => (680.0 / n.max(across)).clamp(4.0, 34.0).floor(),
            false => (WIDEST / across).clamp(6.0, 44.0).floor(),
        };
        let h = match rows.len() {
            _ if queries => w,
            // Room for the standard error of a mean.
            ..17 if sweep.any().mean.is_some() => 28.0,
            ..17 => 24.0,
            17..33 => 18.0,
            _ => 14.0,
        };
        let mut map = Self {
            sweep,
            hidden,
            hidden_columns,
            rows: rows.into_iter().map(|(_, r)| (r, label(coords, r))).collect(),
            least: threshold(cells.values().map(|r| sweep.strength(r)).collect()),
            cells,
            row_axis: axis_name(coords, &sweep.over, sweep.any().method.window),
            column_axis: axis_name(along, &sweep.over, sweep.any().method.window),
            along: along.to_vec(),
            most: sweep.most(),
            cell: (w, h),
            band: Band::plan(columns.iter().map(|c| c.1.as_str()), w),
            columns,
            errors: false,
        };
        map.errors = map.has_errors();
        map
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
        self.rows.first().is_some_and(|(r, _)| {
            self.row_axis == Coord::QueryPos.name() && r.token.is_some() && r.position_name.is_none()
        })
    }

    fn number_room(&self) -> f64 {
        let numbers = self.rows.iter().filter_map(|(r, _)| r.query_pos).map(|p| sans_width(&p.to_string(), 9.0));
        if self.numbered() { numbers.fold(0.0, f64::max).ceil() + 6.0 } else { 0.0 }
    }

    /// Pixels left of the cells.
    fn left(&self) -> f64 {
        NAME + self.label_room() + 6.0 + self.number_room()
    }

    /// Where columns are positions with tokens: then their numbers stand over these.
    fn numbers(&self) -> Option<Coord> {
        let [one] = self.along[..] else { return None };
        let numbered = |r: &Mark| one.token(r).is_some() && one.position_name(r).is_none();
        self.columns.iter().any(|(r, _)| numbered(r)).then_some(one)
    }

    /// Whether cells have room for the standard errors of their means.
    fn has_errors(&self) -> bool {
        self.cell.1 >= 26.0
            && self.cells.values().any(|r| self.sweep.error(r).is_some())
            && self.cells.values().filter_map(|r| self.error(r)).all(|e| sans_width(&e, 8.0) <= self.cell.0 - 2.0)
    }

    /// The standard error of a mean as its cell has it.
    fn error(&self, row: &Mark) -> Option<String> {
        let error = self.sweep.error(row).filter(|e| e.is_finite())?;
        let text = in_cell(error, self.most);
        Some(format!("±{}", if text.is_empty() { "0" } else { &text }))
    }

    /// Whether there are cells without a path.
    fn absent(&self) -> bool {
        self.along.iter().any(|c| !c.is_position())
            && self.sweep.any().to.is_some()
            && self.cells.len() < self.rows.len() * self.columns.len()
    }

    /// Pixels below the cells.
    fn below(&self) -> f64 {
        if self.numbers().is_some() { NUMBERS + self.band.depth + NAME } else { self.band.depth + NAME }
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) {
        let ((w, h), (cw, ch)) = (self.size(), self.cell);
        svg.rect(Rect { x: left, y: top, w, h }, Rgb::FAINT, None);
        let weak = |row: &&&Mark| self.sweep.strength(row) < self.least && self.sweep.value(row).is_finite();
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
        let positions = self.numbers();
        let numbers = if positions.is_some() { NUMBERS } else { 0.0 };
        let last = self.columns.last().zip(positions).and_then(|((r, _), c)| c.of(r)).unwrap_or(0);
        let step = number_step(last, cw, 9.0);
        for (i, (row, label)) in self.columns.iter().enumerate() {
            let x = left + (i as f64 + 0.5) * cw;
            if let Some(position) = positions.filter(|_| i.is_multiple_of(step)) {
                let number = position.of(row).map_or(String::new(), |p| p.to_string());
                svg.text(x, top + h + 8.0, &number, Type::new(9.0).ink(Rgb::SOFT).at(Anchor::Middle));
            }
            self.band.draw(svg, i, x, top + h + numbers, false, label);
        }
        let name = Type::new(11.0).at(Anchor::Middle);
        // Of a name that is too long, what its letters do not say.
        let side = self.row_axis.split(": ").next().unwrap_or_default();
        let row_axis =
            [self.row_axis.as_str(), side].into_iter().find(|name| sans_width(name, 11.0) <= h).unwrap_or("");
        svg.text(left - self.left() + 7.0, top + h / 2.0, row_axis, name.upwards());
        let tokens = if positions.is_some() { " and its token" } else { "" };
        let along = format!("{}{tokens}", self.column_axis);
        // A narrow grid is narrower than the name of its axis: then it begins with it.
        let (x, name) =
            if sans_width(&along, 11.0) > w { (left, name.at(Anchor::Start)) } else { (left + w / 2.0, name) };
        svg.text(x, top + h + self.below() - NAME / 2.0, &along, name);
    }

    fn cell(&self, svg: &mut Svg, r: Rect, row: &Mark) {
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
        if self.sweep.scale.clips(value) {
            corner(svg, inner, fill.ink_on());
        }
        let text = in_cell(value, self.most);
        if r.h < 12.0 || sans_width(&text, 9.0) > r.w - 2.0 {
            return;
        }
        let t = Type::new(9.0).at(Anchor::Middle).ink(fill.ink_on());
        // Where both round to 0, neither is written.
        match self.error(row).filter(|error| self.errors && !(text.is_empty() && error == "±0")) {
            Some(error) => {
                svg.text(x, y - 5.0, if text.is_empty() { "0" } else { &text }, t);
                svg.text(x, y + 6.0, &error, Type { size: 8.0, ..t });
            }
            None => svg.text(x, y, &text, t),
        }
    }
}

/// The mark of an effect beyond the scale: the upper right corner of its cell.
fn corner(svg: &mut Svg, cell: Rect, ink: Rgb) {
    let side = (cell.w.min(cell.h) / 3.0).min(7.0);
    let (right, top) = (num(cell.x + cell.w), num(cell.y));
    svg.path(&format!("M{right} {top}v{0}l-{0} -{0}z", num(side)), ink);
}

fn key(coords: &[Coord], row: &Mark) -> Vec<Option<u32>> {
    coords.iter().map(|c| c.of(row)).collect()
}

/// The places of the sweep along `coords`, in order; of more than `most` those with the strongest effects, and how many are left
/// out. Positions are all kept: what lies between them would not be seen.
fn strongest<'a>(sweep: &Sweep<'a>, coords: &[Coord], most: usize) -> (Vec<Place<'a>>, usize) {
    let mut found = places(&sweep.rows, coords);
    let all = found.len();
    if all > most && !matches!(coords, [c] if c.is_position()) {
        let mut strength = BTreeMap::<_, f64>::new();
        for row in &sweep.rows {
            let most = strength.entry(key(coords, row)).or_insert(-1.0);
            *most = most.max(sweep.strength(row));
        }
        let of = |k: &Vec<_>| strength.get(k).copied().unwrap_or(-1.0);
        // Stable: of equals the first stay.
        found.sort_by(|a, b| of(&b.0).total_cmp(&of(&a.0)));
        found.truncate(most);
        found.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let hidden = all - found.len();
    (found, hidden)
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
