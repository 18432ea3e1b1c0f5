//! `x W + b` over packed rows.

use candle_core::Tensor;
use gemm::Parallelism;

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
        let y = self.values(x)?;
        Ok(Tensor::from_vec(y, (x.dim(0)?, self.weight.dim(1)?), x.device())?)
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
        // SAFETY: x holds t * ins values and y t * outs, both contiguous; w was just checked against its strides.
        unsafe {
            gemm::gemm(
                t,
                outs,
                ins,
                y.as_mut_ptr(),
                1,
                outs as isize,
                bias.is_some(),
                x_values.as_ptr(),
                1,
                ins as isize,
                w.as_ptr(),
                cs as isize,
                rs as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                parallelism(t * ins * outs),
            );
        }
        Ok(y)
    }
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
    Ok(Tensor::from_vec(sum, a.shape(), a.device())?)
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
