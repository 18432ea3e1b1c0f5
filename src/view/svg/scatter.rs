//! Dots between two axes, words beside those that matter most, and the line on which both values are the same.

use super::Sized;
use super::canvas::{Anchor, Rect, Svg, Type};
use super::frame;
use super::labels::{Field, Label, Side, place};
use super::plot::{BELOW, LEFT, Plot, letters};
use super::room::Room;
use crate::error::Result;
use crate::number::Locale;
use crate::view::colour::Rgb;
use crate::view::kind::Scatter;
use crate::view::label::{fit_sans, sans_width};

/// Width and height of the square of two values of one quantity, and of a map.
const SQUARE: (f64, f64) = (420.0, 420.0);
const MAP: (f64, f64) = (680.0, 520.0);
/// Space right of it, for the words of dots at its edge.
const BESIDE: f64 = 104.0;
/// Font size of a dot's words.
const WORDS: f64 = 9.5;
/// The longest words.
const LONGEST: f64 = 220.0;
/// Half of a dot, alone or among many.
const DOT: f64 = 3.0;
const SMALL: f64 = 1.8;
/// So many are many.
const MANY: usize = 400;
/// Height of the names of the kinds.
const KINDS: f64 = 22.0;
/// What kinds are drawn in, each in a shape of its own (the colours of Okabe & Ito, which those tell apart who see fewer).
const INKS: [Rgb; 6] = [
    Rgb(0x00, 0x72, 0xb2),
    Rgb(0xd5, 0x5e, 0x00),
    Rgb(0x00, 0x9e, 0x73),
    Rgb(0xcc, 0x79, 0xa7),
    Rgb(0x8a, 0x6d, 0x00),
    Rgb(0x5c, 0x5c, 0x62),
];

/// Dots as a panel.
pub(super) struct Drawn<'a> {
    scatter: &'a Scatter,
    locale: Locale,
    /// Width and height between the axes.
    inside: (f64, f64),
    beside: f64,
    /// Where the names of the kinds are, and in how many lines.
    kinds: (Vec<(f64, usize)>, usize),
}

impl<'a> Drawn<'a> {
    /// It takes `room` pixels, where that is given and it does not get too narrow.
    pub fn new(scatter: &'a Scatter, locale: Locale, room: Room) -> Self {
        let (w, h) = if scatter.diagonal { SQUARE } else { MAP };
        let beside = if room.width.is_some_and(|room| room < w) { 24.0 } else { BESIDE };
        let narrow = room.width.map_or(w, |room| (room - LEFT - beside).clamp(140.0, w));
        let inside = (narrow, (h * narrow / w).min(room.most()).max(140.0));
        let names = frame::flow(
            scatter.kinds.iter().map(|name| 30.0 + sans_width(name, 11.0)),
            room.width.unwrap_or(f64::MAX) - LEFT,
        );
        let lines = names.last().map_or(0, |(_, line)| line + 1);
        Self { scatter, locale, inside, beside, kinds: (names, lines) }
    }
}

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        let (w, h) = self.inside;
        (LEFT + w + self.beside, self.above() + h + BELOW)
    }

    fn draw(&self, svg: &mut Svg, x: f64, y: f64) -> Result<()> {
        let Scatter { x: across, y: up, dots, .. } = self.scatter;
        self.kinds(svg, x + LEFT, y);
        let (w, h) = self.inside;
        let area = Rect { x, y: y + self.above(), w: LEFT + w, h: h + BELOW };
        let plot = Plot::draw(svg, area, (across.clone(), up.clone()), letters(&up.name, h), self.locale)?;
        if self.scatter.diagonal {
            svg.line(&[plot.at(across.from, up.from), plot.at(across.to, up.to)], Rgb::NONE, 1.0);
        }
        // What stands out lies over the others.
        for dot in dots.iter().filter(|dot| !dot.strong).chain(dots.iter().filter(|dot| dot.strong)) {
            let (x, y) = plot.at(dot.x, dot.y);
            if dot.strong {
                svg.dot(x, y, self.radius() + 2.0, Rgb::INK, None);
                svg.dot(x, y, self.radius() + 1.2, Rgb::PAPER, None);
            }
            mark(svg, (x, y), self.radius(), dot.kind, Some(&dot.title));
        }
        self.words(svg, &plot);
        Ok(())
    }
}

