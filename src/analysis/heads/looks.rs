//! Where heads look: patterns become a few numbers as they are made, and are not kept.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::Steps;
use super::random::Texts;
use crate::arch::Spec;
use crate::arch::spec::Mask;
use crate::error::Result;
use crate::hook::{Hook, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::rows::Rows;
use crate::ops::values;
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::check_prompts;
use crate::text::Prompt;

/// What is measured of a head in a text: shares of attention, in the order of [`KINDS`]; entropy in bits; mean distance.
pub type Looked = [f64; 7];

/// What heads are called for what they look at.
pub const KINDS: [&str; 5] = ["previous", "duplicate", "induction", "current", "first"];

/// What a share of attention by place would be, in the mean over all queries but the first of `n`, if a head looked at all keys alike
/// that it may see.
pub fn uniform(mask: Mask, n: usize) -> f64 {
    let seen = |q: usize| match mask {
        Mask::Causal => q + 1,
        Mask::Window(width) => width.min(q + 1),
        Mask::Bidirectional => n,
    };
    (1..n).map(|q| 1.0 / seen(q) as f64).sum::<f64>() / (n - 1) as f64
}

/// Takes patterns of the texts of a wave.
struct Looks<'a> {
    texts: &'a Texts,
    /// The first text of the wave.
    first: usize,
    /// Of each text the places of its scores.
    places: Vec<Vec<[Vec<usize>; 2]>>,
    /// By layer and text of the wave: a number of each head.
    found: HashMap<(usize, usize), Vec<Looked>>,
}

impl Hook for Looks<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at.site == Site::Pattern
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        let (Some(layer), Some(sequence)) = (at.layer, rows.sequences.first()) else { return Ok(x) };
        let pattern = x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
        let (_, n, keys) = pattern.dims3()?;
        let places = &self.places[sequence.index];
        let (pattern, queries) = (values(&pattern)?, self.texts.queries());
        let of_head = |pattern: &[f32]| {
            let row = |q: usize| &pattern[q * keys..(q + 1) * keys];
            let mut found = [0.0; 7];
            for q in 1..n {
                let of = by_place(row(q), q);
                [0, 3, 4, 5, 6].into_iter().zip(of).for_each(|(i, x)| found[i] += x / (n - 1) as f64);
            }
            for (q, [same, after]) in queries.clone().zip(places) {
                let sum = |at: &[usize]| at.iter().map(|key| f64::from(row(q)[*key])).sum::<f64>();
                found[1] += sum(same) / places.len() as f64;
                found[2] += sum(after) / places.len() as f64;
            }
            found
        };
        let found = pattern.par_chunks_exact(n * keys).map(of_head).collect();
        drop(pattern);
        self.found.insert((layer, self.first + sequence.index), found);
        Ok(x)
    }
}

/// The pattern of query `q` on the key before, on itself and on the first key; its entropy, and its mean distance.
fn by_place(pattern: &[f32], q: usize) -> [f64; 5] {
    let (mut entropy, mut distance) = (0.0, 0.0);
    for (key, p) in pattern.iter().enumerate() {
        // What the mask hides is 0, and so is what is too small for f32.
        if *p > 0.0 {
            let p = f64::from(*p);
            entropy -= p * p.log2();
            distance += p * q.abs_diff(key) as f64;
        }
    }
    [f64::from(pattern[q - 1]), f64::from(pattern[q]), f64::from(pattern[0]), entropy, distance]
}

/// Which texts run together, and what that needs.
pub fn cut(spec: &Spec, prompts: &[Prompt], budget: Budget) -> Cut {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let heads = spec.blocks.iter().map(|block| block.attention.inner.n_heads).max().unwrap_or(0);
    // Scores and pattern of one text are there together, and once more while a softmax is made.
    let patterns = 3 * 4 * heads * longest * longest;
    budget.prompts(spec, prompts, 0, patterns)
}

/// What each head looks at in each text: by layer, head and text.
///
/// # Errors
/// Whatever the run says, and when it is not finite.
pub fn looks(model: &Model, texts: &Texts, budget: Budget, steps: &Steps<'_>) -> Result<Vec<Vec<Vec<Looked>>>> {
    let heads = model.spec().blocks.iter().map(|block| block.attention.inner.n_heads);
    let mut all: Vec<Vec<Vec<Looked>>> = heads.map(|n| vec![Vec::with_capacity(texts.prompts.len()); n]).collect();
    for wave in cut(model.spec(), &texts.prompts, budget).waves {
        steps.steps(wave.len())?;
        let prompts = &texts.prompts[wave.clone()];
        let places = wave.clone().map(|i| texts.places(i)).collect();
        let mut looks = Looks { texts, first: wave.start, places, found: HashMap::new() };
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let out = model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut looks])?;
        check_prompts(model, prompts, &out, "")?;
        for (layer, heads) in all.iter_mut().enumerate() {
            for text in wave.clone() {
                let found = looks.found.remove(&(layer, text)).unwrap_or_default();
                heads.iter_mut().zip(found).for_each(|(head, found)| head.push(found));
            }
        }
    }
    Ok(all)
}
