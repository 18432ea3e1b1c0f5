//! Attention on the CPU in blocks of queries: each block multiplies only the keys that some of its queries see,
//! straight from the packed rows and the shared prefix. Nothing is copied or transposed first.

use std::ops::Range;

use candle_core::Tensor;
use gemm::Parallelism;
use rayon::prelude::*;

use super::backward::backward;
use super::{Inputs, Rows, Scoring, SequenceRows};
use crate::error::Result;
use crate::ops::gradient::with_backward;
use crate::ops::product::raw;
use crate::ops::simd::vectorise;
use crate::ops::{SharedMut, simd, values};

/// Queries in a block. Small enough that a causal block skips most of what it cannot see, large enough for gemm.
const BLOCK: usize = 64;

/// Multiplications of one head below which its blocks are not handed to other threads.
const WORTH: usize = 4096;

/// Consecutive keys and values that lie in one buffer, `[n, g, e]`.
pub(super) struct Segment<'a> {
    pub keys: &'a [f32],
    pub values: &'a [f32],
    /// Positions of its keys.
    pub at: Range<usize>,
}

/// One query head's block of queries in one sequence.
pub(super) struct Block<'a> {
    pub scoring: &'a Scoring,
    pub head: usize,
    /// Position of the first query.
    pub start: usize,
    pub n_queries: usize,
    pub n_keys: usize,
    pub segments: &'a [Segment<'a>],
}

impl Block<'_> {
    /// Keys that some query of the block sees.
    fn keys(&self) -> Range<usize> {
        let first = self.scoring.visible(self.start, self.n_keys);
        let last = self.scoring.visible(self.start + self.n_queries - 1, self.n_keys);
        first.start..last.end
    }

    fn kv_head(&self) -> usize {
        self.head / (self.scoring.n_heads / self.scoring.n_kv_heads)
    }

    /// Parts of `keys` with their segment, offsets within it, and whether it is the first.
    fn parts(&self, keys: &Range<usize>) -> impl Iterator<Item = (&Segment<'_>, Range<usize>)> {
        self.segments.iter().filter_map(move |s| {
            let part = keys.start.max(s.at.start)..keys.end.min(s.at.end);
            (part.start < part.end).then_some((s, part))
        })
    }

    /// Scores of `self.keys()` into rows of stride `n_keys`; columns outside are left alone.
    ///
    /// # Safety
    /// `out` must have room for `n_queries` rows of `n_keys` that nobody else touches.
    pub unsafe fn scores(&self, q: &[f32], first_row: usize, out: *mut f32) {
        let Scoring { n_heads, n_kv_heads, d_head: e, scale, cap, .. } = *self.scoring;
        let keys = self.keys();
        let q = &q[(first_row * n_heads + self.head) * e..];
        assert!((self.n_queries - 1) * n_heads * e + e <= q.len());
        for (segment, part) in self.parts(&keys) {
            let k = &segment.keys[((part.start - segment.at.start) * n_kv_heads + self.kv_head()) * e..];
            assert!((part.len() - 1) * n_kv_heads * e + e <= k.len());
            // SAFETY: the asserts bound the reads; the caller gives room for the writes.
            unsafe {
                let (q, k) = ((q.as_ptr(), [n_heads * e, 1]), (k.as_ptr(), [1, n_kv_heads * e]));
                let (out, dims) = ((out.add(part.start), self.n_keys), [self.n_queries, e, part.len()]);
                raw(out, false, dims, q, k, scale as f32, Parallelism::None);
            }
        }
        if cap.is_none() && self.scoring.slopes.is_none() {
            return;
        }
        for i in 0..self.n_queries {
            // SAFETY: row i of the caller's room.
            let row = unsafe { std::slice::from_raw_parts_mut(out.add(i * self.n_keys), self.n_keys) };
            for j in keys.clone() {
                if let Some(cap) = cap.map(|cap| cap as f32) {
                    row[j] = cap * (row[j] / cap).tanh();
                }
                if let Some(slopes) = &self.scoring.slopes {
                    row[j] -= slopes[self.head] * j.abs_diff(self.start + i) as f32;
                }
            }
        }
    }

    /// Values weighted by the columns `keys` of `pattern` (rows of stride `n_keys`), into rows of stride `h * e`.
    ///
    /// # Safety
    /// `out` must have room for `n_queries` such rows, of which nobody else touches the first `e` columns.
    unsafe fn mix(&self, pattern: *const f32, keys: &Range<usize>, out: *mut f32) {
        let Scoring { n_heads, n_kv_heads, d_head: e, .. } = *self.scoring;
        for (i, (segment, part)) in self.parts(keys).enumerate() {
            let v = &segment.values[((part.start - segment.at.start) * n_kv_heads + self.kv_head()) * e..];
            assert!((part.len() - 1) * n_kv_heads * e + e <= v.len());
            // SAFETY: the assert bounds the read of v; the caller vouches for pattern and out.
            unsafe {
                let pattern = (pattern.add(part.start), [self.n_keys, 1]);
                let (v, dims) = ((v.as_ptr(), [n_kv_heads * e, 1]), [self.n_queries, part.len(), e]);
                raw((out, n_heads * e), i > 0, dims, pattern, v, 1.0, Parallelism::None);
            }
        }
    }
}

