//! A value for each of several steps: bars around zero, or a line.

use super::Sized;
use super::canvas::{Anchor, Rect, Stroke, Svg, Type, num};
use super::frame::{Band, CUT, number_step};
use super::plot::{BELOW, LEFT, Plot, letters};
use super::room::Room;
use crate::error::Result;
use crate::number::Locale;
use crate::view::axis::Axis;
use crate::view::colour::{Rgb, diverging};
use crate::view::kind::{Cell, Mark, Steps};
use crate::view::label::sans_width;

/// Height of a plot that is as high as it likes.
const PLOT: f64 = 230.0;
/// Line with position numbers.
const NUMBERS: f64 = 14.0;
/// Line with the name of the axis.
const NAME: f64 = 22.0;

/// Steps with the sizes of their parts.
pub(super) struct Drawn<'a> {
    steps: &'a Steps,
    locale: Locale,
    /// Height of the plot, without what stands below it.
    high: f64,
    pitch: f64,
    band: Band,
    /// Pixels over the plot and right of it that numbers of points take.
    around: (f64, f64),
    /// Size of the letters of the name of its axis of values.
    letters: f64,
}

impl<'a> Drawn<'a> {
    /// It takes `room` pixels, where that is given and its steps do not get too narrow.
    pub fn new(steps: &'a Steps, locale: Locale, room: Room) -> Self {
        let least = if steps.joined { 5.0 } else { 16.0 };
        let n = steps.points.len().max(1) as f64;
        let pitch = |right: f64| match room.width {
            Some(room) => ((room - LEFT - right) / n).clamp(least / 3.0, 44.0),
            None => (900.0 / n).clamp(least, 44.0).floor(),
        };
        let band = |pitch| Band::plan(steps.x.items.iter().map(|item| item.label.as_str()), pitch, room);
        let (high, own) = (room.plot(PLOT), pitch(0.0));
        let letters = letters(&steps.y.name, high);
        let plain = Self { steps, locale, high, pitch: own, band: band(own), around: (0.0, 0.0), letters };
        let around = plain.outside();
        let pitch = pitch(around.1);
        Self { pitch, band: band(pitch), around, ..plain }
    }

    /// How far numbers of points reach out of the plot: over it, and to the right.
    fn outside(&self) -> (f64, f64) {
        let level = |value: f64| (1.0 - self.steps.y.along(value)) * self.high;
        let at = self.places(|i, value| ((i + 0.5) * self.pitch, level(value)));
        let wide = at.len() as f64 * self.pitch;
        let (mut over, mut right) = (0.0, 0.0);
        for i in (0..at.len()).filter(|i| self.has_number(*i)) {
            let (x, y, anchor) = self.number(i, &at, level, self.high);
            let w = sans_width(&self.steps.points[i].label, 9.0);
            let behind = match anchor {
                Anchor::Start => w,
                Anchor::Middle => w / 2.0,
                Anchor::End => 0.0,
            };
            over = f64::max(over, 6.0 - y);
            right = f64::max(right, x + behind + 1.0 - wide);
        }
        (over.ceil(), right.ceil())
    }

    /// Where each point is, by its number and value.
    fn places(&self, at: impl Fn(f64, f64) -> (f64, f64)) -> Vec<(f64, f64)> {
        let value = |p: &Cell| if p.value.is_finite() { self.steps.cut(p.value) } else { self.base() };
        self.steps.points.iter().enumerate().map(|(i, point)| at(i as f64, value(point))).collect()
    }

    /// Width of the plot with what stands left of it.
    fn wide(&self) -> f64 {
        LEFT + self.steps.points.len().max(1) as f64 * self.pitch
    }

    fn numbers(&self) -> f64 {
        if self.steps.x.numbered() { NUMBERS } else { 0.0 }
    }

    fn below(&self) -> f64 {
        self.numbers() + self.band.depth + NAME
    }

    /// The value that bars and lines stand on: none is 0 on an axis of equal factors.
    fn base(&self) -> f64 {
        if self.steps.y.log { self.steps.y.from } else { 0.0 }
    }

    fn bars(&self, svg: &mut Svg, at: &[(f64, f64)], zero: f64) {
        for (point, &(x, y)) in self.steps.points.iter().zip(at) {
            if point.value.is_finite() && point.mark != Mark::Nothing {
                let (w, h) = (0.72 * self.pitch, (y - zero).abs().max(0.5));
                let r = Rect { x: x - 0.36 * self.pitch, y: y.min(zero), w, h };
                svg.rect(r, diverging(point.value.signum(), 1.25), None);
            }
        }
    }

    fn line(&self, svg: &mut Svg, at: &[(f64, f64)]) {
        let stroke = Stroke { ink: Rgb::LINE, width: 2.0, dash: None };
        let points: Vec<_> = self.steps.points.iter().zip(at).collect();
        // What is no number has no place on the axis: the line is broken there.
        for run in points.split(|(point, _)| !point.value.is_finite()) {
            let run: Vec<_> = run.iter().map(|(_, at)| **at).collect();
            if run.len() > 1 {
                svg.curve(&run, stroke);
            }
        }
        for (point, &(x, y)) in points {
            if point.value.is_finite() && point.mark != Mark::Nothing {
                svg.dot(x, y, if self.pitch >= 10.0 { 3.5 } else { 2.0 }, Rgb::LINE, None);
            }
        }
    }

