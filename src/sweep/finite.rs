//! Where a run stops being numbers. Such a run is no result: the error says whose it was and where that began.

use crate::error::{Error, Result};
use crate::hook::finite::all_finite;
use crate::hook::{Change, Changed, FirstNotFinite, NotFinite};
use crate::model::{Batch, Model, Output, Run, Unembed};
use crate::text::Prompt;

/// Scores and patterns of longer prompts are not looked at: they grow with the square of the length, and what is not finite in
/// them is not finite in `z`, which comes next.
const LONGEST: usize = 512;

/// The first value that is not finite in the run of `ids` in which `changes` are made, before the logits; nothing where there is
/// none.
///
/// # Errors
/// As [`Model::run`], and when a change does not fit.
pub fn first_not_finite(model: &Model, ids: &[u32], changes: &[&Change]) -> Result<Option<NotFinite>> {
    let mut first = FirstNotFinite::new(ids.len() <= LONGEST);
    let run = Run { unembed: Unembed::Nothing, ..Run::default() };
    model.run(&Batch::one(ids), &run, &mut [&mut Changed(changes.to_vec()), &mut first])?;
    Ok(first.found())
}

/// The error of a run, called `what`, that is not finite.
pub(crate) fn not_finite(what: &str, first: Option<&NotFinite>) -> Error {
    let at = first.map_or("its logits are NaN or infinite".to_owned(), NotFinite::to_string);
    Error::compute(format!("{what} is not finite: {at}")).hint(
        "numbers grow beyond what f32 holds (3.4e38): look for weights that are too large, with `pellucid verify`",
    )
}

/// Refuses a run whose stream after the last block is not finite somewhere. `of` says for a sequence what it reads, what is
/// changed in it, and what it is called.
///
/// The stream is the sum of all that was written, and neither norms nor softmaxes hide what is not finite from what comes after
/// them, so what is in it is all that there can be.
pub(crate) fn check_finite<'c>(
    model: &Model,
    out: &Output,
    of: impl Fn(usize) -> (Vec<u32>, &'c [Change], String),
) -> Result<()> {
    for s in &out.rows.sequences {
        if !all_finite(&s.of(&out.resid)?)? {
            let (ids, changes, name) = of(s.index);
            let first = first_not_finite(model, &ids, &changes.iter().collect::<Vec<_>>())?;
            return Err(not_finite(&name, first.as_ref()));
        }
    }
    Ok(())
}

/// The same for a run of `prompts`. What they are `of` is said beside the name of the prompt.
pub(crate) fn check_prompts(model: &Model, prompts: &[Prompt], out: &Output, of: &str) -> Result<()> {
    check_finite(model, out, |i| (prompts[i].ids(), &[], format!("the run of prompt \"{}\"{of}", prompts[i].id)))
}
