//! `x W` for few rows and a weight stored `[out, in]`, as every torch `Linear` is.
//!
//! gemm packs such a weight before it multiplies, which for a handful of rows costs more than the product. Here each
//! output is a dot product of two contiguous rows, in tiles small enough for registers, and the weight is read once,
//! in order. Weights of 16 bits are upcast a tile's rows at a time, and multiplied as if they had been f32.
//!
//! A single row, which is one more token of a text, goes as fast as memory gives the weight: its 16 bits are upcast in
//! registers.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::number::Number;
use super::{SharedMut, shared};

/// Rows of `x` up to which this beats gemm: the rows must stay in the second-level cache.
pub(super) const MAX_ROWS: usize = 32;

/// Outputs of a tile: rows of the weight held in registers' reach.
const TILE_OUT: usize = 4;
/// Rows of a tile. 4 x 3 accumulators leave room for the operands in 16 registers.
const TILE_ROWS: usize = 3;
/// Outputs that one task computes.
const TASK_OUT: usize = 64;
/// Bytes of the weight that one task reads for a single row: so few that all threads end together, and so many that taking a task costs
/// nothing beside it.
const TASK_BYTES: usize = 128 << 10;
/// Outputs of a single row that are computed together: none waits for its own sum, and `x` is fetched once for all of them. Each is
/// summed in one order, which is that of a tile: how many rows go together changes no bit here.
const ROW_OUT: usize = 8;

/// Adds `x [t, ins]` times `w` to `y [t, outs]`; output `j`'s weights are `w[j * stride..][..ins]`.
pub(super) fn accumulate<N: Number>(x: &[f32], w: &[N], stride: usize, ins: usize, outs: usize, y: &mut [f32]) {
    let t = x.len() / ins;
    assert!(y.len() == t * outs && (outs - 1) * stride + ins <= w.len());
    let out = SharedMut::new(y);
    let (arch, wide) = (pulp::Arch::new(), Wide::here().filter(|_| t == 1));
    let task_out = match t {
        1 => (TASK_BYTES / (ins * size_of::<N>()) / ROW_OUT * ROW_OUT).clamp(ROW_OUT, TASK_OUT),
        _ => TASK_OUT,
    };
    let task = |buffer: &mut Vec<f32>, first: usize| {
        let columns = first..(first + task_out).min(outs);
        match (N::as_f32(w), wide) {
            (_, Some(wide)) => wide.run(Row { x, w, stride, columns, out }),
            (Some(w), _) => arch.dispatch(Tiles { x, w: &w[first * stride..], stride, ins, outs, columns, out }),
            _ => {
                for first in columns.clone().step_by(TILE_OUT) {
                    let columns = first..(first + TILE_OUT).min(columns.end);
                    buffer.resize(TILE_OUT * ins, 0.0);
                    for (j, to) in columns.clone().zip(buffer.chunks_exact_mut(ins)) {
                        N::widen_into(&w[j * stride..][..ins], to);
                    }
                    arch.dispatch(Tiles { x, w: &*buffer, stride: ins, ins, outs, columns, out });
                }
            }
        }
    };
    let all = outs.div_ceil(task_out);
    if t * ins * outs < 32 * 1024 {
        let mut buffer = vec![];
        (0..all).for_each(|i| task(&mut buffer, i * task_out));
    } else {
        shared(all, |buffer, i| task(buffer, i * task_out));
    }
}

/// One row of `x`, and the outputs `columns` of it.
struct Row<'a, N> {
    x: &'a [f32],
    w: &'a [N],
    stride: usize,
    columns: Range<usize>,
    out: SharedMut,
}

/// Instructions for wide registers, and for upcasting 16 bits in them. Narrow ones would wait for their own sums.
#[derive(Clone, Copy)]
pub(super) struct Wide(pulp::Arch);

impl Wide {
    /// Those of this machine, if it has them.
    pub fn here() -> Option<Self> {
        let arch = pulp::Arch::new();
        let wide = match arch {
            #[cfg(target_arch = "x86_64")]
            pulp::Arch::V4(_) => true,
            #[cfg(target_arch = "x86_64")]
            pulp::Arch::V3(_) => is_x86_feature_detected!("f16c"),
            _ => false,
        };
        wide.then_some(Self(arch))
    }

