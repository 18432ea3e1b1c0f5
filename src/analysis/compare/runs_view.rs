//! Differences of two runs as they are seen: heat maps over the two keys that vary, and a table of columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::rows::{CompareColumnsRow, CompareRunsRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Row, Rows, visible_prose};
use crate::view::colour::Colours;
use crate::view::kind::{Body, Cell, Heat, Panel, Shape, Side, Table, TableRow, View};
use crate::view::{Emit, Options, Seen, all_rows};

/// Cells of a heat map; of more, the first are drawn.
const MOST_ROWS: usize = 64;
const MOST_COLUMNS: usize = 64;
/// Panels of a table: the columns that differ most for their size.
const MOST_PANELS: usize = 4;

/// A row's keys.
type Keys = Map<String, Value>;

/// A key as it is written on an axis.
fn written(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => visible_prose(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// Keys as `layer 3, head 1`.
fn place(keys: &str) -> String {
    let keys: Keys = serde_json::from_str(keys).unwrap_or_default();
    let each: Vec<String> = keys.iter().map(|(name, value)| format!("{name} {}", written(Some(value)))).collect();
    visible_prose(&each.join(", "))
}

/// What a table's differences are drawn over.
struct Axes {
    /// Down and along: names of keys.
    names: [Option<String>; 2],
    /// The places along each.
    places: [Vec<String>; 2],
    /// Keys that vary and are averaged over.
    averaged: Vec<String>,
}

impl Axes {
    /// Of the keys that vary, the first two that do not follow from one another. Prompts and pairs come last: they are averaged over
    /// where there is anything else.
    fn of(rows: &[Keys]) -> Self {
        let mut names: Vec<&String> = vec![];
        for row in rows {
            for name in row.keys() {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let is_input = |name: &str| matches!(name.trim_end_matches("_id"), "prompt" | "pair" | "doc");
        names.sort_by_key(|name| is_input(name));
        let varies = |name: &&&String| rows.iter().any(|row| row.get(**name) != rows[0].get(**name));
        let varying: Vec<&String> = names.iter().filter(varies).copied().collect();
        // A key that another one decides says nothing more; and the same the other way.
        let decides = |a: &str, b: &str| {
            let mut of: BTreeMap<String, &Value> = BTreeMap::new();
            rows.iter().all(|row| {
                let value = row.get(b).unwrap_or(&Value::Null);
                *of.entry(written(row.get(a))).or_insert(value) == value
            })
        };
        let down = varying.first().map(|name| (*name).clone());
        let along = down.as_ref().and_then(|down| {
            // Best one that does not decide the first either.
            let others: Vec<&String> = varying.iter().skip(1).filter(|name| !decides(down, name)).copied().collect();
            let free = others.iter().find(|name| is_input(name) || !decides(name, down));
            free.or(others.first()).map(|name| (*name).clone())
        });
        let places = |name: &Option<String>| {
            let mut known: Vec<&Value> = vec![];
            if let Some(name) = name {
                for row in rows {
                    let value = row.get(name).unwrap_or(&Value::Null);
                    if !known.contains(&value) {
                        known.push(value);
                    }
                }
            }
            if known.iter().all(|value| value.is_number() || value.is_null()) {
                known.sort_by(|a, b| a.as_f64().unwrap_or(-1.0).total_cmp(&b.as_f64().unwrap_or(-1.0)));
            }
            if known.is_empty() { vec![String::new()] } else { known.into_iter().map(|v| written(Some(v))).collect() }
        };
        // One axis alone lies along.
        let names = if along.is_none() { [None, down] } else { [down, along] };
        let both = [&names[0], &names[1]];
        let follows = |name: &str| {
            let mut of: BTreeMap<[String; 2], &Value> = BTreeMap::new();
            rows.iter().all(|row| {
                let value = row.get(name).unwrap_or(&Value::Null);
                let at = both.map(|axis| axis.as_ref().map_or(String::new(), |axis| written(row.get(axis))));
                *of.entry(at).or_insert(value) == value
            })
        };
        let rest = varying.iter().filter(|name| !name.ends_with("_id") && !follows(name));
        let averaged = rest.map(|name| (*name).clone()).collect();
        let places = both.map(places);
        Self { names, places, averaged }
    }

    /// Where a row stands.
    fn at(&self, keys: &Keys) -> Option<(usize, usize)> {
        let [down, along] = [0, 1].map(|i| {
            let place = self.names[i].as_ref().map_or(String::new(), |name| written(keys.get(name)));
            self.places[i].iter().position(|known| *known == place)
        });
        down.zip(along)
    }
}

impl Seen for CompareRunsRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let rows = all_rows(rows)?;
        let provenance = Arc::new(from.clone());
        for own in rows.chunk_by(|a, b| a.table == b.table) {
            emit(view(own, provenance.clone(), how.locale))?;
        }
        Ok(())
    }
}

fn view(rows: &[CompareRunsRow], provenance: Arc<Provenance>, locale: Locale) -> View {
    let table = visible_prose(&rows[0].table);
    let mut columns: Vec<(&str, Vec<&CompareRunsRow>)> = vec![];
    for row in rows {
        match columns.iter_mut().find(|(name, _)| *name == row.column) {
            Some((_, own)) => own.push(row),
            None => columns.push((&row.column, vec![row])),
        }
    }
    // How far a column's numbers moved, for their size.
    let moved = |own: &[&CompareRunsRow]| {
        let sum =
            |of: fn(&CompareRunsRow) -> f64| own.iter().map(|row| of(row).abs()).filter(|x| x.is_finite()).sum::<f64>();
        sum(|row| row.difference) / sum(|row| row.value_reference).max(f64::MIN_POSITIVE)
    };
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by(|a, b| moved(&columns[*b].1).total_cmp(&moved(&columns[*a].1)));
    let changed: Vec<bool> = columns.iter().map(|(_, own)| own.iter().any(|row| row.difference != 0.0)).collect();
    order.retain(|i| changed[*i]);
    let differing = order.len();
    order.truncate(MOST_PANELS);
    order.sort_unstable();
    let parsed: Vec<Keys> = rows.iter().map(|row| serde_json::from_str(&row.keys).unwrap_or_default()).collect();
    let axes = Axes::of(&parsed);
    let mut panels: Vec<Panel> = order.iter().map(|i| panel(&axes, columns[*i].0, &columns[*i].1, locale)).collect();
    // One place is no map.
    if axes.names.iter().all(Option::is_none) {
        panels.clear();
    }
    let most = order.iter().map(|i| &columns[*i]).max_by(|a, b| moved(&a.1).total_cmp(&moved(&b.1)));
    let mut caption = vec![match most {
        _ if differing == 0 => "No number differs in the rows that both runs have.".to_owned(),
        Some((name, own)) => {
            let largest = own.iter().max_by(|a, b| a.difference.abs().total_cmp(&b.difference.abs()));
            let largest = largest.map_or(String::new(), |row| {
                format!(
                    ": most at {}, from {} to {}",
                    place(&row.keys),
                    locale.number(row.value_reference as f32),
                    locale.number(row.value as f32)
                )
            });
            format!(
                "{differing} of {} columns differ. For its size {} differs most{largest}.",
                columns.len(),
                visible_prose(name)
            )
        }
        None => "There is nothing to compare.".to_owned(),
    }];
    if differing > order.len() && !panels.is_empty() {
        caption.push(format!("Drawn are the {} columns that differ most for their size.", order.len()));
    }
    let mut legend = vec!["Second run less first: red where the second is larger.".to_owned()];
    if !axes.averaged.is_empty() {
        legend.push(format!("Each place is the mean over {}.", axes.averaged.join(", ")));
    }
    let cut = [MOST_ROWS, MOST_COLUMNS];
    if (0..2).any(|i| axes.places[i].len() > cut[i]) {
        legend
            .push(format!("Drawn are the first {MOST_ROWS} places down and {MOST_COLUMNS} along; the table has all."));
    }
    View {
        name: format!("compare_runs-{}", rows[0].table.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-")),
        title: format!("Differences of {table}"),
        subtitle: View::subtitle(&provenance, &format!("{} matched numbers", locale.count(rows.len() as u64))),
        caption,
        legend,
        panels,
        more: vec![],
        provenance,
        locale,
    }
}

/// The rows of a place: sums over the first run, the second and their difference, how many rows there are, and the keys of the first.
type Placed<'r> = (f64, f64, f64, usize, &'r str);

/// The differences of one column.
fn panel(axes: &Axes, column: &str, rows: &[&CompareRunsRow], locale: Locale) -> Panel {
    let mut sums: BTreeMap<(usize, usize), Placed> = BTreeMap::new();
    for row in rows {
        let keys: Keys = serde_json::from_str(&row.keys).unwrap_or_default();
        let Some(at) = axes.at(&keys).filter(|(r, c)| *r < MOST_ROWS && *c < MOST_COLUMNS) else { continue };
        let sum = sums.entry(at).or_insert((0.0, 0.0, 0.0, 0, &row.keys));
        *sum = (sum.0 + row.value_reference, sum.1 + row.value, sum.2 + row.difference, sum.3 + 1, sum.4);
    }
    let most = sums.values().map(|sum| (sum.2 / sum.3 as f64).abs()).filter(|x| x.is_finite()).fold(0.0, f64::max);
    let most = if most > 0.0 { most } else { 1.0 };
    let unit = rows.first().map_or("", |row| &row.unit);
    let heading = match unit {
        "" | "of the metric" | "of the column" => format!("Difference of {column}"),
        unit => format!("Difference of {column} ({unit})"),
    };
    let cell = |((r, c), (a, b, d, n, keys)): (&(usize, usize), &Placed)| {
        let n = *n as f64;
        let place = match n > 1.0 {
            false => place(keys),
            true => {
                let axis =
                    |i: usize, at: usize| axes.names[i].as_ref().map(|name| format!("{name} {}", axes.places[i][at]));
                let both = [axis(0, *r), axis(1, *c)].into_iter().flatten().collect::<Vec<_>>().join(", ");
                format!("{both}, mean of {n}")
            }
        };
        let number = |x: f64| locale.number(x as f32);
        let title = format!(
            "{place}: {column} {} in the first, {} in the second, difference {}",
            number(a / n),
            number(b / n),
            locale.signed(d / n)
        );
        let value = d / n;
        ((*r, *c), Cell { value, label: locale.in_cell(value, most), title: visible_prose(&title), ..Cell::default() })
    };
    let side = |i: usize, most: usize| {
        let name = axes.names[i].clone().unwrap_or_default();
        Side::new(visible_prose(&name), axes.places[i].iter().take(most).cloned())
    };
    let (rows, columns) = (side(0, MOST_ROWS), side(1, MOST_COLUMNS));
    let shape = if columns.items.len() > 24 || rows.items.len() > 32 { Shape::Strips } else { Shape::Numbers };
    let heat = Heat {
        rows,
        columns,
        above: Side::default(),
        cells: sums.iter().map(cell).collect(),
        areas: vec![],
        colours: Colours::signed("difference", most),
        shape,
        absent: "no such rows in both",
    };
    Panel { heading: visible_prose(&heading), body: Body::Heat(heat) }
}

impl Seen for CompareColumnsRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        let number = |x: Option<f64>| Cell::said(x.map_or(String::new(), |x| locale.in_table(x)));
        let row = |row: &Self| TableRow {
            depth: 0,
            label: visible_prose(&format!("{}.{}", row.table, row.column)),
            cells: vec![
                Cell::said(locale.count(row.compared)),
                Cell::said(locale.count(row.same)),
                number(row.mean_reference),
                number(row.mean),
                number(row.mean_size),
                number(row.largest_difference),
                Cell::said(row.largest_at.as_deref().map_or(String::new(), place)),
                number(row.correlation),
            ],
        };
        let heads = [
            "column", "compared", "same", "mean, first", "mean, second", "mean size of difference", "largest", "at",
            "correlation",
        ];
        let mut caption = vec![];
        for own in rows.chunk_by(|a, b| a.table == b.table) {
            let of = &own[0];
            let count = |n: u64| locale.count(n);
            let rest = match (of.only_reference, of.only) {
                (0, 0) => "none is without a partner".to_owned(),
                (a, b) => format!("{} of the first run and {} of the second have no partner", count(a), count(b)),
            };
            let table = visible_prose(&of.table);
            caption.push(format!("{table}: {} rows are in both runs; {rest}.", count(of.matched)));
        }
        emit(View {
            name: Self::TABLE.name.to_owned(),
            title: "Differences of two runs".to_owned(),
            subtitle: View::subtitle(from, "second less first"),
            caption,
            legend: vec![],
            panels: vec![],
            more: View::panel(Body::Table(Table {
                columns: heads.map(str::to_owned).into(),
                rows: rows.iter().map(row).collect(),
                colours: None,
            })),
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}
