//! `x W + b` over packed rows.

use candle_core::Tensor;
use gemm::Parallelism;

use super::gradient::{tracked, with_backward};
use super::{Path, dot, values};
use crate::error::{Error, Result};

/// An affine map `[in, out]` with an optional bias `[out]`. The weight may be a strided view (a transposed torch
/// weight, a third of a fused one); it is never copied.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// `x [t, in]` to `[t, out]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn apply(&self, path: Path, x: &Tensor) -> Result<Tensor> {
        match path {
            Path::Fused => self.fused(x),
            Path::Plain => self.plain(x),
        }
    }

    fn plain(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight)?;
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }

    fn fused(&self, x: &Tensor) -> Result<Tensor> {
        let shape = (x.dim(0)?, self.weight.dim(1)?);
        let mut inputs = vec![x, &self.weight];
        inputs.extend(&self.bias);
        with_backward(&inputs, self.values(x)?, shape, |inputs, dy| {
            let (x, weight) = (inputs[0], inputs[1]);
            let (t, outs) = dy.dims2()?;
            let dx = tracked(&[x]).then(|| {
                let back = Linear { weight: weight.t()?, bias: None };
                Ok::<_, Error>(Tensor::from_vec(back.values(dy)?, x.shape(), x.device())?)
            });
            let dweight = tracked(&[weight]).then(|| {
                let ins = x.dim(1)?;
                let mut dw = vec![0.0; ins * outs];
                let (x, dy) = (values(x)?, values(dy)?);
                multiply(&mut dw, false, [ins, t, outs], (&x, [1, ins]), (&dy, [outs, 1]));
                Ok::<_, Error>(Tensor::from_vec(dw, (ins, outs), weight.device())?)
            });
            let dbias = inputs.get(2).filter(|bias| tracked(&[bias])).map(|bias| {
                let mut sum = vec![0f32; outs];
                sum_rows(&values(dy)?, &mut sum);
                Ok::<_, Error>(Tensor::from_vec(sum, outs, bias.device())?)
            });
            Ok(vec![dx.transpose()?, dweight.transpose()?, dbias.transpose()?])
        })
    }

    /// One product that accumulates onto the bias: the values of `[t, out]`.
    pub(super) fn values(&self, x: &Tensor) -> Result<Vec<f32>> {
        let (t, ins) = x.dims2()?;
        let (w_ins, outs) = self.weight.dims2()?;
        if ins != w_ins {
            return Err(Error::compute(format!("a map of {w_ins} inputs was given rows of width {ins}")));
        }
        let bias = self.bias.as_ref().map(values).transpose()?;
        let mut y: Vec<f32> = match &bias {
            Some(bias) => {
                let mut y = Vec::with_capacity(t * outs);
                (0..t).for_each(|_| y.extend_from_slice(bias));
                y
            }
            None => vec![0.0; t * outs],
        };
        let x_values = values(x)?;
        let (storage, layout) = self.weight.storage_and_layout();
        let candle_core::Storage::Cpu(candle_core::CpuStorage::F32(w)) = &*storage else {
            return Err(Error::compute("the CPU kernels need f32 weights on the CPU"));
        };
        let (rs, cs) = (layout.stride()[0], layout.stride()[1]);
        let w = &w[layout.start_offset()..];
        assert!(ins == 0 || outs == 0 || (ins - 1) * rs + (outs - 1) * cs < w.len());
        if rs == 1 && t <= dot::MAX_ROWS && ins > 0 && outs > 0 {
            dot::accumulate(&x_values, w, cs, ins, outs, &mut y);
            return Ok(y);
        }
        multiply(&mut y, bias.is_some(), [t, ins, outs], (&x_values, [ins, 1]), (w, [rs, cs]));
        Ok(y)
    }
}

/// The product of `a [m, k]` and `b [k, n]`, each with the strides of its rows and columns, into `y [m, n]` or onto it.
fn multiply(y: &mut [f32], onto: bool, [m, k, n]: [usize; 3], a: (&[f32], [usize; 2]), b: (&[f32], [usize; 2])) {
    let within = |(values, [rows, columns]): (&[f32], [usize; 2]), height: usize, width: usize| {
        height == 0 || width == 0 || (height - 1) * rows + (width - 1) * columns < values.len()
    };
    assert!(within(a, m, k) && within(b, k, n) && y.len() == m * n);
    let ((a, [a_rows, a_columns]), (b, [b_rows, b_columns])) = (a, b);
    // SAFETY: the lengths were just checked against the strides; y is contiguous.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            n as isize,
            onto,
            a.as_ptr(),
            a_columns as isize,
            a_rows as isize,
            b.as_ptr(),
            b_columns as isize,
            b_rows as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism(m * k * n),
        );
    }
}

/// Adds the rows of `x [t, width]` to `sum [width]`.
pub(super) fn sum_rows(x: &[f32], sum: &mut [f32]) {
    super::simd::vectorised(
        #[inline(always)]
        || {
            for row in x.chunks_exact(sum.len()) {
                for (s, v) in sum.iter_mut().zip(row) {
                    *s += v;
                }
            }
        },
    );
}

/// All threads of the pool for a product of `work` multiplications, or one when handing out costs more.
fn parallelism(work: usize) -> Parallelism {
    if work < 32 * 1024 { Parallelism::None } else { Parallelism::Rayon(0) }
}

/// `a + b`, of equal shapes.
///
/// # Errors
/// When the shapes differ.
pub fn add(path: Path, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if path == Path::Plain {
        return Ok((a + b)?);
    }
    let (x, y) = (values(a)?, values(b)?);
    if a.shape() != b.shape() {
        return Err(Error::compute(format!("cannot add {:?} and {:?}", a.shape(), b.shape())));
    }
    let mut sum = x.to_vec();
    super::simd::vectorised(
        #[inline(always)]
        || {
            for (s, y) in sum.iter_mut().zip(y.iter()) {
                *s += y;
            }
        },
    );
    with_backward(&[a, b], sum, a.shape(), |_, dy| Ok(vec![Some(dy.clone()), Some(dy.clone())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn fused_equals_plain_for_every_layout() -> Result<()> {
        let dev = Device::Cpu;
        for (t, ins, outs) in [(1, 3, 5), (15, 48, 144), (70, 33, 17)] {
            let x = Tensor::randn(0f32, 1.0, (t, ins), &dev)?;
            let bias = Some(Tensor::randn(0f32, 1.0, outs, &dev)?);
            let in_out = Tensor::randn(0f32, 1.0, (ins, outs), &dev)?;
            let out_in = Tensor::randn(0f32, 1.0, (outs, ins), &dev)?.t()?;
            let third = Tensor::randn(0f32, 1.0, (ins, 3 * outs), &dev)?.narrow(1, outs, outs)?;
            for weight in [in_out, out_in, third] {
                for bias in [bias.clone(), None] {
                    let map = Linear { weight: weight.clone(), bias };
                    let diff = (map.fused(&x)? - map.plain(&x)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
                    // f32 sums of up to 48 products in another order.
                    assert!(diff < 1e-5, "{t} {ins} {outs}: {diff}");
                }
            }
        }
        Ok(())
    }
}
