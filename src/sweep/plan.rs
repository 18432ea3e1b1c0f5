//! Which runs go together: as many as a memory budget holds, those that begin late apart from those that begin early.

use std::ops::Range;

use super::budget::Budget;
use super::{Patched, Readout};
use crate::arch::Spec;
use crate::error::Result;
use crate::hook::site::Reach;

/// Where a run joins, and with which rows.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    /// The block; none at the embedding.
    pub layer: Option<usize>,
    /// Its rows in that block; from the next on, they go to the end.
    pub rows: Range<usize>,
}

/// Runs that go together, by number.
#[derive(Clone, Debug)]
pub struct Wave {
    /// In the order in which they join.
    pub runs: Vec<usize>,
}

impl Patched {
    /// Where the run joins; nothing if no change can reach a measured position.
    pub(super) fn joining(&self, spec: &Spec, n: usize, readout: &Readout) -> Option<Joining> {
        let layer = self.changes.iter().map(|change| change.point.layer).min()?;
        let of_layer = || self.changes.iter().filter(|change| change.point.layer == layer);
        let first = self.changes.iter().map(|change| change.rows(n).start).min()?;
        let last = of_layer().map(|change| change.rows(n).end).max()?;
        let spreads = layer.is_none() || of_layer().any(|change| change.point.site.info().reach == Reach::AllRows);
        let rows = match (spec.is_causal(), spreads) {
            // Without causality every row sees every other.
            (false, _) => 0..n,
            (true, true) => first..n,
            (true, false) => first..last,
        };
        // In the last block, only the rows that are there can be measured.
        let reach = if layer == Some(spec.n_layers() - 1) { rows.clone() } else { rows.start..n };
        readout.positions.iter().any(|p| reach.contains(p)).then_some(Joining { layer, rows })
    }
}

/// Cuts `runs`, changes of base runs of these `lengths`, into waves whose activations fit `budget`, at least one run each. Runs that change
/// nothing that is measured are in none.
///
/// # Errors
/// When a change does not fit the model or its prompt.
pub fn plan(
    spec: &Spec,
    lengths: &[usize],
    runs: &[Patched],
    readouts: &[Readout],
    budget: Budget,
) -> Result<Vec<Wave>> {
    let mut joining = vec![];
    for (i, run) in runs.iter().enumerate() {
        let n = lengths[run.base];
        run.changes.iter().try_for_each(|change| change.check(spec, n))?;
        if let Some(j) = run.joining(spec, n, &readouts[run.base]) {
            joining.push((j.layer, run.base, i, n - j.rows.start));
        }
    }
    joining.sort_unstable();
    let rows = Budget(budget.holds(row_bytes(spec)));
    let wave = |group: Range<usize>| Wave { runs: joining[group].iter().map(|(.., i, _)| *i).collect() };
    Ok(rows.groups(joining.iter().map(|(.., n)| *n)).into_iter().map(wave).collect())
}

/// Bytes of a row's activations that one block holds at once, in f32.
pub fn row_bytes(spec: &Spec) -> usize {
    let of_block = |block: &crate::arch::spec::Block| {
        let a = &block.attention.inner;
        // Of experts, the neurons of those that a row goes through.
        let experts = |m: &crate::arch::spec::FeedForward| m.experts().map_or(1, |e| e.per_row);
        let d_mlp = block.mlp.as_ref().map_or(0, |m| m.inner.neurons().d_mlp * experts(&m.inner));
        6 * spec.d_model + 3 * d_mlp + 3 * a.n_heads * a.d_head
    };
    4 * spec.blocks.iter().map(of_block).max().unwrap_or(1)
}
