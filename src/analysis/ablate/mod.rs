//! Ablation: what is lost without each head, MLP, layer or neuron? A sweep of patches of the clean run alone.

use serde::{Deserialize, Serialize};

use super::patch::swept::{joined, swept};
use super::patch::{need, patch};
use crate::analysis::{PatchMeanRow, PatchRow};
use crate::error::{Error, Result, Said, said, words};
use crate::session::shards::Join;
use crate::session::{Analysis, Session, Sink, WithDataset};
use crate::sweep::{Budget, Direction, Grid, Kind, Metric, Need, Only, Over, PatchOptions, Patching};
use crate::text::{Pair, Prompt};

/// Ablation: what is lost without each head, MLP, layer or neuron?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes patch.parquet, a row for each prompt, and patch_mean.parquet, their means (see `pellucid tables \
                        patch_mean`), and an SVG of both for each metric. The effect is `patched` minus `clean`. With --pairs each prompt has its \
                        own answer and foil."
    )
)]
pub struct Ablate {
    /// What is taken away, one at a time
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t = Unit::Head))]
    pub unit: Unit,
    /// What is put in its place: zero; mean or mean-by-position (over --dataset, else over the prompts); resample (from them)
    #[cfg_attr(feature = "cli", arg(long, default_value = "mean", value_name = "KIND", value_parser = Kind::parse))]
    pub kind: Kind,
    /// What to measure: loss_nats, kl_to_clean_nats, or, of --answer and --foil, logit_diff, logit, prob, log_prob, rank
    #[cfg_attr(feature = "cli", arg(long, default_value = "loss", value_name = "METRICS", value_delimiter = ',', value_parser = Metric::parse))]
    pub metric: Vec<Metric>,
    /// At which position to measure what is not the loss; negative ones count from the end
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value_t = -1, value_name = "POSITION", allow_hyphen_values = true)
    )]
    pub measure_at: isize,
    /// The token that is right; may be repeated. Or a word of several tokens, which log_prob and prob can measure
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub answer: Vec<String>,
    /// A token that is wrong; may be repeated
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub foil: Vec<String>,
    /// Which of the places.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub only: Only,
    /// Seed for random draws
    #[cfg_attr(feature = "cli", arg(long, value_name = "SEED", default_value_t = 0))]
    pub seed: u64,
    /// Compute so many ablations again, drawn with --seed, each by a whole forward pass, and print the largest difference
    #[serde(skip)]
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 0, value_name = "N"))]
    pub verify: usize,
}

impl Default for Ablate {
    fn default() -> Self {
        Self {
            unit: Unit::Head,
            kind: Kind::Mean { by_position: false },
            metric: vec![Metric::Loss],
            measure_at: -1,
            answer: vec![],
            foil: vec![],
            only: Only::default(),
            seed: 0,
            verify: 0,
        }
    }
}

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Unit {
    /// The output of one attention head (z)
    Head,
    /// The output of one attention sublayer (attn_out)
    Attention,
    /// The output of one MLP (mlp_out)
    Mlp,
    /// Both outputs of one layer
    Layer,
    /// One neuron (mlp.post)
    Neuron,
}

impl Ablate {
    fn options(&self, on: &Session, input: &WithDataset) -> PatchOptions {
        let (at, over, together) = match self.unit {
            Unit::Head => ("z", vec![Over::Layer, Over::Head], false),
            Unit::Attention => ("attn_out", vec![Over::Layer], false),
            Unit::Mlp => ("mlp_out", vec![Over::Layer], false),
            Unit::Layer => ("attn_out,mlp_out", vec![Over::Layer], true),
            Unit::Neuron => ("mlp.post", vec![Over::Layer, Over::Neuron], false),
        };
        let kind = self.kind.clone();
        let dataset = match &input.dataset {
            Some(dataset) => dataset.clone(),
            None if kind.needs_a_dataset() => input.prompts.clone(),
            None => vec![],
        };
        PatchOptions {
            grid: Grid { at: at.to_owned(), over, together, only: self.only.clone(), ..Grid::default() },
            how: Patching {
                direction: Some(Direction::Noise),
                kind,
                seed: self.seed,
                metric: self.metric.clone(),
                measure_at: self.measure_at,
                verify: self.verify,
            },
            dataset,
            budget: Budget(on.memory_bytes),
            ..PatchOptions::default()
        }
    }

    /// Each prompt as a pair without a corrupt one, with the answers that are given for all, or its own.
    fn pairs(&self, on: &Session, input: &WithDataset) -> Result<Vec<Pair>> {
        let words = on.answers_and_foils([&self.answer[..], &self.foil])?;
        let given = !(self.answer.is_empty() && self.foil.is_empty());
        let of = |(i, p): (usize, &Prompt)| {
            let own = input.answers.get(i).filter(|_| !given);
            let words = own.map_or_else(|| words.clone(), |own| (own.answers.clone(), own.foils.clone()));
            on.new_pair((p.index, p.id.clone()), (p.clone(), None), words, &[], |_| None)
        };
        input.prompts.iter().enumerate().map(of).collect()
    }

    /// Says of answers and foils that came with the prompts that nothing reads them.
    fn unread(&self, input: &WithDataset) -> Option<Said> {
        let some = input.answers.iter().any(|own| !own.answers.is_empty());
        let unread = some && !self.metric.iter().any(|metric| metric.reads_answers());
        unread.then(|| said("no metric reads the answers that came with the prompts; {metric=logit_diff} does"))
    }

    /// Says where values are from that one prompt gets from itself.
    fn own_values(&self, input: &WithDataset) -> Result<Option<Said>> {
        let ([only], None, true) = (&input.prompts[..], &input.dataset, self.kind.needs_a_dataset()) else {
            return Ok(None);
        };
        match self.kind {
            Kind::Mean { by_position: false } => {
                let n = only.tokens.len();
                let own = words(format!("by the mean over the {n} positions of this prompt itself; "));
                Ok(Some(own + said("{dataset} takes other prompts")))
            }
            _ => Err(Error::bad_input(format!(
                "`{}` of one prompt puts back what was there: the only prompt to take values of is itself",
                self.kind.name()
            ))
            .hint(said("give other prompts with {dataset=FILE}, or use {kind=mean} or zero"))),
        }
    }
}

impl Analysis for Ablate {
    const NAME: &'static str = "ablate";
    const RESUMES: bool = true;
    const JOINS: Option<Join> = Some(joined::<PatchRow>);
    type Tables = (PatchRow, PatchMeanRow);
    type On = Session;
    type Input = WithDataset;

    fn need(&self, on: &Session, input: &WithDataset) -> Result<Need> {
        let options = self.options(on, input);
        self.own_values(input)?;
        need(&on.model, &self.pairs(on, input)?, &options)
    }

    fn run(&self, on: &Session, input: &WithDataset, out: &mut Sink<'_>) -> Result<()> {
        let (options, pairs) = (self.options(on, input), self.pairs(on, input)?);
        out.caption = self.own_values(input)?;
        self.unread(input).into_iter().for_each(|said| out.note(said));
        swept(on, &pairs, options, out, |how, keep, watch, emit| patch(&on.model, &pairs, how, keep, watch, emit))
    }
}
