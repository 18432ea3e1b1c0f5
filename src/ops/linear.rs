//! `x W + b` over packed rows.

use candle_core::{CpuStorage, Storage, Tensor};

use super::gradient::{tracked, with_backward};
use super::matrix::{Matrix, Numbers};
use super::product::{multiply, product};
use super::{Kernels, copied_rows, values};
use crate::error::{Error, Result};
use crate::ops::simd::vectorise;

/// An affine map `[in, out]` with an optional bias `[out]`. The weight may be a strided view (a transposed torch
/// weight, a third of a fused one), in a file or in 16 bits; no path but the plain one copies it.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Matrix,
    /// `[out]`.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// A linear layer of this weight and bias.
    pub fn new(weight: impl Into<Matrix>, bias: Option<Tensor>) -> Self {
        Self { weight: weight.into(), bias }
    }

    /// `x [t, in]` to `[t, out]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn apply(&self, kernels: Kernels, x: &Tensor) -> Result<Tensor> {
        match kernels {
            Kernels::Fused => self.fused(x),
            Kernels::Plain => self.plain(x),
        }
    }

    fn plain(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight.tensor()?)?;
        Ok(match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    }

    fn fused(&self, x: &Tensor) -> Result<Tensor> {
        let shape = (x.dim(0)?, self.weight.dim(1)?);
        // What a gradient may be asked of. Numbers that are not a tensor are held by the backward pass.
        let (weight, stored) = match &self.weight {
            Matrix::Tensor(weight) => (Some(weight), None),
            Matrix::Stored(stored) => (None, Some(stored.clone())),
        };
        let inputs: Vec<&Tensor> = [x].into_iter().chain(weight).chain(&self.bias).collect();
        with_backward(&inputs, self.values(x)?, shape, move |inputs, dy| {
            let (x, bias) = (inputs[0], inputs.get(if stored.is_some() { 1 } else { 2 }));
            let (t, outs) = dy.dims2()?;
            let dx = tracked(&[x]).then(|| {
                let weight = stored.clone().map_or_else(|| inputs[1].clone().into(), Matrix::from);
                let back = Linear::new(weight.t()?, None);
                Ok::<_, Error>(Tensor::from_vec(back.values(dy)?, x.shape(), x.device())?)
            });
            let weight = inputs.get(1).filter(|weight| stored.is_none() && tracked(&[weight]));
            let dweight = weight.map(|weight| {
                let ins = x.dim(1)?;
                let mut dw = vec![0.0; ins * outs];
                let (x, dy) = (values(x)?, values(dy)?);
                multiply(&mut dw, false, [ins, t, outs], (&x, [1, ins]), (&dy, [outs, 1]));
                Ok::<_, Error>(Tensor::from_vec(dw, (ins, outs), weight.device())?)
            });
            let dbias = bias.filter(|bias| tracked(&[bias])).map(|bias| {
                let mut sum = vec![0f32; outs];
                sum_rows(&values(dy)?, &mut sum);
                Ok::<_, Error>(Tensor::from_vec(sum, outs, bias.device())?)
            });
            let (dx, dweight, dbias) = (dx.transpose()?, dweight.transpose()?, dbias.transpose()?);
            Ok(if stored.is_some() { vec![dx, dbias] } else { vec![dx, dweight, dbias] })
        })
    }

    /// One product that accumulates onto the bias: the values of `[t, out]`.
    pub(super) fn values(&self, x: &Tensor) -> Result<Vec<f32>> {
        let (t, ins) = x.dims2()?;
        let (w_ins, outs) = self.weight.dims2()?;
        if ins != w_ins {
            return Err(Error::compute(format!("a map of {w_ins} inputs was given rows of width {ins}")).fault());
        }
        let bias = self.bias.as_ref().map(values).transpose()?;
        let mut y: Vec<f32> = match &bias {
            Some(bias) => copied_rows(t, outs, |_| bias, |_, _| ()),
            None => vec![0.0; t * outs],
        };
        let x_values = values(x)?;
        let dims = [t, ins, outs];
        match &self.weight {
            Matrix::Tensor(weight) => {
                let (storage, layout) = weight.storage_and_layout();
                let Storage::Cpu(CpuStorage::F32(w)) = &*storage else {
                    return Err(Error::compute("the CPU kernels need f32 weights on the CPU").fault());
                };
                let w = &w[layout.start_offset()..];
                product(&mut y, bias.is_some(), dims, &x_values, (w, [layout.stride()[0], layout.stride()[1]]));
            }
            Matrix::Stored(weight) => {
                let strides = [weight.strides()[0], weight.strides()[1]];
                match weight.numbers() {
                    Numbers::F32(w) => product(&mut y, bias.is_some(), dims, &x_values, (w, strides)),
                    Numbers::F16(w) => product(&mut y, bias.is_some(), dims, &x_values, (w, strides)),
                    Numbers::Bf16(w) => product(&mut y, bias.is_some(), dims, &x_values, (w, strides)),
                }
            }
        }
        Ok(y)
    }
}

