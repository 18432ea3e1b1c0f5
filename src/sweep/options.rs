//! What a sweep is asked for, what accompanies it on its way, and what it leaves beside its rows.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::doubt::Doubts;
use super::grid::Grid;
use super::kind::{Direction, Kind, drawn};
use super::metric::Metric;
use super::noised::Noised;
use super::shard::Shard;
use crate::error::{Error, Result, said};
use crate::text::{Pair, Prompt};

/// What becomes of a value, in which run, and what is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Patching {
    /// Change the corrupt run (denoise), for `replace` by clean values; or the clean run (noise), for `replace` by corrupt values
    /// [default: denoise for `replace`; noise for all other kinds, which need no other prompt and ablate the clean run]
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub direction: Option<Direction>,
    /// What becomes of a value: replace (by the other prompt's), zero, mean (over --dataset), mean-by-position, resample
    /// (from --dataset), noise=DEVIATIONS, scale=FACTOR, add=FACTOR (of --vector), knock-out (of attention scores)
    #[cfg_attr(feature = "cli", arg(long, default_value = "replace", value_name = "KIND", value_parser = Kind::parse))]
    pub kind: Kind,
    /// Seed for random draws
    #[cfg_attr(feature = "cli", arg(long, value_name = "SEED", default_value_t = 0))]
    pub seed: u64,
    /// What to measure: logit_diff, logit, prob, log_prob, rank, kl_to_clean_nats, loss_nats, or several with commas between
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value = "logit_diff", value_name = "METRICS", value_delimiter = ',', value_parser = Metric::parse)
    )]
    pub metric: Vec<Metric>,
    /// At which position to measure; negative ones count from the end
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value_t = -1, value_name = "POSITION", allow_hyphen_values = true)
    )]
    pub measure_at: isize,
    /// Compute so many rows again, drawn with --seed, each by whole forward passes of its own, and print the largest difference
    #[serde(skip)]
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 0, value_name = "N"))]
    pub verify: usize,
}

/// What a sweep is told: what to do at which places, and what the request brings with it.
#[derive(Clone, Debug)]
pub struct PatchOptions {
    /// The places.
    pub grid: Grid,
    /// What to do there.
    pub how: Patching,
    /// The corrupt run is the clean prompt with noise on its embeddings (causal tracing).
    pub noised: Option<Noised>,
    /// Prompts, where the kind takes values of a dataset.
    pub dataset: Vec<Prompt>,
    /// What [`Kind::Add`] adds, `[d]` or of the value's own shape.
    pub vector: Option<Tensor>,
    /// What it may take for activations.
    pub budget: Budget,
    /// Which blocks of pairs are measured. Means of a dataset and random draws are those of all pairs.
    pub shard: Shard,
}

/// What a sweep leaves beside its rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Patches in all.
    pub patches: usize,
    /// Pairs in which the clean run does not do what it is there for.
    pub doubts: Doubts,
    /// Patches whose value is the same in both runs, bit for bit, or cannot reach what is measured.
    pub without_effect: usize,
    /// Patches whose run is not finite: they have a row that says where, and no metric.
    pub not_finite: usize,
    /// How many were computed again, naively.
    pub verified: usize,
    /// The largest difference from what was computed again, in units of the metric's spread over the pair's patches and
    /// unpatched runs; of its own size, where there is no spread. Infinite where only one of the two is finite.
    #[serde(deserialize_with = "or_infinite")]
    pub worst_difference: f64,
}

/// In JSON, what is infinite is null.
fn or_infinite<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}

impl Summary {
    /// Adds what a sweep of other pairs left.
    pub(crate) fn add(&mut self, other: &Self) {
        self.patches += other.patches;
        self.doubts.merge(&other.doubts);
        self.without_effect += other.without_effect;
        self.not_finite += other.not_finite;
        self.verified += other.verified;
        self.worst_difference = self.worst_difference.max(other.worst_difference);
    }
}

