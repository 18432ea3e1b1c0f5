//! A path as the papers define it: forward passes over the whole prompt in candle's own operations, nothing shared, everything
//! but the sender frozen by hooks.

use candle_core::Tensor;

use super::Through;
use super::receiver::{Reads, written};
use super::routes::Route;
use crate::error::Result;
use crate::hook::site::Role;
use crate::hook::{Cache, Change, Changed, FirstNotFinite, Hook, HookPoint, How, NotFinite, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::numbers;
use crate::sweep::{self, Readout, Recorded};

/// A path of one pair.
pub(super) struct FrozenPath<'a> {
    pub model: &'a Model,
    pub base: &'a Recorded,
    /// What is changed in it.
    pub sender: &'a [Change],
    pub route: &'a Route,
    pub through: Through,
    pub readout: &'a Readout,
}

impl FrozenPath<'_> {
    /// The logits `[positions, tokens]`, flat, of the run in which the receivers read the change of the sender.
    ///
    /// # Errors
    /// As [`Model::run`], and when a change does not fit.
    pub fn naive(&self) -> Result<Vec<f32>> {
        match self.given(None)? {
            Given::Logits(logits) => Ok(logits),
            // The base run again, with what the receivers made of that.
            Given::Values(given) => sweep::naive(self.model, &self.base.ids, &self.base.with(&given), self.readout),
        }
    }

    /// The first value that is not finite: in the run in which the sender is changed, or in the one in which the receivers read
    /// that; nothing where there is none before the logits.
    ///
    /// # Errors
    /// As [`FrozenPath::naive`].
    pub fn first_not_finite(&self) -> Result<Option<NotFinite>> {
        let mut first = FirstNotFinite::new(true);
        let given = self.given(Some(&mut first))?;
        match (first.found(), given) {
            (None, Given::Values(given)) => {
                sweep::first_not_finite(self.model, &self.base.ids, &self.base.with(&given))
            }
            (found, _) => Ok(found),
        }
    }

    /// What the receivers make of the sender's change. `look`, where there is one, sees those runs.
    fn given(&self, mut look: Option<&mut FirstNotFinite>) -> Result<Given> {
        let Self { model, route, through, readout, .. } = *self;
        let ids = &self.base.ids;
        let all = written_by_blocks(model);
        let mut base = Cache::of(all.iter().copied().chain(self.sender.iter().map(|change| change.point)));
        plain(model, ids, &mut [&mut Changed(self.base.with(&[])), &mut base])?;

        let mut given = vec![];
        for receiver in &route.receivers {
            let point = receiver.point(model.spec());
            // What is written later, the receiver cannot read.
            let before = |p: HookPoint| written(p).is_some_and(|written| written <= receiver.reads_at(model.spec()));
            let sender: Vec<&Change> = self.sender.iter().filter(|change| before(change.point)).collect();
            let own: Vec<HookPoint> = sender.iter().map(|change| change.point).collect();
            let frozen = all.iter().filter(|p| !is_made(**p, &own, through)).chain(&own);
            let frozen = frozen.map(|p| Ok(Change::new(*p, How::Put(base.get(&p.to_string())?.clone()))));
            let frozen = frozen.collect::<Result<Vec<_>>>()?;
            // Everything is held, and then the sender changed.
            let mut changed = Changed(frozen.iter().chain(sender).collect());
            // A receiver is looked at before it is frozen like everything else.
            let mut cache = Cache::of([point]);
            let mut hooks: Vec<&mut dyn Hook> = vec![&mut cache, &mut changed];
            if let Some(look) = look.as_deref_mut() {
                hooks.push(look);
            }
            let logits = plain(model, ids, &mut hooks)?;
            if receiver.reads == Reads::Logits {
                let rows: Vec<u32> = readout.positions.iter().map(|p| *p as u32).collect();
                let mut logits = logits.index_select(&Tensor::new(rows, logits.device())?, 0)?;
                if let Some(tokens) = &readout.tokens {
                    logits = logits.index_select(&Tensor::new(tokens.as_slice(), logits.device())?, 1)?;
                }
                return Ok(Given::Logits(numbers(&logits)?));
            }
            let value = cache.get(&point.to_string())?.clone();
            given.push(Change { head: receiver.head, ..Change::new(point, How::Put(value)) });
        }
        Ok(Given::Values(given))
    }
}

/// What the receivers of a path are given.
enum Given {
    /// Values, for the run that goes on from them.
    Values(Vec<Change>),
    /// They are the logits, which are all that is left.
    Logits(Vec<f32>),
}

/// Everything that is written to the stream.
fn written_by_blocks(model: &Model) -> Vec<HookPoint> {
    let writes = |p: &HookPoint| matches!(p.site.info().role, Role::Write(_));
    HookPoint::all(model.spec()).into_iter().filter(writes).collect()
}

/// Whether what is written at `p` is made anew: of the sender that is a part of it; by an MLP that is not held.
fn is_made(p: HookPoint, sender: &[HookPoint], through: Through) -> bool {
    let of_sender = |site| sender.contains(&HookPoint { site, ..p });
    match p.site {
        Site::AttnOut => of_sender(Site::Z),
        Site::MlpOut => of_sender(Site::MlpPost) || (through == Through::Mlps && !of_sender(Site::MlpOut)),
        _ => false,
    }
}

/// Logits `[n, v]` of a whole forward pass.
fn plain(model: &Model, ids: &[u32], hooks: &mut [&mut dyn Hook]) -> Result<Tensor> {
    let run = Run { kernels: Some(crate::ops::Kernels::Plain), unembed: Unembed::All, ..Run::default() };
    Ok(model.run(&Batch::one(ids), &run, hooks)?.logits()?.clone())
}
