//! What reads the last stream: how far a vector in the stream pushes a token.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::arch::spec::{Gain, NormKind};
use crate::error::Result;
use crate::model::Model;
use crate::ops::linear::Linear;
use crate::ops::norm::NormWeights;
use crate::ops::numbers;
use crate::ops::simd::{self, vectorise};

/// Tokens whose columns of the unembedding are summed at a time.
const TILE: usize = 4096;

/// A model's unembedding and final norm.
pub(in crate::analysis) struct Reader<'a> {
    model: &'a Model,
    /// The mean column of the unembedding, and the mean of its bias.
    mean: Vec<f64>,
    mean_bias: f64,
    gain: Vec<f64>,
    bias: Vec<f64>,
}

/// What pushes one token.
#[derive(Clone)]
pub(in crate::analysis) struct Direction {
    /// Its column of the unembedding less the mean column: what it reads after the norm.
    pub after: Vec<f64>,
    /// The same before the norm, but for the norm's scale.
    pub before: Vec<f64>,
    /// What `after` reads of the norm's bias.
    pub norm_bias: f64,
    /// That and the bias of the unembedding, less its mean.
    pub bias: f64,
}

impl<'a> Reader<'a> {
    pub fn new(model: &'a Model) -> Result<Self> {
        let unembed = &model.weights().unembed;
        let (d, v) = unembed.weight.dims2()?;
        let mut mean = vec![0.0; d];
        for first in (0..v).step_by(TILE) {
            let n = TILE.min(v - first);
            let columns = Linear::new(unembed.weight.narrow(1, first, n)?.t()?, None);
            let ones = Tensor::ones((1, n), model.dtype(), model.device())?;
            let sums = numbers(&columns.apply(model.kernels(), &ones)?)?;
            mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += f64::from(sum) / v as f64);
        }
        let vector = |x: Option<&Tensor>| x.map(wide).transpose();
        let bias = vector(unembed.bias.as_ref())?.unwrap_or_default();
        let norm = model.weights().final_norm.as_ref();
        Ok(Self {
            model,
            mean,
            mean_bias: bias.iter().sum::<f64>() / v as f64,
            gain: norm.map_or_else(|| Ok(vec![1.0; d]), |norm| gain(norm, d))?,
            bias: vector(norm.and_then(|norm| norm.bias.as_ref()))?.unwrap_or_else(|| vec![0.0; d]),
        })
    }

    /// What pushes these tokens.
    pub fn directions(&self, ids: impl IntoIterator<Item = u32>) -> Result<BTreeMap<u32, Direction>> {
        let mut ids: Vec<u32> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let unembed = &self.model.weights().unembed;
        let (columns, d) = (wide(&unembed.weight.columns(&ids)?.t()?.contiguous()?)?, self.mean.len());
        let biases = unembed.bias.as_ref().map(wide).transpose()?;
        let of = |(id, column): (u32, &[f64])| {
            let after: Vec<f64> = column.iter().zip(&self.mean).map(|(x, mean)| x - mean).collect();
            let mut before: Vec<f64> = after.iter().zip(&self.gain).map(|(u, g)| u * g).collect();
            if self.model.weights().final_norm.as_ref().is_some_and(|norm| norm.kind == NormKind::Layer) {
                let mean = before.iter().sum::<f64>() / d as f64;
                before.iter_mut().for_each(|x| *x -= mean);
            }
            let norm_bias = after.iter().zip(&self.bias).map(|(u, b)| u * b).sum::<f64>();
            let own = biases.as_ref().map_or(0.0, |biases| biases[id as usize] - self.mean_bias);
            (id, Direction { after, before, norm_bias, bias: norm_bias + own })
        };
        Ok(ids.iter().copied().zip(columns.chunks_exact(d)).map(of).collect())
    }

    /// What the unembedding reads of a vector in the stream, but for the final norm's scale and bias.
    pub fn read(&self, x: &[f64]) -> Vec<f64> {
        let layer = self.model.weights().final_norm.as_ref().is_some_and(|norm| norm.kind == NormKind::Layer);
        let mean = if layer { x.iter().sum::<f64>() / x.len() as f64 } else { 0.0 };
        x.iter().zip(&self.gain).map(|(x, g)| (x - mean) * g).collect()
    }

    /// What the final norm divides rows `[t, d]` by: 1 where there is none.
    pub fn scales(&self, x: &Tensor) -> Result<Vec<f64>> {
        match &self.model.weights().final_norm {
            Some(norm) => wide(&norm.scale(self.model.kernels(), x)?),
            None => Ok(vec![1.0; x.dim(0)?]),
        }
    }
}

/// What a norm multiplies by, whatever its weight is stored as: 1 where it has none.
pub(in crate::analysis) fn gain(norm: &NormWeights, d: usize) -> Result<Vec<f64>> {
    let more = if norm.meaning == Gain::OnePlusWeight { 1.0 } else { 0.0 };
    let gain = norm.gain.as_ref().map(wide).transpose()?;
    Ok(gain.map_or_else(|| vec![1.0; d], |gain| gain.iter().map(|g| g + more).collect()))
}

/// What a vector of a direction reads of a vector in the stream.
pub(in crate::analysis) fn along(direction: &[f64], x: &[f32]) -> f64 {
    vectorise!(simd::wide_sum(direction, x, |d, x| d * x))
}

fn wide(x: &Tensor) -> Result<Vec<f64>> {
    Ok(numbers(x)?.into_iter().map(f64::from).collect())
}
