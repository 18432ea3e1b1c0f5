//! Neurons as they are seen: the strongest of a prompt as bars, over positions as colours, and what each says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rows::{NeuronLayerRow, NeuronRow, NeuronVocabRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible, visible_prose};
use crate::view::axis::Axis;
use crate::view::colour::Colours;
use crate::view::extent::{Extents, each_prompt};
use crate::view::kind::{Body, Cell, Heat, Item, Panel, Shape, Side, Steps, Table, TableRow, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen};

/// Neurons that are shown.
const SHOWN: usize = 20;
/// Positions that are shown: the last.
const POSITIONS: usize = 24;

impl Seen for NeuronLayerRow {
    const DRAWN: bool = false;
}

impl Seen for NeuronVocabRow {
    const DRAWN: bool = false;
}

impl Seen for NeuronRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let most = Extents::of::<Self>(rows, "prompt", how)?.reach(rows, "prompt", "push")?;
        let colours = Colours::signed("push (logits)", if most > 0.0 { most } else { 1.0 });
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            emit(view(format!("neurons{end}"), &own, &colours, provenance, how.locale))
        })
    }
}

/// `3.17`, `3.1.17`.
fn label(row: &NeuronRow) -> String {
    match row.expert {
        Some(expert) => format!("{}.{expert}.{}", row.layer, row.neuron),
        None => format!("{}.{}", row.layer, row.neuron),
    }
}

/// The tokens that it promotes, made visible.
fn says(row: &NeuronRow) -> String {
    visible(&row.promotes)
}

fn title(row: &NeuronRow, locale: Locale) -> String {
    let number = |x: f64| locale.number(x as f32);
    let gate = row.gate.map_or(String::new(), |gate| format!(", gate {}", number(gate)));
    let percentile = row.percentile.map_or(String::new(), |p| format!(", percentile {}", locale.fixed(p, 1)));
    format!(
        "neuron {} at position {}, {}: push {} on {}; activation {} (before {}{gate}){percentile}; length of its write {}, share of \
         the MLP's {}; promotes {}",
        label(row),
        row.pos,
        quoted(&row.input_token),
        locale.signed(row.push),
        quoted(&row.target),
        number(row.post),
        number(row.pre),
        number(row.write_norm),
        locale.percent(row.share_of_mlp),
        says(row)
    )
}

fn view(name: String, rows: &[NeuronRow], colours: &Colours, provenance: Arc<Provenance>, locale: Locale) -> View {
    let positions: Vec<&[NeuronRow]> = rows.chunk_by(|a, b| a.pos == b.pos).collect();
    let last = positions.last().copied().unwrap_or_default();
    let shown = &last[..last.len().min(SHOWN)];
    let about = last.first().map_or(String::new(), |row| {
        format!("prompt {} · after position {}, {}", row.prompt_id, row.pos, quoted(&row.input_token))
    });
    let legend = vec![
        "Pushes are logits less the mean logit; scales of norms are held.".to_owned(),
        "A neuron is its layer and its number; with experts, the expert stands between them.".to_owned(),
    ];
    let mut panels = vec![Panel { heading: String::new(), body: Body::Steps(bars(shown, locale)) }];
    if positions.len() > 1 {
        panels[0].heading = "At the last position".to_owned();
        let heading = "Over positions: on the token that is pushed there".to_owned();
        panels.push(Panel { heading, body: Body::Heat(over_positions(&positions, colours, locale)) });
    }
    let heading = "What they are, and what they say".to_owned();
    panels.push(Panel { heading, body: Body::Table(table(shown, colours, locale)) });
    View {
        name,
        title: "Neurons: which push the answer".to_owned(),
        subtitle: View::subtitle(&provenance, &about),
        caption: finding(last, locale),
        legend,
        panels,
        more: vec![],
        provenance,
        locale,
    }
}

/// The strongest neuron, and what part of the MLPs' writes these are.
fn finding(last: &[NeuronRow], locale: Locale) -> Vec<String> {
    let Some(most) = last.first() else { return vec![] };
    let strongest = last.iter().max_by(|a, b| a.push.abs().total_cmp(&b.push.abs())).unwrap_or(most);
    let mut said = vec![format!(
        "Neuron {} pushes {} most: {}. With the sign that it has here it promotes {}.",
        label(strongest),
        quoted(&strongest.target),
        locale.signed(strongest.push),
        says(strongest)
    )];
    let mut layers: BTreeMap<u32, (usize, f64)> = BTreeMap::new();
    for row in last {
        let of = layers.entry(row.layer).or_default();
        *of = (of.0 + 1, of.1 + row.share_of_mlp);
    }
    let share =
        |(layer, (n, share)): (&u32, &(usize, f64))| format!("{} in layer {layer} ({n})", locale.percent(*share));
    let shares: Vec<String> = layers.iter().map(share).collect();
    said.push(format!("Their part of what the MLP adds: {}.", shares.join(", ")));
    said
}

