//! Directions of the stream: how far something that is written to it pushes a logit, the final norm's scale held.
//!
//! Logits are defined up to a constant, so the logit of a token is told from the mean logit of the vocabulary, or from that of a
//! foil. With `u` the token's column of the unembedding less that, `g` the final norm's gain, `c` its centring (layer norm
//! alone) and `s` its scale at a row, a write `x` to that row pushes the logit by `u · (g * c(x)) / s`; this is linear in `x`, and
//! pushes of writes add up to the logit, but for what biases add (Elhage et al. 2021, "A mathematical framework"; nostalgebraist
//! 2020). Before the factor and the cap on logits, where a model has them.

use candle_core::{DType, Device, Tensor};

use super::Model;
use crate::error::{Error, Result};
use crate::ops::matrix::Matrix;
use crate::ops::wide;

/// Columns of the unembedding that are summed at once.
const AT_ONCE: usize = 4096;

impl Model {
    /// The direction `[d]` along which what is written to the stream pushes the logit of `token`, told from the mean logit, or from
    /// that of `foil`: times what is written, and divided by the final norm's scale at its row, it is the push. With it, what the
    /// biases of norm and unembedding add.
    ///
    /// # Errors
    /// When the unembedding has no such token.
    pub fn toward(&self, token: u32, foil: Option<u32>) -> Result<(Tensor, f64)> {
        let unembed = &self.weights.unembed;
        let column = |id: u32| Ok::<_, Error>(wide(&unembed.weight.columns(&[id])?)?.flatten_all()?);
        let bias = unembed.bias.as_ref().map(|b| Ok::<_, Error>(wide(b)?.to_vec1::<f64>()?)).transpose()?;
        let of_bias = |id: u32| bias.as_ref().map_or(0.0, |b| b[id as usize]);
        let (from, from_bias) = match foil {
            Some(foil) => (column(foil)?, of_bias(foil)),
            None => {
                (mean_column(&unembed.weight)?, bias.as_ref().map_or(0.0, |b| b.iter().sum::<f64>() / b.len() as f64))
            }
        };
        let u = (column(token)? - from)?;
        let mut constant = of_bias(token) - from_bias;
        let Some(norm) = &self.weights.final_norm else { return Ok((u, constant)) };
        if let Some(b) = &norm.bias {
            constant += (wide(b)? * &u)?.sum_all()?.to_scalar::<f64>()?;
        }
        Ok((norm.back(&u)?, constant))
    }

    /// The direction before what block `layer` does to what its attention writes, from that in the stream: before its factor and its
    /// norm, where it has them, whose scale at a row is still to be divided by. `[d]` to `[d]`.
    ///
    /// # Errors
    /// When the direction has another width.
    pub fn toward_attention(&self, layer: usize, along: &Tensor) -> Result<Tensor> {
        let along = (along * self.spec.blocks[layer].residual_scale.unwrap_or(1.0))?;
        self.weights.blocks[layer].ln1_post.as_ref().map_or_else(|| Ok(along.clone()), |norm| norm.back(&along))
    }
}

/// The mean of the columns of a map, `[in]`, in f64.
fn mean_column(map: &Matrix) -> Result<Tensor> {
    let (d, n) = map.dims2()?;
    let mut sum = Tensor::zeros(d, DType::F64, &Device::Cpu)?;
    for first in (0..n).step_by(AT_ONCE) {
        sum = (sum + wide(&map.narrow(1, first, AT_ONCE.min(n - first))?.tensor()?)?.sum(1)?)?;
    }
    Ok((sum / n as f64)?)
}
