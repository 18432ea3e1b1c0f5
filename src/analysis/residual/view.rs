//! Strokes as they are seen: pushes, what the lens says, and the stream, over depth; and when each position decided.

use std::sync::Arc;

use super::rows::{ResidualHeadRow, ResidualMeanRow, ResidualRow};
use crate::analysis::lens::view::MOST_CELLS;
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible, visible_prose};
use crate::view::axis::Axis;
use crate::view::colour::Colours;
use crate::view::extent::each_prompt;
use crate::view::kind::{Body, Cell, Heat, Item, Line, Lines, Mark, Panel, Shape, Side, Table, TableRow, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen};

impl Seen for ResidualHeadRow {
    const DRAWN: bool = false;
}

impl Seen for ResidualMeanRow {
    const DRAWN: bool = false;
}

impl Seen for ResidualRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            let positions: Vec<&[Self]> = own.chunk_by(|a, b| a.pos == b.pos).collect();
            let name = format!("residual{}", end);
            emit(view(name, &positions, provenance, how.locale))
        })
    }
}

/// `embed`, `0 attn`, `0 mlp`.
fn label(row: &ResidualRow) -> String {
    visible_prose(&row.layer.map_or(row.kind.clone(), |layer| format!("{layer} {}", row.kind)))
}

/// How many blocks a stroke completes, where each of a block's strokes counts alike.
fn depths(rows: &[ResidualRow]) -> Vec<f64> {
    let of_block = |layer: Option<u32>| rows.iter().filter(|row| row.layer == layer).count().max(1);
    let mut done = 0;
    let depth = rows.iter().enumerate().map(|(i, row)| {
        let Some(layer) = row.layer else { return 0.0 };
        done = if i > 0 && rows[i - 1].layer == row.layer { done + 1 } else { 1 };
        f64::from(layer) + done as f64 / of_block(Some(layer)) as f64
    });
    depth.collect()
}

fn view(name: String, positions: &[&[ResidualRow]], provenance: Arc<Provenance>, locale: Locale) -> View {
    let all = positions.last().copied().unwrap_or_default();
    let strokes: Vec<&ResidualRow> = all.iter().filter(|row| row.kind != "bias").collect();
    let about = all.first().map_or(String::new(), |row| {
        format!("prompt {} · after position {}, {}", row.prompt_id, row.pos, quoted(&row.input_token))
    });
    let owned: Vec<ResidualRow> = strokes.iter().map(|row| (*row).clone()).collect();
    let depth = depths(&owned);
    let mut panels = vec![pushes(&strokes, &depth, locale), lens(&strokes, locale), stream(&strokes, &depth, locale)];
    panels.extend((positions.len() > 1).then(|| decided(positions)));
    let mut legend = vec!["Pushes are logits less the mean logit; the last stream's scale is held.".to_owned()];
    let drawn = positions.iter().copied().flatten();
    if drawn.into_iter().any(|row| row.lens_rank_of_target == Some(1)) {
        legend.push("Outlined: the lens says the target.".to_owned());
    }
    if positions.len() > 1 {
        legend.push("All panels but the last are of the last position.".to_owned());
    }
    View {
        name,
        title: "Residual stream: what pushes the answer".to_owned(),
        subtitle: View::subtitle(&provenance, &about),
        caption: finding(all, &strokes, locale),
        legend,
        panels,
        more: vec![Panel { heading: String::new(), body: Body::Table(table(all, locale)) }],
        provenance,
        locale,
    }
}

/// Which stroke pushes most, when the lens says the target, and how far the sums are off.
fn finding(all: &[ResidualRow], strokes: &[&ResidualRow], locale: Locale) -> Vec<String> {
    let Some(last) = all.last() else { return vec![] };
    let target = quoted(&last.target);
    let mut said = vec![];
    if let Some(most) = strokes.iter().max_by(|a, b| a.push.total_cmp(&b.push)) {
        let total = locale.signed(last.push_cumulative);
        // The curve ends before them.
        let biases = strokes.last().is_some_and(|end| locale.signed(end.push_cumulative) != total);
        let biases = if biases { " with the biases at the end" } else { "" };
        said.push(format!(
            "{target} is {total} above the mean logit{biases}; the strongest push is that of {}, {}.",
            label(most),
            locale.signed(most.push)
        ));
    }
    let read: Vec<&&ResidualRow> = strokes.iter().filter(|row| row.lens_token.is_some()).collect();
    let first = read.iter().rev().take_while(|row| row.lens_rank_of_target == Some(1)).last();
    said.push(match first {
        Some(row) => format!("From {} on it is the most probable token under the lens.", label(row)),
        None => {
            let rank = read.last().and_then(|row| row.lens_rank_of_target).unwrap_or(0);
            format!("It is not the most probable token in the end, but of rank {rank}.")
        }
    });
    let gap = all.iter().filter_map(|row| row.gap).fold(0.0, f64::max);
    said.push(format!("The sums are right within {gap:.0e} of the logits' spread."));
    said
}

