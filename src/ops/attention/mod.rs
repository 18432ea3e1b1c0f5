//! Attention over packed rows with shared prefixes: scores, softmax, mixing of values.
//!
//! The three stages can run apart, so that scores and patterns can be seen and changed, or as one pass per block of
//! queries that never stores them ([`attend`]). Both run the same arithmetic on the same blocks, so what is recorded
//! is bit for bit what was used. Where a gradient may be asked for, one pass has its own backward pass ([`backward`]), and
//! stages that are looked at are plain.

mod backward;
mod fused;
mod plain;

use std::ops::Range;

use candle_core::Tensor;

use super::Kernels;
use super::gradient::tracked;
use super::rows::{Rows, SequenceRows};
use super::softmax::softmax as composed;
use crate::arch::spec::{Attention, Mask, Position};
use crate::error::Result;

/// Keys (after rotation) and values of earlier positions in one layer, each `[n, g, e]`: of all of them, or of the last `n` where a
/// window sees no others. Shared, never copied.
#[derive(Clone, Debug)]
pub struct KeysValues {
    /// `[n, g, e]`, rotated.
    pub keys: Tensor,
    /// `[n, g, e]`.
    pub values: Tensor,
}

/// Queries, keys and values of a pack, and each sequence's prefix (none, or one for each sequence).
pub struct Inputs<'a> {
    /// `[t, h, e]`.
    pub q: &'a Tensor,
    /// `[t, g, e]`.
    pub k: &'a Tensor,
    /// `[t, g, e]`.
    pub v: &'a Tensor,
    /// How the rows of keys and values are packed: as those of the queries, or more, where only some rows ask.
    pub keys: &'a Rows,
    /// Prefix of the sequence with that index.
    pub prefixes: &'a [Option<&'a KeysValues>],
}

impl Inputs<'_> {
    /// Whether a gradient may be asked of any of them.
    fn tracked(&self) -> bool {
        let prefixes = self.prefixes.iter().flatten().flat_map(|p| [&p.keys, &p.values]);
        [self.q, self.k, self.v].into_iter().chain(prefixes).any(|x| tracked(&[x]))
    }

    fn prefix(&self, s: &SequenceRows) -> Option<&KeysValues> {
        self.prefixes.get(s.index).copied().flatten()
    }

    /// The rows of keys and values that belong to the sequence of these queries.
    fn keys_of(&self, s: &SequenceRows) -> &SequenceRows {
        &self.keys.sequences[s.index]
    }
}

/// What the stages need to know of the attention layer.
#[derive(Clone, Debug)]
pub struct Scoring {
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Factor on query x key.
    pub scale: f64,
    /// Soft cap on scores.
    pub cap: Option<f64>,
    /// What a query may see.
    pub mask: Mask,
    /// ALiBi's slope of each query head.
    pub slopes: Option<Vec<f32>>,
}

impl Scoring {
    /// The part of `spec` that scoring needs.
    pub fn new(spec: &Attention) -> Self {
        Self {
            n_heads: spec.n_heads,
            n_kv_heads: spec.n_kv_heads,
            d_head: spec.d_head,
            scale: spec.scale,
            cap: spec.cap,
            mask: spec.mask,
            slopes: (spec.position == Position::Alibi).then(|| alibi_slopes(spec.n_heads)),
        }
    }

    /// The keys that the query at `pos` may see, of `n_keys`.
    pub fn visible(&self, pos: usize, n_keys: usize) -> Range<usize> {
        match self.mask {
            Mask::Causal => 0..pos + 1,
            Mask::Window(n) => (pos + 1).saturating_sub(n)..pos + 1,
            Mask::Bidirectional => 0..n_keys,
        }
    }
}

/// ALiBi's slopes for `n` heads: a geometric series, completed from the next power of two's when `n` is not one
/// (Press et al. 2021, appendix; as BLOOM does it).
fn alibi_slopes(n: usize) -> Vec<f32> {
    let series = |n: usize, step: usize| {
        let base = 2f64.powf(-8.0 / n as f64);
        (0..n).step_by(step).map(move |i| base.powi(i as i32 + 1) as f32)
    };
    let whole = if n.is_power_of_two() { n } else { n.next_power_of_two() / 2 };
    series(whole, 1).chain(series(2 * whole, 2)).take(n).collect()
}

/// Weighted values `z [t, h, e]`, without storing scores or patterns. Fused path only.
///
/// # Errors
/// When the tensors are not contiguous f32 on the CPU.
pub fn attend(scoring: &Scoring, rows: &Rows, x: &Inputs) -> Result<Tensor> {
    // The backward pass through one pass knows neither prefixes nor caps, nor keys without queries.
    if x.tracked() && (scoring.cap.is_some() || x.prefixes.iter().any(Option::is_some) || rows != x.keys) {
        let parts = (rows.sequences.iter())
            .map(|s| plain::mix(scoring, s, &composed(&plain::scores(scoring, s, x)?)?, x))
            .collect::<Result<Vec<_>>>()?;
        return Ok(Tensor::cat(&parts, 0)?);
    }
    fused::attend(scoring, rows, x)
}

/// Scores of one sequence after scale, cap and mask: `[h, q, k]`, minus infinity where the mask hides the key.
///
/// # Errors
/// When the computation fails.
pub fn scores(kernels: Kernels, scoring: &Scoring, s: &SequenceRows, x: &Inputs) -> Result<Tensor> {
    match kernels {
        Kernels::Fused if !x.tracked() => fused::scores(scoring, s, x),
        _ => plain::scores(scoring, s, x),
    }
}

