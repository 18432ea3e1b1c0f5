//! A line over named steps: how one number develops from site to site.

use super::axis::{Axis, BELOW, LEFT, Plot, round_up};
use super::colour::Rgb;
use super::label::{fit_sans, sans_width};
use super::svg::{Anchor, Rect, Svg, Type};
use crate::error::Result;

/// One point of the line.
pub(crate) struct Point {
    /// Height, not negative.
    pub y: f64,
    /// Its facts.
    pub title: String,
    /// A word that is written over it where there is room.
    pub note: String,
    /// What stands under it.
    pub label: String,
}

/// Draws `points` within `place`: y from 0 to a round number over the largest, labels below, names on both axes.
///
/// # Errors
/// None that are known; plotters' are passed on.
pub(crate) fn line(svg: &mut Svg, place: Rect, points: &[Point], x_name: &str, y_name: &str) -> Result<()> {
    let most = points.iter().map(|p| p.y).filter(|y| y.is_finite()).fold(0.0, f64::max);
    let top = round_up(most);
    let x = Axis::bare(x_name, -0.5, points.len() as f64 - 0.5);
    let plot = Plot::draw(svg, place, x, Axis::linear(y_name, 0.0, top, 5))?;
    let at: Vec<(f64, f64)> = points.iter().enumerate().map(|(i, p)| plot.at(i as f64, p.y.min(top))).collect();
    let pitch = (place.w - LEFT) / points.len().max(1) as f64;

    // NaN has no place on the axis: the line is broken there.
    for run in at.iter().zip(points).collect::<Vec<_>>().split(|(_, p)| !p.y.is_finite()) {
        let run: Vec<_> = run.iter().map(|(at, _)| **at).collect();
        svg.line(&run, Rgb::LINE, 2.0);
    }
    let notes = points.iter().all(|p| sans_width(&p.note, 9.0) <= pitch - 3.0);
    let widest = points.iter().map(|p| sans_width(&p.label, 10.0)).fold(0.0, f64::max);
    let every = ((widest.min(pitch.max(60.0)) + 6.0) / pitch).ceil().max(1.0) as usize;
    let floor = place.y + place.h - BELOW;
    for (i, (point, &(x, y))) in points.iter().zip(&at).enumerate() {
        if point.y.is_finite() {
            svg.dot(x, y, if pitch >= 10.0 { 3.5 } else { 2.0 }, Rgb::LINE, Some(&point.title));
            if notes {
                // Over the point, unless that is outside the axes.
                let above = if y - 12.0 > place.y { y - 11.0 } else { y + 12.0 };
                svg.text(x, above, &point.note, Type::new(9.0).at(Anchor::Middle).ink(Rgb::SOFT));
            }
        }
        if i.is_multiple_of(every) {
            let label = fit_sans(&point.label, every as f64 * pitch - 4.0, 10.0);
            svg.text(x, floor + 11.0, &label, Type::new(10.0).at(Anchor::Middle).ink(Rgb::SOFT));
        }
    }
    Ok(())
}