/// Cumulative pushes on the target and the foil.
fn pushes(strokes: &[&ResidualRow], depth: &[f64], locale: Locale) -> Panel {
    let mut on_foil = 0.0;
    let foil: Option<Vec<f64>> = (strokes.iter())
        .map(|row| {
            on_foil += row.push - row.push_foil?;
            Some(on_foil)
        })
        .collect();
    let target: Vec<f64> = strokes.iter().map(|row| row.push_cumulative).collect();
    let name = |token: Option<&str>| token.map_or(String::new(), quoted);
    let mut both = vec![];
    let of_foil = strokes.first().and_then(|row| row.foil.as_deref());
    both.extend(foil.map(|foil| (name(of_foil), false, foil)));
    both.push((name(strokes.first().map(|row| row.target.as_str())), true, target));
    let titles = |i: usize, row: &ResidualRow| {
        let foil =
            row.push_foil.map_or(String::new(), |push| format!(", compared with the foil {}", locale.signed(push)));
        let (push, sum) = (locale.signed(row.push), locale.signed(row.push_cumulative));
        (depth[i], format!("{}: push {push}{foil}, together {sum}", label(row)))
    };
    lines("Cumulative push on the target", "logit less the mean logit", both, strokes, depth, &titles, locale)
}

/// Norm and direction of the stream.
fn stream(strokes: &[&ResidualRow], depth: &[f64], locale: Locale) -> Panel {
    let last = strokes.iter().rev().find_map(|row| row.stream_norm).unwrap_or(1.0);
    let norms = strokes.iter().map(|row| row.stream_norm.map_or(f64::NAN, |norm| norm / last)).collect();
    let cosines = strokes.iter().map(|row| row.cos_final.unwrap_or(f64::NAN)).collect();
    let both = vec![("norm / final norm".to_owned(), false, norms), ("cosine to final".to_owned(), true, cosines)];
    let titles = |i: usize, row: &ResidualRow| {
        let number = |x: Option<f64>| x.map_or("none".to_owned(), |x| locale.number(x as f32));
        let facts = [
            ("norm", row.stream_norm),
            ("cosine to the final stream", row.cos_final),
            ("of the stroke", row.write_norm),
        ];
        let facts: Vec<String> = facts.map(|(name, x)| format!("{name} {}", number(x))).to_vec();
        (depth[i], format!("{}: {}", label(row), facts.join(", ")))
    };
    lines("The stream itself", "share of the final norm; cosine", both, strokes, depth, &titles, locale)
}

fn lines(
    heading: &str,
    axis: &str,
    values: Vec<(String, bool, Vec<f64>)>,
    strokes: &[&ResidualRow],
    depth: &[f64],
    title: &dyn Fn(usize, &ResidualRow) -> (f64, String),
    locale: Locale,
) -> Panel {
    let finite = || values.iter().flat_map(|(_, _, y)| y).copied().filter(|y| y.is_finite());
    let (least, most) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    let room = if least == most { 1.0 } else { (most - least) * 0.06 };
    let end = depth.last().copied().unwrap_or(1.0).max(1.0);
    let line = |(name, strong, y): (String, bool, Vec<f64>)| {
        let last = y.iter().rev().copied().find(|y| y.is_finite()).unwrap_or(f64::NAN);
        let points = depth.iter().copied().zip(y).filter(|(_, y)| y.is_finite()).collect();
        Line { name, end: locale.number(last as f32), strong, points }
    };
    let lines = Lines {
        x: Axis::counted("blocks passed: attention a half, MLP the whole", 0.0, end, 8),
        y: Axis::linear(axis, least - room, most + room, 6),
        stairs: true,
        titles: strokes.iter().enumerate().map(|(i, row)| title(i, row)).collect(),
        lines: values.into_iter().map(line).collect(),
    };
    Panel { heading: heading.to_owned(), body: Body::Lines(lines) }
}