    /// Runs `work` with them.
    pub fn run(self, work: impl WithSimd<Output = ()>) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the machine has these instructions: `here` and pulp found them.
            pulp::Arch::V3(simd) => unsafe { with_f16c(simd, work) },
            arch => arch.dispatch(work),
        }
    }
}

/// V3 of pulp, and the instruction that upcasts f16.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn with_f16c(simd: pulp::x86::V3, work: impl WithSimd<Output = ()>) {
    work.with_simd(simd);
}

impl<N: Number> WithSimd for Row<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut column = self.columns.start;
        while column < self.columns.end {
            column += match self.columns.end - column >= ROW_OUT {
                true => self.outputs::<S, ROW_OUT>(simd, column),
                false => self.outputs::<S, 1>(simd, column),
            };
        }
    }
}

impl<N: Number> Row<'_, N> {
    /// `OUT` outputs from `column`. Says how many these are.
    #[inline(always)]
    fn outputs<S: Simd, const OUT: usize>(&self, simd: S, column: usize) -> usize {
        let (x, x_tail) = S::as_simd_f32s(self.x);
        let ins = self.x.len();
        let w: [&[N]; OUT] = std::array::from_fn(|j| &self.w[(column + j) * self.stride..][..ins]);
        let mut sums = [simd.splat_f32s(0.0); OUT];
        for (k, x) in x.iter().enumerate() {
            for j in 0..OUT {
                let w = &w[j][k * S::F32_LANES..][..S::F32_LANES];
                if OUT > 1 {
                    // The rows after these: the machine foresees one stream, and not so many.
                    prefetch(w.as_ptr().wrapping_add(OUT * self.stride).cast());
                }
                // SAFETY: `Wide` has looked for the instructions.
                sums[j] = simd.mul_add_f32s(unsafe { N::lanes::<S>(w) }, *x, sums[j]);
            }
        }
        for j in 0..OUT {
            let tail: f32 = w[j][ins - x_tail.len()..].iter().zip(x_tail).map(|(w, x)| w.widen() * x).sum();
            // SAFETY: inside y, as asserted; these columns are this task's alone.
            unsafe { *self.out.at(column + j) += simd.reduce_sum_f32s(sums[j]) + tail };
        }
        OUT
    }
}

struct Tiles<'a> {
    x: &'a [f32],
    /// Weights of the first of the columns, and from there on.
    w: &'a [f32],
    stride: usize,
    ins: usize,
    outs: usize,
    columns: Range<usize>,
    out: SharedMut,
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let t = self.x.len() / self.ins;
        let mut column = self.columns.start;
        while column < self.columns.end {
            let wide = (self.columns.end - column).min(TILE_OUT);
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
pub(super) fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which no address makes fail.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(test)]
pub(super) mod tests {
    use half::{bf16, f16};

    use super::*;

    /// A product of each row alone has the bits of the product of all: `product` adds `x [t, ins]` times `w` to `y [t, outs]`.
    pub fn rows_go_alone<N: Number>(
        number: fn(f32) -> N,
        sizes: &[[usize; 3]],
        product: impl Fn(&[f32], &[N], [usize; 2], &mut [f32]),
    ) {
        let mut state = 1u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        for &[t, ins, outs] in sizes {
            let x: Vec<f32> = (0..t * ins).map(|_| draw()).collect();
            let w: Vec<N> = (0..outs * ins).map(|_| number(draw())).collect();
            let (mut all, mut alone) = (vec![0f32; t * outs], vec![0f32; t * outs]);
            product(&x, &w, [ins, outs], &mut all);
            for (x, y) in x.chunks(ins).zip(alone.chunks_mut(outs)) {
                product(x, &w, [ins, outs], y);
            }
            assert!(all.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()), "{t} {ins} {outs}");
        }
    }

    /// A token of a mixture of experts may be an expert's only one, or one of several: what comes later decides that, and may change no
    /// bit of it.
    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others() {
        fn of<N: Number>(number: fn(f32) -> N) {
            let sizes = [[2, 48, 21], [5, 203, 64], [7, 1030, 70], [32, 5000, 9]];
            rows_go_alone(number, &sizes, |x, w, [ins, outs], y| accumulate(x, w, ins, ins, outs, y));
        }
        of(|x| x);
        of(f16::from_f32);
        of(bf16::from_f32);
    }
}
