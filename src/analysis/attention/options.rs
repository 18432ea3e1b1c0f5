//! Attention patterns as a question: its options.

use serde::{Deserialize, Serialize};

use super::{AttentionOptions, Parts, attention, need};
use crate::analysis::AttentionRow;
use crate::error::{Error, Result, give};
use crate::session::{Analysis, Prompts, Session, Sink};
use crate::sweep::{Budget, Need};
use crate::text::pair::same_answer_and_foil;
use crate::view;

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
    /// The head to draw large, such as 3.2 or L3H2 [default: the one that looks furthest from the obvious,
    /// or with --target pushes it most]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYER.HEAD", value_parser = view::head))]
    pub head: Option<(u32, u32)>,
    /// Leave out rows of smaller probabilities; with 0, every key that a query can see has a row
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 0.0, value_name = "PROB"))]
    pub min_prob: f32,
    /// Say also what each key carried to the query: scores, lengths of values and of what they write, shares of the head's output
    #[cfg_attr(feature = "cli", arg(long))]
    pub parts: bool,
    /// A word, such as " Mary", or a token id, such as #17: how far did what each key carried push its logit? With all of --parts
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub target: Option<String>,
    /// Another word: how far did it push the target's logit away from this one's?
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN", requires = "target"))]
    pub foil: Option<String>,
}

impl Attention {
    fn options(&self, on: &Session) -> Result<AttentionOptions> {
        let token = |text: &Option<String>| {
            let token = text.as_deref().map(|text| on.target(text)).transpose()?;
            Ok::<_, Error>(token.map(|id| (id, on.spell(id))))
        };
        let (target, foil) = (token(&self.target)?, token(&self.foil)?);
        if let Some((_, text)) = foil.as_ref().filter(|_| foil == target) {
            return Err(same_answer_and_foil(text));
        }
        let parts = (self.parts || target.is_some()).then(|| Parts::of(target, foil));
        Ok(AttentionOptions { min_prob: self.min_prob, parts, budget: Budget(on.memory_bytes) })
    }
}

impl Analysis for Attention {
    const NAME: &'static str = "attention";
    type Tables = AttentionRow;
    type On = Session;
    type Input = Prompts;

    fn need(&self, on: &Session, input: &Prompts) -> Result<Need> {
        if !(0.0..=1.0).contains(&self.min_prob) {
            return Err(Error::bad_input(
                give("min_prob") + format!(" is {}, and a probability is 0 to 1", self.min_prob),
            )
            .hint("give a number from 0, which leaves nothing out, to 1"));
        }
        let blocks = &on.model.spec().blocks;
        if let Some((layer, head)) = self.head {
            let n = blocks.get(layer as usize).map(|b| b.attention.inner.n_heads);
            if n.is_none_or(|n| head as usize >= n) {
                let heads = blocks[0].attention.inner.n_heads;
                return Err(Error::no_such(format!("the model has no head L{layer}H{head}")).hint(format!(
                    "it has layers 0-{} and heads 0-{}",
                    blocks.len() - 1,
                    heads - 1
                )));
            }
        }
        Ok(need(on.model.spec(), &input.prompts, &self.options(on)?, super::view::bytes))
    }

    fn run(&self, on: &Session, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        out.options.head = self.head;
        // There may be no row, where the least probability is 1.
        out.begin::<AttentionRow>()?;
        let watch = out.watch;
        attention(&on.model, &input.prompts, &self.options(on)?, watch, &mut |row| out.push(row))
    }
}
