//! Elementary functions written so that the compiler vectorises them inside [`vectorised`].

/// Runs `f` compiled for the best instructions of this machine. What `f` calls must be `#[inline(always)]`.
pub fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// The value of an expression, compiled as [`vectorised`] compiles.
macro_rules! vectorise {
    ($body:expr) => {
        $crate::ops::simd::vectorised(
            #[inline(always)]
            || $body,
        )
    };
}
pub(crate) use vectorise;

/// What [`vectorised`] compiles for here, as a word: `avx512`, `avx2` (with fused multiply-adds), `neon`, or `scalar`, which is
/// what every machine of the architecture has. Other instructions make the same sums in another order.
pub fn instructions() -> &'static str {
    match pulp::Arch::new() {
        pulp::Arch::Scalar => "scalar",
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V3(_) => "avx2",
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(_) => "avx512",
        #[cfg(target_arch = "aarch64")]
        pulp::Arch::Neon(_) => "neon",
        _ => "other",
    }
}

/// Lanes of an accumulator: one AVX-512 register, two AVX2 ones, four NEON ones. Fixed, so that a sum is the same
/// on every machine.
const LANES: usize = 16;

/// e^x, within 2 ulp; 0 below -87.33, where the smallest normal number is less than a percent away; NaN stays NaN. Range
/// reduction by ln 2 in two parts, then the degree-5 minimax polynomial of Cephes' `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it leaves the nearest integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    let clipped = if x > 88.37 { 88.37 } else { x };
    let shifted = clipped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, clipped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_2e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r + 1.0);
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.33 { 0.0 } else { p * scale }
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function, within 4e-7: the rational approximation that Eigen and XLA use, odd in x and exact at the
/// clamp.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    let s = x * x;
    let mut p = -2.726_142_3e-10f32;
    for c in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2] {
        p = p.mul_add(s, c);
    }
    let mut q = -1.456_607_2e-5f32;
    for c in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        q = q.mul_add(s, c);
    }
    x * p / q
}

/// Sum of `f(x)` over `x`, in a fixed order of lanes.
#[inline(always)]
pub fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    let tail: f32 = rest.iter().map(|&v| f(v)).sum();
    lanes.iter().sum::<f32>() + tail
}

/// `N` sums of `f(a, b)` over two slices of one length, in the same order.
#[inline(always)]
pub fn sums<const N: usize>(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0f32; LANES]; N];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            let terms = f(a[i], b[i]);
            for n in 0..N {
                lanes[n][i] += terms[n];
            }
        }
    }
    let mut totals = lanes.map(|l| l.iter().sum::<f32>());
    for (&a, &b) in rest {
        let terms = f(a, b);
        for n in 0..N {
            totals[n] += terms[n];
        }
    }
    totals
}

/// Sum of `f(a, b)` over two slices of one length in f64, in a fixed order of lanes.
#[inline(always)]
pub fn wide_sum<A: Copy>(a: &[A], b: &[f32], f: impl Fn(A, f64) -> f64) -> f64 {
    let mut lanes = [0f64; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += f(a[i], f64::from(b[i]));
        }
    }
    lanes.iter().sum::<f64>() + rest.map(|(&a, &b)| f(a, f64::from(b))).sum::<f64>()
}

/// Largest value of `x`; NaN is passed over (the exponentials that follow keep it).
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
}

/// Smallest value of `x`; NaN is passed over.
#[inline(always)]
pub fn min(x: &[f32]) -> f32 {
    let mut lanes = [f32::INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v < *lane { v } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::INFINITY, |m, &v| if v < m { v } else { m })
}

/// Softmax of `x` in place. NaN anywhere makes every value NaN.
#[inline(always)]
pub fn softmax(x: &mut [f32]) {
    let top = max(x);
    for v in x.iter_mut() {
        *v = exp(*v - top);
    }
    let scale = 1.0 / sum(x, |v| v);
    for v in x.iter_mut() {
        *v *= scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rounding::unit;
    use candle_core::DType;

    #[test]
    fn elementary_functions_agree_with_libm() {
        for i in -20_000..20_000 {
            let x = i as f32 * 0.005;
            let want = (x as f64).exp();
            let got = vectorised(|| exp(x)) as f64;
            // The 2 ulp that its description promises, each at most two unit roundoffs of the value; and where it is zero.
            let allowed = 4.0 * unit(DType::F32) * want.min(f32::MAX as f64) + (-87.33f64).exp();
            assert!((got - want).abs() <= allowed || x > 88.37, "exp({x}): {got} {want}");
            // What its description promises: the error of the approximation and of two polynomials and a division in f32.
            let want = candle_erf(x);
            assert!((vectorised(|| erf(x)) - want).abs() < 4e-7, "erf({x})");
        }
        assert!(vectorised(|| exp(f32::NAN)).is_nan());
        assert_eq!(vectorised(|| exp(f32::NEG_INFINITY)), 0.0);
    }

    fn candle_erf(x: f32) -> f32 {
        let x = candle_core::Tensor::new(&[x as f64], &candle_core::Device::Cpu).unwrap();
        x.erf().unwrap().to_vec1::<f64>().unwrap()[0] as f32
    }

    #[test]
    fn softmax_keeps_nan_and_drops_minus_infinity() {
        let mut x = vec![0.0, f32::NEG_INFINITY, 0.0];
        vectorised(|| softmax(&mut x));
        assert_eq!(x, [0.5, 0.0, 0.5]);
        let mut x = vec![0.0, f32::NAN];
        vectorised(|| softmax(&mut x));
        assert!(x.iter().all(|v| v.is_nan()));
    }
}
