//! `pellucid path`

use clap::{Args, ValueEnum};
use serde_json::json;

use super::args::{DrawArgs, LoadArgs, PairArgs, RunArgs};
use super::change::{ChangeArgs, axes};
use super::out::Out;
use super::pairs::chosen_twice;
use super::patches::Sweep;
use crate::analysis::patch::{Align, Grid};
use crate::analysis::path::{PathOptions, Through, need, path};
use crate::error::Result;

/// Path patching: what does one part of the model do by way of another?
#[derive(Args, Debug)]
#[command(
    after_help = "Writes path.parquet (see `pellucid tables path`) and an SVG for each pair, sender, kind of receiver and \
                        metric; of several pairs also path_mean.parquet.\n\n\
                        The receiver reads the stream with what the sender writes when it is changed, and everything between them is \
                        frozen; from the receiver on the run goes on as ever. A receiver that reads before the sender has written is left \
                        out."
)]
pub(super) struct PathCommand {
    #[command(flatten)]
    model: LoadArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// The senders, parts of what is written to the stream: z (of heads), attn_out, mlp.post (neurons), mlp_out, hook_embed,
    /// hook_pos_embed
    #[arg(long, default_value = "z", value_name = "HOOKS")]
    from: String,
    /// What to go over among senders: any of layer, head, neuron, pos. The rest is changed all at once
    #[arg(long, default_value = "layer,head", value_name = "AXES", value_delimiter = ',')]
    over: Vec<String>,
    /// The receivers: logits; q, k or v of heads; mlp. Each alone, or with a layer and head: 2.1.q, 3.mlp, 2-4.*.k (of k and v,
    /// heads are key/value heads)
    #[arg(long, default_value = "logits", value_name = "RECEIVERS")]
    to: String,
    /// Let all receivers read the change in one run, instead of one after another
    #[arg(long)]
    together: bool,
    /// What between sender and receiver is computed anew instead of frozen
    #[arg(long, value_enum, default_value_t = Between::Nothing, value_name = "WHAT")]
    through: Between,
    /// Only senders in these layers, such as 0,3
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    layers: Option<Vec<usize>>,
    /// Only these heads as senders
    #[arg(long, value_name = "HEADS", value_delimiter = ',')]
    heads: Option<Vec<usize>>,
    /// Only these neurons as senders
    #[arg(long, value_name = "NEURONS", value_delimiter = ',')]
    neurons: Option<Vec<usize>>,
    /// Change senders at these positions only, such as 0,3,-1; negative ones count from the end
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_hyphen_values = true)]
    pos: Option<Vec<isize>>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    draw: DrawArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// What is not frozen.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Between {
    /// Everything is frozen: the direct path
    Nothing,
    /// MLPs are computed anew; attention is frozen
    Mlps,
}

impl PathCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let loaded = self.model.load(out)?;
        let pairs = self.pairs.build(&loaded, out)?;
        let grid = Grid {
            at: self.from.clone(),
            over: axes(&self.over)?,
            layers: self.layers.clone(),
            heads: self.heads.clone(),
            neurons: self.neurons.clone(),
            positions: self.pos.clone(),
            align: self.pairs.align()?,
            ..Grid::default()
        };
        if grid.align == Align::Named && self.pos.is_some() {
            return Err(chosen_twice());
        }
        let through = match self.through {
            Between::Nothing => Through::Nothing,
            Between::Mlps => Through::Mlps,
        };
        let patch = self.change.options(&loaded, &self.pairs, grid, self.run.memory)?;
        let options = PathOptions { patch, to: self.to.clone(), through, together: self.together };
        self.run.plan(out, &loaded, need(&loaded.model, &pairs, &options)?)?;
        let asked = json!({
            "from": self.from, "over": self.over, "to": self.to, "together": self.together,
            "through": format!("{:?}", self.through), "layers": self.layers, "heads": self.heads,
            "neurons": self.neurons, "pos": self.pos, "change": self.change.asked(&options.patch),
        });
        let sweep = Sweep {
            name: "path",
            loaded: &loaded,
            pairs: &pairs,
            options: &options.patch,
            asked,
            run: &self.run,
            scale: self.draw.scale(),
            resume: self.change.resume,
            values: None,
        };
        sweep.run(out, |keep, watch, emit| path(&loaded.model, &pairs, &options, keep, watch, emit))
    }
}
