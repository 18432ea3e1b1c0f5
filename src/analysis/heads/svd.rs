//! The directions that a head's maps read and write most, with the tokens at their ends.

use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::Steps;
use super::maps::{Heads, Matrix, block_bytes};
use super::rows::HeadSvdRow;
use crate::arch::Spec;
use crate::error::Result;
use crate::model::Model;
use crate::ops::algebra::decompose::Singular;
use crate::ops::numbers;
use crate::sweep::Need;
use crate::sweep::budget::Budget;

/// Singular values that are nearer, as a share of the larger, may change places by rounding, and their directions be mixed.
const NEAR: f64 = 0.01;

/// What is asked of each head.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// How many singular values.
    pub components: usize,
    /// How many tokens at each end.
    pub top: usize,
}

/// A singular value of a head.
struct Component {
    head: usize,
    matrix: Matrix,
    index: usize,
    sigma: f64,
    share: f64,
    near_equal: bool,
}

/// The tokens that lie furthest along a direction, both ways, and the mean of all.
#[derive(Clone, Default)]
struct Furthest {
    up: Vec<(u32, f32)>,
    down: Vec<(u32, f32)>,
    sum: f64,
}

impl Furthest {
    /// Adds the values of tokens from `first` on. Of equals the first token comes first.
    fn add(&mut self, values: &[f32], first: usize, most: usize) {
        self.sum += values.iter().map(|x| f64::from(*x)).sum::<f64>();
        for (i, x) in values.iter().enumerate() {
            insert(&mut self.up, ((first + i) as u32, *x), most, |a, b| a > b);
            insert(&mut self.down, ((first + i) as u32, *x), most, |a, b| a < b);
        }
    }
}

/// Keeps the `most` values that come before others.
fn insert(kept: &mut Vec<(u32, f32)>, new: (u32, f32), most: usize, before: impl Fn(f32, f32) -> bool) {
    if kept.len() == most && kept.last().is_none_or(|last| !before(new.1, last.1)) {
        return;
    }
    let at = kept.partition_point(|old| !before(new.1, old.1));
    kept.insert(at, new);
    kept.truncate(most);
}

/// Vectors of one side of all components of a block.
fn tensor(rows: Vec<f64>, d: usize) -> Result<Tensor> {
    Ok(Tensor::from_vec(rows, ((), d), &Device::Cpu)?)
}

/// Vectors that are multiplied with all tokens at once: both ends of both maps of each head.
fn vectors(spec: &Spec, asked: &Asked) -> usize {
    let heads = spec.blocks.iter().map(|block| block.attention.inner.n_heads).max().unwrap_or(0);
    2 * Matrix::ALL.len() * asked.components * heads
}

/// Tokens at a time.
fn tile(spec: &Spec, asked: &Asked, budget: Budget) -> usize {
    let vocabulary = spec.d_vocab.max(spec.unembedding.d_vocab_out);
    (budget.0 / 4 / (2 * 4 * vectors(spec, asked).max(1))).clamp(64, 8192).min(vocabulary)
}

/// What [`svd`] needs of memory.
pub fn need(spec: &Spec, asked: &Asked, budget: Budget) -> Need {
    let of = |tile: usize| {
        // Products as they are made and as numbers; the directions; embeddings that are made where a norm is on them.
        let vectors = vectors(spec, asked);
        block_bytes(spec) + 2 * 4 * vectors * tile + 3 * 8 * vectors * spec.d_model + 4 * 2 * tile * spec.d_model
    };
    let vocabulary = spec.d_vocab.max(spec.unembedding.d_vocab_out);
    Need { activations: of(tile(spec, asked, budget)), least: of(vocabulary.min(64)), rows: 0 }
}

