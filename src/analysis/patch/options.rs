//! Activation patching as a question: its options.

use serde::{Deserialize, Serialize};

use super::swept::{joined, swept, told};
use super::{need, patch};

use crate::analysis::{PatchMeanRow, PatchRow};
use crate::error::{Error, Result, said};
use crate::range::{self, Interval};
use crate::session::shards::Join;
use crate::session::{Analysis, Session, Sink, Swept};
use crate::sweep::{Grid, Need, Noised, NoisedAt, PatchOptions, Patching};

/// Activation patching: which values make the difference between two prompts?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes patch.parquet (see `pellucid tables patch`) and an SVG for each pair (the first 20), site and metric; of \
                        several pairs, or samples of noise, also patch_mean.parquet, their means, and their figures."
    )
)]
pub struct Patch {
    /// Which values, and which of their places.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub grid: Grid,
    /// What becomes of a value, in which run, and what is measured.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub how: Patching,
    /// Causal tracing: the corrupt run is the clean prompt with noise on the embeddings, so many deviations of the embedding
    /// strong (ROME takes 3)
    #[cfg_attr(feature = "cli", arg(long, value_name = "DEVIATIONS", conflicts_with = "corrupt"))]
    pub noise: Option<f64>,
    /// Where: the tokens of this part of the clean prompt
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT", requires = "noise"))]
    pub subject: Option<String>,
    /// Where: these positions, such as 2-4,-1
    #[serde(serialize_with = "range::any_or_all")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::parse, allow_hyphen_values = true, requires = "noise")
    )]
    pub noise_at: Option<Vec<Interval>>,
    /// Measure each prompt with so many samples of the noise; means are over a prompt's samples first, then over prompts
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "N", default_value_t = 1, requires = "noise", value_parser = crate::sweep::at_least_one)
    )]
    pub samples: usize,
}

impl Default for Patch {
    fn default() -> Self {
        Self { grid: Grid::default(), how: Patching::default(), noise: None, subject: None, noise_at: None, samples: 1 }
    }
}

impl Patch {
    fn options(&self, on: &Session, input: &Swept) -> Result<PatchOptions> {
        Ok(PatchOptions { noised: self.noised()?, ..told(on, input, self.grid.clone(), &self.how)? })
    }

    fn noised(&self) -> Result<Option<Noised>> {
        let (at, sigma) = match (self.noise, &self.subject, &self.noise_at) {
            // clap does not ask for --noise where --corrupt excludes it.
            (None, ..) if self.subject.is_some() || self.noise_at.is_some() || self.samples > 1 => {
                let about = said("{subject}, {noise_at} and {samples} are about ");
                return Err(Error::bad_input(about + said("{noise}, which is not given"))
                    .hint(said("say how strong it is, such as {noise=3}, instead of {!corrupt}")));
            }
            (None, ..) => return Ok(None),
            (Some(sigma), Some(part), None) => (NoisedAt::Part(part.clone()), sigma),
            (Some(sigma), None, Some(at)) => (NoisedAt::Positions(at.clone()), sigma),
            _ => {
                return Err(Error::bad_input("it is not said which embeddings get the noise")
                    .hint(said("give either {subject=TEXT} or {noise_at=POSITIONS}")));
            }
        };
        Ok(Some(Noised { at, sigma, samples: self.samples }))
    }
}

impl Analysis for Patch {
    const NAME: &'static str = "patch";
    const RESUMES: bool = true;
    const JOINS: Option<Join> = Some(joined::<PatchRow>);
    type Tables = (PatchRow, PatchMeanRow);
    type On = Session;
    type Input = Swept;

    fn need(&self, on: &Session, input: &Swept) -> Result<Need> {
        need(&on.model, &input.pairs.pairs, &self.options(on, input)?)
    }

    fn run(&self, on: &Session, input: &Swept, out: &mut Sink<'_>) -> Result<()> {
        let (options, pairs) = (self.options(on, input)?, &input.pairs.pairs);
        swept(on, pairs, options, out, |how, keep, watch, emit| patch(&on.model, pairs, how, keep, watch, emit))
    }
}
