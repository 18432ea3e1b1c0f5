//! Effective weights: maps as they read the stream and write to it, so that they can be multiplied with each other.
//!
//! A norm's gain becomes part of the maps that read through it, and so does its centring (layer norm alone); a post-norm's becomes part of
//! the map before it; the final norm's part of the unembedding. This changes no number of the model but for norms' scales, which depend on
//! the text and are held at 1, and biases, which are left out. (TransformerLens's `fold_ln` does the same to a model.)

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::Model;
use crate::error::Result;
use crate::ops::linear::Linear;
use crate::ops::norm::NormWeights;
use crate::ops::wide;

/// The maps of one block's attention, in f64 on the CPU: each row is a direction of the stream.
#[derive(Clone, Debug)]
pub struct HeadMaps {
    /// `[h, e, d]`: what each query head's queries read.
    pub q: Tensor,
    /// `[g, e, d]`: what each kv head's keys read.
    pub k: Tensor,
    /// `[g, e, d]`: what each kv head's values read.
    pub v: Tensor,
    /// `[h, e, d]`: what each query head writes for each of its values.
    pub o: Tensor,
}

impl Model {
    /// The effective maps of the attention of block `layer`. Gains of norms on queries and keys are part of those, and a factor on what
    /// the block writes of `o`. Rotation is not: queries and keys are those of distance 0. Clamps are left out.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn head_maps(&self, layer: usize) -> Result<HeadMaps> {
        let (block, w) = (&self.spec.blocks[layer], &self.weights.blocks[layer]);
        let (a, d) = (&block.attention.inner, self.spec.d_model);
        let by_head = |rows: Tensor| -> Result<Tensor> { Ok(rows.reshape(((), a.d_head, d))?) };
        let queries =
            normed(&reads(w.ln1.as_ref(), &w.q)?, w.q_norm.as_ref(), a.d_head, a.qk_norm.map(|n| n.per_head))?;
        let keys = normed(&reads(w.ln1.as_ref(), &w.k)?, w.k_norm.as_ref(), a.d_head, a.qk_norm.map(|n| n.per_head))?;
        let mut written = wide(&w.o.weight.tensor()?)?;
        if let Some(norm) = &w.ln1_post {
            written = norm.ahead(&written)?;
        }
        if let Some(factor) = block.residual_scale {
            written = (written * factor)?;
        }
        Ok(HeadMaps {
            q: by_head(queries)?,
            k: by_head(keys)?,
            v: by_head(reads(w.ln1.as_ref(), &w.v)?)?,
            o: by_head(written)?,
        })
    }

    /// What these tokens write to the stream before the first block, without positions: `[tokens, d]`.
    ///
    /// # Errors
    /// When there is no such token.
    pub fn embedded(&self, ids: &[u32]) -> Result<Tensor> {
        let mut x = self.weights.embed.rows(ids)?;
        if let Some(scale) = self.spec.embedding.scale {
            x = (x * scale)?;
        }
        self.embedding_write(self.kernels(), x)
    }

    /// What directions of the stream `[n, d]` read of what consecutive tokens write to it ([`Model::embedded`]): `[n, tokens]`.
    ///
    /// # Errors
    /// When the tokens are not all in the vocabulary, or the directions have another width.
    pub fn along_embedded(&self, directions: &Tensor, tokens: Range<usize>) -> Result<Tensor> {
        let directions = self.placed(directions)?;
        if self.weights.embed_norm.is_some() {
            let ids: Vec<u32> = tokens.map(|id| id as u32).collect();
            return Ok(directions.matmul(&self.embedded(&ids)?.t()?)?);
        }
        let rows = self.weights.embed.narrow(0, tokens.start, tokens.len())?;
        let read = Linear::new(rows.t()?, None).apply(self.kernels(), &directions)?;
        Ok(match self.spec.embedding.scale {
            Some(scale) => (read * scale)?,
            None => read,
        })
    }

    /// What vectors in the last stream `[n, d]` add to the logits of consecutive tokens by the effective unembedding, before factor and
    /// cap: `[n, tokens]`.
    ///
    /// # Errors
    /// When the tokens are not all in the vocabulary, or the vectors have another width.
    pub fn along_unembedding(&self, vectors: &Tensor, tokens: Range<usize>) -> Result<Tensor> {
        let vectors =
            self.weights.final_norm.as_ref().map_or_else(|| Ok(vectors.clone()), |norm| norm.ahead(&wide(vectors)?))?;
        let columns = self.weights.unembed.weight.narrow(1, tokens.start, tokens.len())?;
        Linear::new(columns, None).apply(self.kernels(), &self.placed(&vectors)?)
    }

    /// The columns of these tokens of the effective unembedding, as rows `[tokens, d]` in f64 on the CPU.
    ///
    /// # Errors
    /// When there is no such token.
    pub fn effective_unembedding(&self, ids: &[u32]) -> Result<Tensor> {
        let columns = wide(&self.weights.unembed.weight.columns(ids)?)?.t()?;
        self.weights.final_norm.as_ref().map_or_else(|| Ok(columns.clone()), |norm| norm.back(&columns))
    }

    /// The product of the effective unembedding and the embedding, over tokens that are in both: `[d, d]` in f64, from what tokens
    /// write to what adds to their own logits. `at_once` tokens are multiplied at a time.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn own_logits(&self, at_once: usize) -> Result<Tensor> {
        let d = self.spec.d_model;
        let n = self.spec.d_vocab.min(self.spec.unembedding.d_vocab_out);
        let mut sum = Tensor::zeros((d, d), DType::F64, &Device::Cpu)?;
        for first in (0..n).step_by(at_once.max(1)) {
            let ids: Vec<u32> = (first as u32..(first + at_once.max(1)).min(n) as u32).collect();
            let columns = self.weights.unembed.weight.narrow(1, first, ids.len())?.tensor()?.contiguous()?;
            let written = Linear::new(self.embedded(&ids)?.contiguous()?, None);
            sum = (sum + wide(&written.apply(self.kernels(), &columns)?)?)?;
        }
        match &self.weights.final_norm {
            Some(norm) => Ok(norm.back(&sum.t()?)?.t()?.contiguous()?),
            None => Ok(sum),
        }
    }

    /// Numbers where and as this model computes.
    fn placed(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.to_dtype(self.dtype)?.to_device(&self.device)?.contiguous()?)
    }
}

/// What a map reads of the stream through a norm: `[out, d]`.
fn reads(norm: Option<&NormWeights>, map: &Linear) -> Result<Tensor> {
    let rows = wide(&map.weight.tensor()?.t()?)?;
    norm.map_or_else(|| Ok(rows.contiguous()?), |norm| norm.back(&rows)?.contiguous().map_err(Into::into))
}

/// The same with the norm on what it gives, of each head or of all together.
fn normed(rows: &Tensor, norm: Option<&NormWeights>, d_head: usize, per_head: Option<bool>) -> Result<Tensor> {
    let Some(norm) = norm else { return Ok(rows.clone()) };
    let (outs, d) = rows.dims2()?;
    let width = if per_head.unwrap_or(true) { d_head } else { outs };
    let by_input = rows.t()?.contiguous()?.reshape(((), width))?;
    Ok(norm.ahead(&by_input)?.reshape((d, outs))?.t()?.contiguous()?)
}
