//! Architectures, parameters and models as they are seen: tables of what differs, bars, and lines over checkpoints.

use std::sync::Arc;

use super::rows::{CompareModelsRow, CompareParametersRow, CompareSpecRow};
use crate::analysis::cost;
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Row, Rows, visible_prose};
use crate::view::axis::{Axis, round_up};
use crate::view::kind::{Body, Cell, Line, Lines, Panel, Side, Steps, Table, TableRow, View};
use crate::view::{Emit, Options, Seen, all_rows};

/// Models that have bars of their own; of more, the table has them.
const MOST_BARS: usize = 6;

/// The models of these rows, in order.
pub(super) fn models<'r>(names: impl Iterator<Item = &'r str>) -> Vec<&'r str> {
    let mut all: Vec<&str> = vec![];
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// `A and B`, or `A and 3 others`.
fn others(models: &[&str]) -> String {
    match models {
        [one] => visible_prose(one),
        several => format!("{} other models", several.len()),
    }
}

fn view<R: Row>(title: &str, from: &Provenance, about: &str, caption: Vec<String>, locale: Locale) -> View {
    View {
        name: R::TABLE.name.to_owned(),
        title: title.to_owned(),
        subtitle: View::subtitle(from, about),
        caption,
        legend: vec![],
        panels: vec![],
        more: vec![],
        provenance: Arc::new(from.clone()),
        locale,
    }
}

impl Seen for CompareSpecRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let rows = all_rows(rows)?;
        let (reference, models) = (visible_prose(&rows[0].reference), models(rows.iter().map(|row| &*row.model)));
        let mut properties: Vec<&Self> = vec![];
        for row in &rows {
            if !properties.iter().any(|known| known.property == row.property) {
                properties.push(row);
            }
        }
        let differing: Vec<&Self> = (properties.iter().copied())
            .filter(|of| rows.iter().any(|row| row.property == of.property && row.differs))
            .collect();
        let mut caption = vec![match differing.len() {
            0 => format!("{} and {reference} have the same architecture.", others(&models)),
            n => format!("{n} of {} choices differ between {reference} and {}.", properties.len(), others(&models)),
        }];
        caption.extend(differing.iter().map(|of| format!("{}: {}", of.property, of.changes)));
        let cell = |of: &Self, model: &str| {
            let own = rows.iter().find(|row| row.property == of.property && row.model == model);
            Cell::said(own.map_or(String::new(), |row| match row.differs {
                true => visible_prose(&row.value),
                false => "the same".to_owned(),
            }))
        };
        let row = |of: &&Self| TableRow {
            depth: 0,
            label: of.property.clone(),
            cells: std::iter::once(Cell::said(visible_prose(&of.value_reference)))
                .chain(models.iter().map(|model| cell(of, model)))
                .collect(),
        };
        let names = models.iter().map(|model| visible_prose(model));
        let table = Table {
            columns: ["choice".to_owned(), reference].into_iter().chain(names).collect(),
            rows: differing.iter().map(row).collect(),
            colours: None,
        };
        let mut view = view::<Self>("Architectures", from, "what differs", caption, how.locale);
        if !differing.is_empty() {
            view.panels = View::panel(Body::Table(table));
        }
        emit(view)
    }
}

impl Seen for CompareParametersRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        let (reference, models) = (visible_prose(&rows[0].reference), models(rows.iter().map(|row| &*row.model)));
        let of = |model: &str, part: &str| rows.iter().find(|row| row.model == model && row.part == part);
        let theirs = |part: &str| rows.iter().find(|row| row.part == part).map_or(0, |row| row.parameters_reference);
        let parts: Vec<&str> = cost::parts().filter(|part| rows.iter().any(|row| row.part == *part)).collect();
        let mut columns = vec![(reference.clone(), parts.iter().map(|part| theirs(part)).collect::<Vec<u64>>())];
        for model in &models {
            let own = parts.iter().map(|part| of(model, part).map_or(0, |row| row.parameters)).collect();
            columns.push((visible_prose(model), own));
        }
        let all_of_reference = theirs("all");
        let caption: Vec<String> = models
            .iter()
            .filter_map(|model| of(model, "all").filter(|row| row.difference != 0))
            .map(|row| {
                let own = rows.iter().filter(|other| other.model == row.model && other.part != "all");
                let most = own.max_by_key(|other| other.difference.unsigned_abs());
                let most = most.map_or(String::new(), |most| {
                    format!("; the largest part of the difference is {}, {}", most.part, more(most.difference, locale))
                });
                format!(
                    "{} has {} parameters, {reference} {}: {} times as many{most}.",
                    visible_prose(&row.model),
                    locale.amount(row.parameters as f64, "").trim_end(),
                    locale.amount(all_of_reference as f64, "").trim_end(),
                    locale.number((row.parameters as f64 / all_of_reference.max(1) as f64) as f32),
                )
            })
            .collect();
        let none = || vec![format!("All have {} parameters.", locale.count(all_of_reference))];
        let caption = if caption.is_empty() { none() } else { caption };
        let table_row = |(i, part): (usize, &&str)| TableRow {
            depth: 0,
            label: (*part).to_owned(),
            cells: columns.iter().map(|(_, counts)| Cell::said(locale.count(counts[i]))).collect(),
        };
        let mut table_rows: Vec<TableRow> = parts.iter().enumerate().map(table_row).collect();
        let sums = columns.iter().map(|(_, counts)| Cell::said(locale.count(counts.iter().sum())));
        table_rows.push(TableRow { depth: 0, label: "all".to_owned(), cells: sums.collect() });
        let names = std::iter::once("part".to_owned()).chain(columns.iter().map(|(name, _)| name.clone()));
        let table = Table { columns: names.collect(), rows: table_rows, colours: None };
        let mut view = view::<Self>("Parameters", from, "by part, all layers together", caption, locale);
        view.panels = bars(&parts, &columns, locale);
        view.more = View::panel(Body::Table(table));
        view.legend = vec!["Biases count with their linear layer, a tied unembedding with the embedding.".to_owned()];
        emit(view)
    }
}

