//! Attention patterns as a question: its options.

use serde::{Deserialize, Serialize};

use super::{AttentionOptions, Parts, attention, need};
use crate::analysis::AttentionRow;
use crate::arch::Spec;
use crate::error::{Error, Result, give, leave_out_all, said};
use crate::range::{self, Heads, Interval};
use crate::session::targets::Options as Words;
use crate::session::{Analysis, Session, Sink, Target, Targeted};
use crate::sweep::{Budget, Need};
use crate::text::Prompt;

/// Attention patterns: where does each head look?
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes attention.parquet (see `pellucid tables attention`) and for each prompt an SVG of one head and one of all heads; with --parts one of what the last position took."
    )
)]
pub struct Attention {
    /// Heads to draw large, such as 3.2 or L3H2, or a range, 3.0-3; may be repeated [default: the one that looks furthest from the
    /// obvious, or with --target pushes it most]
    #[serde(serialize_with = "range::one_or_heads")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYER.HEAD", value_parser = Heads::parse))]
    pub head: Vec<Heads>,
    /// Only these layers, such as 0-2,5
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub layers: Option<Vec<Interval>>,
    /// Only these heads of each layer, such as 0-2,5
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "HEADS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub heads: Option<Vec<Interval>>,
    /// Only what these positions look at, such as 0,3-5,-1; negative ones count from the end
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::parse, allow_hyphen_values = true)
    )]
    pub pos: Option<Vec<Interval>>,
    /// Leave out rows of smaller probabilities; with 0, every key that a query can see has a row
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 0.0, value_name = "PROB"))]
    pub min_prob: f32,
    /// Say also what each key carried to the query: scores, lengths of values and of what they write, shares of the head's output
    #[cfg_attr(feature = "cli", arg(long))]
    pub parts: bool,
    /// A word, such as " Mary", or a token id, such as #17: how far did what each key carried push its logit? With all of --parts
    /// [default: of each prompt in a file, its field `target`, or `target_id`]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub target: Option<String>,
    /// Another word: how far did it push the target's logit away from this one's? [default: of each prompt in a file, `foil` or `foil_id`]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub foil: Option<String>,
}

impl Attention {
    /// What options say of the words after all prompts.
    fn words(&self) -> Words<'_> {
        Words { target: self.target.as_deref(), foil: self.foil.as_deref(), alone: false }
    }

    fn options(&self, on: &Session, input: &Targeted) -> Result<AttentionOptions> {
        let targets = input.followed(on, self.words())?;
        let token = |id: Option<u32>| id.map(|id| (id, on.spell(id)));
        let parts_of = |own: &Target| Parts::of(token(own.target), token(own.foil));
        let parts = match targets.is_empty() {
            true if self.parts => vec![Parts::default(); input.prompts.len()],
            _ => targets.iter().map(parts_of).collect(),
        };
        Ok(AttentionOptions {
            min_prob: self.min_prob,
            parts,
            layers: self.layers.clone(),
            heads: self.heads.clone(),
            pos: self.pos.clone(),
            budget: Budget(on.memory_bytes),
        })
    }
}

impl Attention {
    /// That the model and the prompts have what is chosen.
    fn check(&self, spec: &Spec, prompts: &[Prompt]) -> Result<()> {
        let blocks = &spec.blocks;
        let n_heads = |layer: usize| blocks.get(layer).map_or(0, |b| b.attention.inner.n_heads);
        let all = (0..blocks.len()).collect();
        let layers = self.layers.as_deref().map_or(Ok(all), |layers| range::layers_of(layers, spec.n_layers()))?;
        for layer in &layers {
            let (n, chosen) = (n_heads(*layer), self.heads.as_deref().unwrap_or_default());
            range::among(chosen, n).map_err(|head| {
                Error::no_such(format!(
                    "layer {layer} has {n} heads (0-{}), and {head} is not one",
                    n.saturating_sub(1)
                ))
                .hint("heads are counted from 0")
            })?;
        }
        for prompt in prompts {
            let whose = format!("prompt \"{}\"", prompt.id);
            range::positions_of(&whose, self.pos.as_deref().unwrap_or_default(), prompt.tokens.len())?;
        }
        for (layer, head) in Heads::all(&self.head) {
            if head >= n_heads(layer) {
                return Err(Error::no_such(format!("the model has no head L{layer}H{head}")).hint(format!(
                    "it has layers 0-{} and heads 0-{}",
                    blocks.len() - 1,
                    n_heads(0) - 1
                )));
            }
            let is_left_out = |chosen: &Option<Vec<Interval>>, at| !range::has(chosen.as_deref(), at);
            for (option, left_out) in
                [("layers", is_left_out(&self.layers, layer)), ("heads", is_left_out(&self.heads, head))]
            {
                if left_out {
                    return Err(Error::bad_input(format!(
                        "head L{layer}H{head} is to be drawn, and its rows are left out"
                    ))
                    .hint(said("leave out {!head}, or ") + leave_out_all(option)));
                }
            }
        }
        Ok(())
    }
}

impl Analysis for Attention {
    const NAME: &'static str = "attention";
    type Tables = AttentionRow;
    type On = Session;
    type Input = Targeted;

    fn need(&self, on: &Session, input: &Targeted) -> Result<Need> {
        if !(0.0..=1.0).contains(&self.min_prob) {
            return Err(Error::bad_input(
                give("min_prob") + format!(" is {}, and a probability is 0 to 1", self.min_prob),
            )
            .hint("give a number from 0, which leaves nothing out, to 1"));
        }
        self.check(on.model.spec(), &input.prompts)?;
        Ok(need(on.model.spec(), &input.prompts, &self.options(on, input)?, super::view::bytes))
    }

    fn run(&self, on: &Session, input: &Targeted, out: &mut Sink<'_>) -> Result<()> {
        out.options.heads = Heads::all(&self.head).into_iter().map(|(l, h)| (l as u32, h as u32)).collect();
        // There may be no row, where the least probability is 1.
        out.begin::<AttentionRow>()?;
        input.note_replaced(self.words(), out);
        input.note_spaces(on, &input.followed(on, self.words())?, self.pos.as_deref(), out)?;
        let watch = out.watch;
        attention(&on.model, &input.prompts, &self.options(on, input)?, watch, &mut |row| out.push(row))
    }
}
