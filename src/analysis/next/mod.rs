//! Next: what may come next, how sure is the model of it, and what do temperature and samplers make of it?

mod choices;
mod options;
pub mod rows;
mod view;

use crate::error::{Error, Result};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::numbers;
use crate::range::{Interval, positions_of};
use crate::sample::{Chain, Context, Pool};
use crate::sweep::budget::Cut;
use crate::sweep::{Budget, Need, Watch, check_prompts};
use crate::text::Prompt;
pub use choices::{Continuation, choices};
pub use options::Next;
pub(super) use options::chain;
pub use rows::{CandidateRow, ChoiceRow, NextRow};

/// What is asked of each prompt.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What is done to the logits.
    pub chain: Chain,
    /// How many candidates have a row of their own.
    pub top: usize,
    /// After which positions; negative ones count from the end.
    pub positions: Vec<Interval>,
}

/// What [`next`] and [`choices`] need of memory.
pub fn need(model: &Model, prompts: &[Prompt], budget: Budget) -> Need {
    cut(model, prompts, budget).need
}

/// Which prompts run together, and what that needs: beside their runs one row of logits, and what samplers make of it in f64.
fn cut(model: &Model, prompts: &[Prompt], budget: Budget) -> Cut {
    let row = 8 * size_of::<f64>() * model.spec().unembedding.d_vocab_out;
    budget.prompts(model.spec(), prompts, 0, row)
}

/// The candidates after each prompt, and what is said of them together, for each position that is asked for. `spell` gives a token's text.
///
/// # Errors
/// When a prompt lacks a position; whatever the run or `emit` says, and when a run is not finite.
pub fn next(
    model: &Model,
    prompts: &[Prompt],
    asked: &Asked,
    spell: &dyn Fn(u32) -> String,
    budget: Budget,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(Vec<CandidateRow>, NextRow) -> Result<()>,
) -> Result<()> {
    for wave in cut(model, prompts, budget).waves {
        watch.at(wave.start, prompts.len())?;
        let prompts = &prompts[wave];
        let batch = Batch::of(prompts.iter().map(Prompt::ids));
        let out = model.run(&batch, &Run { unembed: Unembed::Nothing, ..Run::default() }, &mut [])?;
        check_prompts(model, prompts, &out, "")?;
        for (prompt, sequence) in prompts.iter().zip(&out.rows.sequences) {
            let ids = prompt.ids();
            for pos in positions_of("the prompt", &asked.positions, prompt.tokens.len())? {
                let logits = numbers(&model.decode(&out.resid.narrow(0, sequence.rows.start + pos, 1)?)?)?;
                let pool = Pool::of(&logits, &asked.chain, Context { prompt: &ids[..=pos], output: &[] })?;
                let (rows, whole) = rows_of(prompt, pos, &logits, &pool, asked, spell);
                emit(rows, whole)?;
            }
        }
    }
    watch.at(prompts.len(), prompts.len())
}

/// What the tables say of one position.
pub(super) fn rows_of(
    prompt: &Prompt,
    pos: usize,
    logits: &[f32],
    pool: &Pool<'_>,
    asked: &Asked,
    spell: &dyn Fn(u32) -> String,
) -> (Vec<CandidateRow>, NextRow) {
    let order = pool.by_rank();
    let (tempered, sampled) = (pool.tempered(), pool.sampled());
    let bits = |nats: f64| nats / std::f64::consts::LN_2;
    let (entropy_bits, samplers) = (bits(pool.entropy_nats()), asked.chain.to_string());
    let sum = |of: &[f64], ids: &[u32]| ids.iter().map(|id| of[*id as usize]).sum::<f64>();
    let mass = |ids: &[u32]| ids.iter().map(|id| pool.prob(*id)).sum::<f64>();
    let (shown, tail) = order.split_at(asked.top.min(order.len()));
    let mut above = 0.0;
    let mut rows = Vec::with_capacity(shown.len() + 1);
    let same = |a: Option<&u32>, b: u32| a.is_some_and(|a| logits[*a as usize] == logits[b as usize]);
    for (i, id) in shown.iter().enumerate() {
        let at = *id as usize;
        let cut = pool.cut(*id);
        rows.push(CandidateRow {
            prompt: prompt.index,
            prompt_id: prompt.id.clone(),
            pos: pos as u32,
            rank: i as u32 + 1,
            token: Some(spell(*id)),
            token_id: Some(*id),
            logit: Some(logits[at]),
            logit_after: Some(pool.logit(*id)),
            prob: pool.prob(*id),
            prob_tempered: tempered[at],
            mass_above: cut.map_or(above, |cut| cut.mass_above),
            kept: cut.is_none(),
            cut_by: cut.map(|cut| cut.by.to_string()),
            cut_margin: cut.map(|cut| cut.margin),
            prob_sampled: sampled[at],
            tied: same(i.checked_sub(1).and_then(|i| order.get(i)), *id) || same(order.get(i + 1), *id),
            entropy_bits,
            samplers: samplers.clone(),
            others: None,
        });
        above += pool.prob(*id);
    }
    if !tail.is_empty() {
        rows.push(CandidateRow {
            prompt: prompt.index,
            prompt_id: prompt.id.clone(),
            pos: pos as u32,
            rank: shown.len() as u32 + 1,
            token: None,
            token_id: None,
            logit: None,
            logit_after: None,
            prob: mass(tail),
            prob_tempered: sum(&tempered, tail),
            mass_above: above,
            kept: tail.iter().any(|id| pool.cut(*id).is_none()),
            cut_by: None,
            cut_margin: None,
            prob_sampled: sum(&sampled, tail),
            tied: false,
            entropy_bits,
            samplers: samplers.clone(),
            others: Some(tail.len() as u32),
        });
    }
    let whole = NextRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        pos: pos as u32,
        token: prompt.label(pos).to_owned(),
        entropy_bits,
        undecided: pool.entropy_nats().exp(),
        samplers,
        kept: pool.size() as u32,
        kept_mass: mass(pool.kept()),
        sampled_entropy_bits: bits(pool.sampled_entropy_nats()),
        nearest_sampler: pool.nearest().map(|(sampler, _)| sampler.to_string()),
        nearest_distance: pool.nearest().map(|(_, distance)| distance),
    };
    (rows, whole)
}

/// Refuses to sample from a model that looks at what comes after.
pub(super) fn causal(model: &Model) -> Result<()> {
    match model.spec().is_causal() {
        true => Ok(()),
        false => Err(Error::bad_input("this model sees the whole text at once and says nothing of what comes next")
            .hint("give a model that was trained to go on with a text")),
    }
}
