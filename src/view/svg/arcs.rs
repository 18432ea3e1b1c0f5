//! Places on a line, and arcs from one to another: the thicker, the stronger.

use super::Sized;
use super::canvas::{Anchor, Rect, Stroke, Svg, Type};
use super::frame::{Band, CUT};
use super::room::Room;
use crate::error::Result;
use crate::view::colour::Rgb;
use crate::view::kind::Arcs;
use crate::view::label::sans_width;

/// The height of the highest arc, and of the lowest.
const HEIGHT: (f64, f64) = (170.0, 26.0);
/// Room above the highest for what is written at it.
const ABOVE: f64 = 16.0;
/// Line with the name of the axis.
const NAME: f64 = 22.0;
/// The thickest and the thinnest stroke.
const THICK: (f64, f64) = (4.5, 0.6);
/// Of more arcs the strongest have numbers.
const NUMBERED: usize = 8;
/// The size of numbers.
const SIZE: f64 = 9.0;

/// Arcs with the sizes of their parts.
pub(super) struct Drawn<'a> {
    arcs: &'a Arcs,
    /// Height of the highest.
    high: f64,
    pitch: f64,
    band: Band,
}

impl<'a> Drawn<'a> {
    /// It takes `room` pixels, where that is given and its places do not get too near each other.
    pub fn new(arcs: &'a Arcs, room: Room) -> Self {
        let n = arcs.places.items.len().max(1) as f64;
        let pitch = match room.width {
            Some(room) => ((room - 8.0) / n).clamp(7.0, 52.0),
            None => (900.0 / n).clamp(14.0, 52.0).floor(),
        };
        let band = Band::plan(arcs.places.items.iter().map(|item| item.label.as_str()), pitch, room);
        Self { arcs, high: room.plot(HEIGHT.0), pitch, band }
    }

    /// How high an arc is over so many places, of which the widest has `widest`.
    fn height(&self, span: usize, widest: usize) -> f64 {
        HEIGHT.1 + (self.high - HEIGHT.1) * (span as f64 / widest.max(1) as f64).sqrt()
    }
}

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        let wide = self.arcs.places.items.len() as f64 * self.pitch;
        (wide.max(sans_width(self.arcs.places.name(), 11.0)) + 8.0, ABOVE + self.high + self.band.depth + NAME)
    }

    fn notes(&self) -> Vec<&'static str> {
        self.band.cut.then_some(CUT).into_iter().collect()
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) -> Result<()> {
        let at = |i: usize| left + (i as f64 + 0.5) * self.pitch;
        let (ground, most) = (top + ABOVE + self.high, self.arcs.most());
        let spans = self.arcs.arcs.iter().map(|arc| arc.from.abs_diff(arc.to));
        let widest = spans.max().unwrap_or(1);
        // The strongest is drawn last, over all others.
        for arc in self.arcs.arcs.iter().rev() {
            let share = (arc.value.abs() / most).clamp(0.0, 1.0);
            let width = THICK.1 + (THICK.0 - THICK.1) * share;
            let height = self.height(arc.from.abs_diff(arc.to), widest);
            svg.bow(
                (at(arc.from), at(arc.to)),
                ground,
                height,
                Stroke { ink: Rgb::LINE, width, dash: None },
                &arc.title,
            );
        }
        let wide = self.arcs.places.items.len() as f64 * self.pitch;
        svg.line(&[(left, ground), (left + wide, ground)], Rgb::SOFT, 1.0);
        for (i, item) in self.arcs.places.items.iter().enumerate() {
            svg.dot(at(i), ground, 3.0, Rgb::INK, Some(&item.label));
            self.band.draw(svg, i, at(i), ground + 3.0, false, &item.label);
        }
        // Where the number of a stronger one does not stand already.
        let mut taken: Vec<(f64, f64, f64)> = vec![];
        for arc in self.arcs.arcs.iter().take(NUMBERED) {
            let (x, wide) = ((at(arc.from) + at(arc.to)) / 2.0, sans_width(&arc.label, SIZE) + 4.0);
            let y = ground - self.height(arc.from.abs_diff(arc.to), widest);
            let free = |(other, line, room): &(f64, f64, f64)| {
                (x - other).abs() > (wide + room) / 2.0 || (y - line).abs() > SIZE + 2.0
            };
            if taken.iter().all(free) {
                // On paper of its own, or arcs behind it would make it hard to read.
                svg.rect(Rect { x: x - wide / 2.0, y: y - SIZE / 2.0 - 1.0, w: wide, h: SIZE + 2.0 }, Rgb::PAPER, None);
                svg.text(x, y, &arc.label, Type::new(SIZE).at(Anchor::Middle));
                taken.push((x, y, wide));
            }
        }
        let name = Type::new(11.0).at(Anchor::Middle);
        svg.text(left + self.size().0 / 2.0, ground + self.band.depth + NAME / 2.0, self.arcs.places.name(), name);
        Ok(())
    }
}
