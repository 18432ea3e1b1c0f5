//! Loss: how surprised is the model by each token of a text?
//!
//! The surprise of a token is minus the logarithm of the probability that the model gave it after the tokens before it (Shannon 1948);
//! its mean over a text is the cross-entropy loss that models are trained by, and the exponential of that is the perplexity.

pub mod rows;
pub mod unlike;
mod view;

use std::ops::Range;

use crate::error::Result;
use crate::model::{Batch, Model, Output, Run, Unembed};
use crate::ops::values;
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::{Need, Watch, check_prompts};
use crate::text::Prompt;
pub use rows::{LossMeanRow, LossPromptRow, LossRow};
pub use view::Loss;

/// What the model made of one token.
#[derive(Clone, Copy, Debug)]
pub struct Surprise {
    /// Minus the logarithm of its probability.
    pub loss_nats: f64,
    /// Its place among all tokens, 1 = most probable; of equals the lower id first.
    pub rank: u32,
    /// Entropy of the distribution.
    pub entropy_nats: f64,
    /// The most probable token, and its probability.
    pub expected: (u32, f64),
}

impl Surprise {
    /// Of the token `id` under these logits, of which it must be one.
    pub fn of(logits: &[f32], id: u32) -> Self {
        let most = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |most, (i, x)| match *x > most.1 {
            true => (i, *x),
            false => most,
        });
        let shifted = |x: f32| f64::from(x) - f64::from(most.1);
        let total: f64 = logits.iter().map(|x| shifted(*x).exp()).sum();
        let own = logits[id as usize];
        // The entropy is the logarithm of the total less the mean logit.
        let mean: f64 = logits.iter().map(|x| shifted(*x)).map(|x| if x.is_finite() { x.exp() * x } else { 0.0 }).sum();
        let before = |(i, x): &(usize, &f32)| **x > own || (**x == own && *i < id as usize);
        Self {
            loss_nats: total.ln() - shifted(own),
            rank: 1 + logits.iter().enumerate().filter(before).count() as u32,
            entropy_nats: total.ln() - mean / total,
            expected: (most.0 as u32, 1.0 / total),
        }
    }
}

/// Rows of logits that are held at once, beside the runs.
fn rows_at_once(model: &Model, budget: Budget) -> usize {
    Budget(budget.0 / 4).holds(row_bytes(model))
}

/// Bytes of a row of logits while it is made.
fn row_bytes(model: &Model) -> usize {
    2 * size_of::<f32>() * model.spec().unembedding.d_vocab_out
}

/// What [`loss`] needs of memory.
pub fn need(model: &Model, prompts: &[Prompt], budget: Budget) -> Need {
    cut(model, prompts, budget).need
}

/// Which prompts run together, and what that needs.
fn cut(model: &Model, prompts: &[Prompt], budget: Budget) -> Cut {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let row = row_bytes(model);
    let logits = row * rows_at_once(model, budget).min(longest);
    let mut cut = budget.prompts(model.spec(), prompts, 0, logits);
    cut.need.least -= logits - row.min(logits);
    cut
}

/// The surprise of every token of every prompt, in order, and after those of a prompt what they come to. `spell` gives a token's text.
///
/// # Errors
/// Whatever the run or `emit` says, and when a run is not finite.
pub fn loss(
    model: &Model,
    prompts: &[Prompt],
    spell: &dyn Fn(u32) -> String,
    budget: Budget,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(Vec<LossRow>, Option<LossPromptRow>) -> Result<()>,
) -> Result<()> {
    let some = rows_at_once(model, budget);
    for wave in cut(model, prompts, budget).waves {
        watch.at(wave.start, prompts.len())?;
        let prompts = &prompts[wave];
        let batch = Batch::of(prompts.iter().map(Prompt::ids));
        let out = model.run(&batch, &Run { unembed: Unembed::Nothing, ..Run::default() }, &mut [])?;
        check_prompts(model, prompts, &out, "")?;
        for (prompt, sequence) in prompts.iter().zip(&out.rows.sequences) {
            let rows = of_prompt(model, prompt, spell, (&out, sequence.rows.clone()), some)?;
            let whole = summed(prompt, &rows);
            emit(rows, whole)?;
        }
    }
    watch.at(prompts.len(), prompts.len())
}

