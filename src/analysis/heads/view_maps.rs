//! Maps of heads as they are seen: circuits on chosen tokens as grids, and what singular directions read and write as a table.

use std::sync::Arc;

use super::rows::{HeadCircuitRow, HeadSvdRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Row, Rows, visible};
use crate::view::colour::Colours;
use crate::view::kind::{Body, Cell, Heat, Mark, Panel, Shape, Side, Table, TableRow, View};
use crate::view::{Emit, Options, Seen, all_rows};

/// Heads that have a grid in a figure.
const GRIDS: usize = 6;
/// Singular values that have a row in a figure.
const ROWS: usize = 24;
/// Tokens that are named of an end.
const NAMED: usize = 5;

impl Seen for HeadCircuitRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        for matrix in ["OV", "QK"] {
            let own: Vec<&Self> = rows.iter().filter(|row| row.matrix == matrix).collect();
            let mut heads: Vec<&[&Self]> = own.chunk_by(|a, b| (a.layer, a.head) == (b.layer, b.head)).collect();
            if heads.is_empty() {
                continue;
            }
            let (n, strongest) =
                (heads.len(), |own: &[&Self]| own.iter().map(|row| row.value.abs()).fold(0.0, f64::max));
            // Those that do most, in their order.
            heads.sort_by(|a, b| strongest(b).total_cmp(&strongest(a)));
            heads.truncate(GRIDS);
            let size = heads.first().map_or(0.0, |own| strongest(own));
            let most = heads[0].iter().copied().max_by(|a, b| a.value.abs().total_cmp(&b.value.abs()));
            heads.sort_by_key(|own| (own[0].layer, own[0].head));
            let (unit, reads) = match matrix {
                "OV" => ("logit", "Each row is a token that is looked at, each column one whose logit that pushes."),
                _ => ("score", "Each row is a token that asks, each column one that is looked at."),
            };
            let panel = |own: &&[&Self]| Panel {
                heading: format!("Head {}.{}", own[0].layer, own[0].head),
                body: Body::Heat(grid(own, size, unit, locale)),
            };
            emit(View {
                name: format!("{}-{matrix}", Self::TABLE.name),
                title: match matrix {
                    "OV" => "What each head would write for a token that it looks at".to_owned(),
                    _ => "Which token each head would look at".to_owned(),
                },
                subtitle: View::subtitle(from, &format!("{matrix} circuits")),
                caption: vec![most.map_or(String::new(), |row| found(row, n, locale))],
                legend: vec![format!(
                    "{reads} Weights and embeddings alone: without positions, biases and the scales of norms."
                )],
                panels: heads.iter().map(panel).collect(),
                more: vec![],
                provenance: Arc::new(from.clone()),
                locale,
            })?;
        }
        Ok(())
    }
}

/// The strongest entry in words.
fn found(row: &HeadCircuitRow, heads: usize, locale: Locale) -> String {
    let head = format!("{}.{}", row.layer, row.head);
    let (from, to, value) = (visible(&row.from), visible(&row.to), locale.signed(row.value));
    let of = if heads == 1 { String::new() } else { format!("Of {heads} heads ") };
    let said = match row.matrix.as_str() {
        "OV" => format!("head {head} does most: looking at \"{from}\" adds {value} to the logit of \"{to}\"."),
        _ => format!("head {head} has the largest score: \"{from}\" on \"{to}\" {value}."),
    };
    let mut said = of + &said;
    if heads == 1 {
        said = said.replacen("head", "Head", 1);
    }
    said
}

