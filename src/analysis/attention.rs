//! Attention: where does each head look?

use candle_core::Tensor;

use super::Watch;
use super::waves::waves;
use crate::error::Result;
use crate::hook::{Hook, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::rows::Rows;
use crate::table::Attention;
use crate::text::Prompt;

/// Emits the attention probability of every layer, head, query and key of every prompt, in the order prompt, layer,
/// head, query, key. Probabilities below `min_prob` and keys that the mask hides are left out.
///
/// # Errors
/// Whatever the run or `emit` says.
pub fn attention(
    model: &Model,
    prompts: &[Prompt],
    min_prob: f32,
    memory_bytes: usize,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(Attention) -> Result<()>,
) -> Result<()> {
    let spec = model.spec();
    // What is held is the rows of a wave's patterns, of which a row has one number for each key of its own prompt.
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let heads: usize = spec.blocks.iter().map(|b| b.attention.inner.n_heads).sum();
    let kept = longest * heads * size_of::<f32>();
    for wave in waves(spec, prompts, kept, memory_bytes) {
        watch.at(wave.start, prompts.len())?;
        let prompts = &prompts[wave];
        let mut kept = Patterns { patterns: vec![vec![]; prompts.len()] };
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut kept])?;
        for (prompt, patterns) in prompts.iter().zip(&kept.patterns) {
            for (layer, pattern_hqk) in patterns.iter().enumerate() {
                let group =
                    model.weights().blocks[layer].scoring.n_heads / model.weights().blocks[layer].scoring.n_kv_heads;
                rows(prompt, layer, group, pattern_hqk, min_prob, emit)?;
            }
        }
    }
    watch.at(prompts.len(), prompts.len())
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
    group: usize,
    pattern_hqk: &Tensor,
    min_prob: f32,
    emit: &mut dyn FnMut(Attention) -> Result<()>,
) -> Result<()> {
    for (head, queries) in pattern_hqk.to_vec3::<f32>()?.iter().enumerate() {
        for (query_pos, keys) in queries.iter().enumerate() {
            for (key_pos, prob) in keys.iter().enumerate() {
                // Zero is what the mask leaves; a probability that underflows says no more.
                if *prob < min_prob || *prob == 0.0 {
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
                })?;
            }
        }
    }
    Ok(())
}