fn bars(shown: &[NeuronRow], locale: Locale) -> Steps {
    let most = shown.iter().map(|row| row.push).fold(0.0, f64::max);
    let least = shown.iter().map(|row| row.push).fold(0.0, f64::min);
    let room = if most == least { 1.0 } else { (most - least) * 0.1 };
    let (from, to) = (if least < 0.0 { least - room } else { 0.0 }, if most > 0.0 { most + room } else { 0.0 });
    let point = |row: &NeuronRow| Cell {
        value: row.push,
        label: locale.signed(row.push),
        title: title(row, locale),
        ..Cell::default()
    };
    let first = |row: &NeuronRow| says(row).split(',').next().unwrap_or_default().to_owned();
    Steps {
        x: Side::new(
            "neuron, and the token that it promotes most",
            shown.iter().map(|row| format!("{} {}", label(row), first(row))),
        ),
        y: Axis::linear("push on the target (logits)", from, to, 6),
        limits: (from, to),
        points: shown.iter().map(point).collect(),
        joined: false,
    }
}

/// The strongest neurons of any of the last positions, at each of them where they are among its strongest.
fn over_positions(positions: &[&[NeuronRow]], colours: &Colours, locale: Locale) -> Heat {
    let shown = &positions[positions.len().saturating_sub(POSITIONS)..];
    let mut strongest: BTreeMap<(u32, Option<u32>, u32), f64> = BTreeMap::new();
    for row in shown.iter().copied().flatten() {
        let most = strongest.entry((row.layer, row.expert, row.neuron)).or_default();
        *most = most.max(row.push.abs());
    }
    let mut order: Vec<_> = strongest.into_iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order.truncate(SHOWN);
    order.sort_by_key(|(place, _)| *place);
    let (mut cells, mut names) = (vec![], vec![String::new(); order.len()]);
    for (r, (place, _)) in order.iter().enumerate() {
        for (c, rows) in shown.iter().enumerate() {
            let Some(row) = rows.iter().find(|row| (row.layer, row.expert, row.neuron) == *place) else { continue };
            names[r] = label(row);
            let cell =
                Cell { value: row.push, label: locale.signed(row.push), title: title(row, locale), ..Cell::default() };
            cells.push(((r, c), cell));
        }
    }
    let item = |row: &NeuronRow| Item { label: visible(&row.input_token), number: Some(row.pos) };
    Heat {
        rows: Side::new("neuron", names),
        columns: Side {
            names: vec!["position and token read there".to_owned(), "position".to_owned()],
            items: shown.iter().filter_map(|rows| rows.first()).map(item).collect(),
        },
        above: Side::default(),
        cells,
        areas: vec![],
        colours: colours.clone(),
        shape: Shape::Numbers,
        absent: "not among the strongest that were kept",
    }
}

fn table(shown: &[NeuronRow], colours: &Colours, locale: Locale) -> Table {
    let gated = shown.iter().any(|row| row.gate.is_some());
    let read = shown.iter().any(|row| row.percentile.is_some());
    let number = |x: f64| Cell::said(locale.number(x as f32));
    let row = |row: &NeuronRow| {
        let mut cells = vec![Cell {
            value: row.push,
            label: locale.signed(row.push),
            title: title(row, locale),
            ..Cell::default()
        }];
        cells.push(number(row.post));
        cells.extend(gated.then(|| row.gate.map_or(Cell::said(""), number)));
        cells.extend(read.then(|| Cell::said(row.percentile.map_or(String::new(), |p| locale.fixed(p, 1)))));
        cells.push(number(row.write_norm));
        cells.push(Cell::said(locale.percent(row.share_of_mlp)));
        cells.push(Cell::said(visible_prose(&says(row))));
        TableRow { depth: 0, label: label(row), cells }
    };
    let columns = ["neuron", "push", "activation"].into_iter().chain(gated.then_some("gate"));
    let columns = columns.chain(read.then_some("percentile")).chain(["write", "share of MLP", "promotes"]);
    Table {
        columns: columns.map(str::to_owned).collect(),
        rows: shown.iter().map(row).collect(),
        colours: Some(colours.clone()),
    }
}
