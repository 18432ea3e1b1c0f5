//! Lines over numbers, named at their ends.

use super::Sized;
use super::canvas::{Rect, Stroke, Svg, Type};
use super::frame::flow;
use super::plot::{BELOW, Plot, letters};
use super::room::Room;
use crate::error::Result;
use crate::number::Locale;
use crate::view::colour::Rgb;
use crate::view::kind::{Line, Lines};
use crate::view::label::sans_width;

/// Width of the plot, labels of its y axis included, where nothing beside it is wider.
const WIDTH: f64 = 610.0;
/// Height of the plot, labels and name of its x axis included.
const PLOT: f64 = 340.0;
/// Space right of the plot, where the lines are named, where no name needs more.
const NAMES: f64 = 118.0;
/// Up to so many points, the weak line is dashed; the noise of more would make a speckled band of it.
const MOST_DASHED: usize = 500;
/// Up to so many points have a dot each.
const MOST_DOTS: usize = 40;

/// In less room, lines are named over the plot: beside it, their names would take a third of it.
const BESIDE: f64 = 420.0;
/// Space right of it then, for half of the last label of its axis.
const EDGE: f64 = 10.0;
/// Height of a line of names over the plot.
const LEGEND: f64 = 15.0;

/// Lines as a panel.
pub(super) struct Drawn<'a> {
    lines: &'a Lines,
    locale: Locale,
    /// Width and height of the plot.
    plot: (f64, f64),
    /// Space right of it for the names of lines, where they stand beside it.
    names: f64,
    /// Where the names of lines stand over the plot, and in how many lines; none where they stand beside it.
    legend: Option<(Vec<(f64, usize)>, f64)>,
    /// Size of the letters of the name of its axis of values.
    letters: f64,
}

impl<'a> Drawn<'a> {
    /// It takes `room` pixels, where that is given.
    pub fn new(lines: &'a Lines, locale: Locale, room: Room) -> Self {
        let names = named(lines).map(|line| 30.0 + sans_width(&line.name, 11.0)).fold(NAMES, f64::max).ceil();
        let Some(wide) = room.width else {
            let letters = letters(&lines.y.name, PLOT - BELOW);
            return Self { lines, locale, plot: (WIDTH, PLOT), names, legend: None, letters };
        };
        let (width, legend) = match wide < BESIDE {
            true => {
                let places = flow(named(lines).map(legend_width), wide);
                let rows = places.last().map_or(0, |(_, row)| row + 1);
                ((wide - EDGE).max(160.0), Some((places, rows as f64 * LEGEND)))
            }
            false => (wide - names, None),
        };
        let high = room.plot(PLOT - BELOW);
        Self { lines, locale, plot: (width, high + BELOW), names, legend, letters: letters(&lines.y.name, high) }
    }

    /// Names the lines over the plot, with their last values.
    fn legend(&self, svg: &mut Svg, (x, y): (f64, f64), places: &[(f64, usize)], strokes: &[Stroke]) {
        let strokes = self.lines.lines.iter().zip(strokes).filter(|(line, _)| !line.name.is_empty()).map(|(_, s)| *s);
        for ((line, (across, row)), stroke) in named(self.lines).zip(places).zip(strokes) {
            let (x, y) = (x + across, y + (*row as f64 + 0.5) * LEGEND);
            svg.curve(&[(x, y), (x + 20.0, y)], stroke);
            svg.text(x + 24.0, y, &line.name, Type::new(10.0));
            svg.text(x + 29.0 + sans_width(&line.name, 10.0), y, &line.end, Type::new(10.0).bold());
        }
    }
}

/// The lines that have names.
fn named(lines: &Lines) -> impl Iterator<Item = &Line> {
    lines.lines.iter().filter(|line| !line.name.is_empty())
}

/// How wide the name and the last value of a line are over the plot.
fn legend_width(line: &Line) -> f64 {
    29.0 + sans_width(&line.name, 10.0) + 1.15 * sans_width(&line.end, 10.0) + 14.0
}

/// Inks and dashes of weak lines, one after another where there are several.
const WEAK: [(Rgb, &str); 5] = [
    (Rgb(116, 116, 124), "4 2.5"),
    (Rgb(170, 80, 0), "7 2.5"),
    (Rgb(0, 120, 90), "1.6 2"),
    (Rgb(118, 42, 131), "8 2 1.6 2"),
    (Rgb(150, 110, 0), "3 1.5"),
];

