//! How far rounding may take a sum: unit roundoffs, and the bound that they give. Tests and `verify` take their bounds from here.
//!
//! With unit roundoff `u`, a sum of `n` products made in any order, with fused multiply-adds or without, lies within
//! `gamma(n) * (|x1 y1| + ... + |xn yn|)` of the exact one, where `gamma(n) = n u / (1 - n u)` (Higham, *Accuracy and Stability
//! of Numerical Algorithms*, 2nd edition, lemma 3.1 and section 3.1). So two such sums, on whatever machine and by whatever
//! kernel, lie within twice that of each other.
//!
//! Where sums follow upon sums, through norms and softmaxes, bounds for the worst case say nothing. There the rounding itself is
//! measured, by the same computation in f64 ([`Drift`]), and another order of the same sums may do [`TIMES`] as much.

use candle_core::{DType, Tensor};

use crate::error::Result;

/// Unit roundoff of a float dtype: how far, relative to its size, one operation may be rounded; half the distance from 1 to the
/// next number.
pub fn unit(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON / 2.0,
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        _ => f64::from(f32::EPSILON) / 2.0,
    }
}

/// The smallest number above 0 of a float dtype, which is subnormal. Below the normal numbers a result is rounded to a multiple of it,
/// however small the result is: there an error is not relative to its size.
pub fn smallest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::from_bits(1),
        DType::F16 => 2f64.powi(-24),
        DType::BF16 => 2f64.powi(-133),
        _ => f64::from(f32::from_bits(1)),
    }
}

/// Higham's `gamma(n)`: what `n` roundings in `dtype`, one upon another, may do relative to the size of the terms.
pub fn gamma(n: usize, dtype: DType) -> f64 {
    let nu = n as f64 * unit(dtype);
    nu / (1.0 - nu)
}

/// How many times as far from f64 one computation in f32 may lie as another that makes the same sums in another order. Both are
/// largest errors of many values. Over all models, sites and instruction levels that this was tried on the ratio stays below
/// 4, so that two of them lie within 8 of each other; a wrong epsilon, rotation or weight makes it hundreds.
pub const TIMES: f64 = 8.0;

/// What rounding in f32 makes of some values: how far they lie from the same in f64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drift {
    /// Largest distance from f64.
    pub drift: f64,
    /// Largest finite value.
    pub size: f64,
}

impl Drift {
    /// Measures it. Equal infinities do not differ; what is not a number differs from everything.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn of(narrow: &Tensor, exact: &Tensor) -> Result<Self> {
        let flat = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        narrow.shape().eq(exact.shape()).then_some(()).ok_or_else(|| {
            crate::error::Error::compute(format!("{:?} and {:?} are compared", narrow.shape(), exact.shape()))
                .hint("compare runs of the same batch")
        })?;
        let mut found = Self::default();
        for (a, b) in flat(narrow)?.into_iter().zip(flat(exact)?) {
            let apart = if a == b { 0.0 } else { (a - b).abs() };
            found.drift = if apart > found.drift || apart.is_nan() { apart } else { found.drift };
            found.size = if b.is_finite() { found.size.max(b.abs()) } else { found.size };
        }
        Ok(found)
    }

    /// How far another computation in f32 may lie from f64, and from a third: [`TIMES`] as far as this one from f64, which counts
    /// as one rounding of the largest value where it is nearer than that.
    pub fn allowed(self) -> f64 {
        TIMES * self.drift.max(unit(DType::F32) * self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums in two orders, from the smallest to the largest and back, of numbers whose exact sum f64 has.
    ///
    /// Invariant: Error bounds come from the arithmetic and hold on any instruction set: for one sum, from its length; for a
    /// whole run, from its distance to f64, which is itself no more than its sums explain.
    #[test]
    fn sums_in_any_order_lie_within_gamma() {
        assert_eq!(unit(DType::F32), 2f64.powi(-24));
        for n in [1usize, 2, 10, 1000, 100_000] {
            let terms: Vec<f32> = (1..=n).map(|i| (i as f32).sqrt() * if i % 3 == 0 { -0.7 } else { 1.3 }).collect();
            let exact: f64 = terms.iter().map(|x| f64::from(*x)).sum();
            let sizes: f64 = terms.iter().map(|x| f64::from(x.abs())).sum();
            let sums = [terms.iter().sum::<f32>(), terms.iter().rev().sum::<f32>()];
            for sum in sums {
                assert!((f64::from(sum) - exact).abs() <= gamma(n, DType::F32) * sizes, "{n}: {sum} {exact}");
            }
        }
        // The last bit of each addition is lost, so the bound is no larger than it must be by more than the number of terms.
        let lost = (0..1000).fold(1.0f32, |sum, _| sum + 5e-8);
        assert_eq!(lost, 1.0);
        assert!(1000.0 * 5e-8 < gamma(1000, DType::F32) && gamma(1000, DType::F32) < 1000.0 * 6e-8);
    }
}
