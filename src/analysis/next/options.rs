//! The question with its options.

use serde::{Deserialize, Serialize};

use super::rows::{CandidateRow, ChoiceRow, NextRow};
use super::{Asked, Continuation, causal, choices, need, next};
use crate::error::Result;
use crate::range::{self, Interval};
use crate::sample::{Chain, GenerationConfig, Sampling};
use crate::session::{Analysis, Prompts, Session, Sink};
use crate::sweep::{Budget, Need};

/// Next: what may come next, and what do temperature and samplers make of it?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes candidates.parquet (see `pellucid tables candidates`), next.parquet with entropy and number of candidates for each \
                        prompt, with --choices also choices.parquet, and for each prompt an SVG with its board of candidates."
    )
)]
pub struct Next {
    /// How a token is drawn.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub sampling: Sampling,
    /// How many candidates are shown; the others are one row
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Next::default().top, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..)))]
    pub top: usize,
    /// After which positions, such as 0-3,-1; negative ones count from the end
    #[serde(serialize_with = "range::some")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::parse, default_value = "-1", allow_hyphen_values = true)
    )]
    pub pos: Vec<Interval>,
    /// Texts of any length that may come next, such as " Paris, Rome": how probable is each as a whole? #17 is a token id
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXTS", value_delimiter = ','))]
    pub choices: Vec<String>,
}

impl Default for Next {
    fn default() -> Self {
        Self { sampling: Sampling::default(), top: 10, pos: vec![(-1).into()], choices: vec![] }
    }
}

impl Analysis for Next {
    const NAME: &'static str = "next";
    type Tables = (CandidateRow, NextRow, ChoiceRow);
    type On = Session;
    type Input = Prompts;

    fn need(&self, on: &Session, input: &Prompts) -> Result<Need> {
        Ok(need(&on.model, &input.prompts, Budget(on.memory_bytes)))
    }

    fn run(&self, on: &Session, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        let (chain, _) = chain(&self.sampling, on, out)?;
        let texts =
            self.choices.iter().map(|text| Ok(Continuation { text: text.clone(), ids: on.continuation(text)? }));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let spell = |id| on.spell(id);
        let asked = Asked { chain, top: self.top, positions: self.pos.clone() };
        let watch = out.watch;
        next(&on.model, &input.prompts, &asked, &spell, Budget(on.memory_bytes), watch, &mut |rows, whole| {
            rows.into_iter().try_for_each(|row| out.push(row))?;
            out.push(whole)
        })?;
        if texts.is_empty() {
            return Ok(());
        }
        choices(&on.model, &input.prompts, &texts, &spell, Budget(on.memory_bytes), &mut |rows| {
            rows.into_iter().try_for_each(|row| out.push(row))
        })
    }
}

/// What `sampling` asks for of this model, and the model's own file, which is said to be unused where it is.
///
/// # Errors
/// A model that is not causal, or whose file cannot be read; whatever [`Sampling::chain`] says.
pub(in crate::analysis) fn chain(
    sampling: &Sampling,
    on: &Session,
    out: &Sink<'_>,
) -> Result<(Chain, Option<GenerationConfig>)> {
    causal(&on.model)?;
    let config = GenerationConfig::read(&on.source.files)?;
    let chain = sampling.chain(config.as_ref())?;
    if let (Some(said), None) = (config.as_ref().and_then(GenerationConfig::said), sampling.defaults) {
        let file = GenerationConfig::FILE;
        out.note(format!("the model's {file} says {said}; that is not used unless its defaults are asked for"));
    }
    Ok((chain, config))
}
