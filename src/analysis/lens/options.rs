//! The logit lens as a question: its options.

use serde::{Deserialize, Serialize};

use super::{Decoding, lens, need};
use crate::analysis::LensRow;
use crate::error::Result;
use crate::range::{self, Interval};
use crate::session::shards::{Join, Shards};
use crate::session::spaces::Words;
use crate::session::{Analysis, Prompts, Session, Sink};
use crate::sweep::{Budget, Need};
use crate::text::Prompt;

/// The logit lens: what would the model say if it stopped at each layer?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(after_help = "Writes logit_lens.parquet (see `pellucid tables logit_lens`) and one SVG for each prompt.")
)]
pub struct Lens {
    /// Which values of the stream to decode: resid_pre, resid_mid, resid_post, attn_out, mlp_out, or a pattern of hook names
    #[cfg_attr(feature = "cli", arg(long, default_value_t = Lens::default().at, value_name = "HOOKS", visible_alias = "hooks"))]
    pub at: String,
    /// Only these positions, such as 0,3-5,-1; negative ones count from the end [default: all]
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::parse, allow_hyphen_values = true)
    )]
    pub pos: Option<Vec<Interval>>,
    /// How many tokens to keep for each hook and position [default: 5]
    #[cfg_attr(feature = "cli", arg(long, value_name = "K"))]
    pub top: Option<usize>,
    /// A word to follow through the layers, such as " Mary", or a token id, such as #17
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub target: Option<String>,
}

impl Default for Lens {
    fn default() -> Self {
        Self { at: "resid_post".into(), pos: None, top: None, target: None }
    }
}

impl Lens {
    fn decoding(&self, on: &Session) -> Result<Decoding<'_>> {
        let target = self.target.as_deref().map(|t| on.target(t)).transpose()?;
        Ok(Decoding::new(on.model.spec(), self, target, Budget(on.memory_bytes)))
    }
}

impl Analysis for Lens {
    const NAME: &'static str = "lens";
    const JOINS: Option<Join> = Some(joined);
    type Tables = LensRow;
    type On = Session;
    type Input = Prompts;

    fn need(&self, on: &Session, input: &Prompts) -> Result<Need> {
        let options = self.decoding(on)?;
        need(on.model.spec(), &input.prompts, &options, |cells| super::view::bytes(cells, options.top))
    }

    fn run(&self, on: &Session, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        let options = Decoding { shard: out.shard.unwrap_or_default(), ..self.decoding(on)? };
        if let Some(target) = options.target {
            // After the last position that is looked at.
            let last = |p: &Prompt| range::last(self.pos.as_deref(), p.tokens.len());
            let after = |p| Some(Words { prompt: p, at: last(p)?, tokens: vec![target] });
            let words: Vec<Words<'_>> = input.prompts.iter().filter_map(after).collect();
            if let Some(said) = on.doubtful_spaces(["target", "prompts"], &words)? {
                out.note(said);
            }
        }
        out.begin::<LensRow>()?;
        let watch = out.watch;
        lens(&on.model, &input.prompts, &|id| on.spell(id), &options, watch, &mut |row| out.push(row))
    }
}

/// Makes of shards what one process makes.
fn joined(shards: &Shards, out: &mut Sink<'_>) -> Result<()> {
    out.begin::<LensRow>()?;
    let watch = out.watch;
    shards.rows(watch, &mut |row: LensRow| out.push(row))
}
