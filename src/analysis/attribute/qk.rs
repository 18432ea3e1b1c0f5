//! The fix for queries and keys of AtP* (Kramár, Lieberum, Shah and Nanda 2024, section 3.1.1): attention that is
//! saturated has almost no slope, though another query or key would turn it. So the pattern is made again with the one query
//! or key that is replaced, and what follows the pattern is taken as linear:
//!
//! `estimate = sum over queries i and keys j of (pattern'_ij - pattern_ij) dmetric/dpattern_ij`,
//!
//! where `dmetric/dpattern_ij` is `dmetric/dz_i` times `v_j`. A query changes its own row of the pattern. A key changes one
//! score of each row that sees it: by `delta`, its share `p` becomes `p e^delta / (1 + r)` and every other's is divided by
//! `1 + r`, where `r = p (e^delta - 1)`; so a row adds `r / (1 + r)` times how far the key's gradient is from the row's mean.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::arch::spec::Mask;
use crate::error::Result;
use crate::ops::attention::{Inputs, Scoring, scores};
use crate::ops::rows::Rows;
use crate::ops::softmax::{log_sum_exp, probabilities};
use crate::ops::{Kernels, numbers};

/// What one block's attention reads of one sequence. Queries and keys are those that are scored: rotated, where they are.
pub(super) struct Attended {
    /// `[n, h, e]`, of the run that is changed.
    pub q: Tensor,
    /// `[n, g, e]`, likewise.
    pub k: Tensor,
    /// `[n, g, e]`, likewise.
    pub v: Tensor,
    /// Queries or keys of the other run.
    pub donor: Tensor,
    /// The gradient of the metric with respect to `z [n, h, e]`.
    pub dz: Tensor,
}

impl Attended {
    /// For each query, position by position and head by head: the effect of the other run's in its place.
    pub fn queries(&self, scoring: &Scoring) -> Result<Vec<f64>> {
        let (old, new) = (self.scores(scoring, &self.q, &self.k)?, self.scores(scoring, &self.donor, &self.k)?);
        let slopes = self.slopes(scoring)?;
        let n = self.q.dim(0)?;
        let rows = scoring.n_heads * n;
        let by_head: Vec<f64> = (0..rows)
            .into_par_iter()
            .map(|row| {
                let of = |x: &[f32]| probabilities(&x[row * n..][..n]);
                let slopes = &slopes[row * n..][..n];
                of(&new)
                    .iter()
                    .zip(of(&old))
                    .zip(slopes)
                    .map(|((new, old), slope)| (new - old) * f64::from(*slope))
                    .sum()
            })
            .collect();
        Ok((0..rows).map(|i| by_head[i % scoring.n_heads * n + i / scoring.n_heads]).collect())
    }

    /// For each key, position by position and key/value head by head: the effect of the other run's in its place.
    pub fn keys(&self, scoring: &Scoring) -> Result<Vec<f64>> {
        let (old, new) = (self.scores(scoring, &self.q, &self.k)?, self.scores(scoring, &self.q, &self.donor)?);
        let slopes = self.slopes(scoring)?;
        let n = self.q.dim(0)?;
        let of_head = |head: usize| {
            let mut effects = vec![0f64; n];
            for row in head * n..(head + 1) * n {
                let of = |x: &'_ [f32]| x[row * n..][..n].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
                let (old, new, slopes, pattern) =
                    (of(&old), of(&new), of(&slopes), probabilities(&old[row * n..][..n]));
                let mean: f64 = pattern.iter().zip(&slopes).map(|(p, s)| p * s).sum();
                let all = log_sum_exp(&old);
                for (key, effect) in effects.iter_mut().enumerate().filter(|(key, _)| old[*key].is_finite()) {
                    let r = (new[key] - all).exp() - (old[key] - all).exp();
                    let share = if r.is_finite() { r / (1.0 + r) } else { 1.0 };
                    *effect += share * (slopes[key] - mean);
                }
            }
            effects
        };
        let by_head: Vec<Vec<f64>> = (0..scoring.n_heads).into_par_iter().map(of_head).collect();
        let group = scoring.n_heads / scoring.n_kv_heads;
        let of_group = |pos: usize, g: usize| by_head[g * group..(g + 1) * group].iter().map(|head| head[pos]).sum();
        Ok((0..n)
            .flat_map(|pos| (0..scoring.n_kv_heads).map(move |g| (pos, g)))
            .map(|(pos, g)| of_group(pos, g))
            .collect())
    }

    /// `[h, n, n]`, flat: minus infinity where the mask hides a key.
    fn scores(&self, scoring: &Scoring, q: &Tensor, k: &Tensor) -> Result<Vec<f32>> {
        let rows = Rows::pack([(0, q.dim(0)?)]);
        let x = Inputs { q, k, v: &self.v, keys: &rows, prefixes: &[None] };
        numbers(&scores(Kernels::best(q.device(), q.dtype()), scoring, &rows.sequences[0], &x)?)
    }

    /// The gradient with respect to the pattern, `[h, n, n]`, flat: products of `dz` and `v`, as scores are of `q` and `k`.
    fn slopes(&self, scoring: &Scoring) -> Result<Vec<f32>> {
        let products = Scoring { scale: 1.0, cap: None, mask: Mask::Bidirectional, slopes: None, ..scoring.clone() };
        self.scores(&products, &self.dz, &self.v)
    }
}
