//! `x W` for few rows and a weight stored `[out, in]`, as every torch `Linear` is.
//!
//! gemm packs such a weight before it multiplies, which for a handful of rows costs more than the product. Here each
//! output is a dot product of two contiguous rows, in tiles small enough for registers, and the weight is read once,
//! in order. Weights of 16 bits are upcast a tile's rows at a time, and multiplied as if they had been f32.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::SharedMut;
use super::number::Number;

/// Rows of `x` up to which this beats gemm: the rows must stay in the second-level cache.
pub(super) const MAX_ROWS: usize = 32;

/// Outputs of a tile: rows of the weight held in registers' reach. One row of `x` goes by wide registers as fast as memory gives the
/// weight, and fastest where that is one stream; narrow ones wait for their own sums unless there are several.
const TILE_OUT: usize = 4;
/// Rows of a tile. 4 x 3 accumulators leave room for the operands in 16 registers.
const TILE_ROWS: usize = 3;
/// Outputs that one task computes.
const TASK_OUT: usize = 64;

/// Adds `x [t, ins]` times `w` to `y [t, outs]`; output `j`'s weights are `w[j * stride..][..ins]`.
pub(super) fn accumulate<N: Number>(x: &[f32], w: &[N], stride: usize, ins: usize, outs: usize, y: &mut [f32]) {
    let t = x.len() / ins;
    assert!(y.len() == t * outs && (outs - 1) * stride + ins <= w.len());
    let out = SharedMut::new(y);
    let task = |buffer: &mut Vec<f32>, first: usize| {
        let columns = first..(first + TASK_OUT).min(outs);
        match N::as_f32(w) {
            Some(w) => {
                pulp::Arch::new().dispatch(Tiles { x, w: &w[first * stride..], stride, ins, outs, columns, out })
            }
            None => {
                // For one row of `x` they are read once, and few of them are still in the first cache then.
                let wide = if t == 1 { 1 } else { TILE_OUT };
                for first in columns.clone().step_by(wide) {
                    let columns = first..(first + wide).min(columns.end);
                    buffer.resize(wide * ins, 0.0);
                    for (j, to) in columns.clone().zip(buffer.chunks_exact_mut(ins)) {
                        N::widen_into(&w[j * stride..][..ins], to);
                    }
                    pulp::Arch::new().dispatch(Tiles { x, w: &*buffer, stride: ins, ins, outs, columns, out });
                }
            }
        }
    };
    let starts = (0..outs).step_by(TASK_OUT);
    if t * ins * outs < 32 * 1024 {
        let mut buffer = vec![];
        starts.for_each(|first| task(&mut buffer, first));
    } else {
        starts.collect::<Vec<_>>().into_par_iter().for_each_init(Vec::new, task);
    }
}

struct Tiles<'a> {
    x: &'a [f32],
    /// Weights of the first of the columns, and from there on.
    w: &'a [f32],
    stride: usize,
    ins: usize,
    outs: usize,
    columns: std::ops::Range<usize>,
    out: SharedMut,
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let t = self.x.len() / self.ins;
        let one = t == 1 && S::F32_LANES >= 8;
        let mut column = self.columns.start;
        while column < self.columns.end {
            let wide = (self.columns.end - column).min(if one { 1 } else { TILE_OUT });
            let mut row = 0;
            while row < t {
                let high = (t - row).min(TILE_ROWS);
                match (wide, high) {
                    (TILE_OUT, 3) => self.tile::<S, TILE_OUT, 3>(simd, column, row),
                    (TILE_OUT, 2) => self.tile::<S, TILE_OUT, 2>(simd, column, row),
                    (TILE_OUT, _) => self.tile::<S, TILE_OUT, 1>(simd, column, row),
                    _ => {
                        for c in column..column + wide {
                            for r in row..row + high {
                                self.tile::<S, 1, 1>(simd, c, r);
                            }
                        }
                    }
                }
                row += high;
            }
            column += wide;
        }
    }
}

impl Tiles<'_> {
    /// `OUT` outputs from `column` of `ROWS` rows from `row`.
    #[inline(always)]
    fn tile<S: Simd, const OUT: usize, const ROWS: usize>(&self, simd: S, column: usize, row: usize) {
        let w: [_; OUT] = std::array::from_fn(|j| {
            S::as_simd_f32s(&self.w[(column - self.columns.start + j) * self.stride..][..self.ins])
        });
        let x: [_; ROWS] = std::array::from_fn(|i| S::as_simd_f32s(&self.x[(row + i) * self.ins..][..self.ins]));
        // Later rows find the tile in the cache, and memory would rest meanwhile.
        let ahead = OUT > 1 && row == 0;
        let mut sums = [[simd.splat_f32s(0.0); ROWS]; OUT];
        for k in 0..w[0].0.len() {
            for j in 0..OUT {
                if ahead {
                    prefetch((&raw const w[j].0[k]).cast::<f32>().wrapping_add(OUT * self.stride));
                }
                for i in 0..ROWS {
                    sums[j][i] = simd.mul_add_f32s(w[j].0[k], x[i].0[k], sums[j][i]);
                }
            }
        }
        for j in 0..OUT {
            for i in 0..ROWS {
                let tail: f32 = w[j].1.iter().zip(x[i].1).map(|(w, x)| w * x).sum();
                let sum = simd.reduce_sum_f32s(sums[j][i]) + tail;
                // SAFETY: inside y, as asserted; these columns are this task's alone.
                unsafe { *self.out.at((row + i) * self.outs + column + j) += sum };
            }
        }
    }
}

/// Asks for the line of the cache that this address is in, which need not be in the weight.
#[inline(always)]
fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which no address makes fail.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
