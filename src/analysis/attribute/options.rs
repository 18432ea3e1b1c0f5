//! Attribution patching as a question: its options.

use serde::{Deserialize, Serialize};

use serde_json::json;

use super::mean::{Averages, Averaging};
use super::{AttributionSummary, attribute, need, points};
use crate::analysis::patch::swept::{note_alike, note_answers};
use crate::analysis::{AttributionMeanRow, AttributionRow};
use crate::error::{Error, Result, said};
use crate::range::{self, Interval};
use crate::session::shards::{Join, Shards};
use crate::session::{Analysis, Pairs, Session, Sink};
use crate::sweep::{Budget, Direction, Doubts, Grid, Metric, Need};
use crate::table::visible;
use crate::text::Pair;

/// Attribution patching: what would every patch do, to first order, at the cost of a few forward passes?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes attribution.parquet (see `pellucid tables attribution`), an SVG for each pair (the first 20) and site, and \
    with --confirm one of the estimates beside what was measured. Of several pairs also attribution_mean.parquet, means with standard \
    errors, and one SVG of them.\n\n\
    Estimates are (value of the other run - value of this run) x gradient of the metric. They miss what is not straight: \
    attention that is saturated (--qk-fix), effects that cancel (--grad-drop). --confirm measures."
    )
)]
pub struct Attribute {
    /// Which values: a pattern of hook names, such as z,mlp.post or blocks.2-4.attn.hook_pattern [default: resid_pre,z,
    /// attn_out,mlp.post,mlp_out, as far as the model has them; with --qk-fix also q,k, or where there are norms on these
    /// q_norm.out,k_norm.out]
    #[cfg_attr(feature = "cli", arg(long, value_name = "HOOKS", visible_alias = "hooks"))]
    pub at: Option<String>,
    /// Only what is in these layers, such as 0-2,5, and what is in none
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub layers: Option<Vec<Interval>>,
    /// Estimate clean values put into the corrupt run (denoise), or corrupt ones into the clean run (noise)
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t = Direction::Denoise))]
    pub direction: Direction,
    /// What to estimate: logit_diff, logit, prob, log_prob, kl_to_clean_nats or loss_nats
    #[cfg_attr(feature = "cli", arg(long, default_value = "logit_diff", value_name = "METRIC", value_parser = Metric::parse))]
    pub metric: Metric,
    /// At which position to measure; negative ones count from the end
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value_t = -1, value_name = "POSITION", allow_hyphen_values = true)
    )]
    pub measure_at: isize,
    /// Of neurons, keep so many in each layer and position of each pair: the strongest; 0 keeps all. Means over pairs have neurons with 0
    /// alone: other pairs have other neurons among their strongest, and means of those would be too large
    #[cfg_attr(feature = "cli", arg(long, default_value_t = Attribute::default().top, value_name = "N"))]
    pub top: usize,
    /// Make the attention pattern again for each query and key, instead of taking it as linear (AtP*)
    #[cfg_attr(feature = "cli", arg(long))]
    pub qk_fix: bool,
    /// Rank by the mean size of estimates that each leave out one layer, so that effects that cancel are found (AtP*)
    #[cfg_attr(feature = "cli", arg(long))]
    pub grad_drop: bool,
    /// Measure the N strongest of all pairs, as `pellucid patch` does, and say how good the estimates were
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 0, value_name = "N"))]
    pub confirm: usize,
}

impl Default for Attribute {
    fn default() -> Self {
        Self {
            at: None,
            layers: None,
            direction: Direction::Denoise,
            metric: Metric::LogitDiff,
            measure_at: -1,
            top: 10,
            qk_fix: false,
            grad_drop: false,
            confirm: 0,
        }
    }
}

impl Attribute {
    /// With the metric that these pairs can be measured by.
    fn of(&self, pairs: &[Pair]) -> Self {
        let metric = Metric::usual(&[self.metric], pairs)[0];
        Self { metric, ..self.clone() }
    }
}

impl Analysis for Attribute {
    const NAME: &'static str = "attribute";
    const JOINS: Option<Join> = Some(joined);
    type Tables = (AttributionRow, AttributionMeanRow);
    type On = Session;
    type Input = Pairs;