/// `1.2 M more`, `30 fewer`.
fn more(difference: i64, locale: Locale) -> String {
    let n = locale.amount(difference.unsigned_abs() as f64, "");
    format!("{} {}", n.trim_end(), if difference < 0 { "fewer" } else { "more" })
}

/// A panel of bars for each model that is not like one before it, all on one scale.
fn bars(parts: &[&str], columns: &[(String, Vec<u64>)], locale: Locale) -> Vec<Panel> {
    let largest = columns.iter().flat_map(|(_, counts)| counts).copied().max().unwrap_or(1) as f64;
    let (factor, prefix) = Locale::prefix(largest, "");
    let most = largest / factor * 1.1;
    let prefix = match prefix {
        "k" => "parameters (thousands)",
        "M" => "parameters (millions)",
        "G" => "parameters (billions)",
        _ => "parameters",
    };
    let panel = |(name, counts): &(String, Vec<u64>)| {
        let total = counts.iter().sum::<u64>().max(1) as f64;
        let point = |(part, n): (&&str, &u64)| Cell {
            value: *n as f64 / factor,
            label: locale.percent(*n as f64 / total),
            title: format!(
                "{name}, {part}: {} parameters, {} of all",
                locale.count(*n),
                locale.percent(*n as f64 / total)
            ),
            ..Cell::default()
        };
        let body = Body::Steps(Steps {
            x: Side::new("part", parts.iter().map(|part| (*part).to_owned())),
            y: Axis::linear(prefix, 0.0, most, 5),
            limits: (0.0, most),
            points: parts.iter().zip(counts).map(point).collect(),
            joined: false,
        });
        Panel { heading: name.clone(), body }
    };
    let differs = |(i, column): &(usize, &(String, Vec<u64>))| !columns[..*i].iter().any(|other| other.1 == column.1);
    columns.iter().enumerate().filter(differs).take(MOST_BARS).map(|(_, column)| panel(column)).collect()
}

impl Seen for CompareModelsRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        let reference = visible_prose(&rows[0].reference);
        let own: Vec<&Self> = rows.iter().filter(|row| row.model != row.reference).collect();
        let mut caption = findings(&own, &reference, locale);
        let same: Vec<&&Self> = own.iter().filter(|row| row.kl_bits == Some(0.0)).collect();
        if !same.is_empty() && same.len() == own.len() {
            caption =
                vec![format!("Nothing differs from {reference}: at every position the distributions are the same.")];
        }
        let number = |x: Option<f64>| Cell::said(x.map_or(String::new(), |x| locale.in_table(x)));
        let hash = |row: &Self| {
            let hash = row.weights_hash.as_deref().map(|hash| hash.trim_start_matches("blake3:"));
            Cell::said(hash.map_or("not read".to_owned(), |hash| hash.chars().take(12).collect()))
        };
        let row = |row: &Self| TableRow {
            depth: 0,
            label: visible_prose(&row.model),
            cells: vec![
                hash(row),
                Cell::said(locale.amount(row.parameters as f64, "").trim_end()),
                number(row.bits_per_byte),
                number(row.kl_bits),
                number(row.js_bits),
                number(row.delta_log_prob_bits),
                Cell::said(row.same_first.map_or(String::new(), |share| locale.percent(share))),
            ],
        };
        let heads = [
            "model", "weights", "parameters", "bits per byte", "KL (bits)", "JS (bits)", "log2 p gained", "same first",
        ];
        let table =
            Table { columns: heads.map(str::to_owned).into(), rows: rows.iter().map(row).collect(), colours: None };
        let mut view = view::<Self>("Models", from, &format!("compared with {reference}"), caption, locale);
        view.panels = curves(&rows, locale);
        view.more = View::panel(Body::Table(table));
        emit(view)
    }
}

