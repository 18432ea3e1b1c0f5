//! The loss curve of a training run: what the model was trained on, and what it never saw.

use crate::analysis::TrainingRow;
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Row, Rows};
use crate::view::axis::Axis;
use crate::view::kind::{Body, Line, Lines, View};
use crate::view::{Emit, Options, Seen, no_rows};
use std::sync::Arc;

/// From this factor between the largest and the smallest loss on, the axis is logarithmic.
const LOG_FROM: f64 = 3.0;
/// So many reports can be pointed at, evenly chosen; of more, every one would be narrower than a pointer.
const MOST_TITLES: usize = 120;

impl Seen for TrainingRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let mut all = vec![];
        rows.rows(0..rows.len(), &mut |row| {
            all.push(row);
            Ok(())
        })?;
        emit(view(&all, from, how.locale)?)
    }
}

/// A loss of a report.
type Loss = fn(&TrainingRow) -> f32;

/// The two losses, the weaker line first.
const LOSSES: [(&str, Loss); 2] = [("training", |r| r.loss_nats), ("held out", |r| r.held_out_loss_nats)];

/// One figure: training loss and held-out loss over the steps, with the values of the last report at the lines' ends.
/// The axis is logarithmic if the losses span a factor of three or more. A loss that is not a finite number breaks its
/// line.
///
/// # Errors
/// There are no rows.
fn view(rows: &[TrainingRow], provenance: &Provenance, locale: Locale) -> Result<View> {
    let mut rows: Vec<&TrainingRow> = rows.iter().collect();
    // Stable: reports of the same step stay as they are.
    rows.sort_by_key(|r| r.step);
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Err(no_rows::<TrainingRow>()) };
    let line = |(i, (name, of)): (usize, (&str, Loss))| Line {
        name: name.to_owned(),
        // Of the last report, whatever that is.
        end: locale.loss(of(last)),
        strong: i == 1,
        points: rows.iter().map(|r| (r.step as f64, f64::from(of(r)))).collect(),
    };
    let shown = rows.len().min(MOST_TITLES);
    let chosen = (0..shown).map(|i| rows[if shown > 1 { i * (rows.len() - 1) / (shown - 1) } else { 0 }]);
    let lines = Lines {
        x: steps(first.step, last.step),
        y: losses(&rows),
        stairs: false,
        lines: LOSSES.into_iter().enumerate().map(line).collect(),
        titles: chosen.map(|row| (row.step as f64, facts(row, locale))).collect(),
    };
    let about = format!("{} steps · {} tokens", locale.count(last.step), locale.count(last.tokens));
    Ok(View {
        name: TrainingRow::TABLE.name.to_owned(),
        title: "Loss in training".to_owned(),
        subtitle: View::subtitle(provenance, &about),
        caption: caption(&rows, locale),
        legend: vec![
            "Thin: mean of the batches since the report before, each before its own step.".to_owned(),
            "Thick: a fixed batch that is never trained on.".to_owned(),
        ],
        panels: View::panel(Body::Lines(lines)),
        more: vec![],
        provenance: Arc::new(provenance.clone()),
        locale,
    })
}

/// The axis of steps: from 0, unless the run was taken up late.
fn steps(first: u64, last: u64) -> Axis {
    let (first, last) = (first as f64, last as f64);
    let from = if first <= 0.25 * last || first == last { 0.0 } else { first };
    Axis::counted("optimizer steps", from, last.max(from + 1.0), 6)
}

/// The axis of losses, with a little room above and below them.
fn losses(rows: &[&TrainingRow]) -> Axis {
    let all = || rows.iter().flat_map(|r| LOSSES.map(|(_, of)| f64::from(of(r)))).filter(|y| y.is_finite());
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

/// The facts of a report in one line.
fn facts(row: &TrainingRow, number: Locale) -> String {
    format!(
        "step {}, {} tokens: training {} nats, held out {} nats; gradient norm {}, learning rate {}",
        number.count(row.step),
        number.count(row.tokens),
        number.loss(row.loss_nats),
        number.loss(row.held_out_loss_nats),
        number.any(row.gradient_norm),
        number.any(row.learning_rate)
    )
}

fn caption(rows: &[&TrainingRow], number: Locale) -> Vec<String> {
    let mut sentences = vec![];
    let held_out = rows.iter().filter(|r| r.held_out_loss_nats.is_finite());
    if let Some(best) = held_out.min_by(|a, b| a.held_out_loss_nats.total_cmp(&b.held_out_loss_nats)) {
        let (loss, step) = (number.loss(best.held_out_loss_nats), number.count(best.step));
        sentences.push(format!("The lowest held-out loss is {loss} nats, at step {step}."));
    }
    let broken = rows.iter().filter(|r| LOSSES.iter().any(|(_, of)| !of(r).is_finite())).count();
    if broken > 0 {
        sentences.push(format!(
            "{} of {} reports have a loss that is not a finite number; the line is broken there.",
            number.count(broken as u64),
            number.count(rows.len() as u64)
        ));
    }
    sentences
}
