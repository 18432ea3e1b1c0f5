//! Texts as two models see them: each token coloured by how far their distributions part, each stretch of bytes by their surprise.

use std::sync::Arc;

use super::rows::{CompareBytesRow, ComparePositionsRow};
use super::view::models;
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible, visible_prose};
use crate::view::colour::Colours;
use crate::view::extent::each_prompt;
use crate::view::kind::{Body, Cell, Heat, Item, Panel, Shape, Side, Text, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen};

/// Bits at which colours are full: they mean the same in all figures.
const FULL: f64 = 8.0;
/// Positions of a grid; of more the last are drawn.
const MOST_POSITIONS: usize = 200;
/// Models that have a panel of their own.
const MOST_MODELS: usize = 6;

impl Seen for ComparePositionsRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            emit(of_prompt(format!("compare_positions{end}"), &own, provenance, how.locale))
        })
    }
}

fn of_prompt(name: String, rows: &[ComparePositionsRow], provenance: Arc<Provenance>, locale: Locale) -> View {
    let each: Vec<&[ComparePositionsRow]> = rows.chunk_by(|a, b| a.model == b.model).collect();
    let panels = match &each[..] {
        [only] => vec![
            text(only, "KL(reference || model)", Colours::rising("KL (bits)", FULL), |row| Some(row.kl_bits), locale),
            text(
                only,
                "How much more probable the model finds the next token",
                Colours::signed("log2 ratio", FULL),
                |row| row.delta_log_prob_bits,
                locale,
            ),
        ],
        several => vec![
            grid(
                several,
                "KL(reference || model)",
                Colours::rising("KL (bits)", FULL),
                |row| Some(row.kl_bits),
                locale,
            ),
            grid(
                several,
                "How much more probable each model finds the next token",
                Colours::signed("log2 ratio", FULL),
                |row| row.delta_log_prob_bits,
                locale,
            ),
        ],
    };
    let about = rows.first().map_or(String::new(), |row| {
        format!("prompt {} · compared with {}", visible_prose(&row.prompt_id), visible_prose(&row.reference))
    });
    View {
        name,
        title: "Where models part".to_owned(),
        subtitle: View::subtitle(&provenance, &about),
        caption: finding(rows, locale),
        legend: vec!["Each token with what both say after it.".to_owned()],
        panels,
        more: vec![],
        provenance,
        locale,
    }
}

fn finding(rows: &[ComparePositionsRow], locale: Locale) -> Vec<String> {
    let Some(most) = rows.iter().max_by(|a, b| a.kl_bits.total_cmp(&b.kl_bits)) else { return vec![] };
    if most.kl_bits == 0.0 {
        return vec!["The distributions are the same at every position.".to_owned()];
    }
    let first = |model: &str, token: &str, p: f64| {
        format!("{} expects {} ({})", visible_prose(model), quoted(token), locale.probability(p as f32))
    };
    let mut said = vec![format!(
        "They part most after {} at position {}, by {} bits: {}, {}.",
        quoted(&most.token),
        most.pos,
        locale.number(most.kl_bits as f32),
        first(&most.reference, &most.first_reference, most.first_reference_prob),
        first(&most.model, &most.first, most.first_prob)
    )];
    let (n, same) = (rows.len(), rows.iter().filter(|row| row.same_first).count());
    let mean = rows.iter().map(|row| row.kl_bits).sum::<f64>() / n as f64;
    said.push(format!(
        "Over {n} positions the mean is {} bits, and the most probable token is the same at {same}.",
        locale.number(mean as f32)
    ));
    said
}

/// What is to be known of a position.
fn title(row: &ComparePositionsRow, locale: Locale) -> String {
    let number = |x: f64| locale.number(x as f32);
    let next = row.next.as_deref().zip(row.rank_reference).zip(row.rank.zip(row.delta_log_prob_bits));
    let next = next.map_or(String::new(), |((token, rank_reference), (rank, delta))| {
        format!("; next {}: rank {rank_reference} and {rank}, log2 p {}", quoted(token), locale.signed(delta))
    });
    format!(
        "{}, position {}, {}: KL {} bits, JS {} bits; most probable {} ({}) and {} ({}){next}",
        visible_prose(&row.model),
        row.pos,
        quoted(&row.token),
        number(row.kl_bits),
        number(row.js_bits),
        quoted(&row.first_reference),
        locale.probability(row.first_reference_prob as f32),
        quoted(&row.first),
        locale.probability(row.first_prob as f32)
    )
}

/// A value of a position.
type Of = fn(&ComparePositionsRow) -> Option<f64>;

fn cell(row: &ComparePositionsRow, of: Of, label: String, locale: Locale) -> Cell {
    let value = of(row);
    Cell {
        value: value.unwrap_or(f64::NAN),
        label,
        below: value.map_or(String::new(), |x| locale.fixed(x, 1)),
        title: title(row, locale),
        ..Cell::default()
    }
}

