//! Gradients through the kernels: a kernel's value enters candle's graph together with the backward pass through it.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

use crate::error::{Error, Result};

/// Whether a gradient may be asked of what is made of these.
pub(crate) fn tracked(inputs: &[&Tensor]) -> bool {
    inputs.iter().any(|x| x.track_op())
}

/// The tensor of a value that a kernel made of `inputs`, one to three f32 tensors on the CPU. Where a gradient may be asked
/// for, `backward` gives, from the inputs and the gradient of the value (contiguous), the gradient of each input; it is
/// left out for an input that nobody can ask for, which [`tracked`] tells.
pub(super) fn with_backward<B>(
    inputs: &[&Tensor],
    value: Vec<f32>,
    shape: impl Into<Shape>,
    backward: B,
) -> Result<Tensor>
where
    B: Fn(&[&Tensor], &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
{
    let (first, shape) = (inputs[0], shape.into());
    if !tracked(inputs) {
        return Ok(Tensor::from_vec(value, shape, first.device())?);
    }
    let made = Made { value: Mutex::new(Some(value)), shape, n: inputs.len(), backward };
    // What has fewer inputs names its first again, without a gradient.
    let input = |i| inputs.get(i).copied().unwrap_or(first);
    Ok(first.apply_op3(input(1), input(2), made)?)
}

struct Made<B> {
    value: Mutex<Option<Vec<f32>>>,
    shape: Shape,
    n: usize,
    backward: B,
}

impl<B: Fn(&[&Tensor], &Tensor) -> Result<Vec<Option<Tensor>>>> CustomOp3 for Made<B> {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let value = self.value.lock().map(|mut value| value.take()).ok().flatten();
        let value = value.ok_or_else(|| candle_core::Error::Msg("a kernel's value was asked for twice".into()))?;
        Ok((CpuStorage::F32(value), self.shape.clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut gradients = (self.backward)(&[a, b, c][..self.n], &gradient.contiguous()?)
            .map_err(|e: Error| candle_core::Error::wrap(e))?
            .into_iter();
        let mut next = || gradients.next().flatten();
        Ok((next(), next(), next()))
    }
}
