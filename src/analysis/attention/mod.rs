//! Attention: where does each head look?

mod options;
mod parts;
pub mod rows;
pub(crate) mod view;

use std::collections::HashMap;
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
use crate::range::{self, Interval, positions_of};
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::check_prompts;
use crate::text::Prompt;
pub use options::Attention;
pub use parts::Parts;
use parts::{Carried, Paths};

/// What to tell of patterns.
#[derive(Clone, Debug, Default)]
pub struct AttentionOptions {
    /// Keys of a smaller probability have no row.
    pub min_prob: f32,
    /// Only these layers have rows; all, unless given.
    pub layers: Option<Vec<Interval>>,
    /// Only these heads of each.
    pub heads: Option<Vec<Interval>>,
    /// Only these positions as queries.
    pub pos: Option<Vec<Interval>>,
    /// Of each prompt, what is told of each key beside its probability; empty where nothing is.
    pub parts: Vec<Parts>,
    /// What activations may take.
    pub budget: Budget,
}

/// Emits the attention of every layer, head, query and key of every prompt, in the order prompt, layer, head, query, key. Keys that the
/// mask hides are left out, and those whose probability is below the least: with 0, none.
///
/// # Errors
/// Whatever the run or `emit` says, and when a run is not finite.
pub fn attention(
    model: &Model,
    prompts: &[Prompt],
    options: &AttentionOptions,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(AttentionRow) -> Result<()>,
) -> Result<()> {
    for wave in cut(model.spec(), prompts, options).waves {
        watch.at(wave.start, prompts.len())?;
        let parts = options.parts.get(wave.start);
        let prompts = &prompts[wave];
        let batch = Batch::of(prompts.iter().map(Prompt::ids));
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        if let [prompt] = prompts {
            // Rows come layer by layer, as the run makes them: nothing is kept of a long prompt.
            let paths = parts.map_or(Ok(None), |parts| Paths::of(model, prompt, parts))?;
            let mut told = Told { model, prompt, options, parts, paths, emit, seen: HashMap::new(), failed: None };
            let out = model.run(&batch, &run, &mut [&mut told]);
            if let Some(e) = told.failed {
                return Err(e);
            }
            check_prompts(model, prompts, &out?, "")?;
            continue;
        }
        let mut kept = Patterns { layers: options.layers.as_deref(), patterns: vec![vec![]; prompts.len()] };
        let out = model.run(&batch, &run, &mut [&mut kept])?;
        check_prompts(model, prompts, &out, "")?;
        for (prompt, patterns) in prompts.iter().zip(&kept.patterns) {
            for (layer, pattern_hqk) in patterns {
                let scoring = &model.weights().blocks[*layer].scoring;
                rows(prompt, *layer, scoring, pattern_hqk, options, (None, None), emit)?;
            }
        }
    }
    watch.at(prompts.len(), prompts.len())
}

/// What [`attention`] needs of memory. `figure` says what figures of patterns with so many entries each take while they are drawn.
pub fn need(spec: &Spec, prompts: &[Prompt], options: &AttentionOptions, figure: impl Fn(usize) -> usize) -> Need {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let seen = |b: &Block| match b.attention.inner.mask {
        Mask::Bidirectional => longest * longest,
        Mask::Causal => longest * (longest + 1) / 2,
        Mask::Window(window) => (0..longest).map(|q| window.min(q + 1)).sum(),
    };
    Need { rows: figure(spec.blocks.iter().map(seen).max().unwrap_or(0)), ..cut(spec, prompts, options).need }
}

/// Which prompts run together, and what that needs.
fn cut(spec: &Spec, prompts: &[Prompt], options: &AttentionOptions) -> Cut {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    // Scores beside the pattern while it is made, and the numbers of one layer as rows are made of them; with parts also the scores that
    // are kept, with and without a cap, and in f64 what the keys of one head carry.
    let beside = |b: &Block| {
        let a = &b.attention.inner;
        let (heads, square) = (a.n_heads, longest * longest);
        let plain = 3 * size_of::<f32>() * heads * square;
        let kept = (1 + usize::from(a.cap.is_some())) * size_of::<f32>() * (heads + 1) * square;
        let carried = size_of::<f64>() * (2 * square + 3 * (longest + a.d_head) * spec.d_model);
        plain + if options.parts.is_empty() { 0 } else { kept + carried }
    };
    let beside = spec.blocks.iter().map(beside).max().unwrap_or(0);
    // What is held of each row of a wave: its patterns in all layers, one number for each key of the longest prompt.
    let heads: usize = spec.blocks.iter().map(|b| b.attention.inner.n_heads).sum();
    let kept = longest * heads * size_of::<f32>();
    // What keys carry is made layer by layer. A prompt that runs alone keeps no patterns.
    let alone = options.budget.prompts(spec, prompts, 0, beside).need.least;
    let waves = match options.parts.is_empty() {
        false => (0..prompts.len()).map(|i| i..i + 1).collect(),
        true => options.budget.prompts(spec, prompts, kept, beside).waves,
    };
    let of_wave = |wave: &Range<usize>| {
        let kept = if wave.len() == 1 { 0 } else { kept };
        Budget(usize::MAX).prompts(spec, &prompts[wave.clone()], kept, beside).need.activations
    };
    let activations = waves.iter().map(of_wave).max().unwrap_or(0);
    Cut { waves, need: Need { activations, least: alone, rows: 0 } }
}

