//! Attention: where does each head look?

use candle_core::Tensor;

use super::finite::check_finite;
use super::waves::waves;
use super::{Need, Watch};
use crate::arch::Spec;
use crate::arch::spec::{Block, Mask};
use crate::error::Result;
use crate::hook::{Hook, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::attention::Scoring;
use crate::ops::rows::Rows;
use crate::table::Attention;
use crate::text::Prompt;

/// Emits the attention probability of every layer, head, query and key of every prompt, in the order prompt, layer,
/// head, query, key. Keys that the mask hides are left out, and probabilities below `min_prob`: with 0, none.
///
/// # Errors
/// Whatever the run or `emit` says, and when a run is not finite.
pub fn attention(
    model: &Model,
    prompts: &[Prompt],
    min_prob: f32,
    memory_bytes: usize,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(Attention) -> Result<()>,
) -> Result<()> {
    let spec = model.spec();
    for wave in waves(spec, prompts, kept(spec, prompts), memory_bytes) {
        watch.at(wave.start, prompts.len())?;
        let prompts = &prompts[wave];
        let mut kept = Patterns { patterns: vec![vec![]; prompts.len()] };
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let out = model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut kept])?;
        check_finite(model, prompts, &out, "")?;
        for (prompt, patterns) in prompts.iter().zip(&kept.patterns) {
            for (layer, pattern_hqk) in patterns.iter().enumerate() {
                rows(prompt, layer, &model.weights().blocks[layer].scoring, pattern_hqk, min_prob, emit)?;
            }
        }
    }
    watch.at(prompts.len(), prompts.len())
}

/// What [`attention`] needs of memory. Of `drawn` prompts, the first, all rows are held until they are drawn.
pub fn need(spec: &Spec, prompts: &[Prompt], drawn: usize, budget_bytes: usize) -> Need {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let heads = spec.blocks.iter().map(|b| b.attention.inner.n_heads);
    // Scores beside the pattern while it is made, and the numbers of one layer as rows are made of them.
    let beside = 3 * size_of::<f32>() * heads.clone().max().unwrap_or(0) * longest * longest;
    let seen = |b: &Block, n: usize| match b.attention.inner.mask {
        Mask::Bidirectional => n * n,
        Mask::Causal => n * (n + 1) / 2,
        Mask::Window(window) => (0..n).map(|q| window.min(q + 1)).sum(),
    };
    let of_prompt =
        |p: &Prompt| -> usize { spec.blocks.iter().map(|b| b.attention.inner.n_heads * seen(b, p.tokens.len())).sum() };
    let rows: usize = prompts.iter().take(drawn).map(of_prompt).sum();
    Need { rows: rows * ROW_BYTES, ..super::waves::need(spec, prompts, kept(spec, prompts), beside, budget_bytes) }
}

/// Bytes of a row that is held: itself, and three short texts, each of its own. What draws them has its numbers once more.
const ROW_BYTES: usize = size_of::<Attention>() + 3 * 32 + 24;

/// What is held of each row of a wave: its patterns in all layers, one number for each key of the longest prompt.
fn kept(spec: &Spec, prompts: &[Prompt]) -> usize {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let heads: usize = spec.blocks.iter().map(|b| b.attention.inner.n_heads).sum();
    longest * heads * size_of::<f32>()
}

/// Each prompt's patterns, layer after layer.
struct Patterns {
    patterns: Vec<Vec<Tensor>>,
}

impl Hook for Patterns {
    fn wants(&self, at: HookPoint) -> bool {
        at.site == Site::Pattern
    }

    fn on(&mut self, _: HookPoint, rows: &Rows, pattern_hqk: Tensor) -> Result<Tensor> {
        self.patterns[rows.sequences[0].index].push(pattern_hqk.clone());
        Ok(pattern_hqk)
    }
}

fn rows(
    prompt: &Prompt,
    layer: usize,
    scoring: &Scoring,
    pattern_hqk: &Tensor,
    min_prob: f32,
    emit: &mut dyn FnMut(Attention) -> Result<()>,
) -> Result<()> {
    let group = scoring.n_heads / scoring.n_kv_heads;
    for (head, queries) in pattern_hqk.to_vec3::<f32>()?.iter().enumerate() {
        for (query_pos, keys) in queries.iter().enumerate() {
            // The mask says what can be seen, not the number: a probability that underflows is 0, too.
            let visible = scoring.visible(query_pos, keys.len());
            for (key_pos, prob) in visible.clone().map(|key| (key, &keys[key])) {
                if *prob < min_prob {
                    continue;
                }
                emit(Attention {
                    prompt: prompt.index,
                    prompt_id: prompt.id.clone(),
                    layer: layer as u32,
                    head: head as u32,
                    kv_head: (head / group) as u32,
                    query_pos: query_pos as u32,
                    key_pos: key_pos as u32,
                    query_token: prompt.tokens[query_pos].text.clone(),
                    key_token: prompt.tokens[key_pos].text.clone(),
                    prob: *prob,
                    first_key: visible.start as u32,
                    last_key: visible.end.saturating_sub(1) as u32,
                })?;
            }
        }
    }
    Ok(())
}
