//! Heads as they are seen: an atlas with a letter for each kind.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::CALLED;
use super::looks::KINDS;
use super::rows::{HeadPairRow, HeadRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Row, Rows};
use crate::view::colour::Colours;
use crate::view::kind::{Arcs, Body, Cell, Heat, Link, Mark, Panel, Shape, Side, Table, TableRow, View};
use crate::view::{Emit, Options, Seen, all_rows, no_rows};

impl HeadRow {
    /// The score by which it is called.
    fn score(&self) -> f64 {
        self.scores()[self.most().0].0
    }

    fn name(&self) -> String {
        format!("{}.{}", self.layer, self.head)
    }

    fn title(&self, locale: Locale) -> String {
        let scores = KINDS.iter().zip(self.scores()).map(|(kind, (score, error, null))| {
            let [score, null] = [score, null].map(|x| locale.fixed(x, 3));
            let error = locale.error(&score, error);
            format!("{kind} {score} ± {error} (null {null})")
        });
        let copying = self.copying.map_or(String::new(), |x| format!(", copying {}", locale.signed(x)));
        format!("head {}: {}{copying}", self.name(), scores.collect::<Vec<_>>().join(", "))
    }
}

/// What stands for a kind.
fn letter(kind: &str) -> String {
    kind.chars().next().map(|c| c.to_ascii_uppercase().to_string()).unwrap_or_default()
}

/// What heads of a kind are called.
fn called(kind: &str, n: usize) -> String {
    let name = match kind {
        "previous" => "previous-token",
        "duplicate" => "duplicate-token",
        "current" => "current-token",
        "first" => "first-position",
        other => other,
    };
    format!("{name} head{}", if n == 1 { "" } else { "s" })
}

impl Seen for HeadRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (rows, locale) = (all_rows(rows)?, how.locale);
        let about = match rows.first() {
            Some(row) => format!("{} texts of {} random tokens read twice", row.texts, row.length),
            None => String::new(),
        };
        emit(View {
            name: Self::TABLE.name.to_owned(),
            title: "What each head looks at".to_owned(),
            subtitle: View::subtitle(from, &about),
            caption: finding(&rows, locale),
            legend: vec![
                "P: the token before. I: what followed the same token last time (induction). D: the same token before (duplicate).".to_owned(),
                "C: the token itself. F: the first position (a sink).".to_owned(),
                format!(
                    "Numbers are shares of attention, of each head the one that is most above chance. A letter stands where it is {} or more above.",
                    locale.fixed(CALLED, 2)
                ),
            ],
            panels: View::panel(Body::Heat(atlas(&rows, locale))),
            more: View::panel(Body::Table(strongest(&rows, locale))),
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}

fn atlas(rows: &[HeadRow], locale: Locale) -> Heat {
    let all = |of: fn(&HeadRow) -> u32| rows.iter().map(of).collect::<BTreeSet<u32>>().into_iter().collect::<Vec<_>>();
    let (layers, heads) = (all(|row| row.layer), all(|row| row.head));
    let at = |of: &[u32], i: u32| of.partition_point(|other| *other < i);
    let cell = |row: &HeadRow| {
        let cell = Cell {
            value: row.score(),
            label: row.kind.as_deref().map_or("·".to_owned(), letter),
            below: locale.fixed(row.score(), 2),
            title: row.title(locale),
            error: None,
            mark: Mark::Plain,
        };
        ((at(&layers, row.layer), at(&heads, row.head)), cell)
    };
    Heat {
        rows: Side::new("layer", layers.iter().map(u32::to_string)),
        columns: Side::new("head", heads.iter().map(u32::to_string)),
        above: Side::default(),
        cells: rows.iter().map(cell).collect(),
        areas: vec![],
        colours: Colours::probability("share of attention"),
        shape: Shape::Tokens,
        absent: "no such head",
    }
}

/// Those of a kind, the strongest first.
fn of_kind<'a>(rows: &'a [HeadRow], kind: &str) -> Vec<&'a HeadRow> {
    let mut of: Vec<&HeadRow> = rows.iter().filter(|row| row.kind.as_deref() == Some(kind)).collect();
    of.sort_by(|a, b| b.score().total_cmp(&a.score()));
    of
}

/// Which heads of which kind there are.
fn finding(rows: &[HeadRow], locale: Locale) -> Vec<String> {
    /// Heads that are named.
    const NAMED: usize = 5;
    let mut said = vec![];
    for kind in ["previous", "induction", "duplicate", "current", "first"] {
        let of = of_kind(rows, kind);
        if of.is_empty() {
            continue;
        }
        let named = of.iter().take(NAMED).map(|row| format!("{} ({})", row.name(), locale.fixed(row.score(), 2)));
        let more = of.len().checked_sub(NAMED).filter(|n| *n > 0).map(|n| format!(" and {n} more"));
        let all = named.collect::<Vec<_>>().join(", ");
        let first = format!("{} {}: {all}{}.", of.len(), called(kind, of.len()), more.unwrap_or_default());
        said.push(first);
    }
    if said.is_empty() {
        said.push(format!(
            "No head gives {} more of its attention than chance to the token before, to itself, to the first, to where its token was before, \
             or to what followed it then.",
            locale.fixed(CALLED, 2)
        ));
    }
    said
}

