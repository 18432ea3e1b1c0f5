//! A vector for each token: the rows of the embedding, or the columns of the unembedding.

use std::ops::Range;

use candle_core::{DType, Device};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::Result;
use crate::model::Model;
use crate::ops::algebra::principal::{Rows, TILE};
use crate::ops::matrix::{Matrix, Numbers};
use crate::ops::simd::{self, vectorise};
use crate::ops::values;

/// Random pairs that a cosine is compared with.
pub(super) const PAIRS: usize = 10_000;

/// Rows that are read at a time where pairs are drawn.
const DRAWN: usize = 512;

/// The vectors of all tokens, in f64 where they are summed.
pub(super) struct Vocabulary {
    /// `embed` or `unembed`.
    pub space: &'static str,
    /// `[n, d]`, a view.
    matrix: Matrix,
    /// How many tokens.
    pub n: usize,
    pub d: usize,
    /// The mean row.
    pub mean: Vec<f64>,
    /// Of each row its length, and its product with the mean row.
    lengths: Vec<f64>,
    of_mean: Vec<f64>,
}

/// What is said of every token beside one vector.
pub(super) struct Beside {
    /// The cosine with each.
    pub cosine: Vec<f64>,
    /// The same with the mean row taken away.
    pub centered: Vec<f64>,
}

/// A vector that tokens are compared with.
pub(super) struct Query {
    pub vector: Vec<f64>,
    /// Whether it is one of the matrix, of which the mean row is taken away as well.
    pub own: bool,
}

impl Vocabulary {
    /// The rows of the embedding.
    pub fn embed(model: &Model) -> Result<Self> {
        Self::new("embed", model.weights().embed.clone())
    }

    /// The columns of the unembedding; none where it is the embedding.
    pub fn unembed(model: &Model) -> Result<Option<Self>> {
        match model.spec().unembedding.tied {
            true => Ok(None),
            false => Self::new("unembed", model.weights().unembed.weight.t()?).map(Some),
        }
    }

    fn new(space: &'static str, matrix: Matrix) -> Result<Self> {
        let (n, d) = matrix.dims2()?;
        let mut all = Self { space, matrix, n, d, mean: vec![0.0; d], lengths: vec![], of_mean: vec![] };
        let mean = all.rows().mean_row()?;
        all.mean = mean;
        let facts = all.each(|row, facts| {
            let mean = &all.mean;
            facts.push(vectorise!((
                simd::wide_sum(row, row, |a, b| f64::from(a) * b).sqrt(),
                simd::wide_sum(mean, row, |m, x| m * x)
            )));
        })?;
        (all.lengths, all.of_mean) = facts.into_iter().unzip();
        Ok(all)
    }

    /// Bytes that are held beside the weights while `queries` vectors are compared with all tokens.
    pub fn need(n: usize, d: usize, queries: usize) -> usize {
        // Lengths and products; for each query a product, two cosines and the order of tokens; tiles of all threads, before and after
        // conversion, and the sums of as many tiles.
        let tiles = rayon::current_num_threads() * TILE * d * 8 + 16 * d * 8;
        n * 8 * (2 + 4 * queries) + tiles + PAIRS * 8
    }

