//! What a sweep is asked for, what accompanies it on its way, and what it leaves beside its rows.

use serde::{Deserialize, Serialize};

use super::doubt::Doubts;
use super::grid::Grid;
use super::kind::{Direction, Kind, drawn};
use super::metric::Metric;
use super::noised::Noised;
use crate::error::{Error, Result};
use crate::text::{Pair, Prompt};

/// What to patch and what to measure.
#[derive(Clone, Debug)]
pub struct PatchOptions {
    /// Where.
    pub grid: Grid,
    /// Which run is changed.
    pub direction: Direction,
    /// What becomes of the value.
    pub kind: Kind,
    /// What a run is measured by.
    pub metrics: Vec<Metric>,
    /// Where; negative counts from the end.
    pub measure_at: isize,
    /// Bytes for activations.
    pub memory_bytes: usize,
    /// What a dataset gives, where the kind takes values of one.
    pub dataset: Vec<Prompt>,
    /// Seed for random draws.
    pub seed: u64,
    /// The corrupt run is the clean prompt with noise on its embeddings (causal tracing).
    pub noised: Option<Noised>,
    /// So many patches, drawn with the seed from all of them, are computed again, each by one whole forward pass.
    pub verify: usize,
}

/// What a sweep leaves beside its rows.
#[derive(Clone, Debug, Default, PartialEq)]
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
    pub worst_difference: f64,
}

impl Default for PatchOptions {
    /// The other prompt's values, one after another at no place yet, measured by the logit difference at the last position.
    fn default() -> Self {
        Self {
            grid: Grid::default(),
            direction: Direction::Denoise,
            kind: Kind::Replace,
            metrics: vec![Metric::LogitDiff],
            measure_at: -1,
            memory_bytes: 512_000_000,
            dataset: vec![],
            seed: 0,
            noised: None,
            verify: 0,
        }
    }
}

impl PatchOptions {
    /// Whether a sweep of `pairs` pairs measures more than one run of a place, so that there are means.
    pub fn has_means(&self, pairs: usize) -> bool {
        pairs > 1 || self.noised.as_ref().is_some_and(|noised| noised.samples > 1)
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
        self.kind.is_random() || self.noised.is_some()
    }

    /// The prompt of the dataset whose values this pair gets, as long as the pair's own.
    pub(super) fn resampled(&self, pair: &Pair, n: usize) -> Result<Vec<u32>> {
        let long: Vec<&Prompt> = self.dataset.iter().filter(|p| p.tokens.len() >= n).collect();
        if long.is_empty() {
            return Err(Error::bad_input(format!(
                "no prompt of the dataset has the {n} positions of pair \"{}\"",
                pair.id
            ))
            .hint("give longer prompts with --dataset"));
        }
        Ok(long[drawn(self.seed, pair.index as usize, long.len())].ids()[..n].to_vec())
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
