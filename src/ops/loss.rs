//! Cross-entropy of predictions.

use candle_core::{D, Tensor};
use rayon::prelude::*;

use super::gradient::with_backward;
use super::{Kernels, par_rows, simd, values};
use crate::error::{Error, Result};
use crate::ops::simd::vectorise;

/// `-ln p(target)` of each row, in nats: logits `[t, v]` and a target for each row to `[t]`.
///
/// # Errors
/// When there are not as many targets as rows, or one is outside the vocabulary.
pub fn cross_entropy(kernels: Kernels, logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (t, v) = logits.dims2()?;
    if targets.len() != t || targets.iter().any(|&target| target as usize >= v) {
        return Err(Error::bad_input(format!(
            "{} targets do not fit logits of {t} rows and {v} tokens",
            targets.len()
        ))
        .hint("give one target for each row, each a token of the vocabulary"));
    }
    match kernels {
        Kernels::Fused => fused(logits, targets),
        Kernels::Plain => plain(logits, targets),
    }
}

/// Composed of operations that have gradients, as in [`super::attention`].
fn plain(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let centred = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = centred.exp()?.sum(D::Minus1)?.log()?;
    let targets = Tensor::new(targets, logits.device())?.unsqueeze(1)?;
    Ok((log_sum - centred.gather(&targets, 1)?.squeeze(1)?)?)
}

fn fused(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let v = logits.dims2()?.1;
    let logit_values = values(logits)?;
    let mut losses = vec![0f32; targets.len()];
    let block = (16 * 1024usize).div_ceil(v.max(1));
    losses.par_chunks_mut(block).enumerate().for_each(|(i, losses)| {
        vectorise!(for (j, loss) in losses.iter_mut().enumerate() {
            let row = i * block + j;
            let logits = &logit_values[row * v..][..v];
            let top = simd::max(logits);
            let sum = simd::sum(
                logits,
                #[inline(always)]
                |x| simd::exp(x - top),
            );
            *loss = sum.ln() + top - logits[targets[row] as usize];
        });
    });
    let targets = targets.to_vec();
    with_backward(&[logits], losses, targets.len(), move |inputs, dy| {
        let (logits, dy) = (inputs[0], values(dy)?);
        // The gradient of the logits: what was predicted less what was true.
        let mut d = values(logits)?.to_vec();
        par_rows(&mut d, v, |first, rows| {
            vectorise!(for (i, row) in rows.chunks_exact_mut(v).enumerate() {
                simd::softmax(row);
                row[targets[first + i] as usize] -= 1.0;
                let dy = dy[first + i];
                for p in row {
                    *p *= dy;
                }
            });
        });
        Ok(vec![Some(Tensor::from_vec(d, logits.shape(), logits.device())?)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rounding::Drift;
    use candle_core::{DType, Device, Var};

    #[test]
    fn fused_equals_plain_with_its_gradient() -> Result<()> {
        let logits = Var::from_tensor(&Tensor::randn(0f32, 4.0, (37, 1001), &Device::Cpu)?)?;
        let targets: Vec<u32> = (0..37).map(|i| i * 27).collect();
        let all = [(Kernels::Fused, DType::F32), (Kernels::Plain, DType::F32), (Kernels::Plain, DType::F64)];
        let [(a, da), (b, db), (exact, dexact)] = all.map(|(kernels, dtype)| {
            let losses = cross_entropy(kernels, &logits.to_dtype(dtype).unwrap(), &targets).unwrap();
            // Rows that count differently.
            let weights = Tensor::arange(1f32, 38.0, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let grads = (&losses * weights).unwrap().sum_all().unwrap().backward().unwrap();
            (losses, grads.get(&logits).unwrap().clone())
        });
        for (what, fused, plain, exact) in [("losses", a, b, exact), ("gradients", da, db, dexact)] {
            let (apart, allowed) = (Drift::of(&fused, &plain)?.drift, Drift::of(&plain, &exact)?.allowed());
            assert!(apart <= allowed, "{what}: {apart:e}, allowed {allowed:e}");
        }
        assert!(cross_entropy(Kernels::Fused, &logits, &targets[1..]).is_err());
        Ok(())
    }
}
