//! Numbers of 16 bits, upcast to f32, which is exact.

use std::mem::transmute_copy;
use std::slice;

use bytemuck::{Pod, Zeroable};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::Simd;

use super::simd::vectorise;

/// A number that a weight may be kept in.
pub(crate) trait Number: Pod + Send + Sync {
    /// The same number in f32.
    fn widen(self) -> f32;

    /// These numbers themselves, if they are f32 already.
    fn as_f32(numbers: &[Self]) -> Option<&[f32]>;

    /// The same numbers in f32: as many as a register has lanes.
    ///
    /// # Safety
    /// For f16 in eight lanes or more, the machine must have F16C.
    #[inline(always)]
    unsafe fn lanes<S: Simd>(from: &[Self]) -> S::f32s {
        let mut lanes: S::f32s = Zeroable::zeroed();
        for (to, from) in bytemuck::cast_slice_mut(slice::from_mut(&mut lanes)).iter_mut().zip(from) {
            *to = from.widen();
        }
        lanes
    }

    /// Writes the same numbers to `to`, of the same length.
    fn widen_into(from: &[Self], to: &mut [f32]) {
        assert_eq!(from.len(), to.len());
        vectorise!(for (to, from) in to.iter_mut().zip(from) {
            *to = from.widen();
        });
    }
}

impl Number for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    fn as_f32(numbers: &[f32]) -> Option<&[f32]> {
        Some(numbers)
    }
}

impl Number for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }

    fn as_f32(_: &[bf16]) -> Option<&[f32]> {
        None
    }
}

impl Number for f16 {
    /// Without branches, so that it is vectorised, and without arithmetic on subnormal f32, which is slow on many machines.
    #[inline(always)]
    fn widen(self) -> f32 {
        /// What turns the exponent's bias of 15 into 127, at the place of the exponent.
        const REBIAS: u32 = 112 << 23;
        /// 2^-14, the smallest normal f16.
        const SMALLEST: u32 = 113 << 23;
        let bits = self.to_bits() as u32;
        let magnitude = (bits & 0x7fff) << 13;
        let normal = magnitude + REBIAS;
        // A subnormal counts in steps of 2^-24: one unit of the significand of 2^-14 in this place.
        let subnormal = (f32::from_bits(magnitude + SMALLEST) - f32::from_bits(SMALLEST)).to_bits();
        let value = match magnitude {
            m if m < 1 << 23 => subnormal,
            // Infinity or NaN: the exponent is all ones in either format.
            m if m >= 31 << 23 => normal + REBIAS,
            _ => normal,
        };
        f32::from_bits(value | (bits & 0x8000) << 16)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn lanes<S: Simd>(from: &[f16]) -> S::f32s {
        use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_loadu_si256, _mm512_cvtph_ps};
        assert_eq!(from.len(), S::F32_LANES);
        // SAFETY: a register of this many lanes is read where they lie. AVX-512 has the one instruction, and the caller looked for the
        // other.
        unsafe {
            match S::F32_LANES {
                16 => transmute_copy(&_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast()))),
                8 => transmute_copy(&_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()))),
                _ => unreachable!("narrow registers take rows that are upcast"),
            }
        }
    }

    /// By the machine's own instruction where it has one. `half` finds F16C out too, but once for every eight numbers, which takes longer
    /// than memory takes to give them.
    fn widen_into(from: &[f16], to: &mut [f32]) {
        assert_eq!(from.len(), to.len());
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx") && is_x86_feature_detected!("f16c") {
            // SAFETY: the machine has these instructions.
            return unsafe { widen_by_f16c(from, to) };
        }
        from.convert_to_f32_slice(to);
    }

    fn as_f32(_: &[f16]) -> Option<&[f32]> {
        None
    }
}

/// Eight numbers by an instruction; what is left one by one.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,f16c")]
fn widen_by_f16c(from: &[f16], to: &mut [f32]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
    let (eights, rest) = from.as_chunks::<8>();
    let (wide, rest_wide) = to.as_chunks_mut::<8>();
    for (to, from) in wide.iter_mut().zip(eights) {
        // SAFETY: eight numbers of 16 bits are read where they lie, and eight of 32 written, neither of which needs to be aligned.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()))) };
    }
    for (to, from) in rest_wide.iter_mut().zip(rest) {
        *to = from.widen();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number there is, against the crate `half`.
    ///
    /// Invariant: as `numbers_that_are_not_copied_give_the_bits_of_a_tensor`.
    #[test]
    fn widening_is_exact() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let mut got = vec![0f32; all.len()];
        let halves: Vec<f16> = all.iter().map(|b| f16::from_bits(*b)).collect();
        f16::widen_into(&halves, &mut got);
        for (got, want) in got.iter().zip(&halves) {
            let want = want.to_f32_const();
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{got} {want}");
        }
        // However many, wherever they begin.
        for (from, n) in [(0, 0), (1, 7), (3, 8), (30_001, 1021)] {
            let mut few = vec![0f32; n];
            f16::widen_into(&halves[from..from + n], &mut few);
            assert_eq!(few, &got[from..from + n], "{n} from {from}");
        }
        let halves: Vec<bf16> = all.iter().map(|b| bf16::from_bits(*b)).collect();
        bf16::widen_into(&halves, &mut got);
        for (got, want) in got.iter().zip(&halves) {
            let want = want.to_f32();
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{got} {want}");
        }
    }
}
