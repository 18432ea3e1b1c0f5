//! The MLP's nonlinearities, with the gate's multiplication fused in.

use candle_core::Tensor;

use super::{Path, par_rows, simd, values};
use crate::arch::spec::Activation;
use crate::error::Result;

/// `act(pre)`, times `linear` where the MLP is gated. All `[t, m]`.
///
/// # Errors
/// When the computation fails.
pub fn activate(path: Path, act: Activation, pre: &Tensor, linear: Option<&Tensor>) -> Result<Tensor> {
    match path {
        Path::Plain => {
            let y = plain(act, pre)?;
            Ok(match linear {
                Some(linear) => (y * linear)?,
                None => y,
            })
        }
        Path::Fused => fused(act, pre, linear),
    }
}

fn plain(act: Activation, x: &Tensor) -> Result<Tensor> {
    Ok(match act {
        Activation::Relu => x.relu()?,
        Activation::GeluErf => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Silu => x.silu()?,
    })
}

fn fused(act: Activation, pre: &Tensor, linear: Option<&Tensor>) -> Result<Tensor> {
    match act {
        Activation::Relu => each(pre, linear, |x| if x < 0.0 { 0.0 } else { x }),
        Activation::GeluErf => each(pre, linear, |x| 0.5 * x * (1.0 + simd::erf(x * std::f32::consts::FRAC_1_SQRT_2))),
        // 0.5 (1 + tanh u) = sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
        Activation::GeluTanh => each(pre, linear, |x| {
            const TWICE_ROOT: f32 = 2.0 * 0.797_884_6;
            x * simd::sigmoid(TWICE_ROOT * x * (0.044_715 * x).mul_add(x, 1.0))
        }),
        Activation::Silu => each(pre, linear, |x| x * simd::sigmoid(x)),
    }
}

#[inline(always)]
fn each(pre: &Tensor, linear: Option<&Tensor>, f: impl Fn(f32) -> f32 + Sync) -> Result<Tensor> {
    let width = pre.dims2()?.1;
    let linear = linear.map(values).transpose()?;
    let mut y = values(pre)?.to_vec();
    par_rows(&mut y, width, |first, rows| {
        simd::vectorised(
            #[inline(always)]
            || match &linear {
                Some(linear) => {
                    let linear = &linear[first * width..][..rows.len()];
                    for (v, l) in rows.iter_mut().zip(linear) {
                        *v = f(*v) * l;
                    }
                }
                None => {
                    for v in rows.iter_mut() {
                        *v = f(*v);
                    }
                }
            },
        );
    });
    Ok(Tensor::from_vec(y, pre.shape(), pre.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn fused_equals_plain() -> Result<()> {
        let dev = Device::Cpu;
        let x = Tensor::randn(0f32, 3.0, (70, 301), &dev)?;
        let gate = Tensor::randn(0f32, 1.0, (70, 301), &dev)?;
        for act in [Activation::Relu, Activation::GeluErf, Activation::GeluTanh, Activation::Silu] {
            for linear in [None, Some(&gate)] {
                let got = activate(Path::Fused, act, &x, linear)?;
                let want = activate(Path::Plain, act, &x, linear)?;
                let diff = (got - want)?.abs()?.max_all()?.to_scalar::<f32>()?;
                // Values reach 12, times a gate of 4; a few f32 ulps of that.
                assert!(diff < 1e-5, "{act:?}: {diff}");
            }
        }
        Ok(())
    }
}
