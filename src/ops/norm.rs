//! Layer norm and RMS norm over rows: in one pass, or in steps so that the scale and the normalized rows between them can be
//! seen and changed. Either way the same operations are done in the same order, so the bits are the same.

use candle_core::{D, Tensor};

use super::gradient::{tracked, with_backward};
use super::linear::sum_rows;
use super::{Kernels, copied_rows, simd, values, wide};
use crate::arch::spec::{Gain, NormKind};
use crate::error::Result;
use crate::ops::simd::vectorise;

/// A norm with its weights.
///
/// Where squares are more than a number can hold, the scale is infinite, and a row divided by it would be 0: finite, and wrong.
/// Such a row is made NaN, which nothing after it can hide.
#[derive(Clone, Debug)]
pub struct NormWeights {
    /// Which statistic.
    pub kind: NormKind,
    /// Added to the variance.
    pub eps: f64,
    /// `[d]`, as stored.
    pub gain: Option<Tensor>,
    /// How the stored gain is meant.
    pub meaning: Gain,
    /// `[d]`.
    pub bias: Option<Tensor>,
}

impl NormWeights {
    /// What rows are divided by: `sqrt(var + eps)`, or `sqrt(mean square + eps)`. `[t, d]` to `[t, 1]`.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn scale(&self, kernels: Kernels, x: &Tensor) -> Result<Tensor> {
        match if tracked(&[x]) { Kernels::Plain } else { kernels } {
            Kernels::Plain => {
                let centred = self.centred(x)?;
                Ok((centred.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?)
            }
            Kernels::Fused => {
                let (t, d) = x.dims2()?;
                let x_values = values(x)?;
                let scales: Vec<f32> =
                    vectorise!(x_values.chunks_exact(d).map(|row| self.row_scale(row, self.mean(row))).collect());
                Ok(Tensor::from_vec(scales, (t, 1), x.device())?)
            }
        }
    }