/// Borrows the buffers of `sequences` and hands every block of queries to `work`, with its sequence and the number of
/// its first query there. Sequences run side by side, and so do the heads of one that is large.
fn with_blocks(
    scoring: &Scoring,
    sequences: &[SequenceRows],
    x: &Inputs,
    work: impl Fn(&SequenceRows, Block<'_>, usize) + Sync,
) -> Result<()> {
    let (k, v) = (values(x.k)?, values(x.v)?);
    let width = scoring.n_kv_heads * scoring.d_head;
    let prefixes = (sequences.iter())
        .map(|s| x.prefix(s).map(|p| Ok((values(&p.keys)?, values(&p.values)?))).transpose())
        .collect::<Result<Vec<_>>>()?;
    let segments: Vec<Vec<Segment>> = (sequences.iter().zip(&prefixes))
        .map(|(s, prefix)| {
            let keys = x.keys_of(s);
            let new = keys.rows.start * width..keys.rows.end * width;
            // All before the sequence, or the last of them where a window sees no others.
            let before = prefix.as_ref().map(|(old, values)| {
                let at = keys.start.saturating_sub(old.len() / width)..keys.start;
                Segment { keys: old, values, at }
            });
            let own = Segment { keys: &k[new.clone()], values: &v[new], at: keys.start..keys.n_keys() };
            before.into_iter().chain([own]).collect()
        })
        .collect();
    let one = |s: usize, task: usize| {
        let (segments, s) = (&segments[s], &sequences[s]);
        let blocks = s.len().div_ceil(BLOCK);
        let (head, i) = (task / blocks, task % blocks * BLOCK);
        let n_queries = BLOCK.min(s.len() - i);
        let n_keys = x.keys_of(s).n_keys();
        work(s, Block { scoring, head, start: s.start + i, n_queries, n_keys, segments }, i)
    };
    let all = |s: usize| {
        let rows = &sequences[s];
        let tasks = scoring.n_heads * rows.len().div_ceil(BLOCK);
        // A row or two, or one small sequence of many: cheaper here than through the pool.
        if rows.len() * x.keys_of(rows).n_keys() * scoring.d_head < WORTH {
            (0..tasks).for_each(|task| one(s, task));
        } else {
            (0..tasks).into_par_iter().for_each(|task| one(s, task));
        }
    };
    match sequences.len() {
        1 => all(0),
        n => (0..n).into_par_iter().for_each(all),
    }
    Ok(())
}

pub(super) fn attend(scoring: &Scoring, rows: &Rows, x: &Inputs) -> Result<Tensor> {
    let (h, e) = (scoring.n_heads, scoring.d_head);
    let q = values(x.q)?;
    let (first, t) = (rows.sequences[0].rows.start, rows.len());
    let mut z = vec![0f32; t * h * e];
    let out = SharedMut::new(&mut z);
    with_blocks(scoring, &rows.sequences, x, |s, block, i| {
        let mut scratch = vec![0f32; block.n_queries * block.n_keys];
        let first_row = s.rows.start + i;
        // SAFETY: scratch is this task's; its rows and head of z are too.
        unsafe { block.scores(&q, first_row, scratch.as_mut_ptr()) };
        let keys = block.keys();
        vectorise!(for (j, row) in scratch.chunks_exact_mut(block.n_keys).enumerate() {
            let visible = scoring.visible(block.start + j, block.n_keys);
            simd::softmax(&mut row[visible.clone()]);
            row[keys.start..visible.start].fill(0.0);
            row[visible.end..keys.end].fill(0.0);
        });
        // SAFETY: the same; these rows of scratch hold the pattern now.
        unsafe { block.mix(scratch.as_ptr(), &keys, out.at(((first_row - first) * h + block.head) * e)) };
    })?;
    let (scoring, rows) = (scoring.clone(), rows.clone());
    with_backward(&[x.q, x.k, x.v], z, (t, h, e), move |qkv, dz| backward(&scoring, &rows, qkv, dz))
}

pub(super) fn scores(scoring: &Scoring, s: &SequenceRows, x: &Inputs) -> Result<Tensor> {
    let q = values(x.q)?;
    let n_keys = x.keys_of(s).n_keys();
    let mut scores = vec![0f32; scoring.n_heads * s.len() * n_keys];
    let out = SharedMut::new(&mut scores);
    with_blocks(scoring, std::slice::from_ref(s), x, |_, block, i| {
        // SAFETY: head and queries of this block are rows of `scores` that no other block writes.
        unsafe {
            let out = out.at((block.head * s.len() + i) * n_keys);
            block.scores(&q, s.rows.start + i, out);
            let rows = std::slice::from_raw_parts_mut(out, block.n_queries * n_keys);
            for (j, row) in rows.chunks_exact_mut(n_keys).enumerate() {
                let visible = scoring.visible(block.start + j, n_keys);
                row[..visible.start].fill(f32::NEG_INFINITY);
                row[visible.end..].fill(f32::NEG_INFINITY);
            }
        }
    })?;
    Ok(Tensor::from_vec(scores, (scoring.n_heads, s.len(), n_keys), x.q.device())?)
}

pub(super) fn softmax(scores: &Tensor) -> Result<Tensor> {
    let n_keys = scores.dims3()?.2;
    let mut pattern = values(scores)?.to_vec();
    crate::ops::par_rows(&mut pattern, n_keys, |_, rows| {
        vectorise!(for row in rows.chunks_exact_mut(n_keys) {
            // Exactly the visible keys, as in one pass: sums then have the same order.
            let seen = |v: &f32| *v != f32::NEG_INFINITY;
            let (Some(first), Some(last)) = (row.iter().position(seen), row.iter().rposition(seen)) else {
                row.fill(f32::NAN);
                continue;
            };
            simd::softmax(&mut row[first..=last]);
            row[..first].fill(0.0);
            row[last + 1..].fill(0.0);
        });
    });
    Ok(Tensor::from_vec(pattern, scores.shape(), scores.device())?)
}

pub(super) fn mix(scoring: &Scoring, s: &SequenceRows, pattern: &Tensor, x: &Inputs) -> Result<Tensor> {
    let (h, e, n_keys) = (scoring.n_heads, scoring.d_head, x.keys_of(s).n_keys());
    let pattern = values(pattern)?;
    let mut z = vec![0f32; s.len() * h * e];
    let out = SharedMut::new(&mut z);
    with_blocks(scoring, std::slice::from_ref(s), x, |_, block, i| {
        let rows = &pattern[(block.head * s.len() + i) * n_keys..][..block.n_queries * n_keys];
        // An edited pattern may look where the mask does not; then the block reads every key.
        let usual = block.keys();
        let outside = |row: &[f32]| row[..usual.start].iter().chain(&row[usual.end..]).any(|p| *p != 0.0);
        let keys = if rows.chunks_exact(n_keys).any(outside) { 0..n_keys } else { usual.clone() };
        // SAFETY: these rows and this head of z are this block's alone.
        unsafe { block.mix(rows.as_ptr(), &keys, out.at((i * h + block.head) * e)) };
    })?;
    Ok(Tensor::from_vec(z, (s.len(), h, e), x.q.device())?)
}