/// Adds the rows of `x [t, width]` to `sum [width]`.
pub(super) fn sum_rows(x: &[f32], sum: &mut [f32]) {
    vectorise!(for row in x.chunks_exact(sum.len()) {
        for (s, v) in sum.iter_mut().zip(row) {
            *s += v;
        }
    });
}

/// `a + b`, of equal shapes.
///
/// # Errors
/// When the shapes differ.
pub fn add(kernels: Kernels, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if kernels == Kernels::Plain {
        return Ok((a + b)?);
    }
    let (x, y) = (values(a)?, values(b)?);
    if a.shape() != b.shape() {
        return Err(Error::compute(format!("cannot add {:?} and {:?}", a.shape(), b.shape())).fault());
    }
    let width = a.dims().last().copied().unwrap_or(1).max(1);
    let row = |i: usize| &x[i * width..(i + 1) * width];
    let sum = copied_rows(x.len() / width, width, row, |first, rows| {
        let y = &y[first * width..][..rows.len()];
        vectorise!(for (s, y) in rows.iter_mut().zip(y) {
            *s += y;
        });
    });
    with_backward(&[a, b], sum, a.shape(), |_, dy| Ok(vec![Some(dy.clone()), Some(dy.clone())]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ops::conv1d;
    use crate::ops::dot::Wide;
    use crate::ops::matrix::{Kept, Stored};
    use crate::ops::rounding::{Drift, unit};
    use candle_core::{DType, Device, Var};

    /// `[outs, ins]`-sized numbers as a file would have them, `odd` bytes into it, and as a tensor of the same numbers.
    fn stored(rows: usize, columns: usize, kept: Kept, odd: usize) -> Result<(Matrix, Tensor)> {
        let exact = Tensor::randn(0f32, 1.0, (rows, columns), &Device::Cpu)?.to_dtype(kept.dtype())?;
        let values = exact.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let mut bytes = vec![0u8; odd];
        for v in values {
            match kept {
                Kept::F32 => bytes.extend(v.to_le_bytes()),
                Kept::F16 => bytes.extend(half::f16::from_f32(v).to_le_bytes()),
                Kept::Bf16 => bytes.extend(half::bf16::from_f32(v).to_le_bytes()),
            }
        }
        let range = odd..bytes.len();
        Ok((Stored::new(Arc::new(bytes), range, kept, &[rows, columns])?.into(), exact.to_dtype(DType::F32)?))
    }

    /// Every layout in which a linear layer of `ins` and `outs` may lie, as numbers and as a tensor.
    fn layouts(ins: usize, outs: usize, kept: Kept, odd: usize) -> Result<Vec<(Matrix, Tensor)>> {
        let (in_out, dense) = stored(ins, outs, kept, odd)?;
        let (out_in, dense_t) = stored(outs, ins, kept, odd)?;
        let (fused, dense_3) = stored(ins, 3 * outs, kept, odd)?;
        let (stacked, dense_s) = stored(3 * outs, ins, kept, odd)?;
        Ok(vec![
            (in_out, dense),
            (out_in.t()?, dense_t.t()?),
            (fused.narrow(1, outs, outs)?, dense_3.narrow(1, outs, outs)?),
            (stacked.narrow(0, outs, outs)?.t()?, dense_s.narrow(0, outs, outs)?.t()?),
        ])
    }

    fn bits(x: &Tensor) -> Result<Vec<u32>> {
        Ok(x.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
    }

    fn max_diff(a: &Tensor, b: &Tensor) -> Result<f32> {
        Ok((a - b)?.abs()?.max_all()?.to_scalar::<f32>()?)
    }

    /// How far apart two products with `map` in f32 may be.
    fn between(map: &Linear, x: &Tensor) -> Result<f64> {
        let wide = |x: &Tensor| Ok(x.to_dtype(DType::F64)?);
        let drift = Drift::of(&map.plain(x)?, &map.map(&wide)?.plain(&wide(x)?)?)?;
        // Few outputs may all be nearer to f64 than the order of their sums explains. Of n terms of any sign, partial sums grow as the root
        // of their number, so roundings of a sum one after another come to u n rms / 6^0.5: two such sums lie within 7 deviations of each
        // other where 4 times u n rms is allowed.
        let squared = |x: &Tensor| Ok(x.to_dtype(DType::F64)?.sqr()?);
        let squares = map.map(&squared)?.plain(&squared(x)?)?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
        let order = 4.0 * unit(DType::F32) * (x.dim(1)? as f64 * squares).sqrt();
        Ok(drift.allowed().max(order))
    }

    #[test]
    fn fused_equals_plain_for_every_layout() -> Result<()> {
        for (t, ins, outs) in [
            (1, 3, 5),
            (1, 500, 70),
            (1, 4100, 21),
            (3, 1100, 70),
            (8, 300, 101),
            (15, 48, 144),
            (70, 33, 17),
            (40, 200, 301),
            (33, 1300, 150),
        ] {
            let x = Tensor::randn(0f32, 1.0, (t, ins), &Device::Cpu)?;
            let bias = Some(Tensor::randn(0f32, 1.0, outs, &Device::Cpu)?);
            for (_, weight) in layouts(ins, outs, Kept::F32, 0)? {
                for bias in [bias.clone(), None] {
                    let map = Linear::new(weight.clone(), bias);
                    let (fused, plain, allowed) = (map.fused(&x)?, map.plain(&x)?, between(&map, &x)?);
                    let apart = Drift::of(&fused, &plain)?.drift;
                    assert!(apart <= allowed, "{t} {ins} {outs}: {apart:e}, allowed {allowed:e}");
                }
            }
        }
        Ok(())
    }

    /// Numbers where they lie, in any format and layout, aligned or not, give the bits of the same numbers in a tensor.
    ///
    /// Invariant: Weights read in place from the file, in 32 or 16 bits, aligned or not, give the same bits as tensors with those
    /// numbers, and pass the same gradients.
    #[test]
    fn numbers_that_are_not_copied_give_the_bits_of_a_tensor() -> Result<()> {
        let same = |what: &str, a: &Tensor, b: &Tensor| -> Result<()> {
            assert_eq!(a.dims(), b.dims(), "{what}");
            assert!(bits(a)? == bits(b)?, "{what}: {}", max_diff(a, b)?);
            Ok(())
        };
        // Rows that our own kernels multiply in every layout, where this machine has their instructions.
        let own = if Wide::here().is_some() { conv1d::MAX_ROWS } else { 1 };
        for kept in [Kept::F32, Kept::F16, Kept::Bf16] {
            for (t, ins, outs) in [
                (1, 3, 5),
                (1, 500, 70),
                (1, 4100, 21),
                (3, 1100, 70),
                (8, 300, 101),
                (15, 48, 144),
                (32, 1100, 70),
                (33, 1100, 70),
                (70, 33, 300),
                (129, 2048, 8),
            ] {
                let x = Tensor::randn(0f32, 1.0, (t, ins), &Device::Cpu)?;
                let bias = Some(Tensor::randn(0f32, 1.0, outs, &Device::Cpu)?);
                // Where bytes begin matters to how they are read, which few rows show: many are slow where instructions are emulated.
                let (odds, biases) = match t <= own.max(8) {
                    true => (vec![0, 1, 2], vec![bias.clone(), None]),
                    false => (vec![t % 3], vec![bias]),
                };
                for odd in odds {
                    for (i, (numbers, tensor)) in layouts(ins, outs, kept, odd)?.into_iter().enumerate() {
                        let what = format!("{kept:?} {t} {ins} {outs} layout {i}, {odd} bytes off");
                        same(&what, &numbers.tensor()?, &tensor)?;
                        let ids = [2, 0, outs as u32 - 1];
                        let columns = [numbers.columns(&ids)?, Matrix::from(tensor.clone()).columns(&ids)?];
                        same(&what, &columns[0], &columns[1])?;
                        assert_eq!(columns[0].stride(), columns[1].stride(), "{what}");
                        same(&what, &numbers.rows(&[1, 2, 0])?, &Matrix::from(tensor.clone()).rows(&[1, 2, 0])?)?;
                        for bias in biases.clone() {
                            let [a, b] = [numbers.clone(), tensor.clone().into()].map(|w| Linear::new(w, bias.clone()));
                            same(&what, &a.plain(&x)?, &b.plain(&x)?)?;
                            let (a, b) = (a.fused(&x)?, b.fused(&x)?);
                            match ins <= 512 || t <= own {
                                true => same(&what, &a, &b)?,
                                // On machines with other caches, gemm's sums of 2048 products are in another order than
                                // those of panels.
                                false => {
                                    let allowed = between(&Linear::new(tensor.clone(), bias), &x)?;
                                    assert!(Drift::of(&a, &b)?.drift <= allowed, "{what}")
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Invariant: as `numbers_that_are_not_copied_give_the_bits_of_a_tensor`.
    #[test]
    fn gradients_pass_numbers_as_they_pass_tensors() -> Result<()> {
        for kept in [Kept::F32, Kept::F16, Kept::Bf16] {
            for t in [5, 40] {
                for (numbers, tensor) in layouts(48, 70, kept, 0)? {
                    let x = Var::randn(0f32, 1.0, (t, 48), &Device::Cpu)?;
                    let bias = Var::randn(0f32, 1.0, 70, &Device::Cpu)?;
                    let gradients = |weight: Matrix| -> Result<_> {
                        let y = Linear::new(weight, Some(bias.as_tensor().clone())).fused(&x)?;
                        let gradients = y.sqr()?.sum_all()?.backward()?;
                        Ok([x.as_tensor(), bias.as_tensor()].map(|v| gradients.get(v).unwrap().clone()))
                    };
                    let (got, want) = (gradients(numbers)?, gradients(tensor.into())?);
                    assert!(bits(&got[0])? == bits(&want[0])? && bits(&got[1])? == bits(&want[1])?, "{kept:?} {t}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn bytes_that_are_not_the_shapes_are_refused() {
        let of = |bytes, dims: &[usize]| Stored::new(Arc::new(vec![0u8; 12]), bytes, Kept::F16, dims).is_err();
        assert!(of(0..12, &[2, 2]) && of(0..14, &[7]) && of(4..4, &[]) && of(0..8, &[usize::MAX, 4]));
        assert!(!of(2..10, &[2, 2]));
        let x: Matrix = Stored::new(Arc::new(vec![0u8; 12]), 0..12, Kept::F16, &[2, 3]).unwrap().into();
        assert!(x.narrow(1, 2, 2).is_err() && x.narrow(2, 0, 1).is_err() && x.reshape(&[4]).is_err());
        assert!(x.rows(&[2]).is_err() && x.columns(&[3]).is_err() && x.reshape(&[6]).is_ok_and(|x| x.t().is_err()));
    }
}
