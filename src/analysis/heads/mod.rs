//! Heads: which kind is each attention head, and which work together?
//!
//! Where a head looks is measured on random tokens that are read twice: nothing is to be seen there but places and repetition, so a head
//! that looks at the token before, or at what followed last time (Olsson et al. 2022, "In-context learning and induction heads"), does so
//! for that alone. What it does with what it looks at is in its weights, W_QK and W_OV, which are products of thin matrices (Elhage et
//! al. 2021, "A mathematical framework for transformer circuits"): eigenvalues, singular values and norms of their products are found without
//! multiplying them out.

mod circuit;
pub mod looks;
mod maps;
mod options;
mod pairs;
pub mod random;
pub mod rows;
mod svd;
mod view;
mod view_maps;

use std::cell::Cell;

use crate::analysis::loss::mean_and_error;
use crate::error::Result;
use crate::model::Model;
use crate::sweep::budget::Budget;
use crate::sweep::{Need, Watch};
use looks::{KINDS, Looked, looks, uniform};
use maps::{Heads as Block, Matrix, rank_90};
pub use options::{Find, Heads};
use random::Texts;
pub use rows::{HeadCircuitRow, HeadPairRow, HeadRow, HeadSvdRow};

/// How much more of its attention than chance a head is called by.
pub const CALLED: f64 = 0.15;

/// Tokens whose embeddings and unembeddings are multiplied at once.
const TILE: usize = 4096;

/// How far all that is asked for is.
pub struct Steps<'a> {
    watch: &'a dyn Watch,
    done: Cell<usize>,
    total: usize,
}

impl<'a> Steps<'a> {
    /// Of so many, which `watch` is told of.
    pub fn new(watch: &'a dyn Watch, total: usize) -> Self {
        Self { watch, done: Cell::new(0), total }
    }

    /// One more begins.
    fn step(&self) -> Result<()> {
        self.steps(1)
    }

    /// So many more begin.
    fn steps(&self, n: usize) -> Result<()> {
        self.watch.at(self.done.get().min(self.total), self.total)?;
        self.done.set(self.done.get() + n);
        Ok(())
    }
}

/// The rows of all heads.
fn heads(model: &Model, texts: &Texts, budget: Budget, steps: &Steps<'_>) -> Result<Vec<HeadRow>> {
    let looked = looks(model, texts, budget, steps)?;
    let spec = model.spec();
    let own = (spec.d_vocab == spec.unembedding.d_vocab_out).then(|| model.own_logits(TILE)).transpose()?;
    let mut rows = vec![];
    for (layer, looked) in looked.iter().enumerate() {
        steps.step()?;
        let block = Block::of(model, layer)?;
        let uniform = uniform(spec.blocks[layer].attention.inner.mask, texts.before + 2 * texts.length);
        let copying = own.as_ref().map_or_else(|| Ok(vec![None; block.len()]), |own| block.copying(own))?;
        let singular = block.all_singular(Matrix::Ov)?;
        for (head, looked) in looked.iter().enumerate() {
            let mut row = row(looked, texts, uniform);
            (row.layer, row.head, row.kv_head) = (layer as u32, head as u32, block.kv_head(head) as u32);
            (row.copying, row.ov_rank_90) = (copying[head], rank_90(&singular[head].values));
            rows.push(row);
        }
    }
    Ok(rows)
}

/// What a head looks at, of what it looked at in each text.
fn row(looked: &[Looked], texts: &Texts, uniform: f64) -> HeadRow {
    let (repeating, shuffled) = looked.split_at(texts.repeat);
    let of = |looked: &[Looked], i: usize| mean_and_error(&looked.iter().map(|of| of[i]).collect::<Vec<_>>());
    let [previous, duplicate, induction, current, first, entropy, distance] =
        std::array::from_fn(|i| (of(repeating, i), of(shuffled, i).0));
    let mut row = HeadRow {
        layer: 0,
        head: 0,
        kv_head: 0,
        kind: None,
        previous: previous.0.0,
        previous_se: previous.0.1,
        previous_null: previous.1,
        duplicate: duplicate.0.0,
        duplicate_se: duplicate.0.1,
        duplicate_null: duplicate.1,
        induction: induction.0.0,
        induction_se: induction.0.1,
        induction_null: induction.1,
        current: current.0.0,
        current_se: current.0.1,
        current_null: current.1,
        first: first.0.0,
        first_se: first.0.1,
        first_null: first.1,
        uniform,
        entropy_bits: entropy.0.0,
        entropy_bits_se: entropy.0.1,
        entropy_bits_null: entropy.1,
        mean_distance: distance.0.0,
        mean_distance_se: distance.0.1,
        mean_distance_null: distance.1,
        texts: texts.repeat as u32,
        length: texts.length as u32,
        copying: None,
        ov_rank_90: 0,
    };
    row.kind = row.called();
    row
}