/// How each of some lines is drawn: thick and whole, or thin and dashed, each of these in a way of its own. They differ without colour too.
fn strokes(lines: &[Line]) -> Vec<Stroke> {
    let mut weak = WEAK.iter().cycle();
    let stroke = |line: &Line| match (line.strong, line.strong.then_some(&WEAK[0]).or_else(|| weak.next())) {
        (false, Some((ink, dash))) => {
            Stroke { ink: *ink, width: 1.2, dash: Some(*dash).filter(|_| line.points.len() <= MOST_DASHED) }
        }
        _ => Stroke { ink: Rgb::LINE, width: 2.2, dash: None },
    };
    lines.iter().map(stroke).collect()
}

impl Line {
    /// Whether it marks a place on another line.
    fn marks(&self) -> bool {
        self.name.is_empty() && self.points.len() == 1
    }

    /// The line, broken where a value is not finite; what stands alone, and all points if they are few, as dots.
    fn draw(&self, svg: &mut Svg, plot: &Plot, (stairs, few): (bool, bool), stroke: Stroke) {
        let few = few && self.points.len() <= MOST_DOTS;
        for run in self.points.split(|(_, y)| !y.is_finite()) {
            let run: Vec<_> = run.iter().map(|(x, y)| plot.at(*x, *y)).collect();
            if run.len() > 1 {
                let corner = |pair: &[(f64, f64)]| [(pair[1].0, pair[0].1), pair[1]];
                let steps = || run[..1].iter().copied().chain(run.windows(2).flat_map(corner)).collect();
                let line: Vec<_> = if stairs { steps() } else { thinned(&run) };
                svg.curve(&line, stroke);
            }
            for &(x, y) in run.iter().filter(|_| few || run.len() == 1) {
                svg.dot(x, y, if self.strong { 2.8 } else { 1.8 }, stroke.ink, None);
            }
        }
    }
}

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        match &self.legend {
            Some((_, height)) => (self.plot.0 + EDGE, height + self.plot.1),
            None => (self.plot.0 + self.names, self.plot.1),
        }
    }

    fn letters(&self) -> Option<f64> {
        Some(self.letters)
    }

    fn with_letters(&mut self, size: f64) {
        self.letters = size;
    }

    fn widen(&mut self, width: f64) {
        self.plot.0 = width - if self.legend.is_some() { EDGE } else { self.names };
    }

    fn draw(&self, svg: &mut Svg, x: f64, y: f64) -> Result<()> {
        let Lines { lines, titles, stairs, .. } = self.lines;
        let over = self.legend.as_ref().map_or(0.0, |(_, height)| *height);
        let place = Rect { x, y: y + over, w: self.plot.0, h: self.plot.1 };
        let plot = Plot::draw(svg, place, (self.lines.x.clone(), self.lines.y.clone()), self.letters, self.locale)?;
        let strokes = strokes(lines);
        // Where dots mark places, no others are drawn.
        let marked = lines.iter().any(Line::marks);
        lines.iter().zip(&strokes).for_each(|(line, stroke)| line.draw(svg, &plot, (*stairs, !marked), *stroke));
        match &self.legend {
            Some((places, _)) => self.legend(svg, (x, y), places, &strokes),
            None => ends(svg, &plot, lines, &strokes),
        }
        // Columns over the plot that say facts where one points at them.
        let Rect { x: left, y, w, h } = plot.inside;
        let at = |x: f64| plot.at(x, self.lines.y.from).0;
        let mut from = left;
        for (i, (x, title)) in titles.iter().enumerate() {
            let to = titles.get(i + 1).map_or(left + w, |next| (at(*x) + at(next.0)) / 2.0);
            svg.hover(Rect { x: from, y, w: to - from, h }, title);
            from = to;
        }
        Ok(())
    }
}