    fn need(&self, on: &Session, input: &Pairs) -> Result<Need> {
        need(on.model.spec(), &input.pairs, &self.of(&input.pairs), Budget(on.memory_bytes))
    }

    fn run(&self, on: &Session, input: &Pairs, out: &mut Sink<'_>) -> Result<()> {
        let asked = self.of(&input.pairs);
        if out.shard.is_some() && self.confirm > 0 {
            return Err(Error::bad_input("which estimates of all pairs are strongest is not known in a part of them")
                .hint(said("leave out {!confirm}, or {!shard}")));
        }
        note_answers(on, &input.pairs, &[asked.metric], self.measure_at, out)?;
        note_alike(on, &input.pairs, &Grid { align: input.align, ..Grid::default() }, out);
        out.begin::<AttributionRow>()?;
        let (watch, shard) = (out.watch, out.shard.unwrap_or_default());
        let given = (input.align, Budget(on.memory_bytes), shard);
        let points = points(on.model.spec(), &asked)?;
        let averaging = (input.pairs.len() > 1).then(|| Averaging::of(&asked, &points, input.align));
        if out.shard.is_some() {
            let summary = attribute(&on.model, &input.pairs, &asked, given, watch, &mut |row| out.push(row))?;
            out.told = json!((summary.nodes, summary.doubts, averaging));
            return Ok(());
        }
        let summary =
            with_means(averaging, out, |emit| attribute(&on.model, &input.pairs, &asked, given, watch, emit))?;
        say(&summary, out);
        if let Some(confirmed) = summary.confirmed {
            let correlation = confirmed.rank_correlation.map_or("none".into(), |r| format!("{r:.3}"));
            let of = if self.grad_drop { " of strengths and sizes" } else { "" };
            let worst = &confirmed.worst;
            let pair = if input.pairs.len() > 1 { format!("pair {} ", visible(&worst.pair_id)) } else { String::new() };
            out.say(format_args!(
                "{} measured: rank correlation{of} {correlation}; furthest apart is {pair}{}, estimated {:+.4}, exactly {:+.4}",
                confirmed.n,
                super::words::place(worst),
                worst.estimate,
                worst.exact.unwrap_or(f32::NAN)
            ));
        }
        Ok(())
    }
}

/// Makes of shards what one process makes.
fn joined(shards: &Shards, out: &mut Sink<'_>) -> Result<()> {
    out.begin::<AttributionRow>()?;
    let watch = out.watch;
    let (mut all, mut averaging) = (AttributionSummary::default(), None);
    for (nodes, doubts, own) in shards.told::<(usize, Doubts, Option<Averaging>)>()? {
        all.nodes += nodes;
        all.doubts.merge(&doubts);
        averaging = own;
    }
    with_means(averaging, out, |emit| shards.rows(watch, emit))?;
    say(&all, out);
    Ok(())
}

/// Pushes the rows that `produce` gives and, of several pairs, their means.
fn with_means<T>(
    averaging: Option<Averaging>,
    out: &mut Sink<'_>,
    produce: impl FnOnce(&mut dyn FnMut(AttributionRow) -> Result<()>) -> Result<T>,
) -> Result<T> {
    let mut averages = averaging.map(Averages::new);
    let produced = produce(&mut |row| {
        averages.iter_mut().for_each(|averages| averages.add(&row));
        out.push(row)
    })?;
    let Some(averages) = averages else { return Ok(produced) };
    if averages.left_out {
        out.note(said(
            "means leave out neurons, of which only the strongest of each pair have rows; {top=0} keeps them all",
        ));
    }
    averages.rows().into_iter().try_for_each(|row| out.push(row))?;
    Ok(produced)
}

/// Says what there is to say of all pairs.
fn say(summary: &AttributionSummary, out: &mut Sink<'_>) {
    summary.doubts.in_words("pairs").into_iter().for_each(|said| out.say(format_args!("note: {said}")));
    out.say(format_args!("{} values estimated", summary.nodes));
}