/// Softmax over the keys of `[h, q, k]`.
///
/// # Errors
/// When the computation fails.
pub fn softmax(kernels: Kernels, scores: &Tensor) -> Result<Tensor> {
    match kernels {
        Kernels::Fused if !tracked(&[scores]) => fused::softmax(scores),
        _ => composed(scores),
    }
}

/// Values weighted by a pattern `[h, q, k]`: `[q, h, e]`.
///
/// # Errors
/// When the computation fails.
pub fn mix(kernels: Kernels, scoring: &Scoring, s: &SequenceRows, pattern: &Tensor, x: &Inputs) -> Result<Tensor> {
    match kernels {
        Kernels::Fused if !(x.tracked() || tracked(&[pattern])) => fused::mix(scoring, s, pattern, x),
        _ => plain::mix(scoring, s, pattern, x),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rounding::Drift;
    use candle_core::{DType, Device};

    /// That a stage of the fused path is that of the plain one, but for as much rounding as the plain one shows beside f64.
    fn near(what: &str, fused: &Tensor, plain: &Tensor, exact: &Tensor) -> Result<()> {
        let (apart, allowed) = (Drift::of(fused, plain)?.drift, Drift::of(plain, exact)?.allowed());
        assert!(apart <= allowed, "{what}: {apart:e}, allowed {allowed:e}");
        Ok(())
    }

    /// Every mask, grouping, cap and prefix: stages equal the plain twin, and one pass equals the stages bitwise.
    ///
    /// Invariant: Attention in one pass gives the same bits as in stages, so a recorded pattern is the one that was used.
    #[test]
    fn fused_equals_plain_and_one_pass_equals_stages() -> Result<()> {
        let dev = Device::Cpu;
        let (h, e) = (4, 16);
        for (mask, g) in [(Mask::Causal, 2), (Mask::Window(5), 4), (Mask::Window(70), 1), (Mask::Bidirectional, 4)] {
            for (cap, alibi) in [(None, false), (Some(2.0), false), (None, true)] {
                let scoring = Scoring {
                    n_heads: h,
                    n_kv_heads: g,
                    d_head: e,
                    scale: 0.25,
                    cap,
                    mask,
                    slopes: alibi.then(|| alibi_slopes(h)),
                };
                let n_prefix = if mask == Mask::Bidirectional { 0 } else { 7 };
                let rows = Rows::pack([(0, 150), (n_prefix, 3), (n_prefix, 1)]);
                let t = rows.len();
                let random = |n, heads| Tensor::randn(0f32, 1.0, (n, heads, e), &dev);
                let (q, k, v) = (random(t, h)?, random(t, g)?, random(t, g)?);
                let prefix = KeysValues { keys: random(n_prefix, g)?, values: random(n_prefix, g)? };
                let prefixes = [None, Some(&prefix), Some(&prefix)];
                let x = Inputs { q: &q, k: &k, v: &v, keys: &rows, prefixes: &prefixes };
                let wide = |x: &Tensor| x.to_dtype(DType::F64);
                let (q, k, v) = (wide(&q)?, wide(&k)?, wide(&v)?);
                let prefix = KeysValues { keys: wide(&prefix.keys)?, values: wide(&prefix.values)? };
                let prefixes = [None, Some(&prefix), Some(&prefix)];
                let exact = Inputs { q: &q, k: &k, v: &v, keys: &rows, prefixes: &prefixes };
                let mut parts = vec![];
                for s in &rows.sequences {
                    let fused_scores = scores(Kernels::Fused, &scoring, s, &x)?;
                    let plain_scores = scores(Kernels::Plain, &scoring, s, &x)?;
                    let exact_scores = scores(Kernels::Plain, &scoring, s, &exact)?;
                    let what = format!("{mask:?} {cap:?} {alibi}");
                    near(&format!("scores {what}"), &fused_scores, &plain_scores, &exact_scores)?;
                    let pattern = softmax(Kernels::Fused, &fused_scores)?;
                    let plain_pattern = softmax(Kernels::Plain, &plain_scores)?;
                    let exact_pattern = softmax(Kernels::Plain, &exact_scores)?;
                    near(&format!("pattern {what}"), &pattern, &plain_pattern, &exact_pattern)?;
                    let z = mix(Kernels::Fused, &scoring, s, &pattern, &x)?;
                    let plain_z = mix(Kernels::Plain, &scoring, s, &plain_pattern, &x)?;
                    near(
                        &format!("z {what}"),
                        &z,
                        &plain_z,
                        &mix(Kernels::Plain, &scoring, s, &exact_pattern, &exact)?,
                    )?;
                    parts.push(z);
                }
                let stages = Tensor::cat(&parts, 0)?.flatten_all()?.to_vec1::<f32>()?;
                let one_pass = attend(&scoring, &rows, &x)?.flatten_all()?.to_vec1::<f32>()?;
                assert_eq!(stages, one_pass, "{mask:?} {cap:?} {alibi}");
            }
        }
        Ok(())
    }

    #[test]
    fn alibi_slopes_follow_the_paper() {
        assert_eq!(alibi_slopes(8)[..2], [0.5, 0.25]);
        // Six heads: the four of four heads, then every other one of eight.
        assert_eq!(alibi_slopes(6), [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
    }
}
