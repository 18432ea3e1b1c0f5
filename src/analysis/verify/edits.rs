//! Laws of hooks: looking changes nothing, putting back what is there changes nothing, and taking it away changes something.

use std::collections::HashMap;

use candle_core::Tensor;

use super::measure::{Finding, Worst, distance, flat};
use super::subject::Subject;
use crate::error::{Error, Result};
use crate::hook::{Edit, Hook, HookPoint, Site};
use crate::model::{Run, Unembed};
use crate::ops::rows::Rows;

const BITS: &str = "the same operations on the same numbers: every bit must be the same";

pub(super) fn recording_changes_nothing(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new(BITS);
    let logits = Some(HookPoint::global(Site::Logits));
    worst.see_bits(logits, &s.logits, &s.recorded_logits)?;
    // Where everything was recorded, attention ran in stages; where the streams alone are, in one pass.
    let streams = s.landmarks_of(&s.batch, &Run::default(), None)?;
    for (point, value) in &streams {
        worst.see_bits(Some(*point), value, s.one(*point)?)?;
    }
    Ok(Finding::Seen(worst))
}

/// Gives back a copy of what it read.
struct WriteBack;

impl Hook for WriteBack {
    fn wants(&self, _: HookPoint) -> bool {
        true
    }
    fn on(&mut self, _: HookPoint, _: &Rows, x: Tensor) -> Result<Tensor> {
        Ok(x.copy()?)
    }
}

pub(super) fn writing_back_changes_nothing(s: &Subject) -> Result<Finding> {
    compared_with_the_recorded(s, &mut WriteBack)
}

pub(super) fn own_values_change_nothing(s: &Subject) -> Result<Finding> {
    let recorded: HashMap<HookPoint, Vec<Tensor>> = s.cache.iter().map(|(p, x)| (p, x.to_vec())).collect();
    let mut seen: HashMap<HookPoint, usize> = HashMap::new();
    let mut patch = Edit::with(s.spec(), "*", move |point, _| {
        // Scores and patterns come once for each prompt.
        let which = seen.entry(point).or_default();
        *which += 1;
        let value = recorded.get(&point).and_then(|values| values.get(*which - 1));
        value.cloned().ok_or_else(|| Error::compute(format!("{point} was not recorded")).fault())
    })?
    .positions([-1]);
    compared_with_the_recorded(s, &mut patch)
}

fn compared_with_the_recorded(s: &Subject, hook: &mut dyn Hook) -> Result<Finding> {
    let mut worst = Worst::new(BITS);
    for (point, value) in s.landmarks_of(&s.batch, &Run::default(), Some(hook))? {
        worst.see_bits(Some(point), &value, s.one(point)?)?;
    }
    Ok(Finding::Seen(worst))
}

/// Zeroing what a block reads, and what its attention writes, changes the stream after it; the first also the logits.
pub(super) fn zeroing_matters(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new("the smallest change, which must not be 0");
    let n = s.spec().n_layers();
    for layer in 0..n {
        for site in [Site::ResidPre, Site::AttnOut] {
            let point = HookPoint::block(layer, site);
            if flat(s.one(point)?)?.iter().all(|x| *x == 0.0) {
                continue; // There is nothing to take away.
            }
            let resid = s.one(HookPoint::block(layer, Site::ResidPre))?.clone();
            let block = Run { from: Some((layer, resid)), until: Some(layer + 1), ..Run::default() };
            let mut zero = Edit::zero(s.spec(), &point.to_string())?;
            let after = s.model.run(&s.batch, &block, &mut [&mut zero])?.resid;
            let before = s.one(HookPoint::block(layer, Site::ResidPost))?;
            worst.must_change(point, distance(&flat(&after)?, &flat(before)?));
        }
    }
    let last = HookPoint::block(n - 1, Site::ResidPre);
    let run = Run { unembed: Unembed::All, ..Run::default() };
    let mut zero = Edit::zero(s.spec(), &last.to_string())?;
    let logits = s.model.run(&s.batch, &run, &mut [&mut zero])?;
    worst.must_change(last, distance(&flat(logits.logits()?)?, &flat(&s.logits)?));
    Ok(Finding::Seen(worst))
}
