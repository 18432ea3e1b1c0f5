//! Softmax, in each form that somebody needs: of tensors with gradients, and of numbers on the host, in f64. The kernel for rows of
//! f32 is [`super::simd::softmax`].

use std::ops::Sub;

use candle_core::{D, Tensor};

use crate::error::Result;

/// The softmax of each row of `x [.., n]`, composed of operations that have gradients: candle's fused one silently has none.
///
/// # Errors
/// When the computation fails.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let top = x.max_keepdim(D::Minus1)?.detach();
    let weights = x.broadcast_sub(&top)?.exp()?;
    Ok(weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?)
}

/// The logarithm of the sum of exponentials. The largest is taken off first, in the type of the numbers.
pub fn log_sum_exp<T: Copy + PartialOrd + Sub<Output = T> + From<f32> + Into<f64>>(x: &[T]) -> f64 {
    let top = x.iter().fold(T::from(f32::NEG_INFINITY), |top, v| if *v > top { *v } else { top });
    let sum: f64 = x.iter().map(|v| (*v - top).into().exp()).sum();
    top.into() + sum.ln()
}

/// The softmax of some numbers.
pub fn probabilities(x: &[f32]) -> Vec<f64> {
    let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let all = log_sum_exp(&x);
    x.iter().map(|x| (x - all).exp()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn all_of_them_are_the_formula() -> Result<()> {
        let x = [-700.0f32, 1.0, 2.5, 2.0, f32::NEG_INFINITY];
        // Shifted by hand, so that nothing overflows: the smallest is nothing beside the others.
        let weights = [0.0f64, (-1.5f64).exp(), 1.0, (-0.5f64).exp(), 0.0];
        let sum: f64 = weights.iter().sum();
        let tensor: Vec<f32> = softmax(&Tensor::new(&x, &Device::Cpu)?)?.to_vec1()?;
        // Ten roundings: of f32 in the tensor, of f64 in the numbers.
        for ((host, tensor), w) in probabilities(&x).iter().zip(tensor).zip(weights) {
            assert!((host - w / sum).abs() < 1e-15 && (f64::from(tensor) - w / sum).abs() < 1e-6, "{host} {tensor}");
        }
        assert!((log_sum_exp(&x) - (2.5 + sum.ln())).abs() < 1e-14);
        assert_eq!(log_sum_exp::<f64>(&[]), f64::NEG_INFINITY);
        Ok(())
    }
}