/// What the lens says after each stroke.
fn lens(strokes: &[&ResidualRow], locale: Locale) -> Panel {
    let read: Vec<&&ResidualRow> = strokes.iter().filter(|row| row.lens_token.is_some()).collect();
    let cell = |row: &ResidualRow| {
        let (token, prob) = (row.lens_token.as_deref().unwrap_or_default(), row.lens_prob.unwrap_or(f64::NAN));
        let number = |x: Option<f64>| x.map_or(String::new(), |x| locale.fixed(x, 2));
        Cell {
            value: prob,
            label: visible(token),
            below: locale.short_probability(prob as f32),
            title: format!(
                "{}: {} with {}; rank of the target {}; entropy {} bits, KL to final {} bits",
                label(row),
                quoted(token),
                locale.probability(prob as f32),
                row.lens_rank_of_target.unwrap_or(0),
                number(row.entropy_bits),
                number(row.kl_to_final_bits)
            ),
            error: None,
            mark: if row.lens_rank_of_target == Some(1) { Mark::Hit } else { Mark::Plain },
        }
    };
    heat(
        "The most probable token if the model stopped there",
        Side::new("", [String::new()]),
        Side::new("stroke", read.iter().map(|row| label(row))),
        read.iter().enumerate().map(|(i, row)| ((0, i), cell(row))).collect(),
        "probability",
    )
}

/// The rank of the target after each block, at every position.
fn decided(positions: &[&[ResidualRow]]) -> Panel {
    let steps: Vec<&ResidualRow> = positions[0].iter().filter(|row| row.lens_token.is_some()).collect();
    // Of positions the last matter most.
    let shown = &positions[positions.len().saturating_sub((MOST_CELLS / steps.len().max(1)).max(1))..];
    let columns = Side {
        names: vec!["position and token read there".to_owned(), "position".to_owned()],
        items: (shown.iter().filter_map(|rows| rows.first()))
            .map(|row| Item { label: visible(&row.input_token), number: Some(row.pos) })
            .collect(),
    };
    let mut cells = vec![];
    for (r, step) in steps.iter().rev().enumerate() {
        for (c, rows) in shown.iter().enumerate() {
            let Some(row) = rows.get(step.step as usize) else { continue };
            let Some(rank) = row.lens_rank_of_target else { continue };
            let title = format!("{}, position {}: {} has rank {rank}", label(row), row.pos, quoted(&row.target));
            let mark = if rank == 1 { Mark::Hit } else { Mark::Plain };
            let value = 1.0 / f64::from(rank);
            cells.push(((r, c), Cell { value, label: rank.to_string(), title, mark, ..Cell::default() }));
        }
    }
    let rows = Side::new("stroke", steps.iter().rev().map(|row| label(row)));
    heat("Rank of the target under the lens: when did each position decide?", rows, columns, cells, "1 / rank")
}

fn heat(heading: &str, rows: Side, columns: Side, cells: Vec<((usize, usize), Cell)>, colours: &str) -> Panel {
    let heat = Heat {
        rows,
        columns,
        above: Side::default(),
        cells,
        areas: vec![],
        colours: Colours::probability(colours),
        shape: Shape::Tokens,
        absent: "no such position",
    };
    Panel { heading: heading.to_owned(), body: Body::Heat(heat) }
}

/// All three panels as a table of strokes.
fn table(all: &[ResidualRow], locale: Locale) -> Table {
    let foil = all.first().is_some_and(|row| row.foil.is_some());
    let most = all.iter().map(|row| row.push.abs()).fold(0.0, f64::max);
    let signed = |x: f64| Cell { value: x, label: locale.signed(x), ..Cell::default() };
    let number = |x: Option<f64>| Cell::said(x.map_or(String::new(), |x| locale.number(x as f32)));
    let row = |row: &ResidualRow| {
        let mut cells = vec![signed(row.push)];
        cells.extend(foil.then(|| signed(row.push_foil.unwrap_or(f64::NAN))));
        cells.push(Cell::said(locale.signed(row.push_cumulative)));
        let token = row.lens_token.as_deref().map_or(String::new(), quoted);
        let prob = row.lens_prob.map_or(String::new(), |p| locale.probability(p as f32));
        cells.push(Cell::said(format!("{token} {prob}")));
        cells.push(Cell::said(row.lens_rank_of_target.map_or(String::new(), |rank| format!("rank {rank}"))));
        cells.extend([number(row.stream_norm), number(row.cos_final)]);
        cells.push(Cell::said(row.gap.map_or(String::new(), |gap| format!("{gap:.0e}"))));
        TableRow { depth: 0, label: label(row), cells }
    };
    let columns = ["stroke", "push"].into_iter().chain(foil.then_some("on target less foil"));
    let columns = columns.chain(["together", "lens says", "target", "norm", "cosine to final", "gap"]);
    Table {
        columns: columns.map(str::to_owned).collect(),
        rows: all.iter().map(row).collect(),
        colours: Some(Colours::signed("push", if most > 0.0 { most } else { 1.0 })),
    }
}