/// The rows of a prompt whose stream is in these rows of the run; `some` of them are decoded at once.
fn of_prompt(
    model: &Model,
    prompt: &Prompt,
    spell: &dyn Fn(u32) -> String,
    (out, own): (&Output, Range<usize>),
    some: usize,
) -> Result<Vec<LossRow>> {
    let mut rows = Vec::with_capacity(prompt.tokens.len());
    rows.extend(prompt.tokens.first().map(|_| row(prompt, 0, None, spell)));
    // What stands at one position says what comes at the next.
    let says = own.start..own.end.saturating_sub(1).max(own.start);
    for first in says.clone().step_by(some) {
        let n = some.min(says.end - first);
        let logits = model.decode(&out.resid.narrow(0, first, n)?)?;
        let width = logits.dim(1)?;
        let logits = values(&logits)?;
        for (i, logits) in logits.chunks_exact(width).enumerate() {
            let pos = first - own.start + i + 1;
            let id = prompt.tokens[pos].id;
            model.can_say(&[id]).map_err(|e| e.hint("give a text of tokens that the model can say"))?;
            rows.push(row(prompt, pos, Some(Surprise::of(logits, id)), spell));
        }
    }
    Ok(rows)
}

fn row(prompt: &Prompt, pos: usize, surprise: Option<Surprise>, spell: &dyn Fn(u32) -> String) -> LossRow {
    let token = &prompt.tokens[pos];
    let found = surprise.as_ref();
    LossRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        pos: pos as u32,
        token: token.text.clone(),
        token_id: token.id,
        loss_nats: found.map(|s| s.loss_nats),
        loss_bits: found.map(|s| s.loss_nats / std::f64::consts::LN_2),
        prob: found.map(|s| (-s.loss_nats).exp()),
        rank: found.map(|s| s.rank),
        entropy_bits: found.map(|s| s.entropy_nats / std::f64::consts::LN_2),
        expected: found.map(|s| spell(s.expected.0)),
        expected_id: found.map(|s| s.expected.0),
        expected_prob: found.map(|s| s.expected.1),
    }
}

/// What the rows of a prompt come to; nothing where there is nothing to predict.
fn summed(prompt: &Prompt, rows: &[LossRow]) -> Option<LossPromptRow> {
    let losses: Vec<f64> = rows.iter().filter_map(|row| row.loss_nats).collect();
    if losses.is_empty() {
        return None;
    }
    let total: f64 = losses.iter().sum();
    let mean = total / losses.len() as f64;
    let of_text = prompt.tokens.iter().skip(1).filter_map(|token| token.bytes.as_ref());
    let bytes = prompt.text.is_some().then(|| of_text.map(|bytes| bytes.len() as u32).sum::<u32>()).filter(|n| *n > 0);
    Some(LossPromptRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        tokens: losses.len() as u32,
        loss_nats: mean,
        perplexity: mean.exp(),
        bytes,
        bits_per_byte: bytes.map(|n| total / std::f64::consts::LN_2 / f64::from(n)),
    })
}

/// What several prompts come to.
fn mean(of: &[LossPromptRow]) -> LossMeanRow {
    let (loss_nats, loss_nats_se) = mean_and_error(&of.iter().map(|row| row.loss_nats).collect::<Vec<_>>());
    let bits: Option<Vec<f64>> = of.iter().map(|row| row.bits_per_byte).collect();
    let bits = bits.map(|bits| mean_and_error(&bits));
    LossMeanRow {
        prompts: of.len() as u32,
        tokens: of.iter().map(|row| u64::from(row.tokens)).sum(),
        loss_nats,
        loss_nats_se,
        perplexity: loss_nats.exp(),
        bits_per_byte: bits.map(|(mean, _)| mean),
        bits_per_byte_se: bits.map(|(_, error)| error),
    }
}

/// The mean of two numbers or more, and its standard error.
pub(super) fn mean_and_error(of: &[f64]) -> (f64, f64) {
    let n = of.len() as f64;
    let mean = of.iter().sum::<f64>() / n;
    let squares: f64 = of.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0) / n).sqrt())
}
