//! The backward pass through attention in one pass: patterns are made again rather than kept (as in FlashAttention, Dao et al.
//! 2022), one sequence and key/value head at a time.

use candle_core::Tensor;
use gemm::Parallelism;
use rayon::prelude::*;

use super::fused::{Block, Segment};
use super::{Rows, Scoring};
use crate::error::Result;
use crate::ops::product::raw;
use crate::ops::simd::vectorise;
use crate::ops::{SharedMut, simd, values};

/// A matrix within a buffer: where it begins, and the distance between its rows.
#[derive(Clone, Copy)]
struct Strided {
    at: *mut f32,
    stride: usize,
}

impl Strided {
    fn reading(buffer: &[f32], offset: usize, stride: usize) -> Self {
        Self { at: buffer[offset..].as_ptr().cast_mut(), stride }
    }
}

/// Gradients of queries, keys and values, given that of `z`: all `[t, heads, e]`, no prefixes, no cap on scores.
///
/// # Errors
/// When a tensor is not contiguous f32 on the CPU.
pub(super) fn backward(scoring: &Scoring, rows: &Rows, qkv: &[&Tensor], dz: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let [q, k, v, dz] = [values(qkv[0])?, values(qkv[1])?, values(qkv[2])?, values(dz)?];
    let (mut dq, mut dk, mut dv) = (vec![0f32; q.len()], vec![0f32; k.len()], vec![0f32; v.len()]);
    let [dq_out, dk_out, dv_out] = [&mut dq, &mut dk, &mut dv].map(|x| SharedMut::new(x));
    let Scoring { n_heads: h, n_kv_heads: g, d_head: e, .. } = *scoring;
    let tasks = rows.sequences.len() * g;
    (0..tasks).into_par_iter().for_each(|task| {
        let (s, kv_head) = (&rows.sequences[task / g], task % g);
        let (n, first) = (s.len(), s.rows.start);
        let segment = [Segment { keys: &k[first * g * e..], values: &v[first * g * e..], at: s.start..s.start + n }];
        let (mut pattern, mut dscores) = (vec![0f32; n * n], vec![0f32; n * n]);
        let square = |x: &mut [f32]| Strided { at: x.as_mut_ptr(), stride: n };
        for head in kv_head * (h / g)..(kv_head + 1) * (h / g) {
            let queries = (first * h + head) * e;
            let keys = (first * g + kv_head) * e;
            let block = Block { scoring, head, start: s.start, n_queries: n, n_keys: n, segments: &segment };
            // SAFETY: pattern is this task's and has room for n rows of n.
            unsafe { block.scores(&q, first, pattern.as_mut_ptr()) };
            vectorise!(for (i, row) in pattern.chunks_exact_mut(n).enumerate() {
                let visible = scoring.visible(s.start + i, n);
                simd::softmax(&mut row[visible.clone()]);
                row[..visible.start].fill(0.0);
                row[visible.end..].fill(0.0);
            });
            let p = square(&mut pattern);
            let dz = Strided::reading(&dz, queries, h * e);
            let (q, k, v) = (
                Strided::reading(&q, queries, h * e),
                Strided::reading(&k, keys, g * e),
                Strided::reading(&v, keys, g * e),
            );
            // SAFETY: rows `first..first + n` of this head are inside their buffers. Those of queries are written by this
            // task alone, those of keys and values by the heads of this group only, which are all this task's.
            let (dq, dk, dv) = unsafe {
                (
                    Strided { at: dq_out.at(queries), stride: h * e },
                    Strided { at: dk_out.at(keys), stride: g * e },
                    Strided { at: dv_out.at(keys), stride: g * e },
                )
            };
            // SAFETY: as said.
            unsafe {
                product([n, n, e], turned(p), plain(dz), dv);
                dscores.fill(0.0);
                product([n, e, n], plain(dz), turned(v), square(&mut dscores));
            }
            vectorise!(for (dscores, pattern) in dscores.chunks_exact_mut(n).zip(pattern.chunks_exact(n)) {
                let [along] = simd::sums(dscores, pattern, |d, p| [d * p]);
                for (d, p) in dscores.iter_mut().zip(pattern) {
                    *d = p * (*d - along) * scoring.scale as f32;
                }
            });
            let ds = square(&mut dscores);
            // SAFETY: as said.
            unsafe {
                product([n, n, e], plain(ds), plain(k), dq);
                product([n, n, e], turned(ds), plain(q), dk);
            }
        }
    });
    let tensor =
        |x: Vec<f32>, like: &Tensor| Ok::<_, crate::Error>(Some(Tensor::from_vec(x, like.shape(), like.device())?));
    Ok(vec![tensor(dq, qkv[0])?, tensor(dk, qkv[1])?, tensor(dv, qkv[2])?])
}

/// A matrix with the distances between its rows and between its columns.
type Oriented = (*const f32, [usize; 2]);

fn plain(x: Strided) -> Oriented {
    (x.at, [x.stride, 1])
}

fn turned(x: Strided) -> Oriented {
    (x.at, [1, x.stride])
}

/// Adds the product of `a [m, k]` and `b [k, n]` to `y [m, n]`.
///
/// # Safety
/// All three must lie inside their buffers, and nobody else may touch `y`.
unsafe fn product(dims: [usize; 3], a: Oriented, b: Oriented, y: Strided) {
    // SAFETY: the caller vouches for the buffers.
    unsafe { raw((y.at, y.stride), true, dims, a, b, 1.0, Parallelism::None) }
}
