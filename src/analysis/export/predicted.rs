//! What the model predicts at each row: read from tiles of the vocabulary, so that no row of logits is ever whole.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::analysis::lens::stream::Reading;
use crate::analysis::lens::{in_tiles, tiles_need};
use crate::arch::Spec;
use crate::error::Result;
use crate::model::{Model, Output};
use crate::sweep::{Budget, not_finite};

use super::cut::Sequence;

/// What tiles are cut by, whatever memory there is: sums of other tiles round otherwise.
const TILES: Budget = Budget(64 << 20);

/// What is known of a row.
pub(super) struct Predicted {
    /// Of the next token; none at the end of a sequence.
    pub loss_nats: Option<f32>,
    /// Of the token itself; none of the first.
    pub logprob_nats: Option<f32>,
    /// Of what may come next.
    pub entropy_bits: f32,
    /// The most probable next token.
    pub top: u32,
}

/// Bytes that it needs for so many tokens.
pub(super) fn need(spec: &Spec, tokens: usize) -> usize {
    tiles_need(spec, tokens, TILES).0 + 2 * size_of::<f32>() * tokens * spec.d_model
}

/// What is predicted at `rows` of a run of `sequences`.
///
/// # Errors
/// A token that the model can read but not say; a distribution that is not finite.
pub(super) fn predicted(model: &Model, out: &Output, sequences: &[Sequence], rows: &[usize]) -> Result<Vec<Predicted>> {
    // The row before says how probable a row's own token was.
    let mut decoded: Vec<usize> = rows.iter().flat_map(|row| [row.saturating_sub(1), *row]).collect();
    decoded.sort_unstable();
    decoded.dedup();
    let ids: Vec<u32> = sequences.iter().flat_map(|s| s.tokens.iter().map(|token| token.id)).collect();
    let mut next = vec![None; ids.len()];
    for sequence in &out.rows.sequences {
        for row in sequence.rows.clone() {
            next[row] = (row + 1 < sequence.rows.end).then(|| ids[row + 1]);
        }
    }
    let own: Vec<u32> = decoded.iter().map(|row| *row as u32).collect();
    let x = out.resid.index_select(&Tensor::new(own, model.device())?, 0)?;
    let targets: Vec<Option<u32>> = decoded.iter().map(|row| next[*row]).collect();
    model.can_say(&targets.iter().flatten().copied().collect::<Vec<_>>())?;
    let mut readings: Vec<(Reading, Option<f32>)> = vec![(Reading::new(1, None), None); targets.len()];
    in_tiles(model, &model.normalize(&x)?, TILES, &mut |first, width, logits| {
        readings.par_iter_mut().zip(logits.par_chunks(width)).zip(&targets).for_each(
            |(((reading, own), logits), target)| {
                let weights = reading.own(logits);
                reading.take(first, logits, &weights);
                let at = target.and_then(|id| logits.get((id as usize).checked_sub(first)?));
                *own = own.or(at.copied());
            },
        );
    })?;
    let surprise = |row: usize| {
        let (reading, logit) = &readings[decoded.binary_search(&row).ok()?];
        logit.map(|logit| reading.log_total() - logit)
    };
    let of = |row: &usize| {
        let at = decoded.binary_search(row).unwrap_or_default();
        let reading = readings[at].0.clone().finished();
        match reading.top() {
            [(top, _)] if reading.log_total().is_finite() => Ok(Predicted {
                loss_nats: surprise(*row),
                // The row before the first of a sequence is the last of another, after which nothing comes.
                logprob_nats: row.checked_sub(1).and_then(surprise).map(|nats| -nats),
                entropy_bits: reading.entropy_bits(),
                top: *top,
            }),
            _ => Err(not_finite("the run of a document", None)),
        }
    };
    rows.iter().map(of).collect()
}