/// Each prompt's patterns, layer after layer.
struct Patterns<'a> {
    /// Which layers are wanted.
    layers: Option<&'a [Interval]>,
    patterns: Vec<Vec<(usize, Tensor)>>,
}

impl Hook for Patterns<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at.site == Site::Pattern && at.layer.is_some_and(|layer| range::has(self.layers, layer))
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, pattern_hqk: Tensor) -> Result<Tensor> {
        self.patterns[rows.sequences[0].index].push((at.layer.unwrap_or(0), pattern_hqk.clone()));
        Ok(pattern_hqk)
    }
}

/// Makes rows of one prompt as the run makes its patterns.
struct Told<'a> {
    model: &'a Model,
    prompt: &'a Prompt,
    options: &'a AttentionOptions,
    /// What is told of its keys beside their probability.
    parts: Option<&'a Parts>,
    paths: Option<Paths>,
    emit: &'a mut dyn FnMut(AttentionRow) -> Result<()>,
    /// What is known of the layer that runs.
    seen: HashMap<Site, Tensor>,
    /// Why a row could not be given away, in its own words.
    failed: Option<Error>,
}

impl Told<'_> {
    /// The rows of a layer, once all is seen that they are made of.
    fn rows(&mut self, layer: usize, rows_of: &Rows) -> Result<()> {
        let scoring = &self.model.weights().blocks[layer].scoring;
        let Some(pattern_hqk) = self.seen.get(&Site::Pattern) else { return Ok(()) };
        let carried = self.parts.map(|_| Carried::of(self.model, layer, &self.seen, rows_of, self.paths.as_ref()));
        let carried = (carried.transpose()?, self.parts);
        rows(self.prompt, layer, scoring, pattern_hqk, self.options, (carried.0.as_ref(), carried.1), self.emit)
    }
}

impl Hook for Told<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        if at.layer.is_some_and(|layer| !range::has(self.options.layers.as_deref(), layer)) {
            return false;
        }
        match (at.layer, self.parts) {
            (Some(layer), Some(_)) => {
                Parts::sites(&self.model.weights().blocks[layer].scoring).any(|site| site == at.site)
            }
            _ => at.site == Site::Pattern,
        }
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, value: Tensor) -> Result<Tensor> {
        self.seen.insert(at.site, value.clone());
        let last = if self.parts.is_some() { Site::AttnOut } else { Site::Pattern };
        if at.site == last {
            let made = self.rows(at.layer.unwrap_or(0), rows);
            self.seen.clear();
            if let Err(e) = made {
                self.failed = Some(e);
                return Err(Error::compute("the rows of a pattern could not be given away").fault());
            }
        }
        Ok(value)
    }
}

fn rows(
    prompt: &Prompt,
    layer: usize,
    scoring: &Scoring,
    pattern_hqk: &Tensor,
    options: &AttentionOptions,
    (carried, parts): (Option<&Carried>, Option<&Parts>),
    emit: &mut dyn FnMut(AttentionRow) -> Result<()>,
) -> Result<()> {
    let group = scoring.n_heads / scoring.n_kv_heads;
    let (_, n_queries, n_keys) = pattern_hqk.dims3()?;
    let pattern = values(pattern_hqk)?;
    let text = |of: &Option<(u32, String)>| of.as_ref().map(|(_, text)| text.clone());
    let all = [Interval::ALL];
    let chosen = positions_of("the prompt", options.pos.as_deref().unwrap_or(&all), n_queries)?;
    for (head, queries) in pattern.chunks_exact((n_queries * n_keys).max(1)).enumerate() {
        if !range::has(options.heads.as_deref(), head) {
            continue;
        }
        let carried = carried.map(|layer| layer.head(head)).transpose()?;
        let queries = queries.chunks_exact(n_keys.max(1)).enumerate();
        for (query_pos, keys) in queries.filter(|(query_pos, _)| chosen.binary_search(query_pos).is_ok()) {
            // The mask says what can be seen, not the number: a probability that underflows is 0, too.
            let visible = scoring.visible(query_pos, keys.len());
            for (key_pos, prob) in visible.clone().map(|key| (key, &keys[key])) {
                if *prob < options.min_prob {
                    continue;
                }
                let part = carried.as_ref().map(|head| head.entry(query_pos, key_pos, *prob));
                let part = part.as_ref();
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
                    score: part.map(|part| part.score),
                    score_uncapped: part.and_then(|part| part.score_uncapped),
                    value_norm: part.map(|part| part.value_norm),
                    out_norm: part.map(|part| part.out_norm),
                    share: part.and_then(|part| part.share),
                    target: parts.and_then(|parts| text(&parts.target)),
                    push: part.and_then(|part| part.push),
                    foil: parts.and_then(|parts| text(&parts.foil)),
                    push_foil: part.and_then(|part| part.push_foil),
                })?;
            }
        }
    }
    Ok(())
}
