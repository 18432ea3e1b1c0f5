//! Two axes on a figure, with the grid that plotters draws for them.

use super::backend::Backend;
use super::canvas::{Anchor, Rect, Svg, Type};
use crate::error::{Error, Result};
use crate::number::Locale;
use crate::view::axis::Axis;
use crate::view::colour::Rgb;
use crate::view::label::{fit_sans, sans_width};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::{ChartBuilder, IntoDrawingArea, LabelAreaPosition};
use plotters::style::{Color, RGBColor, ShapeStyle};

/// Pixels left of the plot.
pub(super) const LEFT: f64 = 56.0;
/// Pixels below the plot.
pub(super) const BELOW: f64 = 40.0;

/// An axis as plotters asks it.
struct Scale(Axis, Locale);

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.0.along(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Plotters asks again for lines between the labelled ones.
        if hint.weight().allow_light_points() { Vec::new() } else { self.0.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.0.from..self.0.to
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        if self.0.ticks.contains(value) { self.0.label(*value, self.1) } else { String::new() }
    }
}

/// Plotters cannot fail on our canvas; should it, say so.
fn undrawn(e: impl std::fmt::Display) -> Error {
    Error::compute(format!("the chart could not be drawn: {e}")).fault()
}

/// The axis with so many of its labels that they stand apart in so many pixels.
fn apart(mut axis: Axis, pixels: f64, locale: Locale) -> Axis {
    let widest = axis.ticks.iter().map(|tick| sans_width(&axis.label(*tick, locale), 10.0)).fold(0.0, f64::max);
    let near = axis.ticks.windows(2).map(|pair| (axis.along(pair[1]) - axis.along(pair[0])) * pixels);
    let nearest = near.fold(f64::INFINITY, f64::min).max(1.0);
    let every = ((widest + 4.0) / nearest).ceil().max(1.0) as usize;
    let mut i = 0;
    axis.ticks.retain(|_| {
        i += 1;
        (i - 1usize).is_multiple_of(every)
    });
    axis
}

/// The size of the letters of a name in so many pixels: smaller where there is little room, and then it is cut.
fn size_in(name: &str, room: f64) -> f64 {
    (11.0 * room / sans_width(name, 11.0)).clamp(8.0, 11.0)
}

/// The size of the letters of the name of an axis of values that is so high.
pub(super) fn letters(name: &str, high: f64) -> f64 {
    // Plotters has whole pixels.
    let room = (high - 2.0).max(1.0);
    size_in(name, if sans_width(name, 9.0) > room { room + BELOW } else { room })
}

/// Two axes on a figure: where values are.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// Between the axes.
    pub inside: Rect,
    x: Axis,
    y: Axis,
}

impl Plot {
    /// Draws both axes within `place`: grid lines at the labels of y, and the names, that of y in letters of this size.
    pub fn draw(svg: &mut Svg, place: Rect, (x, y): (Axis, Axis), letters: f64, locale: Locale) -> Result<Self> {
        let x = apart(x, place.w - LEFT, locale);
        let shade = |c: Rgb| ShapeStyle { color: RGBColor(c.0, c.1, c.2).to_rgba(), filled: false, stroke_width: 1 };
        let (lower, upper) = {
            let root = Backend(svg).into_drawing_area();
            let area = root.shrink((place.x as i32, place.y as i32), (place.w as u32, place.h as u32));
            let mut chart = ChartBuilder::on(&area)
                .set_label_area_size(LabelAreaPosition::Left, LEFT as i32)
                .set_label_area_size(LabelAreaPosition::Bottom, BELOW as i32)
                .build_cartesian_2d(Scale(x.clone(), locale), Scale(y.clone(), locale))
                .map_err(undrawn)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_labels(x.ticks.len())
                .label_style(("sans-serif", 12.4))
                .axis_style(shade(Rgb::SOFT))
                .bold_line_style(shade(Rgb::FAINT))
                .light_line_style(RGBColor(255, 255, 255).mix(0.0))
                .draw()
                .map_err(undrawn)?;
            let corner = |at: fn(&Axis) -> f64| chart.backend_coord(&(at(&x), at(&y)));
            (corner(|a| a.from), corner(|a| a.to))
        };
        // Half a pixel on, as the lines that plotters draws.
        let (left, right) = (f64::from(lower.0) + 0.5, f64::from(upper.0) + 0.5);
        let (floor, top) = (f64::from(lower.1) + 0.5, f64::from(upper.1) + 0.5);
        let name = |name: &str, room: f64, size: f64| {
            (fit_sans(name, room.max(sans_width("x", size)), size), Type::new(size).at(Anchor::Middle))
        };
        if !x.name.is_empty() {
            let middle = (left + right) / 2.0;
            let room = 2.0 * (middle - place.x).min(svg.size().0 - middle);
            let (text, t) = name(&x.name, room, size_in(&x.name, room));
            svg.text(middle, place.y + place.h - BELOW + 30.0, &text, t);
        }
        // Beside the middle of the axis, or where it is longer, of the place.
        let middle = (floor + top) / 2.0;
        let beside = 2.0 * (middle - place.y).min(place.y + place.h - middle);
        let long = sans_width(&y.name, letters) > beside;
        let (middle, room) = if long { (place.y + place.h / 2.0, place.h) } else { (middle, beside) };
        let (text, t) = name(&y.name, room, letters);
        svg.text(place.x + 8.0, middle, &text, t.upwards());
        Ok(Self { inside: Rect { x: left, y: top, w: right - left, h: floor - top }, x, y })
    }

    /// Where a pair of values is, in pixels.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let Rect { x: left, y: top, w, h } = self.inside;
        (left + self.x.along(x) * w, top + (1.0 - self.y.along(y)) * h)
    }
}
