//! The MLP's nonlinearities, with the gate's multiplication fused in.

use candle_core::Tensor;

use super::gradient::with_backward;
use super::routing::softmax;
use super::{Kernels, copied_rows, simd, values};
use crate::arch::spec::Activation;
use crate::error::{Error, Result};
use crate::ops::simd::vectorise;

/// `act(pre)`, times `linear` where the MLP is gated. All `[t, m]`.
///
/// # Errors
/// When the computation fails.
pub fn activate(kernels: Kernels, act: Activation, pre: &Tensor, linear: Option<&Tensor>) -> Result<Tensor> {
    match kernels {
        // Its softmax is not worth a kernel: only small models have it.
        _ if kernels == Kernels::Plain || act == Activation::Solu => {
            let y = plain(act, pre)?;
            Ok(match linear {
                Some(linear) => (y * linear)?,
                None => y,
            })
        }
        _ => fused(act, pre, linear),
    }
}

fn plain(act: Activation, x: &Tensor) -> Result<Tensor> {
    Ok(match act {
        Activation::Relu => x.relu()?,
        Activation::GeluErf => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Silu => x.silu()?,
        Activation::Solu => (x * softmax(x)?)?,
    })
}

/// [`each`] and [`zipped`] of closures that are always inlined, as what is vectorised must be.
macro_rules! each {
    ($pre:expr, $linear:expr, |$x:ident| $f:expr, |$y:ident| $slope:expr $(,)?) => {
        each(
            $pre,
            $linear,
            #[inline(always)]
            |$x| $f,
            #[inline(always)]
            |$y| $slope,
        )
    };
}
macro_rules! zipped {
    ($a:expr, $b:expr, |$x:pat_param, $y:pat_param| $f:expr $(,)?) => {
        zipped(
            $a,
            $b,
            #[inline(always)]
            |$x, $y| $f,
        )
    };
}

fn fused(act: Activation, pre: &Tensor, linear: Option<&Tensor>) -> Result<Tensor> {
    match act {
        Activation::Relu => each!(pre, linear, |x| if x < 0.0 { 0.0 } else { x }, |x| if x < 0.0 { 0.0 } else { 1.0 }),
        Activation::GeluErf => each!(
            pre,
            linear,
            |x| x * normal(x),
            // The derivative of the normal distribution is its density.
            |x| normal(x) + x * 0.398_942_3 * simd::exp(-0.5 * x * x),
        ),
        // 0.5 (1 + tanh u) = sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
        Activation::GeluTanh => {
            each!(pre, linear, |x| x * simd::sigmoid(TWICE_ROOT * x * (0.044_715 * x).mul_add(x, 1.0)), |x| {
                let s = simd::sigmoid(TWICE_ROOT * x * (0.044_715 * x).mul_add(x, 1.0));
                s + x * s * (1.0 - s) * TWICE_ROOT * (3.0 * 0.044_715 * x).mul_add(x, 1.0)
            })
        }
        Activation::Silu => each!(pre, linear, |x| x * simd::sigmoid(x), |x| {
            let s = simd::sigmoid(x);
            s + x * s * (1.0 - s)
        }),
        Activation::Solu => {
            Err(Error::compute("this nonlinearity looks at whole rows and has no kernel of its own").fault())
        }
    }
}

const TWICE_ROOT: f32 = 2.0 * 0.797_884_6;

/// The standard normal distribution.
#[inline(always)]
fn normal(x: f32) -> f32 {
    0.5 * (1.0 + simd::erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `f(pre)`, times `linear`; `slope` is the derivative of `f`.
#[inline(always)]
fn each(
    pre: &Tensor,
    linear: Option<&Tensor>,
    f: impl Fn(f32) -> f32 + Copy + Send + Sync + 'static,
    slope: impl Fn(f32) -> f32 + Copy + Send + Sync + 'static,
) -> Result<Tensor> {
    let y = match linear {
        Some(linear) => zipped!(pre, linear, |x, l| f(x) * l)?,
        None => zipped!(pre, pre, |x, _| f(x))?,
    };
    let mut inputs = vec![pre];
    inputs.extend(linear);
    with_backward(&inputs, y, pre.shape(), move |inputs, dy| {
        let pre = inputs[0];
        let tensor = |v: Vec<f32>| Tensor::from_vec(v, pre.shape(), pre.device());
        let d = tensor(zipped!(dy, pre, |dy, x| dy * slope(x))?)?;
        let Some(linear) = inputs.get(1) else { return Ok(vec![Some(d)]) };
        let dpre = tensor(zipped!(&d, linear, |d, l| d * l)?)?;
        let dlinear = tensor(zipped!(dy, pre, |dy, x| dy * f(x))?)?;
        Ok(vec![Some(dpre), Some(dlinear)])
    })
}

/// `f` of each pair of values of two tensors of one shape `[t, m]`.
#[inline(always)]
fn zipped(a: &Tensor, b: &Tensor, f: impl Fn(f32, f32) -> f32 + Sync) -> Result<Vec<f32>> {
    let width = a.dims2()?.1;
    let (a, b) = (values(a)?, values(b)?);
    let row = |i: usize| &a[i * width..(i + 1) * width];
    Ok(copied_rows(a.len() / width.max(1), width, row, |first, rows| {
        let b = &b[first * width..][..rows.len()];
        vectorise!(for (v, b) in rows.iter_mut().zip(b) {
            *v = f(*v, *b);
        });
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rounding::Drift;
    use candle_core::{DType, Device};

    #[test]
    fn fused_equals_plain() -> Result<()> {
        let dev = Device::Cpu;
        let x = Tensor::randn(0f32, 3.0, (70, 301), &dev)?;
        let gate = Tensor::randn(0f32, 1.0, (70, 301), &dev)?;
        for act in [Activation::Relu, Activation::GeluErf, Activation::GeluTanh, Activation::Silu] {
            for linear in [None, Some(&gate)] {
                let got = activate(Kernels::Fused, act, &x, linear)?;
                let want = activate(Kernels::Plain, act, &x, linear)?;
                let [x, linear] = [Some(&x), linear].map(|x| x.map(|x| x.to_dtype(DType::F64)).transpose());
                let exact = activate(Kernels::Plain, act, x?.as_ref().unwrap(), linear?.as_ref())?;
                let (apart, allowed) = (Drift::of(&got, &want)?.drift, Drift::of(&want, &exact)?.allowed());
                assert!(apart <= allowed, "{act:?}: {apart:e}, allowed {allowed:e}");
            }
        }
        Ok(())
    }
}