fn text(rows: &[ComparePositionsRow], heading: &str, colours: Colours, of: Of, locale: Locale) -> Panel {
    let tokens = rows.iter().map(|row| cell(row, of, visible(&row.token), locale)).collect();
    Panel { heading: heading.to_owned(), body: Body::Text(Text { colours, tokens }) }
}

/// Models down, positions along.
fn grid(each: &[&[ComparePositionsRow]], heading: &str, colours: Colours, of: Of, locale: Locale) -> Panel {
    let longest = each.iter().copied().max_by_key(|rows| rows.len()).unwrap_or_default();
    let hidden = longest.len().saturating_sub(MOST_POSITIONS);
    let item = |row: &ComparePositionsRow| Item { label: visible(&row.token), number: Some(row.pos) };
    let mut cells = vec![];
    for (r, rows) in each.iter().enumerate() {
        for row in rows.iter().filter(|row| row.pos as usize >= hidden) {
            // Nothing comes after the last.
            let Some(value) = of(row) else { continue };
            let label = locale.in_cell(value, FULL);
            cells.push(((r, row.pos as usize - hidden), cell(row, of, label, locale)));
        }
    }
    let heat = Heat {
        rows: Side::new("model", each.iter().map(|rows| visible_prose(&rows[0].model))),
        columns: Side {
            names: vec!["position and token read there".to_owned(), "position".to_owned()],
            items: longest.iter().skip(hidden).map(item).collect(),
        },
        above: Side::default(),
        cells,
        areas: vec![],
        colours,
        shape: Shape::Numbers,
        absent: "no prediction",
    };
    Panel { heading: heading.to_owned(), body: Body::Heat(heat) }
}

impl Seen for CompareBytesRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let locale = how.locale;
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            let names = models(own.iter().map(|row| &*row.model));
            let about = own.first().map_or(String::new(), |row| {
                format!("prompt {} · compared with {}", visible_prose(&row.prompt_id), visible_prose(&row.reference))
            });
            let of = |model: &str| own.iter().filter(|row| row.model == model).cloned().collect::<Vec<Self>>();
            let each: Vec<(String, Vec<Self>)> = names.iter().map(|name| (visible_prose(name), of(name))).collect();
            emit(View {
                name: format!("compare_bytes{end}"),
                title: "Surprise at the same bytes".to_owned(),
                subtitle: View::subtitle(&provenance, &about),
                caption: each.iter().take(MOST_MODELS).map(|(name, rows)| of_bytes(name, rows, locale)).collect(),
                legend: vec![
                    "Bytes between places where a token ends for both; under them, model less reference in bits per byte.".to_owned(),
                ],
                panels: each.iter().take(MOST_MODELS).map(|(name, rows)| stretches(name, rows, locale)).collect(),
                more: vec![],
                provenance,
                locale,
            })
        })
    }
}

/// How much less or more one model is surprised, and where most.
fn of_bytes(name: &str, rows: &[CompareBytesRow], locale: Locale) -> String {
    let bytes: u32 = rows.iter().map(|row| row.byte_end - row.byte_start).sum();
    let each = |of: fn(&CompareBytesRow) -> f64| rows.iter().map(of).sum::<f64>() / f64::from(bytes.max(1));
    let number = |x: f64| locale.number(x as f32);
    let difference = |row: &CompareBytesRow| row.bits - row.bits_reference;
    let most = rows.iter().max_by(|a, b| difference(a).abs().total_cmp(&difference(b).abs()));
    let most = most.map_or(String::new(), |row| {
        let less = if difference(row) < 0.0 { "less" } else { "more" };
        format!("; most at {}, {} bits {less}", quoted(&row.text), number(difference(row).abs()))
    });
    format!(
        "{name}: {} bits per byte over {bytes} bytes, the reference {}{most}.",
        number(each(|row| row.bits)),
        number(each(|row| row.bits_reference))
    )
}

fn stretches(name: &str, rows: &[CompareBytesRow], locale: Locale) -> Panel {
    let cell = |row: &CompareBytesRow| Cell {
        value: row.delta_bits_per_byte,
        label: visible(&row.text),
        below: locale.fixed(row.delta_bits_per_byte, 1),
        title: format!(
            "{name}, bytes {} to {}, {}: {} bits in {} tokens; the reference {} bits in {}",
            row.byte_start,
            row.byte_end,
            quoted(&row.text),
            locale.number(row.bits as f32),
            row.tokens,
            locale.number(row.bits_reference as f32),
            row.tokens_reference
        ),
        ..Cell::default()
    };
    let colours = Colours::signed("bits per byte", FULL / 2.0);
    let heading = format!("{name} less the reference");
    Panel { heading, body: Body::Text(Text { colours, tokens: rows.iter().map(cell).collect() }) }
}