    /// The rows as a principal component is sought of them, with the mean taken away.
    pub fn centered(&self) -> Rows<'_> {
        Rows { mean: &self.mean, ..self.rows() }
    }

    fn rows(&self) -> Rows<'_> {
        Rows { n: self.n, d: self.d, mean: &self.mean, read: Box::new(|range, f| self.with(range, f)) }
    }

    /// Gives the rows of a range, one after another, to `f`.
    fn with<R>(&self, range: Range<usize>, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        if let Some(all) = self.in_order() {
            return Ok(f(&all[range.start * self.d..range.end * self.d]));
        }
        let tile = self.matrix.narrow(0, range.start, range.len())?.tensor()?;
        let tile = tile.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
        let numbers = values(&tile)?;
        Ok(f(&numbers))
    }

    /// All rows, where they lie in memory as they are read.
    fn in_order(&self) -> Option<&[f32]> {
        match &self.matrix {
            Matrix::Stored(stored) if *stored.strides() == [self.d, 1] => match stored.numbers() {
                Numbers::F32(numbers) => Some(numbers),
                _ => None,
            },
            _ => None,
        }
    }

    /// Rows of tokens, one after another.
    pub fn of(&self, ids: &[u32]) -> Result<Vec<f32>> {
        crate::ops::numbers(&self.matrix.rows(ids)?)
    }

    /// The row of a token.
    pub fn row(&self, id: u32) -> Result<Vec<f64>> {
        Ok(self.of(&[id])?.into_iter().map(f64::from).collect())
    }

    /// What `of` pushes of each row, in their order.
    pub fn each<T: Send>(&self, of: impl Fn(&[f32], &mut Vec<T>) + Sync) -> Result<Vec<T>> {
        let tiles = (0..self.n.div_ceil(TILE)).into_par_iter().map(|tile| {
            let range = tile * TILE..self.n.min((tile + 1) * TILE);
            let mut found = vec![];
            self.with(range, |rows| rows.chunks_exact(self.d).for_each(|row| of(row, &mut found)))?;
            Ok(found)
        });
        Ok(tiles.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Of each token how long its row is.
    pub fn lengths(&self) -> &[f64] {
        &self.lengths
    }

    /// Of each token the cosine of its row and the mean row.
    pub fn to_mean(&self) -> impl Iterator<Item = f64> {
        let mean = length(&self.mean);
        self.of_mean.iter().zip(&self.lengths).map(move |(product, length)| cosine(*product, *length, mean))
    }

    /// How all tokens lie to some vectors.
    pub fn beside(&self, queries: &[Query]) -> Result<Vec<Beside>> {
        let products = self.each(|row, products| {
            products.extend(queries.iter().map(|query| vectorise!(simd::wide_sum(&query.vector, row, |a, b| a * b))));
        })?;
        let mean_square: f64 = self.mean.iter().map(|x| x * x).sum();
        let of = |(q, query): (usize, &Query)| {
            let own = length(&query.vector);
            let with_mean: f64 = query.vector.iter().zip(&self.mean).map(|(a, b)| a * b).sum();
            // Of the difference from the mean row: its length by the lengths of both, exact but for roundings of these.
            let apart = |square: f64, with_mean: f64| {
                let left = square - 2.0 * with_mean + mean_square;
                if left > 1e-13 * (square + mean_square) { left.sqrt() } else { 0.0 }
            };
            let own_apart = if query.own { apart(own * own, with_mean) } else { own };
            let facts = products.chunks_exact(queries.len()).zip(&self.lengths).zip(&self.of_mean);
            let (cosine, centered) = facts
                .map(|((products, length), of_mean)| {
                    let product = products[q];
                    let of_both = if query.own { mean_square - of_mean } else { 0.0 };
                    let centered = product - with_mean + of_both;
                    (cosine(product, own, *length), cosine(centered, own_apart, apart(length * length, *of_mean)))
                })
                .unzip();
            Beside { cosine, centered }
        };
        Ok(queries.iter().enumerate().map(of).collect())
    }

    /// The cosines of random pairs of different tokens, in order; none where there is one token only.
    pub fn pairs(&self, seed: u64) -> Result<Vec<f64>> {
        if self.n < 2 {
            return Ok(vec![]);
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut pair = || {
            let a = random.random_range(0..self.n as u32);
            let b = random.random_range(0..self.n as u32 - 1);
            // The second is any but the first.
            [a, b + u32::from(b >= a)]
        };
        let ids: Vec<u32> = (0..PAIRS).flat_map(|_| pair()).collect();
        self.drawn(&ids, 2, |rows, ids| {
            let product = vectorise!(simd::wide_sum(rows[0], rows[1], |a, b| f64::from(a) * b));
            cosine(product, self.lengths[ids[0] as usize], self.lengths[ids[1] as usize])
        })
    }

    /// The cosines of a vector with random tokens, in order.
    pub fn draws(&self, vector: &[f64], seed: u64) -> Result<Vec<f64>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let ids: Vec<u32> = (0..PAIRS).map(|_| random.random_range(0..self.n as u32)).collect();
        let own = length(vector);
        self.drawn(&ids, 1, |rows, ids| {
            cosine(vectorise!(simd::wide_sum(vector, rows[0], |a, b| a * b)), own, self.lengths[ids[0] as usize])
        })
    }

    /// What `of` makes of so many rows each, in order of size.
    fn drawn(&self, ids: &[u32], each: usize, of: impl Fn(&[&[f32]], &[u32]) -> f64 + Sync) -> Result<Vec<f64>> {
        let (all, d) = (self.in_order(), self.d);
        let some = ids.par_chunks(DRAWN).map(|ids| {
            let copied = if all.is_some() { vec![] } else { self.of(ids)? };
            let row = |i: usize| match all {
                Some(all) => &all[ids[i] as usize * d..][..d],
                None => &copied[i * d..][..d],
            };
            let rows: Vec<&[f32]> = (0..ids.len()).map(row).collect();
            let own = rows.chunks_exact(each).zip(ids.chunks_exact(each));
            Ok(own.map(|(rows, ids)| of(rows, ids)).collect::<Vec<_>>())
        });
        let mut all: Vec<f64> = some.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        all.sort_by(f64::total_cmp);
        Ok(all)
    }
}

/// How long a vector is.
pub(super) fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The cosine of two vectors of this product and these lengths; 0 where one is 0.
pub(super) fn cosine(product: f64, a: f64, b: f64) -> f64 {
    // Rounding may go beyond.
    if a > 0.0 && b > 0.0 { (product / a / b).clamp(-1.0, 1.0) } else { 0.0 }
}

/// How many of some cosines in order are smaller, in percent.
pub(super) fn percentile(cosine: f64, of: &[f64]) -> f64 {
    100.0 * of.partition_point(|x| *x < cosine) as f64 / of.len().max(1) as f64
}

/// The places of the largest numbers, the largest first, of equals the first; those that `leaves` leaves out are none.
pub(super) fn largest(of: &[f64], n: usize, leaves: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..of.len()).filter(|i| !leaves(*i)).collect();
    let before = |a: &usize, b: &usize| of[*b].total_cmp(&of[*a]).then(a.cmp(b));
    if n < order.len() {
        order.select_nth_unstable_by(n, before);
        order.truncate(n);
    }
    order.sort_unstable_by(before);
    order
}
