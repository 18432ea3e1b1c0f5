//! What is kept of a run that others start from or take values of.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Tensor;

use super::finite::check_finite;
use super::patcher::Patcher;
use crate::arch::spec::AddedTo;
use crate::error::{Error, Result};
use crate::hook::Change;
use crate::hook::{Cache, Hook, HookPoint, Site};
use crate::model::{Batch, Model, Prefix, Run, Unembed};

/// One sequence's own run: what patched runs begin with, and values that they may take.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// What was changed in it.
    pub changes: Vec<Change>,
    /// The stream `[n, d]` before every block, and after the last.
    streams: Vec<Tensor>,
    /// Position vectors `[n, d]` beside the stream, where the model has such.
    positions: Option<Tensor>,
    /// Keys and values of its first positions, by their number: views of one another.
    prefixes: Vec<Arc<Prefix>>,
    /// The values that were asked for, of the whole sequence.
    values: HashMap<HookPoint, Tensor>,
}

impl Recorded {
    /// Runs `sequences` packed, each with its changes, and keeps the values of `points`.
    ///
    /// # Errors
    /// As [`Model::run`], when a change does not fit, and when a run is not finite.
    pub fn of(
        model: &Model,
        sequences: &[Vec<u32>],
        changes: &[Vec<Change>],
        points: &[HookPoint],
    ) -> Result<Vec<Recorded>> {
        Self::named(model, sequences, changes, points, &|i| format!("sequence {i}"))
    }

    /// The same, where `name` says what each sequence is called in errors.
    pub(crate) fn named(
        model: &Model,
        sequences: &[Vec<u32>],
        changes: &[Vec<Change>],
        points: &[HookPoint],
        name: &dyn Fn(usize) -> String,
    ) -> Result<Vec<Recorded>> {
        let batch = Batch::of(sequences.iter().cloned());
        let n_layers = model.spec().n_layers();
        let streams = (0..n_layers).map(|l| HookPoint::block(l, Site::ResidPre));
        let learned = model.spec().embedding.positions;
        let beside =
            learned.filter(|p| p.added_to == AddedTo::QueriesAndKeys).map(|_| HookPoint::global(Site::PosEmbed));
        let mut cache = Cache::of(streams.clone().chain(points.iter().copied()).chain(beside));
        for (changes, ids) in changes.iter().zip(sequences) {
            changes.iter().try_for_each(|change| change.check(model.spec(), ids.len()))?;
        }
        let of_sequence = |s: usize| changes.get(s).into_iter().flatten().map(move |change| (s, change));
        let mut patcher = Patcher::new((0..sequences.len()).flat_map(of_sequence));
        let run = Run { unembed: Unembed::Nothing, keep_prefixes: model.spec().is_causal(), ..Run::default() };
        let mut hooks: Vec<&mut dyn Hook> = vec![&mut patcher, &mut cache];
        let out = model.run(&batch, &run, &mut hooks)?;
        let changed = |i: usize| changes.get(i).map_or(&[][..], Vec::as_slice);
        check_finite(model, &out, |i| (sequences[i].clone(), changed(i), name(i)))?;
        let kept: HashMap<HookPoint, Vec<Tensor>> = cache.iter().map(|(p, x)| (p, x.to_vec())).collect();
        let mut prefixes = out.prefixes.into_iter();
        (out.rows.sequences.iter())
            .map(|s| {
                let cut = |x: &Tensor| s.of(x);
                let of = |point: &HookPoint| match kept[point].as_slice() {
                    of_each if point.site.per_sequence() => Ok(of_each[s.index].clone()),
                    [packed] => cut(packed),
                    _ => Err(Error::compute(format!("{point} was made more than once")).fault()),
                };
                let whole = prefixes.next();
                Ok(Recorded {
                    ids: sequences[s.index].clone(),
                    changes: changed(s.index).to_vec(),
                    streams: streams.clone().map(|p| of(&p)).chain([cut(&out.resid)]).collect::<Result<_>>()?,
                    positions: beside.as_ref().map(of).transpose()?,
                    prefixes: match whole {
                        Some(whole) => (0..s.len()).map(|n| Ok(Arc::new(whole.first(n)?))).collect::<Result<_>>()?,
                        None => vec![],
                    },
                    values: points.iter().map(|p| Ok((*p, of(p)?))).collect::<Result<_>>()?,
                })
            })
            .collect()
    }

    /// What is changed in this run where `own` is changed in it as well.
    pub(crate) fn with<'c>(&'c self, own: &'c [Change]) -> Vec<&'c Change> {
        self.changes.iter().chain(own).collect()
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// A value that was asked for, of the whole sequence.
    ///
    /// # Errors
    /// When it was not.
    pub fn value(&self, point: HookPoint) -> Result<&Tensor> {
        self.values.get(&point).ok_or_else(|| Error::no_such(format!("{point} was not recorded")).fault())
    }

    /// The stream `[n, d]` before block `layer`; after the last where `layer` is the number of blocks.
    pub(crate) fn stream(&self, layer: usize) -> &Tensor {
        &self.streams[layer]
    }

    /// Position vectors beside the stream.
    pub(crate) fn positions(&self) -> Option<&Tensor> {
        self.positions.as_ref()
    }

    /// Keys and values of the first `n` positions; none where there are none.
    pub(super) fn prefix(&self, n: usize) -> Option<Arc<Prefix>> {
        self.prefixes.get(n).filter(|p| !p.is_empty()).cloned()
    }
}
