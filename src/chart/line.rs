//! A line over named steps: how one number develops from site to site.

use super::backend::Backend;
use super::colour::Rgb;
use super::label::{fit_sans, sans_width};
use super::svg::{Anchor, Rect, Svg, Type};
use super::undrawn;
use crate::error::Result;
use plotters::prelude::{ChartBuilder, IntoDrawingArea};
use plotters::style::{Color, RGBColor, ShapeStyle};

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

/// Pixels left of the axis.
pub(crate) const LEFT: f64 = 56.0;
/// Pixels below the axis.
const BELOW: f64 = 40.0;

/// Draws `points` within `place`: y from 0 to a round number over the largest, labels below, names on both axes.
///
/// # Errors
/// None that are known; plotters' are passed on.
pub(crate) fn line(svg: &mut Svg, place: Rect, points: &[Point], x_name: &str, y_name: &str) -> Result<()> {
    let most = points.iter().map(|p| p.y).filter(|y| y.is_finite()).fold(0.0, f64::max);
    let top = round_up(most);
    let shade = |c: Rgb| ShapeStyle { color: RGBColor(c.0, c.1, c.2).to_rgba(), filled: false, stroke_width: 1 };
    let at: Vec<(i32, i32)> = {
        let root = Backend(svg).into_drawing_area();
        let area = root.shrink((place.x as i32, place.y as i32), (place.w as u32, place.h as u32));
        let mut chart = ChartBuilder::on(&area)
            .set_label_area_size(plotters::prelude::LabelAreaPosition::Left, LEFT as i32)
            .set_label_area_size(plotters::prelude::LabelAreaPosition::Bottom, BELOW as i32)
            .build_cartesian_2d(-0.5..points.len() as f64 - 0.5, 0.0..top)
            .map_err(undrawn)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_labels(5)
            .y_label_formatter(&|y| tick(*y))
            .label_style(("sans-serif", 12.4))
            .axis_style(shade(Rgb::SOFT))
            .bold_line_style(shade(Rgb::FAINT))
            .light_line_style(RGBColor(255, 255, 255).mix(0.0))
            .draw()
            .map_err(undrawn)?;
        points.iter().enumerate().map(|(i, p)| chart.backend_coord(&(i as f64, p.y.min(top)))).collect()
    };
    let at: Vec<(f64, f64)> = at.into_iter().map(|(x, y)| (f64::from(x) + 0.5, f64::from(y) + 0.5)).collect();
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
    let middle = place.x + LEFT + (place.w - LEFT) / 2.0;
    svg.text(middle, floor + 30.0, x_name, Type::new(11.0).at(Anchor::Middle));
    svg.text(place.x + 8.0, place.y + (place.h - BELOW) / 2.0, y_name, Type::new(11.0).at(Anchor::Middle).upwards());
    Ok(())
}

/// The end of the axis: 1, 2 or 5 times a power of ten, with room over the largest value.
fn round_up(most: f64) -> f64 {
    if !(most > 0.0 && most.is_finite()) {
        return 1.0;
    }
    let wanted = most * 1.08;
    let power = 10f64.powf(wanted.log10().floor());
    // A probability needs no axis beyond 1, however close it comes.
    let end = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|end| *end >= wanted).unwrap_or(10.0 * power);
    if most <= 1.0 { end.min(1.0) } else { end }
}

fn tick(y: f64) -> String {
    if y == 0.0 {
        "0".to_owned()
    } else if y < 0.001 {
        format!("{y:.0e}")
    } else {
        format!("{y:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        assert_eq!((round_up(0.0), round_up(0.4), round_up(0.97), round_up(1.0)), (1.0, 0.5, 1.0, 1.0));
        assert!((round_up(0.013) - 0.02).abs() < 1e-12);
        assert_eq!((round_up(f64::NAN), round_up(7.0)), (1.0, 10.0));
        assert_eq!((tick(0.25), tick(0.0), tick(0.0002)), ("0.25".into(), "0".into(), "2e-4".into()));
    }
}
