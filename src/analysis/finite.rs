//! A run that is not finite is no result: who finds one says which prompt's it was and where it began.

use crate::error::Result;
use crate::hook::finite::all_finite;
use crate::model::{Model, Output};
use crate::sweep::{first_not_finite, not_finite};
use crate::text::Prompt;

/// Refuses a run of `prompts` whose stream after the last block is not finite somewhere. What they are `of` is said beside the name
/// of the prompt.
///
/// The stream is the sum of all that was written, and neither norms nor softmaxes hide what is not finite from what comes after
/// them, so what is in it is all that there can be.
pub(super) fn check_finite(model: &Model, prompts: &[Prompt], out: &Output, of: &str) -> Result<()> {
    for s in &out.rows.sequences {
        if !all_finite(&out.resid.narrow(0, s.rows.start, s.len())?)? {
            return refuse(model, &prompts[s.index], of);
        }
    }
    Ok(())
}

/// The error of a prompt whose run is not finite.
pub(super) fn refuse<T>(model: &Model, prompt: &Prompt, of: &str) -> Result<T> {
    let first = first_not_finite(model, &prompt.ids(), &[])?;
    let of = if of.is_empty() { String::new() } else { format!(" {of}") };
    Err(not_finite(&format!("the run of prompt \"{}\"{of}", prompt.id), first.as_ref()))
}
