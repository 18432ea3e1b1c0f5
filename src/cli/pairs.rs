//! Pairs on their way into a sweep: what of them decides the results, and what is said of them before it runs.

use serde_json::{Value, json};

use super::out::Out;
use crate::analysis::patch::Metric;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::session::spaces::Words;
use crate::text::Pair;
use crate::text::positions::position_at;

/// The error for positions that are chosen in two ways.
pub(super) fn chosen_twice() -> Error {
    Error::bad_input("positions are chosen both by number and by name")
        .hint("leave out --positions, or what chooses them by number")
}

/// What of a pair decides the results, beside its clean prompt.
pub(super) fn asked_of(pair: &Pair) -> Value {
    let mut asked = json!([pair.id, pair.corrupt.as_ref().map(|c| c.ids()), pair.answers, pair.foils]);
    // Where there are none, the request is what it was before there could be any.
    if let (false, Some(list)) = (pair.positions.is_empty(), asked.as_array_mut()) {
        list.push(json!(pair.positions.iter().map(|named| (&named.name, named.at)).collect::<Vec<_>>()));
    }
    asked
}

/// What several of them are called.
fn several(pairs: &[Pair]) -> &'static str {
    if pairs.iter().any(|pair| pair.corrupt.is_some()) { "pairs" } else { "prompts" }
}

/// Says on stderr where answers and foils may have been meant with or without a space before them, if a metric reads them.
pub(super) fn say_spaces(
    out: &Out,
    loaded: &Session,
    pairs: &[Pair],
    metrics: &[Metric],
    measure_at: isize,
) -> Result<()> {
    if !metrics.iter().any(|metric| metric.reads_answers()) {
        return Ok(());
    }
    let each = |of: fn(&Pair) -> &[u32]| -> Vec<Words<'_>> {
        let each = pairs.iter().filter_map(|pair| {
            let prompt = &pair.clean;
            // A position that is not there is said where it is measured.
            Some(Words { prompt, at: position_at(measure_at, prompt).ok()?, tokens: of(pair).to_vec() })
        });
        each.collect()
    };
    let several = several(pairs);
    for (what, words) in [("answer", each(|pair| &pair.answers)), ("foil", each(|pair| &pair.foils))] {
        if let Some(said) = loaded.doubtful_spaces([what, several], &words)? {
            out.note(said);
        }
    }
    Ok(())
}
