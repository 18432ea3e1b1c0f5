//! `pellucid attribute`

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{DrawArgs, LoadArgs, PairArgs, RunArgs, Way, command};
use super::collect::collect;
use super::out::Out;
use super::pairs::say_spaces;
use super::request::{Pairs, request};
use crate::analysis::AttributionRow;
use crate::analysis::attribute::{AttributeOptions, attribute, components, need};
use crate::analysis::patch::view::words::is_no_better;
use crate::analysis::patch::{Align, Metric};
use crate::error::Result;
use crate::table::{Format, Row, visible};
use crate::view::{Options, Seen};

/// Attribution patching: what would every patch do, to first order, at the cost of a few forward passes?
#[derive(Args, Debug)]
#[command(
    after_help = "Writes attribution.parquet (see `pellucid tables attribution`), an SVG for each pair (the first 20) and site, and \
    with --confirm one of the estimates beside what was measured.\n\n\
    Estimates are (value of the other run - value of this run) x gradient of the metric. They miss what is not straight: \
    attention that is saturated (--qk-fix), effects that cancel (--grad-drop). --confirm measures."
)]
pub(super) struct AttributeCommand {
    #[command(flatten)]
    model: LoadArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// Which values: a pattern of hook names, such as z,mlp.post or blocks.2-4.attn.hook_pattern [default: resid_pre,z,
    /// attn_out,mlp.post,mlp_out, as far as the model has them; with --qk-fix also q,k, or where there are norms on these
    /// q_norm.out,k_norm.out]
    #[arg(long, value_name = "HOOKS")]
    at: Option<String>,
    /// Estimate clean values put into the corrupt run (denoise), or corrupt ones into the clean run (noise)
    #[arg(long, value_enum, default_value_t = Way::Denoise)]
    direction: Way,
    /// What to estimate: logit_diff, logit, prob, log_prob, kl_to_clean or loss
    #[arg(long, default_value = "logit_diff", value_name = "METRIC")]
    metric: String,
    /// At which position to measure; negative ones count from the end
    #[arg(long, default_value_t = -1, value_name = "POSITION", allow_hyphen_values = true)]
    measure_at: isize,
    /// Of neurons, keep so many in each layer and position of each pair: the strongest; 0 keeps all
    #[arg(long, default_value_t = 10, value_name = "N")]
    top: usize,
    /// Make the attention pattern again for each query and key, instead of taking it as linear (AtP*)
    #[arg(long)]
    qk_fix: bool,
    /// Rank by the mean size of estimates that each leave out one layer, so that effects that cancel are found (AtP*)
    #[arg(long)]
    grad_drop: bool,
    /// Measure the N strongest of all pairs, as `pellucid patch` does, and say how good the estimates were
    #[arg(long, default_value_t = 0, value_name = "N")]
    confirm: usize,
    #[command(flatten)]
    draw: DrawArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl AttributeCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let loaded = self.model.load(out)?;
        let pairs = self.pairs.build(&loaded, out)?;
        let options = AttributeOptions {
            at: self.at.clone().unwrap_or_else(|| components(loaded.model.spec(), self.qk_fix)),
            direction: self.direction.into(),
            metric: Metric::parse(&self.metric)?,
            measure_at: self.measure_at,
            top: self.top,
            qk_fix: self.qk_fix,
            grad_drop: self.grad_drop,
            confirm: self.confirm,
            memory_bytes: self.run.memory,
            align: self.pairs.align()?,
        };
        self.run.plan(out, &loaded, need(loaded.model.spec(), &pairs, &options)?)?;
        let asked = json!({
            "at": options.at, "direction": format!("{:?}", options.direction), "metric": self.metric,
            "measure_at": self.measure_at, "top": self.top, "qk_fix": self.qk_fix, "grad_drop": self.grad_drop,
            "confirm": self.confirm, "memory": self.run.memory,
        });
        let align = (options.align == Align::End).then_some("end");
        let asked = Asked { options: &asked, pairs: Pairs(&pairs), align };
        let watch = out.watch("attribute");
        let request = request("attribute", &loaded, pairs.iter().map(|pair| &pair.clean), asked);
        let mut folder = self.run.folder(out, "attribute", &[AttributionRow::TABLE.name], &request)?;
        say_spaces(out, &loaded, &pairs, &[options.metric], options.measure_at)?;
        let path = folder.file("attribution.parquet");
        let (mut summary, mut strongest) = (None, Strongest::default());
        let mut rows = collect(
            &path,
            loaded.provenance(command()),
            |r: &AttributionRow| r.pair,
            |emit| {
                let mut emit = |row: AttributionRow| {
                    strongest.take(&row);
                    emit(row)
                };
                summary = Some(attribute(&loaded.model, &pairs, &options, &watch, &mut emit)?);
                Ok(())
            },
        )?;
        if !rows.table.is_empty() {
            let options = Options { scale: self.draw.scale(), ..Default::default() };
            AttributionRow::views(&mut rows.table, &rows.provenance, &options, &mut |view| folder.view(&view))?;
        }
        out.wrote(&folder.finish(&command())?);
        if let Some(summary) = summary {
            summary.doubts.in_words("pairs").into_iter().for_each(|said| out.note(said));
            out.say(format_args!("{} values estimated", summary.nodes));
            if let Some(confirmed) = summary.confirmed {
                let correlation = confirmed.rank_correlation.map_or("none".into(), |r| format!("{r:.3}"));
                let of = if self.grad_drop { " of strengths and sizes" } else { "" };
                let worst = &confirmed.worst;
                out.say(format_args!(
                    "{} measured: rank correlation{of} {correlation}; furthest apart is {}{}, estimated {:+.4}, exactly {:+.4}",
                    confirmed.n,
                    if pairs.len() > 1 { format!("pair {} ", visible(&worst.pair_id)) } else { String::new() },
                    place(worst),
                    worst.estimate,
                    worst.exact.unwrap_or(f32::NAN)
                ));
            }
        }
        match out.format {
            Format::Table => out.print(|w| strongest.write(pairs.len(), w)),
            _ => out.table(&mut rows.table),
        }
    }
}

