//! Activation patching: which values make the difference between two prompts?
//!
//! One run is changed in one place and measured; the places are those of a [`Grid`]. Where a value is the same in both
//! runs, bit for bit, or cannot reach what is measured, nothing is run: the patch changes nothing, and the row says so.

mod align;
mod doubt;
mod grid;
mod group;
mod kind;
mod mean;
mod measure;
mod metric;
mod noised;
mod patches;
mod seen;
mod slope;

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use align::{Align, incomparable};
pub use doubt::Doubts;
pub(super) use doubt::Unpatched;
pub use grid::{Grid, Over, Spot};
pub use kind::{Direction, Kind};
pub use mean::{Averaged, MeanOf, Means, OfPair};
pub use metric::{Metric, readout};
pub use noised::{Noised, NoisedAt};

use super::{Need, Watch};
use crate::error::{Error, Result};
use crate::hook::HookPoint;
use crate::model::Model;
use crate::table::Patch;
use crate::text::{Pair, Prompt};
pub(super) use group::{Group, Sweep, in_groups, need as need_of};
use kind::drawn;
pub(super) use kind::{Sources, with_means};
pub(super) use measure::{Runs, Seen};
pub(super) use metric::{Gauge, row_at};
use patches::Patches;
pub(super) use patches::row;

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
    /// Of whatever is drawn.
    pub seed: u64,
    /// The corrupt run is the clean prompt with noise on its embeddings (causal tracing).
    pub noised: Option<Noised>,
    /// So many patches, drawn with the seed from all of them, are computed again, each by one whole forward pass.
    pub verify: usize,
}

/// What was found beside the rows.
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
    fn resampled(&self, pair: &Pair, n: usize) -> Result<Vec<u32>> {
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
    pair: usize,
    /// The patch, counted within the pair's.
    spot: usize,
    /// Its metrics; none where they are not finite.
    values: Vec<f64>,
    /// Where it stopped being numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_finite: Option<String>,
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

/// Runs every patch of `options` on every pair and emits a row for each metric, pair after pair.
///
/// `watch` is asked after every wave. Where it stops the sweep, the rows of what was done are emitted first.
///
/// # Errors
/// When options, pairs and model do not fit; whatever the run, `keep`, `watch` or `emit` says.
pub fn patch(
    model: &Model,
    pairs: &[Pair],
    options: &PatchOptions,
    keep: &mut dyn Keep,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(Patch) -> Result<()>,
) -> Result<Summary> {
    let spec = model.spec();
    let samples = options.noised.as_ref().map(|noised| noised.repeated(pairs));
    let pairs = samples.as_deref().unwrap_or(pairs);
    let points = options.grid.points(spec)?;
    let longest = pairs.iter().map(|p| p.clean.tokens.len()).max().unwrap_or(0);
    let sources =
        Sources::of(model, &options.kind, options.seed, &options.dataset, &points, longest, options.memory_bytes)?;
    let spots = of_each_shape(pairs, |pair| options.grid.spots_of(spec, pair))?;
    let mut found = Sweep { options, sources: &sources, keep, watch };
    patch_at(model, pairs, &options.grid.recorded(spec)?, &spots, &mut found, emit)
}

/// What [`patch`] needs of memory, the dataset's means among it.
///
/// # Errors
/// When options, pairs and model do not fit.
pub fn need(model: &Model, pairs: &[Pair], options: &PatchOptions) -> Result<Need> {
    let spec = model.spec();
    let spots = of_each_shape(pairs, |pair| options.grid.spots_of(spec, pair))?;
    let places: Vec<usize> = spots.iter().map(|spots| spots.len()).collect();
    let need = group::need(model, pairs, &options.grid.recorded(spec)?, &places, options)?;
    let longest = pairs.iter().map(|p| p.clean.tokens.len()).max().unwrap_or(0);
    Ok(kind::with_means(model, &options.grid.points(spec)?, longest, options, need))
}

/// What `of` gives for each pair: pairs whose prompts have one length, and their named positions at the same places, share it.
pub(super) fn of_each_shape<T>(pairs: &[Pair], of: impl Fn(&Pair) -> Result<T>) -> Result<Vec<Arc<T>>> {
    let mut known: HashMap<(usize, Vec<usize>), Arc<T>> = HashMap::new();
    let one = |pair: &Pair| {
        let shape = (pair.clean.tokens.len(), pair.positions.iter().map(|named| named.at).collect());
        if let Some(known) = known.get(&shape) {
            return Ok(known.clone());
        }
        let new = Arc::new(of(pair)?);
        known.insert(shape, new.clone());
        Ok(new)
    };
    pairs.iter().map(one).collect()
}

/// The same for each pair's own `spots`, of values of `points`, whatever the grid of the options.
pub(super) fn patch_at(
    model: &Model,
    pairs: &[Pair],
    points: &[HookPoint],
    spots: &[Arc<Vec<Spot>>],
    sweep: &mut Sweep,
    emit: &mut dyn FnMut(Patch) -> Result<()>,
) -> Result<Summary> {
    let (options, sources) = (sweep.options, sweep.sources);
    let places: Vec<usize> = spots.iter().map(|spots| spots.len()).collect();
    in_groups(model, pairs, points, &places, sweep, &mut |group, summary, long| {
        let patches = Patches::of(model, group, spots, options, sources)?;
        group.measure(model, options, &patches, summary, long, emit)
    })
}
