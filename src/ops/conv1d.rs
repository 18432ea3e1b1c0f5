//! `x W` for few rows and a weight stored `[in, out]`, as GPT-2's `Conv1D` is.
//!
//! gemm copies such a weight before it multiplies, which for a handful of rows costs more than the product. Here it is read once, as one
//! stream for each thread: the inputs are cut into parts, and each part adds its inputs' rows of the weight to sums of its own, which
//! are added in order at the end.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::dot::{Wide, prefetch};
use super::number::Number;
use super::{SharedMut, shared};

/// Rows of `x` up to which this beats gemm.
pub(super) const MAX_ROWS: usize = 8;

/// Bytes of the weight that one part reads: enough for memory to be one stream.
const PART_BYTES: usize = 256 << 10;
/// The most parts: each has sums of its own.
const MOST_PARTS: usize = 16;

/// Adds `x [t, ins]` times `w` to `y [t, outs]`, where this machine has the instructions for it; the weights of input `i` are
/// `w[i * stride..][..outs]`. Says whether it did.
pub(super) fn accumulate<N: Number>(x: &[f32], w: &[N], stride: usize, ins: usize, outs: usize, y: &mut [f32]) -> bool {
    let Some(wide) = Wide::here() else { return false };
    let t = x.len() / ins;
    assert!(y.len() == t * outs && (ins - 1) * stride + outs <= w.len());
    let parts = (ins * outs * size_of::<N>() / PART_BYTES).clamp(1, MOST_PARTS.min(ins));
    let mut sums = vec![0f32; parts * y.len()];
    let all = SharedMut::new(&mut sums);
    shared(parts, |_, part| {
        let inputs = ins * part / parts..ins * (part + 1) / parts;
        // SAFETY: these sums are in the buffer, and this part's alone.
        let sums = unsafe { std::slice::from_raw_parts_mut(all.at(part * t * outs), t * outs) };
        wide.run(Part { x, w, stride, ins, outs, inputs, sums });
    });
    for sums in sums.chunks_exact(y.len()) {
        y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
    }
    true
}

/// What some inputs add to all outputs.
struct Part<'a, N> {
    x: &'a [f32],
    w: &'a [N],
    stride: usize,
    ins: usize,
    outs: usize,
    inputs: Range<usize>,
    /// `[t, outs]`
    sums: &'a mut [f32],
}

impl<N: Number> WithSimd for Part<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let t = self.sums.len() / self.outs;
        let mut input = self.inputs.start;
        while input < self.inputs.end {
            let left = self.inputs.end - input;
            // As many inputs at once as there are registers for their numbers.
            input += match (left, t) {
                (8.., 1) => self.rows::<S, 1, 8>(simd, input, 0),
                (4.., _) => {
                    let (fours, rest) = (t / 4 * 4, t % 4);
                    (0..fours).step_by(4).for_each(|row| _ = self.rows::<S, 4, 4>(simd, input, row));
                    (fours..fours + rest).for_each(|row| _ = self.rows::<S, 1, 4>(simd, input, row));
                    4
                }
                _ => {
                    (0..t).for_each(|row| _ = self.rows::<S, 1, 1>(simd, input, row));
                    1
                }
            };
        }
    }
}

impl<N: Number> Part<'_, N> {
    /// What `INPUTS` inputs from `input` add to `ROWS` rows from `row`. Says how many inputs these are. Each output's sum goes input by
    /// input, however many rows and inputs go together.
    #[inline(always)]
    fn rows<S: Simd, const ROWS: usize, const INPUTS: usize>(&mut self, simd: S, input: usize, row: usize) -> usize {
        let Self { x, w, stride, ins, outs, .. } = *self;
        let w: [&[N]; INPUTS] = std::array::from_fn(|i| &w[(input + i) * stride..][..outs]);
        let number = |r: usize, i: usize| x[(row + r) * ins + input + i];
        let factors: [[S::f32s; INPUTS]; ROWS] =
            std::array::from_fn(|r| std::array::from_fn(|i| simd.splat_f32s(number(r, i))));
        let mut rows = self.sums[row * outs..].chunks_exact_mut(outs);
        let mut sums: [(&mut [S::f32s], &mut [f32]); ROWS] =
            std::array::from_fn(|_| S::as_mut_simd_f32s(rows.next().unwrap_or_default()));
        for k in 0..outs / S::F32_LANES {
            let mut sum: [S::f32s; ROWS] = std::array::from_fn(|r| sums[r].0[k]);
            for i in 0..INPUTS {
                let w = &w[i][k * S::F32_LANES..][..S::F32_LANES];
                if row == 0 {
                    prefetch(w.as_ptr().wrapping_add(INPUTS * stride).cast());
                }
                // SAFETY: `Wide` has looked for the instructions.
                let w = unsafe { N::lanes::<S>(w) };
                for r in 0..ROWS {
                    sum[r] = simd.mul_add_f32s(w, factors[r][i], sum[r]);
                }
            }
            (0..ROWS).for_each(|r| sums[r].0[k] = sum[r]);
        }
        let whole = outs / S::F32_LANES * S::F32_LANES;
        for (r, (_, tail)) in sums.iter_mut().enumerate() {
            for (i, w) in w.iter().enumerate() {
                tail.iter_mut().zip(&w[whole..]).for_each(|(sum, w)| *sum += w.widen() * number(r, i));
            }
        }
        INPUTS
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::dot::tests::rows_go_alone;
    use super::*;

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others() {
        fn of<N: Number>(number: fn(f32) -> N) {
            let sizes = [[2, 48, 21], [5, 203, 64], [7, 1030, 70], [8, 5000, 9], [3, 7, 1000]];
            rows_go_alone(number, &sizes, |x, w, [ins, outs], y| {
                assert_eq!(accumulate(x, w, outs, ins, outs, y), Wide::here().is_some());
            });
        }
        of(|x| x);
        of(f16::from_f32);
        of(bf16::from_f32);
    }
}