/// The rows of these heads; of all where none is named.
///
/// # Errors
/// When the computation fails; what `emit` says.
pub fn svd(
    model: &Model,
    (heads, asked): (&[(usize, usize)], &Asked),
    spell: &dyn Fn(u32) -> String,
    budget: Budget,
    steps: &Steps<'_>,
    emit: &mut dyn FnMut(HeadSvdRow) -> Result<()>,
) -> Result<()> {
    let (spec, d) = (model.spec(), model.spec().d_model);
    for layer in 0..spec.n_layers() {
        steps.step()?;
        if !heads.is_empty() && heads.iter().all(|(own, _)| *own != layer) {
            continue;
        }
        let block = Heads::of(model, layer)?;
        let chosen: Vec<(usize, Matrix)> = (0..block.len())
            .filter(|head| heads.is_empty() || heads.contains(&(layer, *head)))
            .flat_map(|head| Matrix::ALL.map(|matrix| (head, matrix)))
            .collect();
        let found = chosen.par_iter().map(|(head, matrix)| block.singular(*head, *matrix));
        let found: Vec<Singular> = found.collect::<Result<_>>()?;
        let (mut components, mut embedded, mut said) = (vec![], vec![], vec![]);
        for ((head, matrix), singular) in chosen.iter().zip(&found) {
            let of = of_map(*head, *matrix, singular, asked.components);
            for component in of {
                let (left, right) = (singular.left.row(component.index), singular.right.row(component.index));
                let sign = sign(left);
                embedded.extend(left.iter().map(|x| x * sign));
                // Of OV what is written goes to the logits, of QK it is an embedding again.
                let far = if *matrix == Matrix::Ov { &mut said } else { &mut embedded };
                far.extend(right.iter().map(|x| x * sign));
                components.push(component);
            }
        }
        let along = |vectors: Vec<f64>, n: usize, read: &dyn Fn(&Tensor, Range<usize>) -> Result<Tensor>| {
            furthest(&tensor(vectors, d)?, n, (asked.top, tile(spec, asked, budget)), read)
        };
        let embedded = along(embedded, spec.d_vocab, &|x, tokens| model.along_embedded(x, tokens))?;
        let d_vocab_out = spec.unembedding.d_vocab_out;
        let said = along(said, d_vocab_out, &|x, tokens| model.along_unembedding(x, tokens))?;
        let (mut embedded, mut said) = (embedded.iter(), said.iter());
        for component in &components {
            let names = if component.matrix == Matrix::Ov { ["source", "logits"] } else { ["query", "key"] };
            for end in names {
                let to_logits = end == "logits";
                let found = if to_logits { said.next() } else { embedded.next() };
                let Some(found) = found else { continue };
                let mean = if to_logits { found.sum / d_vocab_out as f64 } else { 0.0 };
                for (sign, tokens) in [("+", &found.up), ("-", &found.down)] {
                    for (i, (id, value)) in tokens.iter().enumerate() {
                        emit(HeadSvdRow {
                            layer: layer as u32,
                            head: component.head as u32,
                            kv_head: block.kv_head(component.head) as u32,
                            matrix: component.matrix.name().to_owned(),
                            component: component.index as u32,
                            sigma: component.sigma,
                            share: component.share,
                            near_equal: component.near_equal,
                            end: end.to_owned(),
                            sign: sign.to_owned(),
                            rank: i as u32 + 1,
                            token: spell(*id),
                            token_id: *id,
                            value: f64::from(*value) - mean,
                        })?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The largest singular values of a map.
fn of_map(head: usize, matrix: Matrix, singular: &Singular, n: usize) -> Vec<Component> {
    let values = &singular.values;
    let all: f64 = values.iter().map(|x| x * x).sum();
    let near = |i: usize, j: Option<usize>| {
        j.and_then(|j| values.get(j)).is_some_and(|other| (values[i] - other).abs() <= NEAR * values[i].max(*other))
    };
    let of = |index: usize| Component {
        head,
        matrix,
        index,
        sigma: values[index],
        share: if all > 0.0 { values[index].powi(2) / all } else { 0.0 },
        near_equal: near(index, index.checked_sub(1)) || near(index, Some(index + 1)),
    };
    (0..n.min(values.len())).map(of).collect()
}

/// Turns a direction so that its largest number, of equals the first, is positive.
fn sign(direction: &[f64]) -> f64 {
    let most = direction.iter().fold(0.0, |most: f64, x| if x.abs() > most.abs() { *x } else { most });
    if most < 0.0 { -1.0 } else { 1.0 }
}

/// For each of these vectors the tokens furthest along it.
fn furthest(
    vectors: &Tensor,
    tokens: usize,
    (top, tile): (usize, usize),
    read: &dyn Fn(&Tensor, Range<usize>) -> Result<Tensor>,
) -> Result<Vec<Furthest>> {
    let mut all = vec![Furthest::default(); vectors.dim(0)?];
    if all.is_empty() {
        return Ok(all);
    }
    for first in (0..tokens).step_by(tile) {
        let range = first..(first + tile).min(tokens);
        let values = numbers(&read(vectors, range.clone())?)?;
        let each = all.par_iter_mut().zip(values.par_chunks_exact(range.len()));
        each.for_each(|(furthest, values)| furthest.add(values, first, top));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In tiles of any width what sorting all of them gives, of equals the first.
    #[test]
    fn the_furthest_tokens_are_those_that_sorting_gives() {
        let values: Vec<f32> = (0..100).map(|i| ((i * 37) % 20) as f32).collect();
        let sorted = |before: fn(&f32, &f32) -> std::cmp::Ordering| {
            let mut all: Vec<(u32, f32)> = (0..).zip(values.iter().copied()).collect();
            all.sort_by(|a, b| before(&a.1, &b.1));
            all.truncate(7);
            all
        };
        for tile in [1, 7, 100] {
            let mut found = Furthest::default();
            for (i, part) in values.chunks(tile).enumerate() {
                found.add(part, i * tile, 7);
            }
            assert_eq!(found.up, sorted(|a, b| b.total_cmp(a)), "{tile}");
            assert_eq!(found.down, sorted(|a, b| a.total_cmp(b)), "{tile}");
            assert_eq!(found.sum, values.iter().map(|x| f64::from(*x)).sum::<f64>());
        }
    }
}
