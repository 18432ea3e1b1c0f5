//! The wavefront: many patched runs in one pass over the layers.
//!
//! Patching a value at layer `l` and position `p` cannot change the layers below, nor, where attention is causal, the
//! positions before. So a patched run begins at layer `l` with rows `p..`, reads the base run's keys and values for the
//! positions before, and needs an unembedding of the measured positions alone. At each layer the runs that begin there
//! join the pack, and every weight is read once for all of them. A change that reaches its own row only, such as that of a
//! head's output, goes through its block as one row, and the rows after it follow in the next block. In the last block,
//! only the measured rows ask. Runs that do not fit into memory together go in several waves.
//!
//! [`naive`] is what this must equal: one whole forward pass for each run.

mod align;
mod base;
pub(crate) mod budget;
mod doubt;
mod finite;
mod grid;
mod group;
mod kind;
mod measure;
mod metric;
mod noised;
mod options;
mod patcher;
mod plan;
mod seen;
mod shard;
mod wave;

use std::ops::Range;

use crate::error::Result;
use crate::hook::Changed;
pub use crate::hook::{Change, How};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::{Kernels, numbers};
pub use align::{Align, alike, incomparable};
pub use base::Recorded;
pub use budget::{Budget, Need};
pub use doubt::Doubts;
pub(crate) use doubt::Unpatched;
pub use finite::first_not_finite;
pub(crate) use finite::{check_finite, check_prompts, not_finite};
pub use grid::{Grid, Only, Over, Spot};
pub(crate) use group::{Group, Sweep, check_text, in_groups, need as need_of, of_each_shape};
pub use kind::{Direction, Kind};
pub(crate) use kind::{Sources, with_means};
pub(crate) use measure::{MetricValues, Runs};
pub(crate) use metric::Gauge;
pub use metric::{Better, METRICS, Metric, MetricInfo, Needs, readout};
pub use noised::{Noised, NoisedAt};
pub use options::{Keep, Measured, PatchOptions, Patching, Summary, Watch};
pub use plan::{Wave, plan, row_bytes};
pub use shard::{BLOCK, Shard};
pub use wave::{sweep, unchanged};

/// A run with changes.
#[derive(Clone, Debug)]
pub struct Patched {
    /// The run that it differs from, by number.
    pub base: usize,
    /// In what.
    pub changes: Vec<Change>,
}

/// Where a run is measured.
#[derive(Clone, Debug)]
pub struct Readout {
    /// Positions whose logits are read, in ascending order.
    pub positions: Vec<usize>,
    /// Tokens whose logits are read; all unless given.
    pub tokens: Option<Vec<u32>>,
}

impl Readout {
    /// Where the logits of position `pos` lie among `len` that were read, `[positions, tokens]`, flat.
    pub(crate) fn columns(&self, pos: usize, len: usize) -> Range<usize> {
        let width = len / self.positions.len().max(1);
        let from = self.positions.binary_search(&pos).unwrap_or(0) * width;
        from..from + width
    }
}

/// The logits of `base` with `changes`, as everybody else computes them: one forward pass over the whole prompt, nothing
/// shared, candle's own operations. `[positions, tokens]`, flat.
///
/// # Errors
/// As [`Model::run`], and when a change does not fit.
pub fn naive(model: &Model, ids: &[u32], changes: &[&Change], readout: &Readout) -> Result<Vec<f32>> {
    changes.iter().try_for_each(|change| change.check(model.spec(), ids.len()))?;
    let rows: Vec<u32> = readout.positions.iter().map(|p| *p as u32).collect();
    let unembed = match &readout.tokens {
        Some(tokens) => Unembed::Tokens(rows, tokens.clone()),
        None => Unembed::Rows(rows),
    };
    let run = Run { kernels: Some(Kernels::Plain), unembed, ..Run::default() };
    let out = model.run(&Batch::one(ids), &run, &mut [&mut Changed(changes.to_vec())])?;
    numbers(out.logits()?)
}

/// What is written and read by its name.
macro_rules! by_name {
    ($($type:ty),*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
                to.serialize_str(self.name().as_ref())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(from)?;
                Self::parse(&name).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
by_name!(Kind, Metric, Over);

/// A number that cannot be 0, as an option.
///
/// # Errors
/// When it is 0, or none.
pub fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("0 is not in 1..".into()),
        Ok(n) => Ok(n),
        Err(e) => Err(e.to_string()),
    }
}
