//! Distributions over the vocabulary, read in tiles: what a tile adds to entropy, divergence, ranks and top tokens.
//!
//! Logits are made for a tile of the vocabulary and all rows at once, used while they are in cache, and dropped: the
//! unembedding is read once for all layers, and no row of logits is ever whole.

use crate::ops::simd::{self, vectorise};

/// What is known of one row's distribution after some tiles.
#[derive(Clone, Debug)]
pub(in crate::analysis) struct Reading {
    /// Largest logit so far.
    top_logit: f32,
    /// Sum of e^(x - top_logit).
    total: f64,
    /// Sum of e^(x - top_logit) (x - top_logit).
    weighted: f64,
    /// Sum of the model's own weights (see [`Own`]) x (x - base).
    cross: f64,
    /// A logit near the row's own, so that `cross` sums small numbers.
    base: f32,
    top: Top,
    target: Option<Followed>,
    /// The logit of the token that the target is compared with.
    foil: Option<f32>,
}

#[derive(Clone, Debug)]
struct Followed {
    id: usize,
    logit: f32,
    larger: u32,
}

/// The model's own distribution in a row, as far as the tiles went: weights e^(x - top_logit) of the current tile, and
/// by what the weights of earlier tiles must be multiplied to be on the same scale.
pub(in crate::analysis) struct Own {
    weights: Vec<f32>,
    rescale: f64,
}

impl Reading {
    /// Nothing read yet. `target` is a token and its logit.
    pub(in crate::analysis) fn new(k: usize, target: Option<(u32, f32)>) -> Self {
        Self {
            top_logit: f32::NEG_INFINITY,
            total: 0.0,
            weighted: 0.0,
            cross: 0.0,
            base: 0.0,
            top: Top::new(k),
            target: target.map(|(id, logit)| Followed { id: id as usize, logit, larger: 0 }),
            foil: None,
        }
    }

    /// The same beside a token with this logit, which the target is compared with.
    pub(in crate::analysis) fn beside(self, foil: Option<f32>) -> Self {
        Self { foil, ..self }
    }

    /// Takes the logits `x` of tokens `first..`. `own` is the model's own distribution in this row and tile.
    pub(in crate::analysis) fn take(&mut self, first: usize, x: &[f32], own: &Own) {
        let tile_top = vectorise!(simd::max(x));
        if first == 0 {
            self.base = tile_top;
        }
        self.rescale(tile_top);
        let (top, base) = (self.top_logit, self.base);
        let [total, weighted, cross] = vectorise!(simd::sums(x, &own.weights, |x, own| {
            let e = simd::exp(x - top);
            [e, e * (x - top), own * (x - base)]
        }));
        self.total += total as f64;
        // e^-inf x -inf is NaN where the limit is 0; logits of minus infinity are not finite and are reported anyway.
        self.weighted += weighted as f64;
        self.cross = self.cross * own.rescale + cross as f64;
        self.top.take(first, x, tile_top);
        if let Some(target) = &mut self.target {
            target.take(first, x);
        }
    }

    /// Starts the tile `x` of the model's own distribution, whose reading this is.
    pub(in crate::analysis) fn own(&self, x: &[f32]) -> Own {
        let tile_top = vectorise!(simd::max(x));
        let top = tile_top.max(self.top_logit);
        let mut weights = x.to_vec();
        vectorise!(for w in weights.iter_mut() {
            *w = simd::exp(*w - top);
        });
        Own { weights, rescale: ((self.top_logit - top) as f64).exp() }
    }

    fn rescale(&mut self, tile_top: f32) {
        if tile_top > self.top_logit {
            let shift = (self.top_logit - tile_top) as f64;
            if shift.is_finite() {
                let factor = shift.exp();
                // Sum of f e (x - new) = f (sum of e (x - old) + shift sum of e).
                self.weighted = factor * (self.weighted + shift * self.total);
                self.total *= factor;
            }
            self.top_logit = tile_top;
        }
    }

