//! Cost as it is seen: lines over the length of the context, its parts as bars, and measured beside predicted time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CostMeasuredRow, CostRow, CostTotalRow, PARTS, is_attention};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Row, Rows};
use crate::view::axis::{Axis, round_up};
use crate::view::kind::{Body, Cell, Dot, Line, Lines, Panel, Scatter, Side, Steps, Table, TableRow, View};
use crate::view::{Emit, Options, Seen, all_rows, no_rows};

/// What a pass is called.
fn titled(pass: &str, tokens: u64, locale: Locale) -> String {
    let n = locale.count(tokens);
    if pass == "token" { format!("One more token, the last of {n}") } else { format!("A prompt of {n}") }
}

/// A logarithmic axis for these values, with a little room around them.
fn around(name: &str, values: impl Iterator<Item = f64>) -> Axis {
    let (least, most) = values
        .filter(|x| x.is_finite() && *x > 0.0)
        .fold((f64::MAX, 0.0), |(least, most), x| (f64::min(least, x), f64::max(most, x)));
    let (least, most) = if least > most { (1.0, 1.0) } else { (least, most) };
    let room = (most / least).powf(0.05).max(1.5);
    Axis::log(name, least / room, most * room)
}

impl Seen for CostTotalRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (mut rows, locale) = (all_rows(rows)?, how.locale);
        rows.sort_by_key(|row| row.tokens);
        let of = |pass: &str| rows.iter().filter(|row| row.pass == pass).collect::<Vec<_>>();
        let (token, prompt) = (of("token"), of("prompt"));
        let mut panels = vec![];
        if !token.is_empty() {
            panels.push(lines("One more token: operations", &token, &OPERATIONS, "FLOP", locale));
            panels.push(lines("One more token: bytes that are read", &token, &READ, "B", locale));
        }
        if !prompt.is_empty() {
            panels.push(lines("A whole prompt: operations", &prompt, &OPERATIONS, "FLOP", locale));
        }
        let model = &rows[0];
        let about = format!("{} parameters", locale.count(model.parameters));
        emit(View {
            name: Self::TABLE.name.to_owned(),
            title: "Cost of a context".to_owned(),
            subtitle: View::subtitle(from, &about),
            caption: caption(model, &token, &prompt, locale),
            legend: vec![
                "Both axes are logarithmic. Attention is what grows with the context: scores and mixing.".to_owned(),
                "Operations are counted from the architecture; norms, softmax and look-ups count 0.".to_owned(),
            ],
            panels,
            more: View::panel(Body::Table(lengths(&token, &prompt, locale))),
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}

/// A line's name and values.
type Named = (&'static str, fn(&CostTotalRow) -> u64);

/// The weaker line first.
const OPERATIONS: [Named; 2] =
    [("all the rest", |row| row.flops.saturating_sub(row.attention_flops)), ("attention", |row| row.attention_flops)];
const READ: [Named; 2] = [("weights", |row| row.weight_bytes), ("cache", |row| row.kv_bytes_read)];

fn lines(heading: &str, rows: &[&CostTotalRow], named: &[Named; 2], unit: &str, locale: Locale) -> Panel {
    let values = || rows.iter().flat_map(|row| named.iter().map(|(_, of)| of(row) as f64));
    let (factor, prefix) = Locale::prefix(values().fold(0.0, f64::max), unit);
    let line = |(i, (name, of)): (usize, &Named)| Line {
        name: (*name).to_owned(),
        end: rows.last().map_or(String::new(), |row| locale.amount(of(row) as f64, unit)),
        strong: i == 1,
        points: rows.iter().map(|row| (row.tokens as f64, of(row) as f64 / factor)).collect(),
    };
    let facts = |row: &&CostTotalRow| {
        let each = named.iter().map(|(name, of)| format!("{name} {}", locale.amount(of(row) as f64, unit)));
        let facts = each.collect::<Vec<_>>().join(", ");
        (row.tokens as f64, format!("{}: {facts}", titled(&row.pass, row.tokens, locale)))
    };
    let body = Body::Lines(Lines {
        stairs: false,
        x: Axis { counted: true, ..around("context (tokens)", rows.iter().map(|row| row.tokens as f64)) },
        y: around(&format!("{prefix}{unit}"), values().map(|x| x / factor)),
        lines: named.iter().enumerate().map(line).collect(),
        titles: rows.iter().map(facts).collect(),
    });
    Panel { heading: heading.to_owned(), body }
}

fn caption(model: &CostTotalRow, token: &[&CostTotalRow], prompt: &[&CostTotalRow], locale: Locale) -> Vec<String> {
    let mut said = vec![match (model.crossover_tokens, token.is_empty()) {
        (_, true) => "All positions see each other: no token comes after others, and there is no cache.".to_owned(),
        (None, false) => {
            "However long the context, attention takes fewer operations for one more token than all the rest: windows \
                          bound what it sees."
                .to_owned()
        }
        (Some(n), false) => {
            let beyond = model.context_limit.filter(|limit| n > *limit);
            let beyond =
                beyond.map(|limit| format!(" (beyond the {} that the model can position)", locale.count(limit)));
            format!(
                "From a context of {} tokens on{}, attention takes as many operations for one more token as all the rest.",
                locale.count(n),
                beyond.unwrap_or_default()
            )
        }
    }];
    if let Some(last) = token.last() {
        let bits = match (last.weight_bits, last.cache_bits) {
            (weights, cache) if weights == cache => format!("at {weights} bits"),
            (weights, cache) => format!("cache at {cache} bits, weights at {weights}"),
        };
        said.push(format!(
            "Each token keeps {} of keys and values ({bits}); {} tokens keep {}, and one more reads them and {} of weights.",
            locale.amount(last.kv_bytes_per_token as f64, "B"),
            locale.count(last.tokens),
            locale.amount(last.kv_bytes as f64, "B"),
            locale.amount(last.weight_bytes as f64, "B"),
        ));
    }
    for (rows, what) in [(token, "one more token takes"), (prompt, "a prompt takes")] {
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            let many = |a: u64, b: u64| locale.amount(a as f64 / b.max(1) as f64, "").trim_end().to_owned();
            let times = match first.tokens == last.tokens {
                true => String::new(),
                false => format!(
                    ", {} times as many as in one of {}, for {} times the tokens",
                    many(last.flops, first.flops),
                    locale.count(first.tokens),
                    many(last.tokens, first.tokens)
                ),
            };
            let n = locale.count(last.tokens);
            said.push(format!("In a context of {n}, {what} {}{times}.", locale.amount(last.flops as f64, "FLOP")));
        }
    }
    said
}

/// The lengths as a table.
fn lengths(token: &[&CostTotalRow], prompt: &[&CostTotalRow], locale: Locale) -> Table {
    let (flop, byte) = (|n: u64| locale.amount(n as f64, "FLOP"), |n: u64| locale.amount(n as f64, "B"));
    let mut columns = vec!["context".to_owned()];
    if !token.is_empty() {
        columns.extend(["one more token", "attention", "weights read", "cache read"].map(str::to_owned));
    }
    columns.extend(["a whole prompt", "attention"].map(str::to_owned));
    let share = |row: &CostTotalRow| locale.percent(row.attention_flops as f64 / row.flops.max(1) as f64);
    let mut rows: BTreeMap<u64, Vec<Cell>> = BTreeMap::new();
    for row in token {
        let said = [flop(row.flops), share(row), byte(row.weight_bytes), byte(row.kv_bytes_read)];
        rows.insert(row.tokens, said.map(Cell::said).into());
    }
    for row in prompt {
        rows.entry(row.tokens).or_default().extend([flop(row.flops), share(row)].map(Cell::said));
    }
    let row = |(tokens, cells)| TableRow { depth: 0, label: locale.count(tokens), cells };
    Table { columns, rows: rows.into_iter().map(row).collect(), colours: None }
}

/// Of a part in all layers: operations and bytes.
type Sums = BTreeMap<String, (f64, f64)>;

impl Seen for CostRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let locale = how.locale;
        let mut sums: BTreeMap<(String, u64), Sums> = BTreeMap::new();
        rows.rows(0..rows.len(), &mut |row| {
            let (flops, bytes) = sums.entry((row.pass, row.tokens)).or_default().entry(row.part).or_default();
            *flops += row.flops as f64;
            *bytes += row.weight_bytes as f64 + row.kv_bytes_read as f64;
            Ok(())
        })?;
        // One more token, or prompts where there is none: the shortest context and the longest.
        let pass = sums.keys().map(|(pass, _)| pass).max().cloned().ok_or_else(no_rows::<Self>)?;
        let own: Vec<(u64, &Sums)> = sums.iter().filter(|((p, _), _)| *p == pass).map(|((_, n), s)| (*n, s)).collect();
        let ends = [own.first(), own.last().filter(|_| own.len() > 1)];
        let mut panels = vec![];
        for (n, sums) in ends.into_iter().flatten() {
            let heading = format!("{}: operations", titled(&pass, *n, locale));
            panels.push(Panel { heading, body: bars(sums, |(flops, _)| *flops, "FLOP", locale) });
        }
        let Some((n, sums)) = own.last() else { return Err(no_rows::<Self>()) };
        let heading = format!("{}: bytes that are read", titled(&pass, *n, locale));
        panels.push(Panel { heading, body: bars(sums, |(_, bytes)| *bytes, "B", locale) });
        let total: f64 = sums.values().map(|(flops, _)| flops).sum();
        let attention: f64 = sums.iter().filter(|(part, _)| is_attention(part)).map(|(_, (flops, _))| flops).sum();
        let (what, share) = (titled(&pass, *n, locale), locale.percent(attention / total.max(1.0)));
        emit(View {
            name: Self::TABLE.name.to_owned(),
            title: "Cost of the parts".to_owned(),
            subtitle: View::subtitle(from, "all layers together"),
            caption: vec![format!("{what}: scores and mixing are {share} of the operations.")],
            legend: vec![
                "Bars are shares of the whole. Norms and look-ups count 0 operations, but are read.".to_owned(),
            ],
            panels,
            more: vec![],
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}

/// Shares of the whole, in percent.
fn bars(sums: &Sums, of: fn(&(f64, f64)) -> f64, unit: &str, locale: Locale) -> Body {
    let total: f64 = sums.values().map(of).sum();
    let shown: Vec<(&str, f64)> = PARTS.iter().filter_map(|(_, part)| Some((*part, of(sums.get(*part)?)))).collect();
    let point = |(part, amount): &(&str, f64)| {
        let share = if total > 0.0 { amount / total } else { 0.0 };
        Cell {
            value: share * 100.0,
            label: if share > 0.0 && share < 1e-3 { "<0.1 %".to_owned() } else { locale.percent(share) },
            title: format!("{part}: {}, {} of all", locale.amount(*amount, unit), locale.percent(share)),
            ..Cell::default()
        }
    };
    let points: Vec<Cell> = shown.iter().map(point).collect();
    let most = round_up(points.iter().map(|point| point.value).fold(0.0, f64::max)).min(100.0);
    Body::Steps(Steps {
        x: Side::new("part", shown.iter().map(|(part, _)| (*part).to_owned())),
        y: Axis::linear("share (%)", 0.0, most, 5),
        limits: (0.0, most),
        points,
        joined: false,
    })
}

impl Seen for CostMeasuredRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        let all = || rows.iter().flat_map(|row| [row.seconds, row.seconds_predicted]);
        let (factor, unit) = if all().fold(0.0, f64::max) >= 1.0 { (1.0, "s") } else { (1e3, "ms") };
        let axis = |name: &str| around(&format!("{name} ({unit})"), all().map(|x| x * factor));
        let facts = |row: &CostMeasuredRow| {
            format!(
                "{}: {} measured (median of {}, {} to {}), {} predicted",
                titled(&row.pass, row.tokens, locale),
                locale.seconds(row.seconds),
                row.runs,
                locale.seconds(row.seconds_least),
                locale.seconds(row.seconds_most),
                locale.seconds(row.seconds_predicted)
            )
        };
        let dot = |row: &CostMeasuredRow| Dot {
            x: row.seconds_predicted * factor,
            y: row.seconds * factor,
            title: facts(row),
            ..Dot::default()
        };
        let words = |(i, row): (usize, &CostMeasuredRow)| (i, format!("{} {}", row.pass, locale.count(row.tokens)));
        let times = |row: &CostMeasuredRow| row.seconds / row.seconds_predicted;
        let (least, most) = rows.iter().map(times).fold((f64::MAX, 0.0), |(a, b), x| (f64::min(a, x), f64::max(b, x)));
        let machine = &rows[0];
        let table = |row: &CostMeasuredRow| TableRow {
            depth: 0,
            label: titled(&row.pass, row.tokens, locale),
            cells: [
                locale.seconds(row.seconds),
                locale.seconds(row.seconds_predicted),
                locale.amount(row.flops as f64 / row.seconds, "FLOP/s"),
                locale.amount(row.bytes as f64 / row.seconds, "B") + "/s",
            ]
            .map(Cell::said)
            .into(),
        };
        let heads = ["pass", "measured", "predicted", "rate of operations", "rate of bytes"].map(str::to_owned);
        emit(View {
            name: Self::TABLE.name.to_owned(),
            title: "Measured and predicted time".to_owned(),
            subtitle: View::subtitle(from, &format!("{} threads", machine.threads)),
            caption: vec![
                format!(
                    "Passes take {} to {} times as long as the roofline says.",
                    locale.number(least as f32),
                    locale.number(most as f32)
                ),
                format!(
                    "The roofline: each part takes the longer of its operations at {} and its bytes at {}/s, which one linear layer reaches here.",
                    locale.amount(machine.flop_rate, "FLOP/s"),
                    locale.amount(machine.byte_rate, "B")
                ),
            ],
            legend: vec!["On the line both are the same; above it, the machine is slower than that.".to_owned()],
            panels: View::panel(Body::Scatter(Scatter {
                x: axis("predicted"),
                y: axis("measured"),
                diagonal: true,
                kinds: vec![],
                dots: rows.iter().map(dot).collect(),
                words: rows.iter().enumerate().map(words).collect(),
            })),
            more: View::panel(Body::Table(Table {
                columns: heads.into(),
                rows: rows.iter().map(table).collect(),
                colours: None,
            })),
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}
