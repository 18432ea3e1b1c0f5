//! Path patching as a question: its options.

use serde::{Deserialize, Serialize};

use super::{PathOptions, Through, need, path};
use crate::analysis::patch::swept::{Change, Only, axes, chosen_once, swept};
use crate::analysis::{PathMeanRow, PathRow};
use crate::error::Result;
use crate::session::{Analysis, Session, Sink, Swept};
use crate::sweep::{Grid, Need};

/// Path patching: what does one part of the model do by way of another?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes path.parquet (see `pellucid tables path`) and an SVG for each pair, sender, kind of receiver and \
                        metric; of several pairs also path_mean.parquet.\n\n\
                        The receiver reads the stream with what the sender writes when it is changed, and everything between them is \
                        frozen; from the receiver on the run goes on as ever. A receiver that reads before the sender has written is left \
                        out."
    )
)]
pub struct Path {
    /// The senders, parts of what is written to the stream: z (of heads), attn_out, mlp.post (neurons), mlp_out, hook_embed,
    /// hook_pos_embed
    #[cfg_attr(feature = "cli", arg(long, default_value_t = Path::default().from, value_name = "HOOKS"))]
    pub from: String,
    /// What to go over among senders: any of layer, head, neuron, pos. The rest is changed all at once
    #[cfg_attr(feature = "cli", arg(long, default_value = "layer,head", value_name = "AXES", value_delimiter = ','))]
    pub over: Vec<String>,
    /// The receivers: logits; q, k or v of heads; mlp. Each alone, or with a layer and head: 2.1.q, 3.mlp, 2-4.*.k (of k and v,
    /// heads are key/value heads)
    #[cfg_attr(feature = "cli", arg(long, default_value_t = Path::default().to, value_name = "RECEIVERS"))]
    pub to: String,
    /// Let all receivers read the change in one run, instead of one after another
    #[cfg_attr(feature = "cli", arg(long))]
    pub together: bool,
    /// What between sender and receiver is computed anew instead of frozen
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t = Through::Nothing, value_name = "WHAT"))]
    pub through: Through,
    /// Which of the places.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub only: Only,
    /// What becomes of a sender, in which run, and what is measured.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub change: Change,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            from: "z".into(),
            over: vec!["layer".into(), "head".into()],
            to: "logits".into(),
            together: false,
            through: Through::Nothing,
            only: Only::default(),
            change: Change::default(),
        }
    }
}

impl Path {
    fn options(&self, on: &Session, input: &Swept) -> Result<PathOptions> {
        chosen_once(&input.pairs, self.only.pos.is_some())?;
        let grid =
            Grid { at: self.from.clone(), over: axes(&self.over)?, align: input.pairs.align, ..self.only.grid() };
        let patch = self.change.options(on, input, grid)?;
        Ok(PathOptions { patch, to: self.to.clone(), through: self.through, together: self.together })
    }
}

impl Analysis for Path {
    const NAME: &'static str = "path";
    const RESUMES: bool = true;
    type Tables = (PathRow, PathMeanRow);
    type On = Session;
    type Input = Swept;

    fn need(&self, on: &Session, input: &Swept) -> Result<Need> {
        need(&on.model, &input.pairs.pairs, &self.options(on, input)?)
    }

    fn run(&self, on: &Session, input: &Swept, out: &mut Sink<'_>) -> Result<()> {
        let (options, pairs) = (self.options(on, input)?, &input.pairs.pairs);
        swept(on, pairs, &options.patch, out, |keep, watch, emit| path(&on.model, pairs, &options, keep, watch, emit))
    }
}
