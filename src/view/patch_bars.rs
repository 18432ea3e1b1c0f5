//! A sweep over one axis: bars around zero for heads and neurons, a line for layers and positions.

use super::axis::{Axis, BELOW, LEFT, Plot};
use super::colour::{Rgb, diverging};
use super::frame::{Band, HEAD, MARGIN, number_step};
use super::label::sans_width;
use super::mark::Mark;
use super::patch::{MOST_ROWS, sheet};
use super::patch_map::in_cell;
use super::patch_sweep::Sweep;
use super::patch_words::{Coord, axis_name, on_axis, places, short_place};
use super::svg::{Anchor, Rect, Stroke, Svg, Type, num};
use crate::error::Result;
use crate::table::Provenance;

/// Height of the plot, without what stands below it.
const PLOT: f64 = 230.0;
/// Line with position numbers.
const NUMBERS: f64 = 14.0;
/// Line with the name of the axis.
const NAME: f64 = 22.0;

/// A bar for each head, neuron or layer with one; of more than 60 the strongest, in their order.
pub(super) fn bars(sweep: &Sweep<'_>, coords: &[Coord], provenance: &Provenance) -> Result<String> {
    let mut found = places(&sweep.rows, coords);
    let all = found.len();
    if all > MOST_ROWS {
        // Stable: of equals the first stay.
        found.sort_by(|a, b| sweep.strength(b.1).total_cmp(&sweep.strength(a.1)));
        found.truncate(MOST_ROWS);
        found.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let rows: Vec<&Mark> = found.into_iter().map(|(_, r)| r).collect();
    let labels = rows.iter().map(|r| short_place(coords, r)).collect();
    let mut more = vec![];
    if all > rows.len() {
        more.push(format!("Of {all}, the {} with the strongest effects are shown, in their order.", rows.len()));
    }
    let chart = Chart {
        sweep,
        rows,
        labels,
        name: axis_name(coords, &sweep.over, sweep.any().method.window),
        column: None,
        pitch: (16.0, 44.0),
        joined: false,
    };
    chart.figure(provenance, more, |svg, plot, at, pitch| {
        let zero = plot.at(0.0, 0.0).1;
        for (row, &(x, y)) in chart.rows.iter().zip(at) {
            let value = sweep.value(row);
            if value.is_finite() && !sweep.nothing_changed(row) {
                let r = Rect { x: x - 0.36 * pitch, y: y.min(zero), w: 0.72 * pitch, h: (y - zero).abs().max(0.5) };
                svg.rect(r, diverging(value.signum(), 1.25), None);
            }
        }
    })
}

/// A line over layers or positions.
pub(super) fn line(sweep: &Sweep<'_>, coord: Coord, provenance: &Provenance) -> Result<String> {
    let rows: Vec<&Mark> = places(&sweep.rows, &[coord]).into_iter().map(|(_, r)| r).collect();
    let label = |r: &&Mark| on_axis(coord, r);
    let labels = rows.iter().map(label).collect();
    let tokens = rows.iter().any(|r| coord.token(r).is_some() && coord.position_name(r).is_none());
    let name = format!(
        "{}{}",
        axis_name(&[coord], &sweep.over, sweep.any().method.window),
        if tokens { " and its token" } else { "" }
    );
    let column = tokens.then_some(coord);
    let chart = Chart { sweep, rows, labels, name, column, pitch: (5.0, 44.0), joined: true };
    chart.figure(provenance, vec![], |svg, _, at, pitch| {
        let stroke = Stroke { ink: Rgb::LINE, width: 2.0, dash: None };
        let points: Vec<_> = chart.rows.iter().zip(at).collect();
        // What is no number has no place on the axis: the line is broken there.
        for run in points.split(|(r, _)| !sweep.value(r).is_finite()) {
            let run: Vec<_> = run.iter().map(|(_, at)| **at).collect();
            if run.len() > 1 {
                svg.curve(&run, stroke);
            }
        }
        for (row, &(x, y)) in points {
            if sweep.value(row).is_finite() && !sweep.nothing_changed(row) {
                svg.dot(x, y, if pitch >= 10.0 { 3.5 } else { 2.0 }, Rgb::LINE, None);
            }
        }
    })
}

struct Chart<'a, 's> {
    sweep: &'s Sweep<'a>,
    rows: Vec<&'a Mark>,
    labels: Vec<String>,
    name: String,
    /// Positions that have tokens stand over them.
    column: Option<Coord>,
    /// Least and most pixels from one to the next.
    pitch: (f64, f64),
    /// Whether a line goes from one to the next.
    joined: bool,
}

impl Chart<'_, '_> {
    fn figure(
        &self,
        provenance: &Provenance,
        mut more: Vec<String>,
        marks: impl FnOnce(&mut Svg, &Plot, &[(f64, f64)], f64),
    ) -> Result<String> {
        let sweep = self.sweep;
        let n = self.rows.len().max(1) as f64;
        let pitch = (900.0 / n).clamp(self.pitch.0, self.pitch.1).floor();
        let band = Band::plan(self.labels.iter().map(String::as_str), pitch);
        let numbers = if self.column.is_some() { NUMBERS } else { 0.0 };
        let (w, below) = (LEFT + n * pitch, numbers + band.depth + NAME);
        if self.rows.iter().any(|r| self.beyond(r)) {
            more.push(sweep.range("The axis goes", sweep.scale.axis, "cut off there, with an arrow"));
        }
        if let Some(errors) = sweep.errors() {
            more.push(errors);
        }
        if self.rows.iter().any(|r| sweep.nothing_changed(r)) {
            more.push(format!("An open ring: {}.", sweep.nothing()));
        }
        sheet(sweep, provenance, (w, PLOT + below), &more, |svg| {
            let place = Rect { x: MARGIN, y: HEAD, w, h: PLOT + BELOW };
            let plot = Plot::draw(svg, place, Axis::bare("", -0.5, n - 0.5), self.values())?;
            let heights = self
                .rows
                .iter()
                .map(|r| sweep.value(r))
                .map(|v| if v.is_finite() { sweep.scale.on_axis(v) } else { 0.0 });
            let at: Vec<_> = heights.enumerate().map(|(i, v)| plot.at(i as f64, v)).collect();
            let Rect { x: left, y: top, w, h } = plot.inside;
            let zero = plot.at(0.0, 0.0).1;
            svg.line(&[(left, zero), (left + w, zero)], Rgb::SOFT, 1.0);
            marks(svg, &plot, &at, pitch);
            for (row, &(x, _)) in self.rows.iter().zip(&at) {
                self.whisker(svg, row, x, pitch, &plot);
            }
            let last = self.rows.last().zip(self.column).and_then(|(r, c)| c.of(r)).unwrap_or(0);
            let step = number_step(last, pitch, 9.0);
            let soft = Type::new(9.0).at(Anchor::Middle).ink(Rgb::SOFT);
            for (i, (row, &(x, _))) in self.rows.iter().zip(&at).enumerate() {
                self.note(svg, i, &at, pitch, &plot);
                if let (Some(column), true) = (self.column, i.is_multiple_of(step)) {
                    svg.text(x, top + h + 8.0, &column.of(row).map_or(String::new(), |p| p.to_string()), soft);
                }
                band.draw(svg, i, x, top + h + numbers, false, &self.labels[i]);
                svg.hover(Rect { x: x - pitch / 2.0, y: top, w: pitch, h }, &sweep.facts(row));
            }
            let t = Type::new(11.0).at(Anchor::Middle);
            svg.text(left + w / 2.0, top + h + below - NAME / 2.0, &self.name, t);
            Ok(())
        })
    }

    /// As far as the scale goes, with room for a number beyond each end.
    fn values(&self) -> Axis {
        let (least, most) = self.sweep.scale.axis;
        let room = (most - least) * 0.09;
        let below = if least < 0.0 { room } else { 0.0 };
        Axis::linear(&self.sweep.quantity(), least - below, most + if most > 0.0 { room } else { 0.0 }, 6)
    }

    /// Whether an effect lies beyond the axis. What lies a hair beyond, by rounding, does not.
    fn beyond(&self, row: &Mark) -> bool {
        let (value, (least, most)) = (self.sweep.value(row), self.sweep.scale.axis);
        let hair = (most - least) * 1e-4;
        value.is_finite() && (value > most + hair || value < least - hair)
    }

    /// A standard error each way, where there is one, as far as the axis goes.
    fn whisker(&self, svg: &mut Svg, row: &Mark, x: f64, pitch: f64, plot: &Plot) {
        let (value, error) = (self.sweep.value(row), self.sweep.error(row).unwrap_or(0.0));
        if !(value.is_finite() && error.is_finite() && error > 0.0) {
            return;
        }
        let half = (pitch / 6.0).clamp(1.0, 4.0);
        let ends = [value - error, value + error].map(|v| (v, self.sweep.scale.on_axis(v)));
        let at = ends.map(|(_, v)| plot.at(0.0, v).1);
        if at[0] == at[1] {
            return;
        }
        svg.line(&[(x, at[0]), (x, at[1])], Rgb::INK, 1.0);
        for ((wanted, drawn), y) in ends.into_iter().zip(at) {
            if wanted == drawn {
                svg.line(&[(x - half, y), (x + half, y)], Rgb::INK, 1.0);
            }
        }
    }

    /// An arrow out of the plot where an effect lies beyond it.
    fn arrow(&self, svg: &mut Svg, row: &Mark, (x, y): (f64, f64)) {
        let (half, up) = (4.0, if self.sweep.value(row) > 0.0 { -4.0 } else { 4.0 });
        svg.path(&format!("M{} {}h{}l{} {}z", num(x - half), num(y), num(2.0 * half), num(-half), num(up)), Rgb::INK);
    }

    /// The number at a bar's end or a line's point, where there is room; a ring where nothing changed.
    fn note(&self, svg: &mut Svg, i: usize, at: &[(f64, f64)], pitch: f64, plot: &Plot) {
        let (row, (x, y), zero) = (self.rows[i], at[i], plot.at(0.0, 0.0).1);
        let value = self.sweep.value(row);
        if self.sweep.nothing_changed(row) {
            let r = f64::min(3.0, pitch / 3.0);
            svg.dot(x, zero, r, Rgb::SOFT, None);
            svg.dot(x, zero, r - 1.0, Rgb::PAPER, None);
            return;
        }
        let text = in_cell(value, self.sweep.most());
        // Beyond the whisker, or the arrow.
        let error = self.sweep.error(row).filter(|e| e.is_finite()).unwrap_or(0.0);
        let end = self.sweep.scale.on_axis(if value < 0.0 { value - error } else { value + error });
        let y = if error > 0.0 { plot.at(0.0, end).1 } else { y };
        if self.beyond(row) {
            self.arrow(svg, row, at[i]);
        }
        let t = Type::new(9.0).at(Anchor::Middle).ink(Rgb::SOFT);
        if !value.is_finite() {
            svg.text(x, zero - 14.0, &text, t.upwards());
        } else if !text.is_empty() && sans_width(&text, 9.0) <= pitch + 2.0 {
            let y = if value < 0.0 { y + 10.0 } else { y - 10.0 };
            if !self.joined || self.beyond(row) {
                return svg.text(x, y, &text, t);
            }
            // Beside the line where it goes on over (of what is below zero, under) the point.
            let beyond = |j: Option<usize>| {
                let there = j.and_then(|j| at.get(j)).map(|p| p.1);
                there.is_some_and(|there| if value < 0.0 { there > at[i].1 } else { there < at[i].1 })
            };
            match (beyond(i.checked_sub(1)), beyond(Some(i + 1))) {
                (false, true) => svg.text(x - 3.0, y, &text, t.at(Anchor::End)),
                (true, false) => svg.text(x + 3.0, y, &text, t.at(Anchor::Start)),
                (true, true) => svg.text(x, 2.0 * at[i].1 - y, &text, t),
                (false, false) => svg.text(x, y, &text, t),
            }
        }
    }
}
