//! The same model in another dtype: every tensor of it, and nothing else.

use candle_core::{DType, Tensor};

use super::Model;
use crate::error::Result;
use crate::ops::linear::Linear;
use crate::ops::norm::NormWeights;

impl Model {
    /// The same weights in `dtype`, in which everything is then computed: by the plain path, unless that is f32 on the CPU.
    ///
    /// In f64 this is what the same weights would say without the rounding of f32. Rotary frequencies and ALiBi slopes stay
    /// rounded to f32: they are part of the model.
    ///
    /// ```
    /// use candle_core::DType;
    /// use pellucid::model::{Batch, Model};
    /// # fn main() -> pellucid::Result<()> {
    /// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt2");
    /// let exact = Model::load(dir.as_ref())?.to_dtype(DType::F64)?;
    /// assert_eq!(exact.forward(&Batch::one([3, 1, 4]), &mut [])?.dtype(), DType::F64);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When a tensor cannot be converted.
    pub fn to_dtype(&self, dtype: DType) -> Result<Model> {
        let mut weights = self.weights.clone().on(&self.device, dtype)?;
        if self.spec.unembedding.tied {
            // One matrix, not two.
            weights.unembed = Linear::new(weights.embed.t()?, weights.unembed.bias);
        }
        Model::new(self.spec.clone(), weights)
    }
}

/// What is done to each tensor.
type Each<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;

impl Linear {
    /// The linear layer of `f(weight)` and `f(bias)`.
    ///
    /// # Errors
    /// Whatever `f` says.
    pub fn map(&self, f: Each) -> Result<Self> {
        Ok(Self { weight: f(&self.weight.tensor()?)?.into(), bias: self.bias.as_ref().map(f).transpose()? })
    }
}

impl NormWeights {
    /// The norm of `f(gain)` and `f(bias)`.
    ///
    /// # Errors
    /// Whatever `f` says.
    pub fn map(&self, f: Each) -> Result<Self> {
        let (gain, bias) = (self.gain.as_ref().map(f).transpose()?, self.bias.as_ref().map(f).transpose()?);
        Ok(Self { gain, bias, ..self.clone() })
    }
}