/// A dot of a kind.
fn mark(svg: &mut Svg, (x, y): (f64, f64), r: f64, kind: Option<usize>, title: Option<&str>) {
    let Some(kind) = kind else { return svg.dot(x, y, r, Rgb::LINE, title) };
    let ink = INKS[kind % INKS.len()];
    let mut shape = |d: &str| svg.group(x, y, (r, r), title.unwrap_or_default(), |svg| svg.path(d, ink));
    match kind % 4 {
        0 => svg.dot(x, y, r, ink, title),
        1 => svg.rect(Rect { x: x - 0.9 * r, y: y - 0.9 * r, w: 1.8 * r, h: 1.8 * r }, ink, title),
        2 => shape("M0-1L1 .8H-1Z"),
        _ => shape("M0-1.1L1.1 0 0 1.1-1.1 0Z"),
    }
}

impl Drawn<'_> {
    fn above(&self) -> f64 {
        self.kinds.1 as f64 * KINDS
    }

    fn radius(&self) -> f64 {
        if self.scatter.dots.len() > MANY { SMALL } else { DOT }
    }

    /// The names of the kinds, each beside its shape.
    fn kinds(&self, svg: &mut Svg, left: f64, top: f64) {
        for (kind, (name, (x, line))) in self.scatter.kinds.iter().zip(&self.kinds.0).enumerate() {
            let (x, y) = (left + x, top + *line as f64 * KINDS);
            mark(svg, (x + 4.0, y + 9.0), 4.0, Some(kind), None);
            svg.text(x + 13.0, y + 9.0, name, Type::new(11.0));
        }
    }

    /// Words beside dots, as far as they do not touch.
    fn words(&self, svg: &mut Svg, plot: &Plot) {
        let dots: Vec<(f64, f64)> = self.scatter.dots.iter().map(|dot| plot.at(dot.x, dot.y)).collect();
        let texts: Vec<String> = self.scatter.words.iter().map(|(_, text)| fit_sans(text, LONGEST, WORDS)).collect();
        let label = |((dot, _), text): (&(usize, String), &String)| Label {
            dot: *dot,
            size: (sans_width(text, WORDS), WORDS),
            far: self.scatter.dots[*dot].strong,
        };
        let labels: Vec<Label> = self.scatter.words.iter().zip(&texts).map(label).collect();
        // The line goes from the lower left of the plot to its upper right.
        let Rect { x: from, y: top, w, h } = plot.inside;
        let line = |x: f64| top + h - (x - from) / w * h;
        let crossed = |r: &Rect| self.scatter.diagonal && line(r.x) > r.y && line(r.x + r.w) < r.y + r.h;
        let inside = Rect { x: from, y: top, w: svg.size().0 - from - 4.0, h };
        let field = Field { dots: &dots, radius: self.radius(), inside, taken: &crossed };
        for ((found, text), (dot, _)) in place(&labels, &field).into_iter().zip(&texts).zip(&self.scatter.words) {
            let Some(found) = found else { continue };
            let Rect { x, y, w, h } = found.area;
            let (x, anchor) = match found.side {
                Side::Right => (x, Anchor::Start),
                Side::Left => (x + w, Anchor::End),
                Side::Middle => (x + w / 2.0, Anchor::Middle),
            };
            if found.far {
                svg.line(&found.line(dots[*dot]), Rgb::INK, 0.8);
            }
            let strong = self.scatter.dots[*dot].strong;
            let t = Type::new(WORDS).at(anchor).ink(if strong { Rgb::INK } else { Rgb::SOFT });
            svg.text(x, y + h / 2.0, text, if strong { t.bold() } else { t });
        }
    }
}
