//! The loss curve of a training run: what the model was trained on, and what it never saw.

use super::axis::{Axis, Plot, thousands};
use super::colour::Rgb;
use super::frame::{self, HEAD, MARGIN};
use super::svg::{Rect, Stroke, Svg, Type};
use super::{Figure, no_rows};
use crate::analysis::TrainingRow;
use crate::error::Result;
use crate::table::{Provenance, Row};

/// Width of the figure.
const WIDTH: f64 = 760.0;
/// Height of the plot, labels and name of its x axis included.
const PLOT: f64 = 340.0;
/// Space right of the plot, where the lines are named.
const NAMES: f64 = 118.0;
/// From this factor between the largest and the smallest loss on, the axis is logarithmic.
const LOG_FROM: f64 = 3.0;
/// So many reports can be pointed at, evenly chosen; of more, every one would be narrower than a pointer.
const MOST_TITLES: usize = 120;
/// Up to so many reports, the weak line is dashed; the noise of more would make a speckled band of it.
const MOST_DASHED: usize = 500;
/// Up to so many reports have a dot each.
const MOST_DOTS: usize = 40;

/// One of the two losses.
struct Series {
    name: &'static str,
    of: fn(&TrainingRow) -> f32,
    stroke: Stroke,
    dot: f64,
}

/// Thin and dashed, drawn first; thick and whole, drawn over it: they differ without colour too.
const SERIES: [Series; 2] = [
    Series {
        name: "training",
        of: |r| r.loss_nats,
        stroke: Stroke { ink: Rgb(116, 116, 124), width: 1.2, dash: Some("4 2.5") },
        dot: 1.8,
    },
    Series {
        name: "held out",
        of: |r| r.held_out_loss_nats,
        stroke: Stroke { ink: Rgb::LINE, width: 2.2, dash: None },
        dot: 2.8,
    },
];

/// One figure: training loss and held-out loss over the steps, with the values of the last report at the lines' ends.
/// The axis is logarithmic if the losses span a factor of three or more. A loss that is not a finite number breaks its
/// line.
///
/// # Errors
/// There are no rows.
pub fn training(rows: &[TrainingRow], provenance: &Provenance) -> Result<Vec<Figure>> {
    let mut rows: Vec<&TrainingRow> = rows.iter().collect();
    // Stable: reports of the same step stay as they are.
    rows.sort_by_key(|r| r.step);
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Err(no_rows::<TrainingRow>()) };
    let caption = frame::caption_lines(&caption(&rows), WIDTH);
    let mut svg = Svg::new(WIDTH, HEAD + PLOT + frame::caption_height(caption.len()));
    let about = format!("{} steps · {} tokens", thousands(last.step), thousands(last.tokens));
    let subtitle = frame::subtitle(provenance, &about);
    frame::head(&mut svg, "Loss in training", &subtitle);
    let place = Rect { x: MARGIN, y: HEAD, w: WIDTH - 2.0 * MARGIN - NAMES, h: PLOT };
    let plot = Plot::draw(&mut svg, place, steps(first.step, last.step), losses(&rows))?;
    for series in &SERIES {
        series.draw(&mut svg, &plot, &rows);
    }
    ends(&mut svg, &plot, &rows);
    titles(&mut svg, &plot, &rows);
    frame::caption(&mut svg, &caption);
    let svg = svg.finish(&format!("Loss in training, {subtitle}"), &frame::desc(provenance));
    Ok(vec![Figure { name: TrainingRow::TABLE.name.to_owned(), svg }])
}

/// The axis of steps: from 0, unless the run was taken up late.
fn steps(first: u64, last: u64) -> Axis {
    let (first, last) = (first as f64, last as f64);
    let from = if first <= 0.25 * last || first == last { 0.0 } else { first };
    Axis::counted("optimizer steps", from, last.max(from + 1.0), 6)
}

/// The axis of losses, with a little room above and below them.
fn losses(rows: &[&TrainingRow]) -> Axis {
    let all = || rows.iter().flat_map(|r| SERIES.iter().map(|s| f64::from((s.of)(r)))).filter(|y| y.is_finite());
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    if least > most {
        return Axis::linear("cross-entropy (nats)", 0.0, 1.0, 5);
    }
    if least > 0.0 && most >= LOG_FROM * least {
        let room = (most / least).powf(0.05);
        return Axis::log("cross-entropy (nats, logarithmic)", least / room, most * room);
    }
    let room = match (most - least) * 0.08 {
        room if room > 0.0 => room,
        _ if most == 0.0 => 1.0,
        _ => 0.1 * most.abs(),
    };
    Axis::linear("cross-entropy (nats)", least - room, most + room, 6)
}

impl Series {
    fn stroke(&self, rows: &[&TrainingRow]) -> Stroke {
        Stroke { dash: self.stroke.dash.filter(|_| rows.len() <= MOST_DASHED), ..self.stroke }
    }

    /// The line, broken where the loss is not finite; what stands alone, and all if they are few, as dots.
    fn draw(&self, svg: &mut Svg, plot: &Plot, rows: &[&TrainingRow]) {
        let few = rows.len() <= MOST_DOTS;
        for run in rows.split(|r| !(self.of)(r).is_finite()) {
            let run: Vec<_> = run.iter().map(|r| plot.at(r.step as f64, f64::from((self.of)(r)))).collect();
            if run.len() > 1 {
                svg.curve(&thinned(&run), self.stroke(rows));
            }
            for &(x, y) in run.iter().filter(|_| few || run.len() == 1) {
                svg.dot(x, y, self.dot, self.stroke.ink, None);
            }
        }
    }

