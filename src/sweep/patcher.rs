//! Makes the changes of many runs in one pack, as numbers.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::hook::change::host;
use crate::hook::{Change, Hook, HookPoint};
use crate::ops::rows::Rows;
use crate::ops::{copied_rows, values};

/// Makes the changes of the runs in a pack: each of its own sequence.
pub(crate) struct Patcher<'a> {
    /// With the sequences that they are for, in their order.
    changes: BTreeMap<HookPoint, Vec<(usize, &'a Change)>>,
}

impl<'a> Patcher<'a> {
    /// Of changes with the sequences that they are for.
    pub(crate) fn new(of: impl IntoIterator<Item = (usize, &'a Change)>) -> Self {
        let mut changes: BTreeMap<HookPoint, Vec<_>> = BTreeMap::new();
        for (sequence, change) in of {
            changes.entry(change.point).or_default().push((sequence, change));
        }
        // Stable: the changes of one run stay in their order.
        changes.values_mut().for_each(|of_point| of_point.sort_by_key(|(sequence, _)| *sequence));
        Self { changes }
    }

    /// The changes of these sequences at this point.
    fn of(&self, at: HookPoint, sequences: Range<usize>) -> &[(usize, &'a Change)] {
        let Some(changes) = self.changes.get(&at) else { return &[] };
        let before = |sequence| changes.partition_point(|(s, _)| *s < sequence);
        &changes[before(sequences.start)..before(sequences.end)]
    }
}

impl Hook for Patcher<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        self.changes.contains_key(&at)
    }

    fn wants_of(&self, at: HookPoint, sequence: usize) -> bool {
        !self.of(at, sequence..sequence + 1).is_empty()
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        let here = host(&x)?;
        let old = values(&here)?;
        let width = (old.len() / here.dim(0)?.max(1)).max(1);
        let mut new = copied_rows(old.len() / width, width, |i| &old[i * width..(i + 1) * width], |_, _| ());
        for s in &rows.sequences {
            for (_, change) in self.of(at, s.index..s.index + 1) {
                change.chosen(x.dims(), s, rows.made.as_deref(), |at, there| {
                    new[at] = change.becomes(new[at], there);
                    true
                })?;
            }
        }
        Ok(Tensor::from_vec(new, x.shape(), &Device::Cpu)?.to_device(x.device())?.to_dtype(x.dtype())?)
    }
}
