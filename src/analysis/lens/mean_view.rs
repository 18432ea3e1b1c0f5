//! Means of the logit lens as they are seen: the target's probability, rank and logit difference over the layers, with standard errors.

use std::io::Write;
use std::sync::Arc;

use super::view::{MOST_LABELS, labels};
use crate::analysis::LensMeanRow;
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible_prose};
use crate::view::axis::{Axis, round_up};
use crate::view::kind::{Body, Cell, Item, Panel, Side, Steps, Table, TableRow, View};
use crate::view::label::capital;
use crate::view::viewed::{Shown, Told};
use crate::view::{Emit, Options, Seen, all_rows, terminal};

/// Columns of which one can be drawn alone, beside the probability.
const RANK: &str = "target_rank";
const DIFF: &str = "logit_diff";

impl Seen for LensMeanRow {
    const MEASURES: bool = true;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        views(&all_rows(rows)?, from, how.only.metric.as_deref(), how.locale).into_iter().try_for_each(emit)
    }

    /// The finding and the numbers of each layer, without the pictures.
    fn words(rows: &mut dyn Rows<Self>, _: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        let all = all_rows(rows)?;
        for mut view in views(&all, told.provenance, None, Locale::EN) {
            view.panels.clear();
            w.write_all(terminal::text(&view, terminal::width()).as_bytes())?;
        }
        Ok(())
    }
}

/// A view for each position, of which one column alone may be drawn.
fn views(rows: &[LensMeanRow], provenance: &Provenance, column: Option<&str>, locale: Locale) -> Vec<View> {
    let provenance = Arc::new(provenance.clone());
    let mut positions: Vec<i64> = vec![];
    for row in rows {
        if !positions.contains(&row.pos) {
            positions.push(row.pos);
        }
    }
    let only = positions.len() == 1;
    let of = |pos: &i64| {
        let own: Vec<&LensMeanRow> = rows.iter().filter(|row| row.pos == *pos).collect();
        let (shared, labels) = labels(own.iter().map(|row| row.hook.as_str()));
        let means = Means { rows: own, shared, labels, locale };
        let end = if only { String::new() } else { format!("-at{pos}") };
        means.view(format!("logit_lens_mean{end}"), column, provenance.clone())
    };
    positions.iter().map(of).collect()
}

/// The means at one position; one row at least.
struct Means<'a> {
    rows: Vec<&'a LensMeanRow>,
    /// The site of all hooks, if they share one.
    shared: Option<String>,
    /// What stands beside each row.
    labels: Vec<String>,
    locale: Locale,
}

/// A mean and its standard error.
type Both = (f64, Option<f64>);

/// One of the curves.
struct Curve {
    heading: String,
    axis: fn(&str, f64, f64) -> Axis,
    name: &'static str,
    /// The column that it is of.
    column: &'static str,
    values: Vec<Both>,
    /// What is written beside a point.
    short: fn(Locale, f64, f64) -> String,
}