    /// The last report with a finite loss.
    fn end<'a>(&self, rows: &[&'a TrainingRow]) -> Option<&'a TrainingRow> {
        rows.iter().rev().find(|r| (self.of)(r).is_finite()).copied()
    }
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

/// Names the lines at their ends, with the losses of the last report, whatever those are.
fn ends(svg: &mut Svg, plot: &Plot, rows: &[&TrainingRow]) {
    let Some(last) = rows.last() else { return };
    let inside = plot.inside;
    let mut ends: Vec<(f64, &Series)> = SERIES
        .iter()
        .map(|s| (s.end(rows).map_or(inside.y, |r| plot.at(r.step as f64, f64::from((s.of)(r))).1), s))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Two lines of text each.
    let (apart, half) = (36.0, 16.0);
    if let [upper, lower] = &mut ends[..] {
        let short = (apart - (lower.0 - upper.0)).max(0.0);
        upper.0 -= short / 2.0;
        lower.0 += short / 2.0;
        let down = (inside.y + half - upper.0).max(0.0);
        let up = (lower.0 + down - (inside.y + inside.h - half)).max(0.0);
        upper.0 += down - up;
        lower.0 += down - up;
    }
    let x = inside.x + inside.w + 10.0;
    for (y, series) in ends {
        svg.curve(&[(x, y - 8.0), (x + 24.0, y - 8.0)], series.stroke(rows));
        svg.text(x + 30.0, y - 8.0, series.name, Type::new(11.0));
        svg.text(x + 30.0, y + 8.0, &nats((series.of)(last)), Type::new(13.0).bold());
    }
}

/// Columns over the plot that say the facts of a report where one points at it.
fn titles(svg: &mut Svg, plot: &Plot, rows: &[&TrainingRow]) {
    let shown = rows.len().min(MOST_TITLES);
    let chosen: Vec<&TrainingRow> =
        (0..shown).map(|i| rows[if shown > 1 { i * (rows.len() - 1) / (shown - 1) } else { 0 }]).collect();
    let at = |r: &TrainingRow| plot.at(r.step as f64, plot.lowest()).0;
    let Rect { x: left, y, w, h } = plot.inside;
    let mut from = left;
    for (i, row) in chosen.iter().enumerate() {
        let to = chosen.get(i + 1).map_or(left + w, |next| (at(row) + at(next)) / 2.0);
        svg.hover(Rect { x: from, y, w: to - from, h }, &facts(row));
        from = to;
    }
}

/// The facts of a report in one line.
fn facts(row: &TrainingRow) -> String {
    format!(
        "step {}, {} tokens: training {} nats, held out {} nats; gradient norm {}, learning rate {}",
        thousands(row.step),
        thousands(row.tokens),
        nats(row.loss_nats),
        nats(row.held_out_loss_nats),
        short(row.gradient_norm),
        short(row.learning_rate)
    )
}

fn caption(rows: &[&TrainingRow]) -> Vec<String> {
    let mut sentences = vec![
        "Thin: mean of the batches since the report before, each before its own step.".to_owned(),
        "Thick: a fixed batch that is never trained on.".to_owned(),
    ];
    let held_out = rows.iter().filter(|r| r.held_out_loss_nats.is_finite());
    if let Some(best) = held_out.min_by(|a, b| a.held_out_loss_nats.total_cmp(&b.held_out_loss_nats)) {
        let (loss, step) = (nats(best.held_out_loss_nats), thousands(best.step));
        sentences.push(format!("The lowest held-out loss is {loss} nats, at step {step}."));
    }
    let broken = rows.iter().filter(|r| SERIES.iter().any(|s| !(s.of)(r).is_finite())).count();
    if broken > 0 {
        sentences.push(format!(
            "{} of {} reports have a loss that is not a finite number; the line is broken there.",
            thousands(broken as u64),
            thousands(rows.len() as u64)
        ));
    }
    sentences
}

/// A loss: three decimals, unless that would hide it.
fn nats(loss: f32) -> String {
    match loss.abs() {
        0.0 => "0".to_owned(),
        size if !size.is_finite() => loss.to_string(),
        0.01..1e5 => format!("{loss:.3}"),
        _ => format!("{loss:.2e}"),
    }
}

/// Three significant digits of a number of any size.
fn short(x: f32) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        size if !size.is_finite() => x.to_string(),
        0.1..1000.0 => format!("{x:.3}"),
        _ => format!("{x:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn losses_are_short_and_never_nothing() {
        assert_eq!(
            (nats(1.48249), nats(0.0), nats(0.0004), nats(2e30)),
            ("1.482".into(), "0".into(), "4.00e-4".into(), "2.00e30".into())
        );
        assert_eq!((nats(f32::NAN), nats(f32::INFINITY)), ("NaN".into(), "inf".into()));
        assert_eq!((short(0.00054), short(1.25)), ("5.40e-4".into(), "1.250".into()));
    }
}
