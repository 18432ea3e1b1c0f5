//! Rotary position embedding: frequencies, the table of a pack's positions, the rotation.

use candle_core::{DType, Device, Tensor};

use super::gradient::tracked;
use super::{Kernels, copied_rows, values};
use crate::arch::spec::{Pairing, RopeScaling, Rotary};
use crate::error::Result;
use crate::ops::simd::vectorise;

/// Angular frequency of each rotated pair, `dims / 2` of them, in radians per position.
///
/// They are part of the model as Hugging Face runs it, and every step is rounded to f32 in the order in which that does it:
/// rounded once, at the end, frequencies of 96 dimensions differ by up to six units in the last place, and what is not seen
/// at position 10 is an angle off by 0.001 at position 4,000.
pub fn frequencies(rotary: &Rotary) -> Vec<f32> {
    let (n, theta, dims) = (rotary.dims / 2, f64::from(rotary.theta as f32), rotary.dims as f32);
    // A power that f64 gives and f32 keeps is the nearest; torch's is that, or in one of a hundred the next to it.
    let periods = (0..n).map(|i| theta.powf(f64::from((2 * i) as f32 / dims)) as f32);
    match rotary.scaling {
        RopeScaling::None => periods.map(|period| 1.0 / period).collect(),
        RopeScaling::Linear { factor } => periods.map(|period| 1.0 / period / factor as f32).collect(),
        RopeScaling::Llama3 { factor, low_freq, high_freq, original_ctx } => {
            let each = |freq: f32| {
                // torch divides a number by a tensor by multiplying with one over it.
                let wavelength = (1.0 / freq) * std::f64::consts::TAU as f32;
                if wavelength < (original_ctx / high_freq) as f32 {
                    freq
                } else if wavelength > (original_ctx / low_freq) as f32 {
                    freq / factor as f32
                } else {
                    let turns = (1.0 / wavelength) * original_ctx as f32;
                    let smooth = (turns - low_freq as f32) / (high_freq - low_freq) as f32;
                    (1.0 - smooth) * freq / factor as f32 + smooth * freq
                }
            };
            periods.map(|period| each(1.0 / period)).collect()
        }
        RopeScaling::Yarn { factor, beta_fast, beta_slow, original_ctx, truncate, .. } => {
            // The dimension that turns `rotations` times within the original context.
            let dim = |rotations: f64| {
                rotary.dims as f64 * (original_ctx / (rotations * std::f64::consts::TAU)).ln()
                    / (2.0 * rotary.theta.ln())
            };
            let (low, high) = (dim(beta_fast), dim(beta_slow));
            let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
            let (low, high) = (low.max(0.0), high.min(rotary.dims as f64 - 1.0));
            let width = if low == high { 0.001 } else { high - low };
            let each = |(i, period): (usize, f32)| {
                let kept = 1.0 - ((i as f32 - low as f32) / width as f32).clamp(0.0, 1.0);
                1.0 / (factor as f32 * period) * (1.0 - kept) + 1.0 / period * kept
            };
            periods.enumerate().map(each).collect()
        }
    }
}

/// Cosines and sines for the positions of a pack.
#[derive(Clone, Debug)]
pub struct Table {
    /// `[t, dims / 2]`.
    pub cos: Tensor,
    /// `[t, dims / 2]`.
    pub sin: Tensor,
}

impl Table {
    /// The table for `positions`.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn new(rotary: &Rotary, positions: impl Iterator<Item = usize>, dtype: DType, device: &Device) -> Result<Self> {
        let factor = match rotary.scaling {
            RopeScaling::Yarn { attention_factor, .. } => attention_factor,
            _ => 1.0,
        };
        let frequencies = frequencies(rotary);
        let turns: Vec<(usize, f32)> =
            positions.flat_map(|position| frequencies.iter().map(move |f| (position, *f))).collect();
        let shape = (turns.len() / frequencies.len(), frequencies.len());
        // In f64 the frequencies stay the rounded ones, which are part of the model; nothing after them is rounded to f32.
        let (cos, sin) = if dtype == DType::F64 {
            let angle = |(position, frequency)| position as f64 * f64::from(frequency);
            let (sin, cos): (Vec<f64>, Vec<f64>) = turns.into_iter().map(|turn| angle(turn).sin_cos()).unzip();
            let [cos, sin] = [cos, sin].map(|x| x.into_iter().map(|x| x * factor).collect());
            (Tensor::from_vec::<_, f64>(cos, shape, device)?, Tensor::from_vec::<_, f64>(sin, shape, device)?)
        } else {
            let angle = |(position, frequency)| position as f32 * frequency;
            let (sin, cos): (Vec<f32>, Vec<f32>) = turns.into_iter().map(|turn| angle(turn).sin_cos()).unzip();
            let [cos, sin] = [cos, sin].map(|x| x.into_iter().map(|x| x * factor as f32).collect());
            (Tensor::from_vec::<_, f32>(cos, shape, device)?, Tensor::from_vec::<_, f32>(sin, shape, device)?)
        };
        Ok(Self { cos: cos.to_dtype(dtype)?, sin: sin.to_dtype(dtype)? })
    }
}