/// Which model is the nearest, which the least surprised.
fn findings(own: &[&CompareModelsRow], reference: &str, locale: Locale) -> Vec<String> {
    let mut said = vec![];
    if let [row] = own {
        let name = visible_prose(&row.model);
        if let (Some(kl), Some(same)) = (row.kl_bits, row.same_first) {
            said.push(format!(
                "{name} is {} bits from {reference} at the mean position (KL); both find the same token most probable at {} of {}.",
                locale.number(kl as f32),
                locale.percent(same),
                locale.count(row.positions)
            ));
        }
    } else {
        let near = own.iter().filter_map(|row| Some((row.kl_bits?, row)));
        if let Some((kl, row)) = near.min_by(|a, b| a.0.total_cmp(&b.0)) {
            said.push(format!(
                "Nearest to {reference} is {}, {} bits at the mean position (KL).",
                visible_prose(&row.model),
                locale.number(kl as f32)
            ));
        }
    }
    let gain = |row: &&CompareModelsRow| Some(row.bits_per_byte? - row.bits_per_byte_reference?);
    let least = own.iter().filter_map(|row| Some((gain(row)?, row))).min_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((by, row)) = least {
        let name = visible_prose(&row.model);
        let bits = |x: Option<f64>| locale.number(x.unwrap_or(f64::NAN) as f32);
        said.push(match by < 0.0 {
            _ if by == 0.0 => {
                format!("{name} is as surprised as {reference}: {} bits per byte.", bits(row.bits_per_byte))
            }
            less => format!(
                "{name} is {} surprised by these texts: {} bits per byte, {reference} {} ({} bytes).",
                if less { "less" } else { "more" },
                bits(row.bits_per_byte),
                bits(row.bits_per_byte_reference),
                locale.count(row.bytes)
            ),
        });
    }
    if said.is_empty() {
        said.push("No texts were given: only what the models are is compared.".to_owned());
    }
    said
}

/// Curves over checkpoints.
fn curves(rows: &[CompareModelsRow], locale: Locale) -> Vec<Panel> {
    let mut points: Vec<&CompareModelsRow> = rows.iter().filter(|row| row.step.is_some()).collect();
    points.sort_by_key(|row| row.step);
    if points.len() < 2 {
        return vec![];
    }
    let step = |row: &CompareModelsRow| row.step.unwrap_or(0) as f64;
    let (first, last) = (step(points[0]), step(points[points.len() - 1]));
    let log = first > 0.0 && last / first > 30.0;
    let axis = || match log {
        true => Axis { counted: true, ..Axis::log("step of training", first / 1.2, last * 1.2) },
        false => Axis::counted("step of training", first, last.max(first + 1.0), 8),
    };
    type Of = fn(&CompareModelsRow) -> Option<f64>;
    let panels: [(&str, &str, Of); 3] = [
        ("Surprise at the texts", "bits per byte", |row| row.bits_per_byte),
        ("Distance from the reference", "KL (bits)", |row| row.kl_bits),
        ("The same first token as the reference", "share", |row| row.same_first),
    ];
    let panel = |(heading, unit, of): (&str, &str, Of)| {
        let own: Vec<(f64, f64)> = points.iter().filter_map(|row| Some((step(row), of(row)?))).collect();
        if own.len() < 2 {
            return None;
        }
        let most = own.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).fold(0.0, f64::max);
        let title = |row: &&&CompareModelsRow| {
            let value = of(row).map(|y| locale.number(y as f32));
            let hash: String = row.weights_hash.as_deref().unwrap_or("not read").chars().take(19).collect();
            let model = visible_prose(&row.model);
            (
                step(row),
                format!(
                    "{model}, step {}: {} {unit}, weights {hash}",
                    locale.count(step(row) as u64),
                    value.unwrap_or_default()
                ),
            )
        };
        let end = own.last().map_or(String::new(), |(_, y)| locale.number(*y as f32));
        let line = Line { name: unit.to_owned(), end, strong: true, points: own };
        let titles = points.iter().filter(|row| of(row).is_some()).collect::<Vec<_>>();
        let lines = Lines {
            x: axis(),
            y: Axis::linear(unit, 0.0, round_up(most), 5),
            stairs: false,
            lines: vec![line],
            titles: titles.iter().map(title).collect(),
        };
        Some(Panel { heading: heading.to_owned(), body: Body::Lines(lines) })
    };
    panels.into_iter().filter_map(panel).collect()
}