impl HeadRow {
    /// Its score, standard error and null of each of [`KINDS`].
    fn scores(&self) -> [(f64, f64, f64); 5] {
        [
            (self.previous, self.previous_se, self.previous_null),
            (self.duplicate, self.duplicate_se, self.duplicate_null),
            (self.induction, self.induction_se, self.induction_null),
            (self.current, self.current_se, self.current_null),
            (self.first, self.first_se, self.first_null),
        ]
    }

    /// The score that is most above chance, by number, and by how much: of what is looked at for its token chance is the null, of
    /// what is looked at for its place looking at all keys alike.
    fn most(&self) -> (usize, f64) {
        let above = |(i, (score, _, null)): (usize, &(f64, f64, f64))| match KINDS[i] {
            "duplicate" | "induction" => (i, score - null),
            _ => (i, score - self.uniform),
        };
        let all = self.scores();
        let all = all.iter().enumerate().map(above);
        all.fold((0, f64::NEG_INFINITY), |most, this| if this.1 > most.1 { this } else { most })
    }

    /// What it is called.
    fn called(&self) -> Option<String> {
        let (i, above) = self.most();
        (above >= CALLED).then(|| KINDS[i].to_owned())
    }
}

/// What [`heads`] needs of memory.
fn need_of_heads(model: &Model, texts: &Texts, budget: Budget) -> Need {
    let (spec, d) = (model.spec(), model.spec().d_model);
    let looked = size_of::<Looked>()
        * texts.prompts.len()
        * spec.blocks.iter().map(|b| b.attention.inner.n_heads).sum::<usize>();
    // The product, what is added to it, and a tile of both factors.
    let own = 3 * 8 * d * d + 2 * 4 * d * TILE.min(spec.d_vocab);
    let weights = (maps::block_bytes(spec) + 8 * d * d).max(own);
    let scores = looks::cut(spec, &texts.prompts, budget).need;
    let weights = Need { activations: weights, least: weights, rows: 0 };
    Need { rows: looked, ..scores.or(weights) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant: A head is called by what is furthest above chance: of what it looks at for its token that is the null, of what it
    /// looks at for its place looking at all keys alike.
    #[test]
    fn chance_is_the_null_of_tokens_and_looking_everywhere_of_places() {
        let texts = Texts { prompts: vec![], repeat: 1, length: 10, before: 0 };
        // Previous, duplicate, induction, current, first; entropy and distance.
        let of = |score: [f64; 5], null: [f64; 5]| {
            let looked = [score, null].map(|[a, b, c, d, e]| [a, b, c, d, e, 1.0, 1.0]);
            row(&looked, &texts, 0.3).kind
        };
        let kind = |name: &str| Some(name.to_owned());
        // Without repetition it looks there as much: no induction, although that is far above looking everywhere.
        assert_eq!(of([0.0, 0.0, 0.9, 0.0, 0.0], [0.0, 0.0, 0.8, 0.0, 0.0]), None);
        assert_eq!(of([0.0, 0.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0, 0.0]), kind("induction"));
        assert_eq!(of([0.0, 0.4, 0.0, 0.0, 0.0], [0.0, 0.1, 0.0, 0.0, 0.0]), kind("duplicate"));
        // A place is looked at without repetition as well.
        assert_eq!(of([0.9, 0.0, 0.0, 0.0, 0.0], [0.9, 0.0, 0.0, 0.0, 0.0]), kind("previous"));
        assert_eq!(of([0.4, 0.0, 0.0, 0.0, 0.0], [0.0; 5]), None);
        // What is most above its own chance, not what is largest.
        assert_eq!(of([0.6, 0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0, 0.0]), kind("induction"));
    }
}
