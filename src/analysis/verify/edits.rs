//! Laws of hooks: looking changes nothing, putting back what is there changes nothing, and taking it away changes something.

use std::collections::HashMap;

use candle_core::Tensor;

use super::measure::{Finding, Worst, distance, flat};
use super::subject::Subject;
use crate::arch::spec::Arrangement;
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
///
/// Not in every model: of a stream of zeros nothing can be taken away, one write may be lost in rounding beside the others, and a norm
/// over one dimension gives the same whatever it reads. So what comes out without the value is computed first, by a run that no hook
/// edits. Where that is what came out with it, the edit cannot matter; everywhere else it must.
pub(super) fn zeroing_matters(s: &Subject) -> Result<Finding> {
    matters(s, |point| Ok(Box::new(Edit::zero(s.spec(), &point.to_string())?)))
}

/// As [`zeroing_matters`], with edits that are said to take away what is at a point.
pub(super) fn matters(s: &Subject, take_away: impl Fn(HookPoint) -> Result<Box<dyn Hook>>) -> Result<Finding> {
    let mut worst = Worst::new("the smallest change, which must not be 0");
    let n = s.spec().n_layers();
    let differs = |a: &Tensor, b: &Tensor| Ok::<_, Error>(distance(&flat(a)?, &flat(b)?));
    for layer in 0..n {
        let [before, after] = [Site::ResidPre, Site::ResidPost].map(|site| HookPoint::block(layer, site));
        let (before, after) = (s.one(before)?, s.one(after)?);
        let block = |stream: &Tensor, hooks: &mut [&mut dyn Hook]| {
            let run = Run { from: Some((layer, stream.clone())), until: Some(layer + 1), ..Run::default() };
            Ok::<_, Error>(s.model.run(&s.batch, &run, hooks)?.resid)
        };
        for site in [Site::ResidPre, Site::AttnOut] {
            let without = match site {
                Site::ResidPre => block(&before.zeros_like()?, &mut [])?,
                _ => without_attention(s, layer)?,
            };
            if differs(&without, after)? == 0.0 {
                continue;
            }
            let point = HookPoint::block(layer, site);
            let edited = block(before, &mut [&mut *take_away(point)?])?;
            worst.must_change(point, differs(&edited, after)?);
        }
    }
    let last = HookPoint::block(n - 1, Site::ResidPre);
    let run = Run { unembed: Unembed::All, ..Run::default() };
    let from_nothing = Run { from: Some((n - 1, s.one(last)?.zeros_like()?)), ..run.clone() };
    let without = s.model.run(&s.batch, &from_nothing, &mut [])?;
    if differs(without.logits()?, &s.logits)? != 0.0 {
        let edited = s.model.run(&s.batch, &run, &mut [&mut *take_away(last)?])?;
        worst.must_change(last, differs(edited.logits()?, &s.logits)?);
    }
    Ok(match worst.is_empty() {
        true => Finding::NotApplicable(
            "no edit can matter: without what blocks read and attention writes all values stay the same",
        ),
        false => Finding::Seen(worst),
    })
}

/// The stream after block `layer` if its attention wrote nothing.
fn without_attention(s: &Subject, layer: usize) -> Result<Tensor> {
    let block = &s.spec().blocks[layer];
    let before = s.one(HookPoint::block(layer, Site::ResidPre))?;
    Ok(match (&block.mlp, block.arrangement) {
        (None, _) => before.clone(),
        // What is written would have been read by the MLP.
        (Some(_), Arrangement::Sequential) => (before + s.model.feed_forward(layer, before)?)?,
        (Some(_), _) => (before + s.one(HookPoint::block(layer, Site::MlpOut))?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::own_prompts;
    use super::*;
    use crate::model::Model;

    /// An edit that does nothing where it must matter is found out; where none can matter, it is not accused.
    ///
    /// Invariant: as `models_of_zeros_and_of_tiny_numbers_obey_the_laws`.
    #[test]
    fn an_edit_that_does_nothing_is_found_out_where_it_would_matter() -> Result<()> {
        let dir = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        for name in ["gpt2", "gpt_neox", "llama", "qwen3_moe", "hooked_attn_only"] {
            let model = Model::load(&dir(name))?;
            let prompts = own_prompts(model.spec());
            let subject = Subject::new(&model, &prompts)?;
            let row = matters(&subject, |_| Ok(Box::new(WriteBack)))?.row("");
            assert_eq!((row.verdict.as_str(), row.difference), ("failed", Some(0.0)), "{name}: {row:?}");
            let row = zeroing_matters(&subject)?.row("");
            // Both sites of every block, and the logits.
            assert_eq!((row.verdict.as_str(), row.compared), ("ok", 2 * model.spec().n_layers() as u64 + 1), "{row:?}");
        }
        Ok(())
    }
}
