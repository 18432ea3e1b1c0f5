//! Attention: where does each head look?

mod options;
pub mod rows;
pub(crate) mod view;

use std::ops::Range;

use candle_core::Tensor;

use super::{Need, Watch};
use crate::analysis::AttentionRow;
use crate::arch::Spec;
use crate::arch::spec::{Block, Mask};
use crate::error::{Error, Result};
use crate::hook::{Hook, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::attention::Scoring;
use crate::ops::rows::Rows;
use crate::ops::values;
use crate::sweep::budget::waves;
use crate::sweep::check_prompts;
use crate::text::Prompt;
pub use options::Attention;

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
    emit: &mut dyn FnMut(AttentionRow) -> Result<()>,
) -> Result<()> {
    let spec = model.spec();
    for wave in waves(spec, prompts, kept(spec, prompts), memory_bytes) {
        watch.at(wave.start, prompts.len())?;
        let prompts = &prompts[wave];
        let batch = Batch::of(prompts.iter().map(Prompt::ids));
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        if let [prompt] = prompts {
            // Rows come layer by layer, as the run makes them: nothing is kept of a long prompt.
            let mut told = Told { model, prompt, min_prob, emit, failed: None };
            let out = model.run(&batch, &run, &mut [&mut told]);
            if let Some(e) = told.failed {
                return Err(e);
            }
            check_prompts(model, prompts, &out?, "")?;
            continue;
        }
        let mut kept = Patterns { patterns: vec![vec![]; prompts.len()] };
        let out = model.run(&batch, &run, &mut [&mut kept])?;
        check_prompts(model, prompts, &out, "")?;
        for (prompt, patterns) in prompts.iter().zip(&kept.patterns) {
            for (layer, pattern_hqk) in patterns.iter().enumerate() {
                rows(prompt, layer, &model.weights().blocks[layer].scoring, pattern_hqk, min_prob, emit)?;
            }
        }
    }
    watch.at(prompts.len(), prompts.len())
}

/// What [`attention`] needs of memory. `figure` says what figures of patterns with so many entries each take while they are drawn.
pub fn need(spec: &Spec, prompts: &[Prompt], budget_bytes: usize, figure: impl Fn(usize) -> usize) -> Need {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let heads = spec.blocks.iter().map(|b| b.attention.inner.n_heads);
    // Scores beside the pattern while it is made, and the numbers of one layer as rows are made of them.
    let beside = 3 * size_of::<f32>() * heads.max().unwrap_or(0) * longest * longest;
    let seen = |b: &Block| match b.attention.inner.mask {
        Mask::Bidirectional => longest * longest,
        Mask::Causal => longest * (longest + 1) / 2,
        Mask::Window(window) => (0..longest).map(|q| window.min(q + 1)).sum(),
    };
    let bytes =
        |prompts: &[Prompt], kept| crate::sweep::budget::need(spec, prompts, kept, beside, usize::MAX).activations;
    let kept = kept(spec, prompts);
    // A prompt that runs alone keeps no patterns.
    let waves = waves(spec, prompts, kept, budget_bytes).into_iter();
    let of_wave = |wave: Range<usize>| bytes(&prompts[wave.clone()], if wave.len() == 1 { 0 } else { kept });
    let least = crate::sweep::budget::need(spec, prompts, 0, beside, budget_bytes).least;
    let entries = spec.blocks.iter().map(seen).max().unwrap_or(0);
    Need { activations: waves.map(of_wave).max().unwrap_or(0), least, rows: figure(entries) }
}

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

/// Makes rows of the patterns of one prompt as the run makes them.
struct Told<'a> {
    model: &'a Model,
    prompt: &'a Prompt,
    min_prob: f32,
    emit: &'a mut dyn FnMut(AttentionRow) -> Result<()>,
    /// Why a row could not be given away, in its own words.
    failed: Option<Error>,
}

impl Hook for Told<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at.site == Site::Pattern
    }

    fn on(&mut self, at: HookPoint, _: &Rows, pattern_hqk: Tensor) -> Result<Tensor> {
        let layer = at.layer.unwrap_or(0);
        let scoring = &self.model.weights().blocks[layer].scoring;
        if let Err(e) = rows(self.prompt, layer, scoring, &pattern_hqk, self.min_prob, self.emit) {
            self.failed = Some(e);
            return Err(Error::compute("the rows of a pattern could not be given away").fault());
        }
        Ok(pattern_hqk)
    }
}

fn rows(
    prompt: &Prompt,
    layer: usize,
    scoring: &Scoring,
    pattern_hqk: &Tensor,
    min_prob: f32,
    emit: &mut dyn FnMut(AttentionRow) -> Result<()>,
) -> Result<()> {
    let group = scoring.n_heads / scoring.n_kv_heads;
    let (_, n_queries, n_keys) = pattern_hqk.dims3()?;
    let pattern = values(pattern_hqk)?;
    for (head, queries) in pattern.chunks_exact((n_queries * n_keys).max(1)).enumerate() {
        for (query_pos, keys) in queries.chunks_exact(n_keys.max(1)).enumerate() {
            // The mask says what can be seen, not the number: a probability that underflows is 0, too.
            let visible = scoring.visible(query_pos, keys.len());
            for (key_pos, prob) in visible.clone().map(|key| (key, &keys[key])) {
                if *prob < min_prob {
                    continue;
                }
                emit(AttentionRow {
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
