//! `pellucid patch`

use clap::Args;
use serde_json::json;

use super::args::{DrawArgs, LoadArgs, PairArgs, RunArgs, at_least_one};
use super::change::{ChangeArgs, axes};
use super::out::Out;
use super::pairs::chosen_twice;
use super::patches::Sweep;
use crate::analysis::patch::{Align, Grid, Noised, NoisedAt, PatchOptions, need, patch};
use crate::error::{Error, Result};

/// Activation patching: which values make the difference between two prompts?
#[derive(Args, Debug)]
#[command(
    after_help = "Writes patch.parquet (see `pellucid tables patch`) and an SVG for each pair (the first 20), site and metric; of \
                        several pairs, or samples of noise, also patch_mean.parquet, their means, and their figures."
)]
pub(super) struct PatchCommand {
    #[command(flatten)]
    model: LoadArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// Which values to patch: resid_pre, resid_mid, resid_post, attn_out, mlp_out, q, k, v, z, pattern, attn_scores,
    /// mlp.post, hook_embed, or a pattern of hook names
    #[arg(long, default_value = "resid_pre", value_name = "HOOKS")]
    at: String,
    /// What to go over: any of layer, pos, head, neuron, query_pos, key_pos. The rest is patched all at once
    #[arg(long, default_value = "layer,pos", value_name = "AXES", value_delimiter = ',')]
    over: Vec<String>,
    /// Only these layers, such as 0,3
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    layers: Option<Vec<usize>>,
    /// Only these heads (of keys and values: key/value heads, unless --per-query-head)
    #[arg(long, value_name = "HEADS", value_delimiter = ',')]
    heads: Option<Vec<usize>>,
    /// Only these neurons
    #[arg(long, value_name = "NEURONS", value_delimiter = ',')]
    neurons: Option<Vec<usize>>,
    /// Only these positions, such as 0,3,-1; negative ones count from the end
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_hyphen_values = true)]
    pos: Option<Vec<isize>>,
    /// Only these keys, of scores and patterns; negative ones count from the end
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_hyphen_values = true)]
    keys: Option<Vec<isize>>,
    /// Patch all sites of a layer together, in one run
    #[arg(long)]
    together: bool,
    /// Patch keys and values as one query head sees them, where several share a key/value head: heads are query heads then,
    /// and the others that read the same key/value head see what they saw
    #[arg(long)]
    per_query_head: bool,
    /// Patch so many neighbouring layers at once, around each
    #[arg(long, value_name = "LAYERS", default_value_t = 1, value_parser = at_least_one())]
    window: usize,
    #[command(flatten)]
    change: ChangeArgs,
    /// Causal tracing: the corrupt run is the clean prompt with noise on the embeddings, so many deviations of the embedding
    /// strong (ROME takes 3)
    #[arg(long, value_name = "DEVIATIONS", conflicts_with = "corrupt")]
    noise: Option<f64>,
    /// Where: the tokens of this part of the clean prompt
    #[arg(long, value_name = "TEXT", requires = "noise")]
    subject: Option<String>,
    /// Where: these positions
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_hyphen_values = true, requires = "noise")]
    noise_at: Option<Vec<isize>>,
    /// Measure each prompt with so many samples of the noise; means are over a prompt's samples first, then over prompts
    #[arg(long, value_name = "N", default_value_t = 1, requires = "noise", value_parser = at_least_one())]
    samples: usize,
    #[command(flatten)]
    draw: DrawArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl PatchCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let loaded = self.model.load(out)?;
        let pairs = self.pairs.build(&loaded, out)?;
        let grid = Grid { align: self.pairs.align()?, ..self.grid()? };
        if grid.align == Align::Named && (self.pos.is_some() || self.keys.is_some()) {
            return Err(chosen_twice());
        }
        let options = PatchOptions {
            noised: self.noised()?,
            ..self.change.options(&loaded, &self.pairs, grid, self.run.memory)?
        };
        self.run.plan(out, &loaded, need(&loaded.model, &pairs, &options)?)?;
        let asked = json!({
            "at": self.at, "over": self.over, "layers": self.layers, "heads": self.heads, "neurons": self.neurons,
            "pos": self.pos, "keys": self.keys, "together": self.together, "window": self.window,
            "per_query_head": self.per_query_head, "noised": format!("{:?}", options.noised),
            "change": self.change.asked(&options),
        });
        let sweep = Sweep {
            name: "patch",
            loaded: &loaded,
            pairs: &pairs,
            options: &options,
            asked,
            run: &self.run,
            scale: self.draw.scale(),
            resume: self.change.resume,
            values: None,
        };
        sweep.run(out, |keep, watch, emit| patch(&loaded.model, &pairs, &options, keep, watch, emit))
    }

    fn grid(&self) -> Result<Grid> {
        Ok(Grid {
            at: self.at.clone(),
            over: axes(&self.over)?,
            layers: self.layers.clone(),
            heads: self.heads.clone(),
            neurons: self.neurons.clone(),
            positions: self.pos.clone(),
            keys: self.keys.clone(),
            together: self.together,
            window: self.window,
            per_query_head: self.per_query_head,
            align: Align::default(),
        })
    }

    fn noised(&self) -> Result<Option<Noised>> {
        let (at, sigma) = match (self.noise, &self.subject, &self.noise_at) {
            // clap does not ask for --noise where --corrupt excludes it.
            (None, ..) if self.subject.is_some() || self.noise_at.is_some() || self.samples > 1 => {
                return Err(Error::bad_input(
                    "--subject, --noise-at and --samples are about --noise, which is not given",
                )
                .hint("say how strong it is, such as --noise 3, instead of --corrupt"));
            }
            (None, ..) => return Ok(None),
            (Some(sigma), Some(part), None) => (NoisedAt::Part(part.clone()), sigma),
            (Some(sigma), None, Some(at)) => (NoisedAt::Positions(at.clone()), sigma),
            _ => {
                return Err(Error::bad_input("it is not said which embeddings get the noise")
                    .hint("give either --subject TEXT or --noise-at POSITIONS"));
            }
        };
        Ok(Some(Noised { at, sigma, samples: self.samples }))
    }
}
