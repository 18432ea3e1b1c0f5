//! The logit lens as a question: its options.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::mean::{Means, Over};
use super::{Decoding, lens, need};
use crate::analysis::{LensMeanRow, LensRow};
use crate::arch::Spec;
use crate::error::Result;
use crate::hook::{HookPoint, select_in};
use crate::range::{self, Interval};
use crate::session::shards::{Join, Shards};
use crate::session::targets::Options as Words;
use crate::session::{Analysis, Session, Sink, Target, Targeted};
use crate::sweep::{Budget, Need};

/// The logit lens: what would the model say if it stopped at each layer?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes logit_lens.parquet (see `pellucid tables logit_lens`) and one SVG for each prompt. Of several prompts with a \
                        target also logit_lens_mean.parquet, means over prompts with standard errors, and an SVG of them: a prompt of a \
                        file may have its own `target` and `foil`."
    )
)]
pub struct Lens {
    /// Which values of the stream to decode: resid_pre, resid_mid, resid_post, attn_out, mlp_out, or a pattern of hook names
    #[cfg_attr(feature = "cli", arg(long, default_value_t = Lens::default().at, value_name = "HOOKS", visible_alias = "hooks"))]
    pub at: String,
    /// Only what is in these layers, such as 0-2,5, and what is in none
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub layers: Option<Vec<Interval>>,
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
    /// A word to follow through the layers, such as " Mary", or a token id, such as #17 [default: of each prompt in a file, the
    /// text in its field `target`, or the id in `target_id`]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub target: Option<String>,
    /// A word that the target is compared with: by how much is its logit lower? [default: of each prompt in a file, `foil` or
    /// `foil_id`]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub foil: Option<String>,
}

impl Default for Lens {
    fn default() -> Self {
        Self { at: "resid_post".into(), layers: None, pos: None, top: None, target: None, foil: None }
    }
}

impl Lens {
    /// The points that are decoded.
    pub(super) fn points(&self, spec: &Spec) -> Result<Vec<HookPoint>> {
        select_in(spec, &self.at, self.layers.as_deref())
    }

    /// What is followed after each prompt.
    fn targets(&self, on: &Session, input: &Targeted) -> Result<Vec<Target>> {
        input.followed(on, self.words())
    }

    fn words(&self) -> Words<'_> {
        Words { target: self.target.as_deref(), foil: self.foil.as_deref(), alone: false }
    }

    fn decoding<'a>(&'a self, on: &Session, targets: &'a [Target]) -> Decoding<'a> {
        Decoding::new(on.model.spec(), self, targets, Budget(on.memory_bytes))
    }

    /// What means are over; none of one prompt, or where nothing is followed.
    fn means(&self, input: &Targeted, targets: &[Target]) -> Option<Over> {
        let some = input.prompts.len() > 1 && targets.iter().any(|words| words.target.is_some());
        some.then(|| Over::of(&input.prompts, self.pos.as_deref()))
    }
}

impl Analysis for Lens {
    const NAME: &'static str = "lens";
    const JOINS: Option<Join> = Some(joined);
    type Tables = (LensRow, LensMeanRow);
    type On = Session;
    type Input = Targeted;

    fn need(&self, on: &Session, input: &Targeted) -> Result<Need> {
        let targets = self.targets(on, input)?;
        let options = self.decoding(on, &targets);
        let mut need = need(on.model.spec(), &input.prompts, &options, |cells| super::view::bytes(cells, options.top))?;
        if let Some(over) = self.means(input, &targets) {
            need.rows += over.bytes(self.points(on.model.spec())?.len());
        }
        Ok(need)
    }

    fn run(&self, on: &Session, input: &Targeted, out: &mut Sink<'_>) -> Result<()> {
        let targets = self.targets(on, input)?;
        let options = Decoding { shard: out.shard.unwrap_or_default(), ..self.decoding(on, &targets) };
        input.note_replaced(self.words(), out);
        input.note_spaces(on, &targets, self.pos.as_deref(), out)?;
        let over = self.means(input, &targets);
        let (of, n) = (targets.iter().filter(|words| words.target.is_some()).count(), targets.len());
        if over.is_some() && of < n {
            out.note(format!("{} of {n} prompts have no target, and means are of the other {of}", n - of));
        }
        let watch = out.watch;
        tell(over, out, |emit| lens(&on.model, &input.prompts, &|id| on.spell(id), &options, watch, emit))
    }
}

/// Makes of shards what one process makes.
fn joined(shards: &Shards, out: &mut Sink<'_>) -> Result<()> {
    let over = shards.told::<Option<Over>>()?.into_iter().flatten().next();
    let watch = out.watch;
    tell(over, out, |emit| shards.rows(watch, emit))
}

/// Pushes the rows that `produce` gives and, of the whole, their means.
fn tell(
    over: Option<Over>,
    out: &mut Sink<'_>,
    produce: impl FnOnce(&mut dyn FnMut(LensRow) -> Result<()>) -> Result<()>,
) -> Result<()> {
    out.begin::<LensRow>()?;
    if out.shard.is_some() {
        produce(&mut |row| out.push(row))?;
        out.told = json!(over);
        return Ok(());
    }
    let mut means = over.map(Means::new);
    produce(&mut |row| {
        means.iter_mut().for_each(|means| means.add(&row));
        out.push(row)
    })?;
    means.into_iter().flat_map(Means::rows).try_for_each(|row| out.push(row))
}