    /// A standard error each way, where there is one, as far as the axis goes.
    fn whisker(&self, svg: &mut Svg, point: &Cell, x: f64, plot: &Plot) {
        let (value, error) = (point.value, point.error.unwrap_or(0.0));
        if !(value.is_finite() && error.is_finite() && error > 0.0) {
            return;
        }
        let half = (self.pitch / 6.0).clamp(1.0, 4.0);
        let ends = [value - error, value + error].map(|v| (v, self.steps.cut(v)));
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

    /// Whether the number of a point is written, which has room between its neighbours.
    fn has_number(&self, i: usize) -> bool {
        let Cell { label, value, mark, .. } = &self.steps.points[i];
        let drawn = value.is_finite() && *mark != Mark::Nothing && !label.is_empty();
        drawn && sans_width(label, 9.0) <= self.pitch + 2.0
    }

    /// Where the number of a point is written, in a plot that ends at `floor`; `level` is the height of a value.
    fn number(&self, i: usize, at: &[(f64, f64)], level: impl Fn(f64) -> f64, floor: f64) -> (f64, f64, Anchor) {
        let (point, (x, y)) = (&self.steps.points[i], at[i]);
        let value = point.value;
        // Beyond the whisker, or the arrow.
        let error = point.error.filter(|e| e.is_finite()).unwrap_or(0.0);
        let end = self.steps.cut(if value < 0.0 { value - error } else { value + error });
        let end = if error > 0.0 { level(end) } else { y };
        let written = if value < 0.0 { end + 10.0 } else { end - 10.0 };
        if !self.steps.joined || self.steps.beyond(value) {
            return (x, written, Anchor::Middle);
        }
        // Beside the line where it goes on over (of what is below zero, under) the point.
        let goes_on = |j: Option<usize>| {
            let there = j.and_then(|j| at.get(j)).map(|p| p.1);
            there.is_some_and(|there| if value < 0.0 { there > y } else { there < y })
        };
        match (goes_on(i.checked_sub(1)), goes_on(Some(i + 1))) {
            (false, true) => (x - 3.0, written, Anchor::End),
            (true, false) => (x + 3.0, written, Anchor::Start),
            // On the other side of the point, unless labels stand there.
            (true, true) if 2.0 * y - written < floor - 4.0 => (x, 2.0 * y - written, Anchor::Middle),
            _ => (x, written, Anchor::Middle),
        }
    }

    /// The number at a bar's end or a line's point, where there is room; a ring where nothing changed; an arrow out of the plot
    /// where the value lies beyond it.
    fn note(&self, svg: &mut Svg, i: usize, at: &[(f64, f64)], plot: &Plot) {
        let (point, (x, y), zero) = (&self.steps.points[i], at[i], plot.at(0.0, self.base()).1);
        let value = point.value;
        if point.mark == Mark::Nothing {
            let r = f64::min(3.0, self.pitch / 3.0);
            svg.dot(x, zero, r, Rgb::SOFT, None);
            return svg.dot(x, zero, r - 1.0, Rgb::PAPER, None);
        }
        if self.steps.beyond(value) {
            let (half, up) = (4.0, if value > 0.0 { -4.0 } else { 4.0 });
            let (x, y, w) = (num(x - half), num(y), num(2.0 * half));
            svg.path(&format!("M{x} {y}h{w}l{} {}z", num(-half), num(up)), Rgb::INK);
        }
        let (text, t) = (&point.label, Type::new(9.0).at(Anchor::Middle).ink(Rgb::SOFT));
        if !value.is_finite() {
            svg.text(x, zero - 14.0, text, t.upwards());
        } else if self.has_number(i) {
            let floor = plot.inside.y + plot.inside.h;
            let (x, y, anchor) = self.number(i, at, |value| plot.at(0.0, value).1, floor);
            svg.text(x, y, text, t.at(anchor));
        }
    }
}

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        let (over, right) = self.around;
        (self.wide() + right, over + self.high + self.below())
    }

    fn letters(&self) -> Option<f64> {
        Some(self.letters)
    }

    fn with_letters(&mut self, size: f64) {
        self.letters = size;
    }

    fn notes(&self) -> Vec<&'static str> {
        self.band.cut.then_some(CUT).into_iter().collect()
    }

    fn draw(&self, svg: &mut Svg, x: f64, y: f64) -> Result<()> {
        let (steps, pitch) = (self.steps, self.pitch);
        let place = Rect { x, y: y + self.around.0, w: self.wide(), h: self.high + BELOW };
        let along = Axis::bare("", -0.5, steps.points.len().max(1) as f64 - 0.5);
        let plot = Plot::draw(svg, place, (along, steps.y.clone()), self.letters, self.locale)?;
        let at = self.places(|i, value| plot.at(i, value));
        let Rect { x: left, y: top, w, h } = plot.inside;
        let zero = plot.at(0.0, self.base()).1;
        svg.line(&[(left, zero), (left + w, zero)], Rgb::SOFT, 1.0);
        if steps.joined {
            self.line(svg, &at)
        } else {
            self.bars(svg, &at, zero)
        }
        for (point, &(x, _)) in steps.points.iter().zip(&at) {
            self.whisker(svg, point, x, &plot);
        }
        let step = number_step(steps.x.last(), pitch, 9.0);
        let soft = Type::new(9.0).at(Anchor::Middle).ink(Rgb::SOFT);
        for (i, (item, &(x, _))) in steps.x.items.iter().zip(&at).enumerate() {
            self.note(svg, i, &at, &plot);
            if let Some(n) = item.number.filter(|_| i.is_multiple_of(step)) {
                svg.text(x, top + h + 8.0, &n.to_string(), soft);
            }
            self.band.draw(svg, i, x, top + h + self.numbers(), false, &item.label);
            svg.hover(Rect { x: x - pitch / 2.0, y: top, w: pitch, h }, &steps.points[i].title);
        }
        let t = Type::new(11.0).at(Anchor::Middle);
        svg.text(left + w / 2.0, top + h + self.below() - NAME / 2.0, steps.x.name(), t);
        Ok(())
    }
}