fn grid(own: &[&HeadCircuitRow], size: f64, unit: &str, locale: Locale) -> Heat {
    let mut tokens: Vec<(u32, String)> = own.iter().map(|row| (row.from_id, visible(&row.from))).collect();
    tokens.dedup();
    let side = |what: &str| Side::new(what, tokens.iter().map(|(_, token)| token.clone()));
    let at = |id: u32| tokens.iter().position(|(own, _)| *own == id);
    // As many digits in each, so that small ones look small.
    let written = |x: f64| if size >= 0.5 { locale.fixed(x, 2) } else { locale.signed(x) };
    let cell = |row: &&HeadCircuitRow| {
        let cell = Cell {
            value: row.value,
            label: written(row.value),
            title: format!("{} to {}: {}", visible(&row.from), visible(&row.to), locale.signed(row.value)),
            mark: Mark::Plain,
            ..Cell::default()
        };
        Some(((at(row.from_id)?, at(row.to_id)?), cell))
    };
    let mut cells: Vec<_> = own.iter().filter_map(cell).collect();
    cells.sort_by_key(|(at, _)| *at);
    Heat {
        rows: side("from"),
        columns: side("to"),
        above: Side::default(),
        cells,
        areas: vec![],
        colours: Colours::signed(unit, size),
        shape: Shape::Numbers,
        absent: "not in the table",
    }
}

impl Seen for HeadSvdRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        for (matrix, ends, about) in [
            ("OV", ["source", "logits"], "what they read in tokens that are looked at, and what they write for it"),
            ("QK", ["query", "key"], "which tokens ask, and which are looked at"),
        ] {
            let own: Vec<&Self> = rows.iter().filter(|row| row.matrix == matrix).collect();
            let of = |row: &&Self| (row.layer, row.head, row.component);
            let mut all: Vec<&[&Self]> = own.chunk_by(|a, b| of(a) == of(b)).collect();
            if all.is_empty() {
                continue;
            }
            let n = all.len();
            all.sort_by(|a, b| b[0].share.total_cmp(&a[0].share));
            all.truncate(ROWS);
            let first = all[0][0];
            let mut columns = vec!["head".to_owned(), "share".to_owned()];
            columns.extend(ends.iter().flat_map(|end| ["+", "-"].map(|sign| format!("{end} {sign}"))));
            emit(View {
                name: format!("{}-{matrix}", Self::TABLE.name),
                title: format!("The strongest directions of heads' {matrix} maps"),
                subtitle: View::subtitle(from, &format!("{} of {} singular values", all.len(), locale.count(n as u64))),
                caption: vec![format!(
                    "Nearest to one direction is head {}.{}: {} of the squares of its {matrix} map.",
                    first.layer,
                    first.head,
                    locale.percent(first.share)
                )],
                legend: vec![format!(
                    "Directions that hold most of a head's map: {about}. What + does at one end, + does at the other, and - to -. \"share\": its \
                     square over the sum of all. ≈: another is within 1 %, and any mixture of their directions would do as well."
                )],
                panels: View::panel(Body::Table(Table {
                    columns,
                    rows: all.iter().map(|own| direction(own, ends, locale)).collect(),
                    colours: None,
                })),
                more: vec![],
                provenance: Arc::new(from.clone()),
                locale,
            })?;
        }
        Ok(())
    }
}

/// A singular value with the tokens at its ends.
fn direction(own: &[&HeadSvdRow], ends: [&str; 2], locale: Locale) -> TableRow {
    let first = own[0];
    let tokens = |end: &str, sign: &str| {
        let mut of: Vec<&&HeadSvdRow> = own.iter().filter(|row| row.end == end && row.sign == sign).collect();
        of.sort_by_key(|row| row.rank);
        let named: Vec<String> = of.iter().take(NAMED).map(|row| visible(&row.token)).collect();
        named.join(" ")
    };
    let near = if first.near_equal { " ≈" } else { "" };
    let mut cells = vec![Cell::said(format!("{}{near}", locale.percent(first.share)))];
    cells.extend(ends.iter().flat_map(|end| ["+", "-"].map(|sign| Cell::said(tokens(end, sign)))));
    TableRow { depth: 0, label: format!("{}.{} component {}", first.layer, first.head, first.component), cells }
}
