//! What each head adds to the stream.

use candle_core::Tensor;
use rayon::prelude::*;

use super::{Measure, ResidualHeadRow, Said, Together};
use crate::error::Result;
use crate::hook::{HookPoint, Site};
use crate::ops::norm::NormWeights;
use crate::ops::{length, numbers};

impl Together<'_> {
    /// The heads' rows. `attention` is for each position the push of each block's attention.
    pub(super) fn heads(
        &self,
        said: &[Said],
        measures: &[Measure<'_>],
        attention: &[Vec<f64>],
    ) -> Result<Vec<ResidualHeadRow>> {
        let (n, d, spec) = (self.rows.len(), self.model.spec().d_model, self.model.spec());
        let mut rows = vec![vec![]; n];
        for (layer, weights) in self.model.weights().blocks.iter().enumerate() {
            let n_heads = spec.blocks[layer].attention.inner.n_heads;
            let result = weights.result(&self.picked(HookPoint::block(layer, Site::Z))?)?;
            let bias = match &weights.o.bias {
                Some(bias) => bias.unsqueeze(0)?.repeat((n, 1))?,
                None => Tensor::zeros((n, d), result.dtype(), result.device())?,
            };
            let (mut heads, mut bias) = (result.reshape((n * n_heads, d))?, bias);
            if let Some(norm) = &weights.ln1_post {
                // Each head through the norm as all of them together went through it.
                let scale = self.picked(HookPoint::block(layer, Site::Ln1PostScale))?;
                let of_heads = scale.repeat((1, n_heads))?.reshape((n * n_heads, 1))?;
                let alone = NormWeights { bias: None, ..norm.clone() };
                heads = alone.apply(self.model.kernels(), &heads, Some(&of_heads))?;
                bias = norm.apply(self.model.kernels(), &bias, Some(&scale))?;
            }
            let factor = spec.blocks[layer].residual_scale.unwrap_or(1.0);
            let (heads, bias) = (numbers(&(heads * factor)?)?, numbers(&(bias * factor)?)?);
            // Of each position what its heads and the bias push, in this order: their lengths, pushes, and pushes beside the foil.
            let pushed: Vec<Vec<_>> = (measures.par_iter().enumerate())
                .map(|(r, measure)| {
                    let writes = heads[r * n_heads * d..(r + 1) * n_heads * d].chunks_exact(d);
                    let all = writes.chain([&bias[r * d..(r + 1) * d]]);
                    all.map(|write| (length(write), measure.pushes(write))).collect()
                })
                .collect();
            for (r, (rows, pushed)) in rows.iter_mut().zip(pushed).enumerate() {
                let mut total = 0.0;
                for (head, (length, (push, push_foil))) in pushed.into_iter().enumerate() {
                    let head = (head < n_heads).then_some(head as u32);
                    total += push;
                    let gap = head.is_none().then(|| measures[r].gap(total, attention[r][layer]));
                    rows.push(self.head_row((r, &said[r]), (layer, head, length), (push, push_foil, gap)));
                }
            }
        }
        Ok(rows.into_iter().flatten().collect())
    }

    fn head_row(
        &self,
        (r, said): (usize, &Said),
        (layer, head, write_norm): (usize, Option<u32>, f64),
        (push, push_foil, gap): (f64, Option<f64>, Option<f64>),
    ) -> ResidualHeadRow {
        let prompt = &self.prompts[self.rows[r].prompt];
        ResidualHeadRow {
            prompt: prompt.index,
            prompt_id: prompt.id.clone(),
            pos: self.rows[r].pos as u32,
            layer: layer as u32,
            kind: if head.is_some() { "head" } else { "bias" }.to_owned(),
            head,
            write_norm,
            target: (self.spell)(said.target),
            target_id: said.target,
            push,
            push_foil,
            gap,
        }
    }
}
