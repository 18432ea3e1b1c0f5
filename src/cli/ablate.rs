//! `pellucid ablate`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::args::{DrawArgs, LoadArgs, PromptArgs, RunArgs};
use super::input::dataset;
use super::out::Out;
use super::patches::Sweep;
use crate::analysis::patch::{Direction, Grid, Kind, Metric, Over, PatchOptions, need, patch};
use crate::error::{Error, Result};
use crate::text::Prompt;

/// Ablation: what is lost without each head, MLP, layer or neuron?
#[derive(Args, Debug)]
#[command(
    after_help = "Writes patch.parquet, a row for each prompt, and patch_mean.parquet, their means (see `pellucid tables \
                        patch_mean`), and an SVG of both for each metric. The effect is `patched` minus `clean`."
)]
pub(super) struct Ablate {
    #[command(flatten)]
    model: LoadArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// What is taken away, one at a time
    #[arg(long, value_enum, default_value_t = Unit::Head)]
    unit: Unit,
    /// What is put in its place: zero; mean or mean-by-position (over --dataset, else over the prompts); resample (from them)
    #[arg(long, default_value = "mean", value_name = "KIND")]
    kind: String,
    /// Prompts that means and resampled values are taken from [default: the prompts themselves]
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    /// What to measure: loss, kl_to_clean, or, of --answer and --foil, logit_diff, logit, prob, log_prob, rank
    #[arg(long, default_value = "loss", value_name = "METRICS", value_delimiter = ',')]
    metric: Vec<String>,
    /// At which position to measure what is not the loss; negative ones count from the end
    #[arg(long, default_value_t = -1, value_name = "POSITION", allow_hyphen_values = true)]
    measure_at: isize,
    /// The token that is right; may be repeated
    #[arg(long, value_name = "TOKEN")]
    answer: Vec<String>,
    /// A token that is wrong; may be repeated
    #[arg(long, value_name = "TOKEN")]
    foil: Vec<String>,
    /// Only these layers
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    layers: Option<Vec<usize>>,
    /// Only these heads
    #[arg(long, value_name = "HEADS", value_delimiter = ',')]
    heads: Option<Vec<usize>>,
    /// Only these neurons
    #[arg(long, value_name = "NEURONS", value_delimiter = ',')]
    neurons: Option<Vec<usize>>,
    /// Only at these positions, all at once; negative ones count from the end
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_hyphen_values = true)]
    pos: Option<Vec<isize>>,
    /// Of what is drawn
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Compute so many ablations again, drawn with --seed, each by a whole forward pass, and print the largest difference
    #[arg(long, default_value_t = 0, value_name = "N")]
    verify: usize,
    /// Go on where this command was stopped
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    draw: DrawArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    /// The output of one attention head (z)
    Head,
    /// The output of one attention sublayer (attn_out)
    Attention,
    /// The output of one MLP (mlp_out)
    Mlp,
    /// Both outputs of one layer
    Layer,
    /// One neuron (mlp.post)
    Neuron,
}

impl Ablate {
    pub fn run(&self, out: &Out) -> Result<()> {
        let loaded = self.model.load(out)?;
        let prompts = self.prompts.build(&loaded)?;
        let (at, over, together) = match self.unit {
            Unit::Head => ("z", vec![Over::Layer, Over::Head], false),
            Unit::Attention => ("attn_out", vec![Over::Layer], false),
            Unit::Mlp => ("mlp_out", vec![Over::Layer], false),
            Unit::Layer => ("attn_out,mlp_out", vec![Over::Layer], true),
            Unit::Neuron => ("mlp.post", vec![Over::Layer, Over::Neuron], false),
        };
        let kind = Kind::parse(&self.kind, None)?;
        let dataset = match &self.dataset {
            Some(path) => loaded.prompts(&dataset(path, self.prompts.read.bounds())?, self.prompts.bos())?,
            None if kind.needs_a_dataset() => prompts.clone(),
            None => vec![],
        };
        let values = self.own_values(&kind, &prompts)?;
        let tokens = |texts: &[String]| texts.iter().map(|t| loaded.target(t)).collect::<Result<Vec<_>>>();
        let (answers, foils) = (tokens(&self.answer)?, tokens(&self.foil)?);
        let pairs = (prompts.into_iter())
            .map(|p| {
                loaded.new_pair((p.index, p.id.clone()), (p, None), [answers.clone(), foils.clone()], &[], |_| None)
            })
            .collect::<Result<Vec<_>>>()?;
        let options = PatchOptions {
            grid: Grid {
                at: at.to_owned(),
                over,
                layers: self.layers.clone(),
                heads: self.heads.clone(),
                neurons: self.neurons.clone(),
                positions: self.pos.clone(),
                together,
                ..Grid::default()
            },
            direction: Direction::Noise,
            kind,
            metrics: self.metric.iter().map(|name| Metric::parse(name)).collect::<Result<_>>()?,
            measure_at: self.measure_at,
            memory_bytes: self.run.memory,
            dataset,
            seed: self.seed,
            noised: None,
            verify: self.verify,
        };
        self.run.plan(out, &loaded, need(&loaded.model, &pairs, &options)?)?;
        let asked = json!({
            "unit": format!("{:?}", self.unit), "kind": self.kind, "metric": self.metric, "measure_at": self.measure_at,
            "layers": self.layers, "heads": self.heads, "neurons": self.neurons, "pos": self.pos, "verify": self.verify,
        });
        let sweep = Sweep {
            name: "ablate",
            loaded: &loaded,
            pairs: &pairs,
            options: &options,
            asked,
            run: &self.run,
            scale: self.draw.scale(),
            resume: self.resume,
            values,
        };
        sweep.run(out, |keep, watch, emit| patch(&loaded.model, &pairs, &options, keep, watch, emit))
    }

    /// Says where values are from that one prompt gets from itself.
    fn own_values(&self, kind: &Kind, prompts: &[Prompt]) -> Result<Option<String>> {
        let ([only], None, true) = (prompts, &self.dataset, kind.needs_a_dataset()) else { return Ok(None) };
        match kind {
            Kind::Mean { by_position: false } => {
                let n = only.tokens.len();
                Ok(Some(format!(
                    "by the mean over the {n} positions of this prompt itself; --dataset takes other prompts"
                )))
            }
            _ => Err(Error::bad_input(format!(
                "`{}` of one prompt puts back what was there: the only prompt to take values of is itself",
                self.kind
            ))
            .hint("give other prompts with --dataset FILE, or use --kind mean or zero")),
        }
    }
}