/// Rotates the first `2 * table width` dimensions of every head of `x [t, heads, e]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn rotate(kernels: Kernels, pairing: Pairing, x: &Tensor, table: &Table) -> Result<Tensor> {
    match kernels {
        Kernels::Fused if !tracked(&[x]) => fused(pairing, x, table),
        _ => plain(pairing, x, table),
    }
}

fn plain(pairing: Pairing, x: &Tensor, table: &Table) -> Result<Tensor> {
    let (t, heads, e) = x.dims3()?;
    let half = table.cos.dims2()?.1;
    let (cos, sin) = (table.cos.unsqueeze(1)?, table.sin.unsqueeze(1)?);
    let turned = x.narrow(2, 0, 2 * half)?;
    let (a, b) = match pairing {
        Pairing::Halves => (turned.narrow(2, 0, half)?, turned.narrow(2, half, half)?),
        Pairing::Adjacent => {
            let pairs = turned.reshape((t, heads, half, 2))?;
            (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
        }
    };
    let new_a = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let new_b = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let turned = match pairing {
        Pairing::Halves => Tensor::cat(&[new_a, new_b], 2)?,
        Pairing::Adjacent => Tensor::stack(&[new_a, new_b], 3)?.reshape((t, heads, 2 * half))?,
    };
    if 2 * half == e {
        return Ok(turned);
    }
    Ok(Tensor::cat(&[turned, x.narrow(2, 2 * half, e - 2 * half)?], 2)?)
}

fn fused(pairing: Pairing, x: &Tensor, table: &Table) -> Result<Tensor> {
    let (_, heads, e) = x.dims3()?;
    let half = table.cos.dims2()?.1;
    let (cos, sin) = (values(&table.cos)?, values(&table.sin)?);
    let (x_values, width) = (values(x)?, heads * e);
    let row = |i: usize| &x_values[i * width..(i + 1) * width];
    let y = copied_rows(x.dim(0)?, width, row, |first, rows| {
        vectorise!(for (i, head) in rows.chunks_exact_mut(e).enumerate() {
            let row = (first + i / heads) * half;
            let (cos, sin) = (&cos[row..row + half], &sin[row..row + half]);
            match pairing {
                Pairing::Halves => {
                    let (a, b) = head[..2 * half].split_at_mut(half);
                    for j in 0..half {
                        (a[j], b[j]) = (a[j] * cos[j] - b[j] * sin[j], b[j] * cos[j] + a[j] * sin[j]);
                    }
                }
                Pairing::Adjacent => {
                    for (j, pair) in head[..2 * half].chunks_exact_mut(2).enumerate() {
                        let (a, b) = (pair[0], pair[1]);
                        pair[0] = a * cos[j] - b * sin[j];
                        pair[1] = b * cos[j] + a * sin[j];
                    }
                }
            }
        })
    });
    Ok(Tensor::from_vec(y, x.shape(), x.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rounding::gamma;

    #[test]
    fn fused_equals_plain() -> Result<()> {
        let dev = Device::Cpu;
        let x = Tensor::randn(0f32, 1.0, (9, 3, 16), &dev)?;
        for dims in [4, 16] {
            let rotary = Rotary { dims, pairing: Pairing::Halves, theta: 100.0, scaling: RopeScaling::None };
            let table = Table::new(&rotary, 3..12, DType::F32, &dev)?;
            for pairing in [Pairing::Halves, Pairing::Adjacent] {
                let diff = (fused(pairing, &x, &table)? - plain(pairing, &x, &table)?)?;
                // Sums of two products with cosines and sines, which are at most one, either of which may be fused.
                let size = 2.0 * x.abs()?.max_all()?.to_scalar::<f32>()?;
                let allowed = 2.0 * gamma(2, DType::F32) as f32 * size;
                assert!(diff.abs()?.max_all()?.to_scalar::<f32>()? <= allowed);
            }
        }
        Ok(())
    }
}
