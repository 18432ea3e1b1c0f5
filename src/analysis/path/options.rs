//! Path patching as a question: its options.

use serde::{Deserialize, Serialize};

use super::{Reading, need, path};
use crate::analysis::patch::swept::{joined, swept, told};
use crate::analysis::{PathMeanRow, PathRow};
use crate::error::Result;
use crate::session::shards::Join;
use crate::session::{Analysis, Session, Sink, Swept};
use crate::sweep::{Grid, Need, Only, Over, PatchOptions, Patching};

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
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value = "layer,head", value_name = "AXES", value_delimiter = ',', value_parser = Over::parse)
    )]
    pub over: Vec<Over>,
    /// What reads the change.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub reading: Reading,
    /// Which of the places.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub only: Only,
    /// What becomes of a sender, in which run, and what is measured.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub how: Patching,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            from: "z".into(),
            over: vec![Over::Layer, Over::Head],
            reading: Reading::default(),
            only: Only::default(),
            how: Patching::default(),
        }
    }
}

impl Path {
    fn options(&self, on: &Session, input: &Swept) -> Result<PatchOptions> {
        let (at, over, only) = (self.from.clone(), self.over.clone(), self.only.clone());
        told(on, input, Grid { at, over, only, ..Grid::default() }, &self.how)
    }
}

impl Analysis for Path {
    const NAME: &'static str = "path";
    const RESUMES: bool = true;
    const JOINS: Option<Join> = Some(joined::<PathRow>);
    type Tables = (PathRow, PathMeanRow);
    type On = Session;
    type Input = Swept;

    fn need(&self, on: &Session, input: &Swept) -> Result<Need> {
        need(&on.model, &input.pairs.pairs, &self.options(on, input)?, &self.reading)
    }

    fn run(&self, on: &Session, input: &Swept, out: &mut Sink<'_>) -> Result<()> {
        let (options, pairs) = (self.options(on, input)?, &input.pairs.pairs);
        let reading = &self.reading;
        swept(on, pairs, options, out, |how, keep, watch, emit| path(&on.model, pairs, how, reading, keep, watch, emit))
    }
}