impl Means<'_> {
    fn view(&self, name: String, column: Option<&str>, provenance: Arc<Provenance>) -> View {
        let where_read = match self.rows[0].pos {
            -1 => "the last position".to_owned(),
            pos => format!("position {pos}"),
        };
        let prompts = self.rows.iter().map(|row| row.prompts).max().unwrap_or(0);
        let about = format!("mean of {prompts} prompts, after {where_read} of each");
        let curves = self.curves();
        View {
            name,
            title: "Logit lens: how the target comes about".to_owned(),
            subtitle: View::subtitle(&provenance, &about),
            caption: self.caption(column),
            legend: vec![],
            panels: curves.iter().map(|curve| self.panel(curve)).collect(),
            more: vec![Panel { heading: String::new(), body: Body::Table(self.table()) }],
            provenance,
            locale: self.locale,
        }
    }

    /// What is found in what is drawn, all or one column, and what its numbers are.
    fn caption(&self, column: Option<&str>) -> Vec<String> {
        let means = match column {
            None => "Means with standard errors over prompts; of ranks the median, which no single prompt decides.",
            Some(RANK) => "Medians over prompts, which no single prompt decides.",
            Some(_) => "Means with standard errors over prompts.",
        };
        let foils = if [None, Some(DIFF)].contains(&column) { self.foils() } else { None };
        [self.finding(column), means.to_owned()].into_iter().chain(foils).collect()
    }

    /// Over how many prompts the logit difference is, where not all have a foil.
    fn foils(&self) -> Option<String> {
        let (foils, prompts) = (self.rows[0].foils, self.rows[0].prompts);
        (foils > 0 && foils < prompts).then(|| format!("{foils} of the {prompts} prompts have a foil."))
    }

    fn curves(&self) -> Vec<Curve> {
        let of = |value: fn(&LensMeanRow) -> (Option<f32>, Option<f32>)| -> Vec<Both> {
            let wide = |x: Option<f32>| x.map(f64::from);
            self.rows.iter().map(|row| value(row)).map(|(x, se)| (wide(x).unwrap_or(f64::NAN), wide(se))).collect()
        };
        let mut curves = vec![
            Curve {
                heading: "Probability of the target".to_owned(),
                axis: |name, _, most| Axis::linear(name, 0.0, round_up(most), 5),
                name: "target's mean probability",
                column: "target_prob",
                values: of(|row| (Some(row.target_prob), row.target_prob_se)),
                short: |locale, value, _| locale.short_probability(value as f32),
            },
            Curve {
                heading: "Rank of the target (1 is most probable)".to_owned(),
                axis: |name, _, most| Axis::log(name, 1.0, most.max(2.0) * 1.3),
                name: "target's median rank (1 is best)",
                column: RANK,
                values: of(|row| (Some(row.target_rank_median), None)),
                short: |locale, value, _| rank(locale, value as f32),
            },
        ];
        let foils = self.rows.iter().map(|row| row.foils).max().unwrap_or(0);
        if foils > 0 {
            curves.push(Curve {
                heading: "Logit difference of target and foil".to_owned(),
                axis: |name, least, most| {
                    let room = if most > least { (most - least) * 0.09 } else { 1.0 };
                    let from = if least < 0.0 { least - room } else { 0.0 };
                    let to = match (most > 0.0, least < 0.0) {
                        (true, _) => most + room,
                        (false, true) => 0.0,
                        (false, false) => room,
                    };
                    Axis::linear(name, from, to, 5)
                },
                name: "mean logit difference",
                column: DIFF,
                values: of(|row| (row.logit_diff, row.logit_diff_se)),
                short: |locale, value, most| locale.in_cell(value, most),
            });
        }
        curves
    }

    fn panel(&self, Curve { heading, axis, name, column, values, short }: &Curve) -> Panel {
        let ends = |sign: f64| move |(x, se): &Both| x + sign * se.unwrap_or(0.0);
        let finite = |x: &f64| x.is_finite();
        let least = values.iter().map(ends(-1.0)).filter(finite).fold(0.0, f64::min);
        let most = values.iter().map(ends(1.0)).filter(finite).fold(0.0, f64::max);
        let largest = f64::max(most, -least);
        let n = values.len();
        let point = |(i, ((row, label), (x, se))): (usize, ((&&LensMeanRow, &String), &Both))| Cell {
            value: *x,
            label: if n <= MOST_LABELS || i + 1 == n { short(self.locale, *x, largest) } else { String::new() },
            title: self.facts(row, label),
            error: *se,
            ..Cell::default()
        };
        let y = axis(name, least, most).of(column);
        let steps = Steps {
            x: Side {
                names: self.axis_names(),
                items: self.labels.iter().map(|label| Item { label: label.clone(), number: None }).collect(),
            },
            limits: (y.from, y.to),
            y,
            points: self.rows.iter().zip(&self.labels).zip(values).enumerate().map(point).collect(),
            joined: true,
        };
        Panel { heading: heading.clone(), body: Body::Steps(steps) }
    }

    fn axis_names(&self) -> Vec<String> {
        match &self.shared {
            Some(site) => vec![format!("layer ({})", visible_prose(site)), "layer".to_owned()],
            None => vec!["site".to_owned()],
        }
    }

    /// `layer 3`, or the site.
    fn called(&self, label: &str) -> String {
        if self.shared.is_some() { format!("layer {label}") } else { label.to_owned() }
    }

    /// A mean with its standard error.
    fn both(&self, x: f32, se: Option<f32>, write: fn(Locale, f32) -> String) -> String {
        let x = write(self.locale, x);
        se.map_or(x.clone(), |se| format!("{x} ± {}", self.locale.error(&x, f64::from(se))))
    }

    /// The facts of a row in one line.
    fn facts(&self, row: &LensMeanRow, label: &str) -> String {
        let place = match self.shared {
            Some(_) => self.called(label),
            None => visible_prose(&row.hook),
        };
        let (prob, number) =
            (Locale::probability as fn(Locale, f32) -> String, Locale::number as fn(Locale, f32) -> String);
        let mut facts = format!(
            "{place}: target {}, rank {} (mean; median {}), the most probable token of {} of {} prompts",
            self.both(row.target_prob, row.target_prob_se, prob),
            self.both(row.target_rank, row.target_rank_se, rank),
            self.locale.number(row.target_rank_median),
            self.locale.percent(f64::from(row.target_first)),
            row.prompts,
        );
        if let Some(diff) = row.logit_diff {
            let over = if row.foils < row.prompts { format!(" (of {} prompts)", row.foils) } else { String::new() };
            facts += &format!("; {} logits over the foil{over}", self.both(diff, row.logit_diff_se, number));
        }
        facts
    }

    /// All numbers, the last layer on top as in the figures of single prompts.
    fn table(&self) -> Table {
        let foils = self.rows.iter().any(|row| row.logit_diff.is_some());
        let (prob, number) =
            (Locale::probability as fn(Locale, f32) -> String, Locale::number as fn(Locale, f32) -> String);
        let bits = (|locale, x| locale.fixed(f64::from(x), 2)) as fn(Locale, f32) -> String;
        let row = |(row, label): (&&LensMeanRow, &String)| {
            let mut cells = vec![
                self.both(row.target_prob, row.target_prob_se, prob),
                self.both(row.target_rank, row.target_rank_se, rank),
                self.locale.number(row.target_rank_median),
                self.locale.percent(f64::from(row.target_first)),
            ];
            if foils {
                cells.push(row.logit_diff.map_or(String::new(), |diff| self.both(diff, row.logit_diff_se, number)));
            }
            cells.push(self.both(row.entropy_bits, row.entropy_bits_se, bits));
            TableRow { depth: 0, label: label.clone(), cells: cells.into_iter().map(Cell::said).collect() }
        };
        let mut columns = vec![if self.shared.is_some() { "layer" } else { "site" }];
        columns.extend(["probability", "mean rank", "median rank", "is first"]);
        columns.extend(foils.then_some("logits over foil"));
        columns.push("entropy (bits)");
        Table {
            columns: columns.into_iter().map(str::to_owned).collect(),
            rows: self.rows.iter().zip(&self.labels).rev().map(row).collect(),
            colours: None,
        }
    }

    /// What the target comes to over the layers, and from which layer on it leads; of one column, what that comes to.
    fn finding(&self, column: Option<&str>) -> String {
        let (first, last) = (self.rows[0], self.rows[self.rows.len() - 1]);
        let prob: fn(Locale, f32) -> String = Locale::probability;
        let what = match column {
            Some(RANK) => "target's median rank",
            Some(DIFF) => "mean logit difference of target and foil",
            _ => "target's mean probability",
        };
        let value = |row: &LensMeanRow| match (column, row.logit_diff) {
            (Some(RANK), _) => rank(self.locale, row.target_rank_median),
            (Some(DIFF), Some(diff)) => self.both(diff, row.logit_diff_se, Locale::number),
            (Some(DIFF), None) => "no number".to_owned(),
            _ => self.both(row.target_prob, row.target_prob_se, prob),
        };
        let called = |i: usize| self.called(&self.labels[i]);
        let mut said = match self.rows.len() {
            1 => format!("{}: the {what} is {}.", capital(&called(0)), value(last)),
            n => {
                let (from, to) = (called(0), called(n - 1));
                format!("The {what} goes from {} at {from} to {} at {to}.", value(first), value(last))
            }
        };
        if column == Some(DIFF) {
            return said;
        }
        let leads = self.rows.iter().rev().take_while(|row| row.target_first > 0.5).count();
        match leads {
            0 => said += " In the end the target is not the most probable token of most prompts.",
            n => {
                let from = called(self.rows.len() - n);
                said += &format!(" The target is the most probable token of most prompts from {from} on.");
            }
        }
        said
    }
}

/// A mean rank: of large ones, whole numbers.
fn rank(locale: Locale, rank: f32) -> String {
    locale.number(if rank >= 10.0 { rank.round() } else { rank })
}