    /// `(x - mean) / scale * gain + bias`; `scale` is computed unless given. `[t, d]` to `[t, d]`.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn apply(&self, kernels: Kernels, x: &Tensor, scale: Option<&Tensor>) -> Result<Tensor> {
        match kernels {
            // The backward pass is that of a norm with its own scale.
            Kernels::Fused if !scale.is_some_and(|scale| tracked(&[x, scale])) => self.fused(x, scale),
            _ => self.plain(x, scale),
        }
    }

    /// `(x - mean) / scale`, before gain and bias; `scale` is computed unless given. `[t, d]` to `[t, d]`.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn normalize(&self, kernels: Kernels, x: &Tensor, scale: Option<&Tensor>) -> Result<Tensor> {
        Self { gain: None, meaning: Gain::None, bias: None, ..self.clone() }.apply(kernels, x, scale)
    }

    /// What [`NormWeights::normalize`] gives times the gain, plus the bias: what [`NormWeights::apply`] gives, bit for bit.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn apply_gain(&self, normalized: &Tensor) -> Result<Tensor> {
        let mut y = normalized.clone();
        if let Some(gain) = &self.gain {
            let gain = if self.meaning == Gain::OnePlusWeight { (gain + 1.0)? } else { gain.clone() };
            y = y.broadcast_mul(&gain)?;
        }
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(bias)?;
        }
        Ok(y)
    }

    /// The direction before this norm, its scale held, that is `u` after it: a row times it, over the row's scale, is what comes out
    /// times `u`, but for the bias. `[.., d]` to `[.., d]`, in f64.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn back(&self, u: &Tensor) -> Result<Tensor> {
        let linear = Self { gain: self.gain.as_ref().map(wide).transpose()?, bias: None, ..self.clone() };
        self.centred(&linear.apply_gain(u)?)
    }

    /// What of a row `x` comes out of this norm where its scale is held at 1, but for the bias: the row (minus its mean under layer norm)
    /// times the gain. The transpose of [`NormWeights::back`]. `[.., d]` to `[.., d]`, in f64.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn ahead(&self, x: &Tensor) -> Result<Tensor> {
        let linear = Self { gain: self.gain.as_ref().map(wide).transpose()?, bias: None, ..self.clone() };
        linear.apply_gain(&self.centred(x)?)
    }

    fn centred(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self.kind {
            NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
            NormKind::Rms => x.clone(),
        })
    }

    fn plain(&self, x: &Tensor, scale: Option<&Tensor>) -> Result<Tensor> {
        let scale = match scale {
            Some(scale) => scale.clone(),
            None => self.scale(Kernels::Plain, x)?,
        };
        // As it is, but NaN where it is infinite.
        let scale = ((&scale * 0.0)? + &scale)?;
        self.apply_gain(&self.centred(x)?.broadcast_div(&scale)?)
    }

    fn fused(&self, x: &Tensor, scale: Option<&Tensor>) -> Result<Tensor> {
        let (_, d) = x.dims2()?;
        let gain = self.gain.as_ref().map(values).transpose()?;
        let bias = self.bias.as_ref().map(values).transpose()?;
        let scale = scale.map(values).transpose()?;
        let offset = if self.meaning == Gain::OnePlusWeight { 1.0 } else { 0.0 };
        let x_values = values(x)?;
        let row = |i: usize| &x_values[i * d..(i + 1) * d];
        let y = copied_rows(x_values.len() / d, d, row, |first, rows| {
            vectorise!(for (i, row) in rows.chunks_exact_mut(d).enumerate() {
                let mean = self.mean(row);
                let scale = scale.as_ref().map_or_else(|| self.row_scale(row, mean), |s| s[first + i]);
                let scale = if scale.is_finite() { scale } else { f32::NAN };
                for v in row.iter_mut() {
                    *v = (*v - mean) / scale;
                }
                if let Some(gain) = &gain {
                    for (v, g) in row.iter_mut().zip(gain.iter()) {
                        *v *= g + offset;
                    }
                }
                if let Some(bias) = &bias {
                    for (v, b) in row.iter_mut().zip(bias.iter()) {
                        *v += b;
                    }
                }
            });
        });
        let mut inputs = vec![x];
        inputs.extend(&self.gain);
        inputs.extend(&self.bias);
        let norm = self.clone();
        with_backward(&inputs, y, x.shape(), move |inputs, dy| norm.backward(inputs, dy))
    }

    /// With `n` the normalized row and `g` the gradient times the gain: `(g - mean(g) - n mean(g n)) / scale`, where an RMS
    /// norm has no mean to take away.
    fn backward(&self, inputs: &[&Tensor], dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, (_, d)) = (inputs[0], dy.dims2()?);
        let gain = self.gain.as_ref().map(values).transpose()?;
        let offset = if self.meaning == Gain::OnePlusWeight { 1.0 } else { 0.0 };
        let (x_values, dy_values) = (values(x)?, values(dy)?);
        let mut dx = dy_values.to_vec();
        let mut dgain = vec![0f32; d];
        vectorise!({
            let mut n = vec![0f32; d];
            for (g, x) in dx.chunks_exact_mut(d).zip(x_values.chunks_exact(d)) {
                let mean = self.mean(x);
                let scale = self.row_scale(x, mean);
                for (n, x) in n.iter_mut().zip(x) {
                    *n = (x - mean) / scale;
                }
                for ((dgain, g), n) in dgain.iter_mut().zip(g.iter()).zip(&n) {
                    *dgain += g * n;
                }
                if let Some(gain) = &gain {
                    for (g, gain) in g.iter_mut().zip(gain.iter()) {
                        *g *= gain + offset;
                    }
                }
                let mean_g = self.mean(g);
                let mean_gn = simd::sums(g, &n, |g, n| [g * n])[0] / d as f32;
                for (g, n) in g.iter_mut().zip(&n) {
                    *g = (*g - mean_g - n * mean_gn) / scale;
                }
            }
        });
        let vector = |v: Vec<f32>| Tensor::from_vec(v, d, x.device());
        let mut gradients = vec![Some(Tensor::from_vec(dx, x.shape(), x.device())?)];
        if self.gain.is_some() {
            gradients.push(Some(vector(dgain)?));
        }
        if self.bias.is_some() {
            let mut dbias = vec![0f32; d];
            sum_rows(&dy_values, &mut dbias);
            gradients.push(Some(vector(dbias)?));
        }
        Ok(gradients)
    }

    #[inline(always)]
    fn mean(&self, row: &[f32]) -> f32 {
        match self.kind {
            NormKind::Layer => simd::sum(row, |v| v) / row.len() as f32,
            NormKind::Rms => 0.0,
        }
    }

    #[inline(always)]
    fn row_scale(&self, row: &[f32], mean: f32) -> f32 {
        (simd::sum(row, |v| (v - mean) * (v - mean)) / row.len() as f32 + self.eps as f32).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rounding::{Drift, gamma};
    use candle_core::{DType, Device};

    #[test]
    fn fused_equals_plain_and_steps_equal_one_pass() -> Result<()> {
        let dev = Device::Cpu;
        let x = Tensor::randn(1f32, 2.0, (130, 150), &dev)?;
        let vector = || Tensor::randn(0f32, 1.0, 150, &dev);
        for kind in [NormKind::Layer, NormKind::Rms] {
            for meaning in [Gain::None, Gain::Weight, Gain::OnePlusWeight] {
                let gain = if meaning == Gain::None { None } else { Some(vector()?) };
                let norm = NormWeights { kind, eps: 1e-5, gain, meaning, bias: Some(vector()?) };
                let fused = norm.apply(Kernels::Fused, &x, None)?;
                let plain = norm.apply(Kernels::Plain, &x, None)?;
                let wide = |x: &Tensor| Ok(x.to_dtype(DType::F64)?);
                let exact = norm.map(&wide)?.apply(Kernels::Plain, &wide(&x)?, None)?;
                let (apart, allowed) = (Drift::of(&fused, &plain)?.drift, Drift::of(&plain, &exact)?.allowed());
                assert!(apart <= allowed, "{kind:?} {meaning:?}: {apart:e}, allowed {allowed:e}");
                let scale = norm.scale(Kernels::Fused, &x)?;
                let again = norm.apply(Kernels::Fused, &x, Some(&scale))?;
                assert_eq!(fused.to_vec2::<f32>()?, again.to_vec2::<f32>()?);
                // In steps, on either path.
                for (kernels, whole) in
                    [(Kernels::Fused, &fused), (Kernels::Plain, &norm.apply(Kernels::Plain, &x, None)?)]
                {
                    let normalized = norm.normalize(kernels, &x, None)?;
                    assert_eq!(whole.to_vec2::<f32>()?, norm.apply_gain(&normalized)?.to_vec2::<f32>()?);
                    let size = wide(&normalized)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
                    // Means of squares are one, but for epsilon in 4, and the rounding of a row's sum, root and quotient.
                    let allowed = norm.eps / 3.0 + gamma(150 + 4, DType::F32);
                    assert!((size - 1.0).abs() < allowed, "{kind:?} {meaning:?}: {size}");
                }
            }
        }
        Ok(())
    }

    /// The squares of 1e20 are more than an f32 can hold: what comes of such a row is no number, and never 0.
    ///
    /// Invariant: Nothing hides a value that is not finite, not even a norm that could divide it by infinity.
    #[test]
    fn a_row_whose_squares_overflow_is_not_a_number() -> Result<()> {
        let x = Tensor::new(&[[1e20f32, -1e20, 3e20, 1.0], [1.0, 2.0, 3.0, 4.0]], &Device::Cpu)?;
        for kind in [NormKind::Layer, NormKind::Rms] {
            let norm = NormWeights { kind, eps: 1e-5, gain: None, meaning: Gain::None, bias: None };
            for kernels in [Kernels::Fused, Kernels::Plain] {
                let given = norm.scale(kernels, &x)?;
                for scale in [None, Some(&given)] {
                    let y = norm.apply(kernels, &x, scale)?.to_vec2::<f32>()?;
                    assert!(y[0].iter().all(|v| v.is_nan()), "{kind:?} {kernels:?}: {y:?}");
                    assert!(y[1].iter().all(|v| v.is_finite()), "{kind:?} {kernels:?}: {y:?}");
                }
            }
        }
        Ok(())
    }
}