/// What decides the results beside model and clean prompts, in the order in which it is hashed.
#[derive(Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    options: &'a Value,
    pairs: Pairs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    align: Option<&'static str>,
}

/// Estimates that are said in words.
const STRONGEST: usize = 10;

/// The strongest estimates of all pairs.
#[derive(Default)]
struct Strongest {
    /// The strongest first; of equals the first of the table.
    rows: Vec<AttributionRow>,
    /// How many there are in all that are not 0.
    of: usize,
}

impl Strongest {
    fn take(&mut self, row: &AttributionRow) {
        if row.strength > 0.0 {
            self.of += 1;
            let at = self.rows.partition_point(|r| r.strength >= row.strength);
            if at < STRONGEST {
                self.rows.insert(at, row.clone());
                self.rows.truncate(STRONGEST);
            }
        }
    }

    fn write(&self, n_pairs: usize, w: &mut dyn Write) -> io::Result<()> {
        let Some(first) = self.rows.first() else {
            return writeln!(w, "to first order, no value makes a difference");
        };
        let shown = self.rows.len();
        match n_pairs {
            1 => writeln!(
                w,
                "{}: clean {:.4}, corrupt {:.4}; the {shown} strongest of {} estimates:",
                first.metric, first.clean, first.corrupt, self.of
            )?,
            n => writeln!(w, "{}: the {shown} strongest of {} estimates of all {n} pairs:", first.metric, self.of)?,
        }
        let reversed = n_pairs == 1 && is_no_better(&first.metric, first.clean, first.corrupt);
        if reversed {
            writeln!(
                w,
                "the clean run is no better than the corrupt run: shares are of the way to it, and no success"
            )?;
        }
        let named = |r: &AttributionRow| match n_pairs {
            1 => place(r),
            _ => format!("pair {} {}", visible(&r.pair_id), place(r)),
        };
        let width = self.rows.iter().map(|r| named(r).chars().count()).max().unwrap_or(0);
        for r in &self.rows {
            write!(w, "  {:width$}  {:+.4}", named(r), r.estimate)?;
            if r.strength != r.estimate.abs() {
                write!(w, "  strength {:.4}", r.strength)?;
            }
            if let Some(recovered) = r.estimated_recovered {
                let word = if reversed { "way to clean" } else { "recovered" };
                write!(w, "  {word} {recovered:.3}")?;
            }
            if let Some(exact) = r.exact {
                write!(w, "  exactly {exact:+.4}")?;
            }
            writeln!(w)?;
        }
        Ok(())
    }
}

/// `layer 2 attn.z head 3 at 5 (John)`.
fn place(AttributionRow { place: r, .. }: &AttributionRow) -> String {
    let layer = r.layer.map_or(String::new(), |l| format!("layer {l} "));
    let head = match (r.head, r.kv_head) {
        (Some(h), _) => format!(" head {h}"),
        (None, Some(g)) => format!(" key/value head {g}"),
        _ => String::new(),
    };
    let neuron = r.neuron.map_or(String::new(), |i| format!(" neuron {i}"));
    let token = |t: &Option<String>| t.as_deref().map_or(String::new(), |t| format!(" ({})", visible(t)));
    let name = |name: &Option<String>| name.as_deref().map_or(String::new(), |n| format!("{}, position ", visible(n)));
    let own = name(&r.position_name);
    let at = r.pos.or(r.query_pos).map_or(String::new(), |p| format!(" at {own}{p}{}", token(&r.token)));
    let own = name(&r.key_position_name);
    let key = r.key_pos.map_or(String::new(), |p| format!(" to {own}{p}{}", token(&r.key_token)));
    format!("{layer}{}{head}{neuron}{at}{key}", r.site)
}