impl Default for Patching {
    /// The other prompt's values, measured by the logit difference at the last position.
    fn default() -> Self {
        Self {
            direction: None,
            kind: Kind::Replace,
            seed: 0,
            metric: vec![Metric::LogitDiff],
            measure_at: -1,
            verify: 0,
        }
    }
}

impl Default for PatchOptions {
    fn default() -> Self {
        let (grid, how) = Default::default();
        Self {
            grid,
            how,
            noised: None,
            dataset: vec![],
            vector: None,
            budget: Budget::default(),
            shard: Shard::default(),
        }
    }
}

impl Patching {
    /// Which run is changed.
    pub fn direction(&self) -> Direction {
        self.direction.unwrap_or_else(|| self.kind.usual_direction())
    }
}

impl PatchOptions {
    /// Whether a sweep of `pairs` pairs measures more than one run of a place, so that there are means.
    pub fn has_means(&self, pairs: usize) -> bool {
        pairs > 1 || self.samples() > 1
    }

    /// How often each pair is measured.
    pub(super) fn samples(&self) -> usize {
        self.noised.as_ref().map_or(1, |noised| noised.samples.max(1))
    }

    /// What runs are called that are measured: pairs, prompts where there is one of each, or samples of noise.
    pub fn unit(&self, pairs: &[Pair]) -> &'static str {
        match &self.noised {
            Some(noised) if noised.samples > 1 => "samples of noise",
            Some(_) => "prompts",
            None if pairs.iter().all(|pair| pair.corrupt.is_none()) => "prompts",
            None => "pairs",
        }
    }

    /// Whether something is drawn.
    pub fn is_random(&self) -> bool {
        self.how.kind.is_random() || self.noised.is_some()
    }

    /// The prompt of the dataset whose values this pair gets, as long as the pair's own, and what is read after it.
    pub(super) fn resampled(&self, pair: &Pair) -> Result<Vec<u32>> {
        let n = pair.clean.tokens.len();
        let long: Vec<&Prompt> = self.dataset.iter().filter(|p| p.tokens.len() >= n).collect();
        if long.is_empty() {
            return Err(Error::bad_input(format!(
                "no prompt of the dataset has the {n} positions of pair \"{}\"",
                pair.id
            ))
            .hint(said("give longer prompts[ with {dataset}|]")));
        }
        Ok(pair.text(long[drawn(self.how.seed, pair.index as usize, long.len())].ids()[..n].to_vec()))
    }
}

/// One patched run, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The pair, counted within its group.
    pub(super) pair: usize,
    /// The patch, counted within the pair's.
    pub(super) spot: usize,
    /// Its metrics; none where they are not finite.
    pub(super) values: Vec<f64>,
    /// Where it stopped being numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_finite: Option<String>,
}

/// Where finished waves are kept, so that a sweep that was stopped can go on.
pub trait Keep {
    /// What wave `wave` of group `group` gave, if it is known already.
    ///
    /// # Errors
    /// When it is known and cannot be read.
    fn kept(&mut self, group: usize, wave: usize) -> Result<Option<Vec<Measured>>>;

    /// Keeps it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep(&mut self, group: usize, wave: usize, measured: &[Measured]) -> Result<()>;
}

/// Keeps nothing.
impl Keep for () {
    fn kept(&mut self, _: usize, _: usize) -> Result<Option<Vec<Measured>>> {
        Ok(None)
    }

    fn keep(&mut self, _: usize, _: usize, _: &[Measured]) -> Result<()> {
        Ok(())
    }
}

/// Told how far an analysis is, and asked whether to go on.
pub trait Watch {
    /// `done` of `total` steps are over.
    ///
    /// # Errors
    /// To stop the analysis, with the reason.
    fn at(&self, done: usize, total: usize) -> Result<()>;
}

/// Watches nothing.
impl Watch for () {
    fn at(&self, _: usize, _: usize) -> Result<()> {
        Ok(())
    }
}