    /// Logarithm of the sum of e^x: what turns a logit into a log-probability, in nats.
    pub(in crate::analysis) fn log_total(&self) -> f32 {
        (self.top_logit as f64 + self.total.ln()) as f32
    }

    /// Entropy in bits.
    pub(in crate::analysis) fn entropy_bits(&self) -> f32 {
        bits(self.total.ln() - self.weighted / self.total)
    }

    /// KL(own || this) in bits, with `own` the reading of the model's own distribution.
    pub(in crate::analysis) fn kl_bits(&self, own: &Reading) -> f32 {
        let own_neg_entropy = own.weighted / own.total - own.total.ln();
        let cross = self.cross / own.total + self.base as f64 - (self.top_logit as f64 + self.total.ln());
        bits(own_neg_entropy - cross)
    }

    /// When all tiles are read: with what is most probable in order.
    pub(in crate::analysis) fn finished(mut self) -> Self {
        self.top.cut();
        self.top.best.shrink_to_fit();
        self
    }

    /// The most probable tokens and their logits, best first, once it is finished.
    pub(in crate::analysis) fn top(&self) -> &[(u32, f32)] {
        &self.top.best
    }

    /// The target's rank, from 1, and logit.
    pub(in crate::analysis) fn target(&self) -> Option<(u32, f32)> {
        self.target.as_ref().map(|t| (t.larger + 1, t.logit))
    }

    /// The logit of the token that the target is compared with.
    pub(in crate::analysis) fn foil(&self) -> Option<f32> {
        self.foil
    }
}

/// Rounding may leave what is zero just below it.
fn bits(nats: f64) -> f32 {
    (nats / std::f64::consts::LN_2).max(0.0) as f32
}

impl Followed {
    fn take(&mut self, first: usize, x: &[f32]) {
        let own = self.id.checked_sub(first).filter(|at| *at < x.len());
        // Among equals the lower id comes first.
        let split = own.unwrap_or(if self.id < first { 0 } else { x.len() });
        let value = self.logit;
        let before = x[..split].iter().filter(|v| **v >= value).count();
        let after = x[split..].iter().skip(own.is_some() as usize).filter(|v| **v > value).count();
        self.larger += (before + after) as u32;
    }
}

/// The `k` largest values and their indices, largest first, the lower index first among equals.
#[derive(Clone, Debug)]
struct Top {
    k: usize,
    /// In order; of many, in no order and up to twice as many until [`Top::cut`].
    best: Vec<(u32, f32)>,
    /// What a value must exceed to be among them.
    least: f32,
}

/// So few are kept in order: each that is found is put into its place.
const FEW: usize = 64;

impl Top {
    fn new(k: usize) -> Self {
        Self { k, best: Vec::with_capacity(k.min(FEW) + 1), least: f32::NEG_INFINITY }
    }

    fn take(&mut self, first: usize, x: &[f32], tile_top: f32) {
        // Once the best are known, hardly any tile holds a better one.
        if self.k == 0 || self.best.len() >= self.k && tile_top <= self.least {
            return;
        }
        for (c, chunk) in x.chunks(16).enumerate() {
            let least = self.least;
            if self.best.len() >= self.k && !chunk.iter().fold(false, |any, v| any | (*v > least)) {
                continue;
            }
            for (i, v) in chunk.iter().enumerate() {
                if self.best.len() < self.k || *v > self.least {
                    self.add((first + c * 16 + i) as u32, *v);
                }
            }
        }
    }

    fn add(&mut self, index: u32, value: f32) {
        if self.k <= FEW {
            let at = self.best.partition_point(|(_, b)| *b >= value);
            self.best.insert(at, (index, value));
            self.best.truncate(self.k);
        } else {
            self.best.push((index, value));
            if self.best.len() == 2 * self.k {
                self.cut();
            }
        }
        if self.k <= FEW && self.best.len() == self.k {
            self.least = self.best[self.k - 1].1;
        }
    }

