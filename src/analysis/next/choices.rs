//! Whole continuations: how probable is each after a prompt, by teacher forcing?

use std::sync::Arc;

use super::cut;
use super::rows::ChoiceRow;
use crate::error::{Error, Result};
use crate::model::{Batch, Model, Run, Sequence, Unembed};
use crate::ops::numbers;
use crate::ops::softmax::log_sum_exp;
use crate::sweep::{Budget, check_prompts, row_bytes};
use crate::text::Prompt;

/// A text that may come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// As it was given.
    pub text: String,
    /// Its tokens, at least one.
    pub ids: Vec<u32>,
}

/// How probable each continuation is after each prompt. `spell` gives a token's text.
///
/// # Errors
/// When prompt and continuation are longer than the model's context, or it cannot say a token; whatever the run or `emit` says.
pub fn choices(
    model: &Model,
    prompts: &[Prompt],
    continuations: &[Continuation],
    spell: &dyn Fn(u32) -> String,
    budget: Budget,
    emit: &mut dyn FnMut(Vec<ChoiceRow>) -> Result<()>,
) -> Result<()> {
    for prompt in prompts {
        fits(model, prompt, continuations)?;
    }
    for wave in cut(model, prompts, budget).waves {
        let prompts = &prompts[wave];
        let batch = Batch::of(prompts.iter().map(Prompt::ids));
        let last = batch.rows().sequences.iter().map(|s| s.rows.end as u32 - 1).collect();
        let run = Run { unembed: Unembed::Rows(last), keep_prefixes: true, ..Run::default() };
        let out = model.run(&batch, &run, &mut [])?;
        check_prompts(model, prompts, &out, "")?;
        let said = numbers(out.logits()?)?;
        let first = log_probs(&said, prompts.len());
        for ((prompt, prefix), first) in prompts.iter().zip(out.prefixes).zip(first) {
            let mut logs = vec![0.0; continuations.len()];
            for (log, of) in logs.iter_mut().zip(continuations) {
                *log = first(of.ids[0]);
            }
            add_others(model, Arc::new(prefix), continuations, budget, &mut logs)?;
            emit(rows(prompt, continuations, &logs, spell))?;
        }
    }
    Ok(())
}

/// Adds to `logs` what the tokens after the first of each continuation have.
fn add_others(
    model: &Model,
    prefix: Arc<crate::model::Prefix>,
    continuations: &[Continuation],
    budget: Budget,
    logs: &mut [f64],
) -> Result<()> {
    let longer: Vec<usize> = (0..continuations.len()).filter(|i| continuations[*i].ids.len() > 1).collect();
    let row = row_bytes(model.spec()) + 2 * size_of::<f32>() * model.spec().unembedding.d_vocab_out;
    for wave in budget.groups(longer.iter().map(|i| (continuations[*i].ids.len() - 1) * row)) {
        let some = &longer[wave];
        let before = |i: &usize| {
            let ids = &continuations[*i].ids;
            Sequence::after(prefix.clone(), &ids[..ids.len() - 1])
        };
        let batch = Batch { sequences: some.iter().map(before).collect() };
        let out = model.run(&batch, &Run::default(), &mut [])?;
        let all = numbers(out.logits()?)?;
        let said: Vec<_> = log_probs(&all, out.rows.len()).collect();
        for (i, sequence) in some.iter().zip(&out.rows.sequences) {
            let after = &continuations[*i].ids[1..];
            logs[*i] += sequence.rows.clone().zip(after).map(|(row, id)| said[row](*id)).sum::<f64>();
        }
    }
    Ok(())
}

/// Of each of `n` rows of logits, the logarithm of the probability of a token. In f64.
fn log_probs(logits: &[f32], n: usize) -> impl Iterator<Item = impl Fn(u32) -> f64> {
    logits.chunks_exact(logits.len() / n.max(1)).map(|row| {
        let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        let all = log_sum_exp(&row);
        move |id: u32| row[id as usize] - all
    })
}

fn fits(model: &Model, prompt: &Prompt, continuations: &[Continuation]) -> Result<()> {
    let n_ctx = model.spec().n_ctx.unwrap_or(usize::MAX);
    for of in continuations {
        model.can_say(&of.ids)?;
        // What the last token says is not asked for.
        let needs = prompt.tokens.len() + of.ids.len() - 1;
        if needs > n_ctx {
            let (id, text) = (&prompt.id, &of.text);
            let says = format!("prompt {id} with \"{text}\" is {needs} tokens, and the model sees {n_ctx}");
            return Err(Error::bad_input(says).hint("give a shorter prompt"));
        }
    }
    Ok(())
}

fn rows(
    prompt: &Prompt,
    continuations: &[Continuation],
    logs: &[f64],
    spell: &dyn Fn(u32) -> String,
) -> Vec<ChoiceRow> {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logs.iter().map(|log| (log - most).exp()).sum();
    let row = |(i, (of, log)): (usize, (&Continuation, &f64))| ChoiceRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        choice: i as u32,
        text: of.text.clone(),
        tokens: of.ids.iter().map(|id| spell(*id)).collect::<Vec<_>>().join("·"),
        n_tokens: of.ids.len() as u32,
        log_prob: *log,
        log_prob_per_token: log / of.ids.len() as f64,
        prob: log.exp(),
        share: (log - most).exp() / total,
        rank: 1 + logs.iter().enumerate().filter(|(j, other)| *other > log || (*other == log && *j < i)).count() as u32,
    };
    continuations.iter().zip(logs).enumerate().map(row).collect()
}
