//! Rotary wavelengths, and what ALiBi takes away.

use std::sync::Arc;

use super::{around, panel};
use crate::analysis::position::{PositionAlibiRow, PositionLayerRow, PositionRotaryRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible_prose};
use crate::view::axis::Axis;
use crate::view::extent::each_prompt;
use crate::view::kind::{Body, Cell, Line, Lines, Panel, Table, TableRow, View};
use crate::view::{Emit, Options, Seen, all_rows};

/// Heads of ALiBi with a curve each.
const CURVES: usize = 6;

impl Seen for PositionLayerRow {
    const DRAWN: bool = false;
}

/// Layers whose pairs turn alike, and their pairs.
type Alike<'a> = (Vec<u32>, &'a [PositionRotaryRow]);

impl Seen for PositionRotaryRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let locale = how.locale;
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            let mut alike: Vec<Alike> = vec![];
            for pairs in own.chunk_by(|a, b| a.layer == b.layer) {
                let same = |known: &&mut Alike| {
                    known.1.len() == pairs.len()
                        && known.1.iter().zip(pairs).all(|(a, b)| (a.angle, a.dim_b) == (b.angle, b.dim_b))
                };
                match alike.iter_mut().find(same) {
                    Some((layers, _)) => layers.push(pairs[0].layer),
                    None => alike.push((vec![pairs[0].layer], pairs)),
                }
            }
            let about = own.first().map_or(String::new(), |row| format!("prompt {}", visible_prose(&row.prompt_id)));
            emit(View {
                name: format!("position-rotary{end}"),
                title: "How fast pairs of dimensions turn".to_owned(),
                subtitle: View::subtitle(&provenance, &about),
                caption: alike.iter().take(1).flat_map(|(_, pairs)| finding(pairs, locale)).collect(),
                legend: vec![
                    "A pair whose wavelength is longer than the context never comes back within it.".to_owned(),
                ],
                panels: alike.iter().map(|alike| wavelengths(alike, locale)).collect(),
                more: alike
                    .first()
                    .map(|(_, pairs)| panel("", Body::Table(table(pairs, locale))))
                    .into_iter()
                    .collect(),
                provenance,
                locale,
            })
        })
    }
}

fn finding(pairs: &[PositionRotaryRow], locale: Locale) -> Vec<String> {
    let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else { return vec![] };
    let number = |x: f64| locale.number(x as f32);
    let mut said = vec![format!(
        "{} pairs come back after {} to {} tokens; over this prompt the fastest turns {} times, the slowest {}.",
        pairs.len(),
        number(first.wavelength),
        number(last.wavelength),
        number(first.turns_prompt),
        number(last.turns_prompt)
    )];
    let slow = pairs.iter().filter(|row| row.turns_context.is_some_and(|turns| turns < 1.0)).count();
    if first.turns_context.is_some() {
        said.push(format!("{slow} of them turn less than once over the whole context."));
    }
    let scaled = pairs.iter().filter(|row| (row.angle / row.angle_unscaled - 1.0).abs() > 1e-3).count();
    if scaled > 0 {
        said.push(format!("The model's scaling slows {scaled} of them."));
    }
    said
}