/// The strongest heads of each kind.
fn strongest(rows: &[HeadRow], locale: Locale) -> Table {
    /// Rows of a kind.
    const SHOWN: usize = 8;
    let number = |x: f64| Cell { value: x, label: locale.fixed(x, 2), ..Cell::default() };
    let row = |row: &HeadRow| {
        let mut cells = vec![Cell::said(row.kind.clone().unwrap_or_default())];
        cells.extend(row.scores().map(|(score, ..)| number(score)));
        cells.push(Cell::said(locale.fixed(row.induction_null, 2)));
        cells.push(Cell::said(row.copying.map_or(String::new(), |x| locale.signed(x))));
        cells.push(Cell::said(row.ov_rank_90.to_string()));
        TableRow { depth: 0, label: row.name(), cells }
    };
    let columns = ["head", "kind"].into_iter().chain(KINDS).chain(["induction null", "copying", "OV rank 90"]);
    Table {
        columns: columns.map(str::to_owned).collect(),
        rows: KINDS.iter().flat_map(|kind| of_kind(rows, kind).into_iter().take(SHOWN)).map(row).collect(),
        colours: Some(Colours::probability("share of attention")),
    }
}

/// Strongest pairs of each composition that are drawn.
const PAIRS: usize = 12;

/// A composition: what it is called, and its value.
type Composition = (&'static str, fn(&HeadPairRow) -> f64);

const COMPOSITIONS: [Composition; 3] = [("queries", |row| row.q), ("keys", |row| row.k), ("values", |row| row.v)];

impl Seen for HeadPairRow {
    const SHOWN: bool = false;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let (mut strongest, n): ([Vec<Self>; 3], usize) = (Default::default(), rows.len());
        if n == 0 {
            return Err(no_rows::<Self>());
        }
        // Large models have millions of pairs, of which a few are kept.
        rows.rows(0..n, &mut |row| {
            for (kept, (_, value)) in strongest.iter_mut().zip(COMPOSITIONS) {
                let at = kept.partition_point(|old| value(old) >= value(&row));
                if at < PAIRS && value(&row).is_finite() {
                    kept.insert(at, row.clone());
                    kept.truncate(PAIRS);
                }
            }
            Ok(())
        })?;
        let locale = how.locale;
        let said = strongest.iter().zip(COMPOSITIONS).filter_map(|(rows, (name, value))| {
            let row = rows.first()?;
            Some(format!("{name} {} to {} ({})", from_name(row), to_name(row), locale.signed(value(row))))
        });
        let said = said.collect::<Vec<_>>().join(", ");
        let panels = strongest.iter().zip(COMPOSITIONS).map(|(rows, of)| Panel {
            heading: format!("What {} read", of.0),
            body: Body::Arcs(arcs(rows, of, locale)),
        });
        let baseline = strongest[0].first().map_or(0.0, |row| row.baseline);
        emit(View {
            name: Self::TABLE.name.to_owned(),
            title: "Whose output each head reads".to_owned(),
            subtitle: View::subtitle(from, &format!("{} pairs of heads", locale.count(n as u64))),
            caption: vec![format!("The strongest compositions: {said}.")],
            legend: vec![format!(
                "Numbers and thickness: composition of weights less {}, what independent maps have on average. The {PAIRS} strongest pairs \
                     of each kind, from the earlier head on the left to the later one; heads that are in none of them are left out.",
                locale.fixed(baseline, 3)
            )],
            panels: panels.collect(),
            more: vec![],
            provenance: Arc::new(from.clone()),
            locale,
        })
    }
}

fn from_name(row: &HeadPairRow) -> String {
    format!("{}.{}", row.from_layer, row.from_head)
}

fn to_name(row: &HeadPairRow) -> String {
    format!("{}.{}", row.to_layer, row.to_head)
}

/// Pairs of heads as arcs between those that are in one of them.
fn arcs(rows: &[HeadPairRow], (name, value): Composition, locale: Locale) -> Arcs {
    let ends = |row: &HeadPairRow| [(row.from_layer, row.from_head), (row.to_layer, row.to_head)];
    let mut places: Vec<(u32, u32)> = rows.iter().flat_map(ends).collect();
    places.sort_unstable();
    places.dedup();
    let link = |row: &HeadPairRow| {
        let [from, to] = ends(row).map(|at| places.partition_point(|place| *place < at));
        let label = locale.signed(value(row));
        let title = format!("{name} of {} from {}: {label}", to_name(row), from_name(row));
        Link { from, to, value: value(row), label, title }
    };
    Arcs {
        places: Side::new("head", places.iter().map(|(layer, head)| format!("{layer}.{head}"))),
        value: "composition".to_owned(),
        arcs: rows.iter().map(link).collect(),
    }
}