    /// Puts them in order and leaves no more than are wanted.
    fn cut(&mut self) {
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if self.best.len() > self.k {
            self.best.select_nth_unstable_by(self.k, order);
            self.best.truncate(self.k);
        }
        self.best.sort_unstable_by(order);
        if self.best.len() == self.k {
            self.least = self.best.last().map_or(f32::NEG_INFINITY, |(_, v)| *v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(seed: u64, n: usize) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                // Coarse on purpose: there are ties.
                ((state >> 40) % 401) as f32 * 0.05 - 60.0
            })
            .collect()
    }

    fn read(k: usize, x: &[f32], own: &[f32], tile: usize, target: u32) -> (Reading, Reading) {
        let mut last = Reading::new(7, None);
        let mut here = Reading::new(k, Some((target, x[target as usize])));
        for (i, (x, own)) in x.chunks(tile).zip(own.chunks(tile)).enumerate() {
            let weights = last.own(own);
            last.take(i * tile, own, &weights);
            here.take(i * tile, x, &weights);
        }
        (here.finished(), last)
    }

    /// Against sums over the whole row in f64, and against sorting.
    #[test]
    fn tiles_of_any_width_give_what_whole_rows_give() {
        let (x, own) = (logits(1, 1003), logits(2, 1003));
        let p = |x: &[f32]| {
            let total: f64 = x.iter().map(|v| (*v as f64).exp()).sum();
            x.iter().map(|v| (*v as f64).exp() / total).collect::<Vec<_>>()
        };
        let (px, pown) = (p(&x), p(&own));
        let entropy: f64 = -px.iter().map(|p| p * p.log2()).sum::<f64>();
        let kl: f64 = px.iter().zip(&pown).map(|(x, own)| own * (own / x).log2()).sum();
        let mut sorted: Vec<(u32, f32)> = x.iter().enumerate().map(|(i, v)| (i as u32, *v)).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for tile in [1, 16, 100, 1003] {
            for (rank, (target, logit)) in sorted.iter().enumerate().step_by(97) {
                let (here, last) = read(7, &x, &own, tile, *target);
                // f32 exponentials, each right to 4 unit roundoffs, in sums of 16 lanes within a tile: at most 1003 / 16 + 31
                // more. 98 unit roundoffs are 5.8e-6 of terms that come to about one. The order is the same on every machine.
                assert!(
                    (here.entropy_bits() as f64 - entropy).abs() < 1e-5,
                    "{tile}: {} {entropy}",
                    here.entropy_bits()
                );
                assert!((here.kl_bits(&last) as f64 - kl).abs() < 1e-5, "{tile}: {} {kl}", here.kl_bits(&last));
                assert_eq!(here.top(), &sorted[..7]);
                assert_eq!(here.target(), Some((rank as u32 + 1, *logit)));
                let prob = (logit - here.log_total()).exp() as f64;
                // The exponent is a difference of f32 of size 8 to 16, whose roundings are 4.8e-7 each.
                assert!((prob - px[*target as usize]).abs() < 1e-6 * prob);
            }
        }
    }
    /// Few are kept in order, many in none until the end; of equals the first stay either way.
    #[test]
    fn many_of_the_most_probable_are_those_of_the_sorted_row() {
        let x = logits(3, 1003);
        let mut sorted: Vec<(u32, f32)> = x.iter().enumerate().map(|(i, v)| (i as u32, *v)).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for k in [1, FEW, FEW + 1, 100, 300, 600, 1003] {
            for tile in [1, 16, 100, 1003] {
                assert_eq!(read(k, &x, &x, tile, 0).0.top(), &sorted[..k], "{k} {tile}");
            }
        }
        assert!(read(0, &x, &x, 100, 0).0.top().is_empty());
    }
}