/// `layers 0 to 3`, `layers 0, 2`.
fn layers(of: &[u32]) -> String {
    match of {
        [one] => format!("layer {one}"),
        [first, .., last] if of.windows(2).all(|pair| pair[1] == pair[0] + 1) => format!("layers {first} to {last}"),
        _ => format!("layers {}", of.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn wavelengths((of, pairs): &Alike, locale: Locale) -> Panel {
    let line = |name: &str, strong: bool, y: &dyn Fn(&PositionRotaryRow) -> f64| {
        let points: Vec<(f64, f64)> = pairs.iter().map(|row| (f64::from(row.pair), y(row))).collect();
        let end = points.last().map_or(String::new(), |(_, y)| locale.number(*y as f32));
        Line { name: name.to_owned(), end, strong, points }
    };
    let mut lines = vec![];
    // How long prompt and context are, by how often the fastest pair turns over them.
    let long = |turns: f64, row: &PositionRotaryRow| turns * row.wavelength + 1.0;
    if let Some(row) = pairs.first() {
        lines.extend(row.turns_context.map(|turns| line("context", false, &|_| long(turns, row).round())));
        lines.push(line("this prompt", false, &|_| long(row.turns_prompt, row).round()));
    }
    if pairs.iter().any(|row| (row.angle / row.angle_unscaled - 1.0).abs() > 1e-3) {
        lines.push(line("before scaling", false, &|row| std::f64::consts::TAU / row.angle_unscaled));
    }
    lines.push(line("wavelength", true, &|row| row.wavelength));
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let (least, most) = values().fold((f64::MAX, 1.0), |(a, b), y| (f64::min(a, y), f64::max(b, y)));
    let facts = |row: &PositionRotaryRow| {
        let number = |x: f64| locale.number(x as f32);
        let context = row.turns_context.map_or(String::new(), |turns| format!(", {} over the context", number(turns)));
        let (a, b, angle, wave) = (row.dim_a, row.dim_b, number(row.angle), number(row.wavelength));
        let title = format!(
            "pair {} (dimensions {a} and {b}): {angle} radians per token, wavelength {wave}; {} turns over the prompt{context}",
            row.pair,
            number(row.turns_prompt)
        );
        (f64::from(row.pair), title)
    };
    panel(
        crate::view::label::capital(&layers(of)),
        Body::Lines(Lines {
            x: Axis::counted("pair of dimensions", 0.0, (pairs.len() as f64 - 1.0).max(1.0), 8),
            y: Axis::log("positions", least / 1.6, most * 1.6),
            stairs: false,
            titles: pairs.iter().map(facts).collect(),
            lines,
        }),
    )
}

fn table(pairs: &[PositionRotaryRow], locale: Locale) -> Table {
    let number = |x: f64| Cell::said(locale.number(x as f32));
    let row = |row: &PositionRotaryRow| TableRow {
        depth: 0,
        label: row.pair.to_string(),
        cells: vec![
            Cell::said(format!("{}, {}", row.dim_a, row.dim_b)),
            number(row.angle),
            number(row.wavelength),
            number(row.turns_prompt),
            row.turns_context.map_or_else(|| Cell::said(""), number),
        ],
    };
    let columns =
        ["pair", "dimensions", "radians per token", "wavelength", "turns over the prompt", "over the context"];
    Table { columns: columns.map(str::to_owned).to_vec(), rows: pairs.iter().map(row).collect(), colours: None }
}

impl Seen for PositionAlibiRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        let number = |x: f64| locale.number(x as f32);
        let first: Vec<&[Self]> = (rows.chunk_by(|a, b| (a.layer, a.head) == (b.layer, b.head)))
            .take_while(|own| own[0].layer == rows[0].layer)
            .collect();
        let mut by_slope: Vec<&&[Self]> = first.iter().collect();
        by_slope.sort_by(|a, b| a[0].slope.total_cmp(&b[0].slope));
        let shown = by_slope.len().min(CURVES);
        let picked = (0..shown).map(|i| by_slope[i * (by_slope.len() - 1) / (shown - 1).max(1)]);
        let lines: Vec<Line> = picked
            .enumerate()
            .map(|(i, own)| Line {
                name: format!("head {}", own[0].head),
                end: own.last().map_or(String::new(), |row| locale.fixed(row.tie, 2)),
                strong: i + 1 == shown,
                points: own.iter().map(|row| (f64::from(row.distance), row.tie)).collect(),
            })
            .collect();
        let (near, far) = (by_slope[by_slope.len() - 1], by_slope[0]);
        let caption = vec![
            format!(
                "Head {} looks near: a tie is cut by e at distance {}. Head {} looks far: at distance {}.",
                near[0].head,
                number(near[0].distance_e),
                far[0].head,
                number(far[0].distance_e)
            ),
            "Slopes are not trained: each head has its own, the same in every block.".to_owned(),
        ];
        let cells = |row: &Self| TableRow {
            depth: 0,
            label: row.head.to_string(),
            cells: vec![Cell::said(number(row.slope)), Cell::said(number(row.distance_e))],
        };
        let end = rows.iter().map(|row| row.distance).max().unwrap_or(1).max(1);
        let facts = |distance: u32| {
            let at =
                |own: &&[Self]| own.get(distance as usize).map(|row| format!("head {} {}", row.head, number(row.tie)));
            (
                f64::from(distance),
                format!("distance {distance}: {}", first.iter().filter_map(at).collect::<Vec<_>>().join(", ")),
            )
        };
        emit(View {
            name: "position-alibi".to_owned(),
            title: "What distance costs".to_owned(),
            subtitle: View::subtitle(from, &format!("{} heads, ALiBi", first.len())),
            caption,
            legend: vec!["A key that ties without the penalty keeps so much of its weight.".to_owned()],
            panels: vec![panel(
                "",
                Body::Lines(Lines {
                    x: Axis::counted("distance between query and key (positions)", 0.0, f64::from(end), 8),
                    y: around("weight left of a tie", [0.0, 1.0].into_iter()),
                    stairs: false,
                    titles: (0..=end.min(512)).map(facts).collect(),
                    lines,
                }),
            )],
            more: vec![panel(
                "",
                Body::Table(Table {
                    columns: ["head", "slope", "a tie is cut by e at distance"].map(str::to_owned).to_vec(),
                    rows: first.iter().map(|own| cells(&own[0])).collect(),
                    colours: None,
                }),
            )],
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}