/// Names the lines that have names at their ends, with their last values.
fn ends(svg: &mut Svg, plot: &Plot, lines: &[Line], strokes: &[Stroke]) {
    let inside = plot.inside;
    let last = |line: &Line| line.points.iter().rev().find(|(_, y)| y.is_finite()).copied();
    let named = lines.iter().zip(strokes).filter(|(line, _)| !line.name.is_empty());
    let mut ends: Vec<(f64, &Line, Stroke)> =
        named.map(|(line, stroke)| (last(line).map_or(inside.y, |(x, y)| plot.at(x, y).1), line, *stroke)).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Two lines of text each.
    let (apart, half) = (36.0, 16.0);
    match &mut ends[..] {
        [upper, lower] => {
            let short = (apart - (lower.0 - upper.0)).max(0.0);
            upper.0 -= short / 2.0;
            lower.0 += short / 2.0;
            let down = (inside.y + half - upper.0).max(0.0);
            let up = (lower.0 + down - (inside.y + inside.h - half)).max(0.0);
            upper.0 += down - up;
            lower.0 += down - up;
        }
        several @ [_, _, ..] => {
            let places: Vec<f64> = several.iter().map(|end| end.0).collect();
            let places = spread(&places, apart, (inside.y + half, inside.y + inside.h - half));
            several.iter_mut().zip(places).for_each(|(end, place)| end.0 = place);
        }
        _ => {}
    }
    let x = inside.x + inside.w + 10.0;
    for (y, line, stroke) in ends {
        svg.curve(&[(x, y - 8.0), (x + 24.0, y - 8.0)], stroke);
        svg.text(x + 30.0, y - 8.0, &line.name, Type::new(11.0));
        svg.text(x + 30.0, y + 8.0, &line.end, Type::new(13.0).bold());
    }
}

/// Sorted places moved `apart`, each as little as it can, between `least` and `most`; nearer to each other where there is no room.
fn spread(places: &[f64], apart: f64, (least, most): (f64, f64)) -> Vec<f64> {
    let apart = apart.min((most - least) / (places.len().max(2) - 1) as f64);
    // Neighbours that touch are one group around their middle: its first place, and how many it has.
    let mut groups: Vec<(f64, usize)> = vec![];
    for place in places {
        let (mut first, mut n) = (*place, 1);
        loop {
            let length = (n - 1) as f64 * apart;
            first = first.clamp(least, (most - length).max(least));
            match groups.last() {
                Some((before, of)) if before + *of as f64 * apart > first => {
                    // The middle of both stays, by their numbers.
                    let middle = |first: f64, n: usize| first + (n - 1) as f64 * apart / 2.0;
                    let all = of + n;
                    let centre = (middle(*before, *of) * *of as f64 + middle(first, n) * n as f64) / all as f64;
                    (first, n) = (centre - (all - 1) as f64 * apart / 2.0, all);
                    groups.pop();
                }
                _ => break,
            }
        }
        groups.push((first, n));
    }
    groups.into_iter().flat_map(|(first, n)| (0..n).map(move |i| first + i as f64 * apart)).collect()
}

/// A line of which no pixel column has more than four points: the first, the lowest, the highest and the last of it,
/// so that it looks as it did.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for column in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let all = || 0..column.len();
        let (Some(least), Some(most)) = (all().min_by(by_height), all().max_by(by_height)) else { continue };
        let mut kept = [0, least, most, column.len() - 1];
        kept.sort_unstable();
        out.extend(kept.iter().enumerate().filter(|(i, k)| *i == 0 || kept[i - 1] != **k).map(|(_, k)| column[*k]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_ends_do_not_touch() {
        let of = |places: &[f64]| spread(places, 36.0, (16.0, 316.0));
        assert_eq!(of(&[50.0, 200.0]), [50.0, 200.0]);
        assert_eq!(of(&[100.0, 110.0]), [87.0, 123.0]);
        assert_eq!(of(&[10.0, 12.0]), [16.0, 52.0]);
        assert_eq!(of(&[310.0, 316.0]), [280.0, 316.0]);
        for n in 1..15 {
            let places = of(&vec![300.0; n]);
            let apart = 36f64.min(300.0 / (n.max(2) - 1) as f64);
            assert!(places.windows(2).all(|pair| pair[1] - pair[0] > apart - 1e-9), "{n}: {places:?}");
            assert!(places[0] >= 16.0 - 1e-9 && places[n - 1] <= 316.0 + 1e-9, "{n}: {places:?}");
        }
    }

    #[test]
    fn a_thinned_line_keeps_its_extremes() {
        let points: Vec<(f64, f64)> =
            (0..10_000).map(|i| (f64::from(i) / 1000.0, f64::from(i * 7919 % 1000))).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= 4 * 10, "{}", thin.len());
        for column in 0..10 {
            let of = |points: &[(f64, f64)]| {
                let heights: Vec<f64> =
                    points.iter().filter(|p| p.0.floor() == f64::from(column)).map(|p| p.1).collect();
                (heights[0], heights.iter().copied().fold(0.0, f64::max), heights.iter().copied().fold(1e9, f64::min))
            };
            assert_eq!(of(&thin), of(&points));
        }
        assert_eq!(thinned(&points[..1]), points[..1]);
        let apart = [(0.0, 1.0), (5.0, 2.0), (9.0, 0.0)];
        assert_eq!(thinned(&apart), apart);
    }
}
