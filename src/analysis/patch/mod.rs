//! Activation patching: which values make the difference between two prompts?
//!
//! One run is changed in one place and measured; the places are those of a [`Grid`]. Where a value is the same in both
//! runs, bit for bit, or cannot reach what is measured, nothing is run: the patch changes nothing, and the row says so.

pub(super) mod mean;
mod options;
mod patches;
pub mod rows;
pub(crate) mod swept;
pub(crate) mod view;

use std::sync::Arc;

pub use crate::sweep::{
    Align, Direction, Doubts, Grid, Keep, Kind, Measured, Metric, Noised, NoisedAt, Only, Over, PatchOptions, Patching,
    Spot, Summary, incomparable, readout,
};
pub use mean::{Averaged, Means};

use super::{Need, Watch};
use crate::analysis::PatchRow;
use crate::error::Result;
use crate::hook::HookPoint;
use crate::model::Model;
use crate::sweep::{Sources, Sweep, in_groups, need_of, of_each_shape, with_means};
use crate::text::Pair;
pub use options::Patch;
use patches::Patches;
pub(super) use patches::place;

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
    emit: &mut dyn FnMut(PatchRow) -> Result<()>,
) -> Result<Summary> {
    let spec = model.spec();
    let samples = options.noised.as_ref().map(|noised| noised.repeated(pairs));
    let pairs = samples.as_deref().unwrap_or(pairs);
    let points = options.grid.points(spec)?;
    let sources = Sources::of(model, options, &points, pairs)?;
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
    let need = need_of(model, pairs, &options.grid.recorded(spec)?, &places, options)?;
    Ok(with_means(model, &options.grid.points(spec)?, pairs, options, need))
}

/// The same for each pair's own `spots`, of values of `points`, whatever the grid of the options.
pub(super) fn patch_at(
    model: &Model,
    pairs: &[Pair],
    points: &[HookPoint],
    spots: &[Arc<Vec<Spot>>],
    sweep: &mut Sweep,
    emit: &mut dyn FnMut(PatchRow) -> Result<()>,
) -> Result<Summary> {
    let (options, sources) = (sweep.options, sweep.sources);
    let places: Vec<usize> = spots.iter().map(|spots| spots.len()).collect();
    in_groups(model, pairs, points, &places, sweep, &mut |group, summary, long| {
        let patches = Patches::of(model, group, spots, options, sources)?;
        group.measure(model, options, &patches, summary, long, emit)
    })
}
