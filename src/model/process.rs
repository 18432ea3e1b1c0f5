//! Weights processed in TransformerLens's four ways. Spec and weights change together; what the model says does not.

use candle_core::Tensor;

use super::weights::{BlockWeights, FeedForwardWeights, Weights};
use super::{Model, Processing};
use crate::arch::Spec;
use crate::arch::spec::{AddedTo, Arrangement, Block, FeedForward, Gain, Norm, NormKind};
use crate::error::Result;
use crate::ops::linear::Linear;
use crate::ops::norm::NormWeights;

impl Model {
    /// The same model with its weights processed in each of these ways, in the order of [`Processing::ALL`]; its spec says
    /// which. Probabilities stay the same, within the rounding of the dtype.
    ///
    /// ```
    /// use pellucid::model::{Model, Processing};
    /// # fn main() -> pellucid::Result<()> {
    /// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt2");
    /// let model = Model::load(dir.as_ref())?.processed(&[Processing::FoldLn, Processing::CenterUnembed])?;
    /// assert!(model.weights().blocks[0].ln1.as_ref().is_some_and(|norm| norm.gain.is_none()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When one of them is not defined for this model: it would change what the model says, or there is nothing to process.
    pub fn processed(mut self, how: &[Processing]) -> Result<Self> {
        let (spec, weights) = (&mut self.spec, &mut self.weights);
        for step in Processing::ALL.into_iter().filter(|step| how.contains(step)) {
            match step {
                Processing::FoldLn => fold_ln(spec, weights)?,
                Processing::CenterWriting => center_writing(spec, weights)?,
                Processing::CenterUnembed => center_unembed(spec, weights)?,
                Processing::FoldValueBiases => fold_value_biases(spec, weights)?,
            }
            if !spec.processed.contains(&step) {
                spec.processed.push(step);
            }
        }
        Ok(self)
    }
}

/// Whether queries and keys read positions beside what their norm gives, so that its gain is not theirs alone.
fn shortformer(spec: &Spec) -> bool {
    spec.embedding.positions.is_some_and(|p| p.added_to == AddedTo::QueriesAndKeys)
}

fn fold_ln(spec: &mut Spec, w: &mut Weights) -> Result<()> {
    if shortformer(spec) {
        return Err(
            Processing::FoldLn.undefined("positions are added after its norms, where a gain would reach them too")
        );
    }
    let before_mlp = |b: &BlockWeights| b.mlp.as_ref().is_some_and(|m| m.ln2.is_some());
    if w.final_norm.is_none() && !w.blocks.iter().any(|b| b.ln1.is_some() || before_mlp(b)) {
        return Err(Processing::FoldLn.undefined("it has no norms"));
    }
    if spec.blocks.iter().any(|b| b.mlp.as_ref().is_some_and(|m| m.inner.experts().is_some()) && reads_bias(b)) {
        return Err(
            Processing::FoldLn.undefined("its routers have no bias that the bias of a norm could become part of")
        );
    }
    for (spec, w) in spec.blocks.iter_mut().zip(&mut w.blocks) {
        let (ln1, mut mlp) = (w.ln1.take(), w.mlp.as_mut());
        if let Some(norm) = &ln1 {
            for map in [&mut w.q, &mut w.k, &mut w.v] {
                fold(norm, map)?;
            }
            spec.attention.inner.qkv_bias |= norm.bias.is_some();
        }
        let ln2 = mlp.as_mut().and_then(|mlp| mlp.ln2.take());
        let shared = spec.arrangement == Arrangement::ParallelSharedNorm;
        if let (Some(norm), Some(mlp), Some(spec)) = (if shared { &ln1 } else { &ln2 }, mlp, &mut spec.mlp) {
            for map in mlp.inner.readers() {
                fold(norm, map)?;
            }
            if let (FeedForward::Dense(spec), FeedForwardWeights::Dense(w)) = (&mut spec.inner, &mut mlp.inner) {
                if let Some(norm) = w.norm.take() {
                    fold(&norm, &mut w.output)?;
                    w.norm = Some(bare(norm));
                    spec.norm = spec.norm.map(bare_spec);
                }
                // The linear layers of an MLP have biases together.
                spec.bias |= norm.bias.is_some();
                if spec.bias && w.output.bias.is_none() {
                    let d = w.output.weight.dim(1)?;
                    w.output.bias = Some(Tensor::zeros(d, w.output.weight.computes_in(), w.output.weight.device())?);
                }
            }
            mlp.ln2 = ln2.map(bare);
            spec.pre_norm = spec.pre_norm.map(bare_spec);
        }
        w.ln1 = ln1.map(bare);
        spec.attention.pre_norm = spec.attention.pre_norm.map(bare_spec);
    }
    if let Some(norm) = w.final_norm.take() {
        fold(&norm, &mut w.unembed)?;
        (spec.unembedding.tied, spec.unembedding.bias) = (false, spec.unembedding.bias || norm.bias.is_some());
        w.final_norm = Some(bare(norm));
        spec.final_norm = spec.final_norm.map(bare_spec);
    }
    Ok(())
}

/// Whether the norm on what the feed-forward sublayer reads adds a bias.
fn reads_bias(block: &Block) -> bool {
    let norm = match block.arrangement {
        Arrangement::ParallelSharedNorm => block.attention.pre_norm,
        _ => block.mlp.as_ref().and_then(|mlp| mlp.pre_norm),
    };
    norm.is_some_and(|norm| norm.bias)
}

impl FeedForwardWeights {
    /// The maps that read what the sublayer reads.
    fn readers(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::Dense(w) => [&mut w.input].into_iter().chain(&mut w.linear).collect(),
            Self::Experts(w) => {
                let each = w.experts.iter_mut().flat_map(|e| [&mut e.input].into_iter().chain(&mut e.linear));
                [&mut w.router].into_iter().chain(each).collect()
            }
        }
    }

    /// The maps that write what the sublayer writes. What experts write is weighed and added, so a mean of 0 stays 0.
    fn writers(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::Dense(w) => vec![&mut w.output],
            Self::Experts(w) => w.experts.iter_mut().map(|e| &mut e.output).collect(),
        }
    }
}

/// Makes a norm's gain and bias part of a map that reads it: `(n g + b) W = n (g W) + b W`.
fn fold(norm: &NormWeights, map: &mut Linear) -> Result<()> {
    let old = map.weight.tensor()?;
    if let Some(bias) = &norm.bias {
        let more = bias.unsqueeze(0)?.matmul(&old)?.squeeze(0)?;
        map.bias = Some(match &map.bias {
            Some(bias) => (bias + more)?,
            None => more,
        });
    }
    let mut weight = old.clone();
    if let Some(gain) = &norm.gain {
        let gain = if norm.meaning == Gain::OnePlusWeight { (gain + 1.0)? } else { gain.clone() };
        weight = weight.broadcast_mul(&gain.unsqueeze(1)?)?;
    }
    if norm.kind == NormKind::Layer {
        weight = weight.broadcast_sub(&weight.mean_keepdim(0)?)?;
    }
    map.weight = laid_as(&old, weight)?.into();
    Ok(())
}

fn bare(norm: NormWeights) -> NormWeights {
    NormWeights { gain: None, meaning: Gain::None, bias: None, ..norm }
}

fn bare_spec(norm: Norm) -> Norm {
    Norm { gain: Gain::None, bias: false, ..norm }
}

/// `new` in the order in memory that `old` has: it decides how fast few rows are multiplied.
fn laid_as(old: &Tensor, new: Tensor) -> Result<Tensor> {
    Ok(if old.t()?.is_contiguous() { new.t()?.contiguous()?.t()? } else { new })
}

fn center_writing(spec: &mut Spec, w: &mut Weights) -> Result<()> {
    let refuse = |why| Err(Processing::CenterWriting.undefined(why));
    let mut readers = vec![spec.final_norm];
    let mut writers = vec![spec.embedding.norm];
    for block in &spec.blocks {
        readers.push(block.attention.pre_norm);
        writers.push(block.attention.post_norm);
        if let Some(mlp) = &block.mlp {
            if block.arrangement != Arrangement::ParallelSharedNorm {
                readers.push(mlp.pre_norm);
            }
            writers.push(mlp.post_norm);
        }
    }
    if shortformer(spec) {
        return refuse("its position vectors are not written to the stream");
    }
    if readers.iter().any(Option::is_none) {
        return refuse("something reads its stream without a norm, and so with the mean");
    }
    if readers.iter().flatten().any(|norm| norm.kind == NormKind::Rms) {
        return refuse("its RMS norms do not take away the mean of what they read");
    }
    if writers.iter().any(Option::is_some) {
        return refuse("norms write to its stream, and weights do not decide their mean");
    }
    let rows = |x: &Tensor| -> Result<Tensor> { Ok(x.broadcast_sub(&x.mean_keepdim(1)?)?) };
    w.embed = rows(&w.embed.tensor()?)?.into();
    spec.unembedding.tied = false;
    w.positions = w.positions.as_ref().map(rows).transpose()?;
    for block in &mut w.blocks {
        let mlp = block.mlp.iter_mut().flat_map(|mlp| mlp.inner.writers());
        for map in [&mut block.o].into_iter().chain(mlp) {
            center_outputs(map)?;
        }
    }
    Ok(())
}

/// Takes from what a map gives the mean over its outputs.
fn center_outputs(map: &mut Linear) -> Result<()> {
    let old = map.weight.tensor()?;
    map.weight = laid_as(&old, old.broadcast_sub(&old.mean_keepdim(1)?)?)?.into();
    map.bias = map.bias.as_ref().map(|b| b.broadcast_sub(&b.mean_keepdim(0)?)).transpose()?;
    Ok(())
}

fn center_unembed(spec: &mut Spec, w: &mut Weights) -> Result<()> {
    if spec.unembedding.cap.is_some() {
        return Err(Processing::CenterUnembed.undefined("the cap on its logits would notice"));
    }
    spec.unembedding.tied = false;
    center_outputs(&mut w.unembed)
}

fn fold_value_biases(spec: &mut Spec, w: &mut Weights) -> Result<()> {
    let refuse = |why| Err(Processing::FoldValueBiases.undefined(why));
    if spec.blocks.iter().any(|b| b.attention.inner.clip_qkv.is_some()) {
        return refuse("its values are clamped after their bias is added");
    }
    if w.blocks.iter().all(|b| b.v.bias.is_none()) {
        return refuse("its values have no biases");
    }
    for (spec, w) in spec.blocks.iter_mut().zip(&mut w.blocks) {
        let a = &mut spec.attention.inner;
        let Some(bias) = &w.v.bias else { continue };
        let (g, e, group) = (a.n_kv_heads, a.d_head, a.n_heads / a.n_kv_heads);
        // Every query head adds the bias of the values that it reads.
        let each = bias.reshape((g, 1, e))?.broadcast_as((g, group, e))?.contiguous()?.reshape((1, a.n_heads * e))?;
        let more = each.matmul(&w.o.weight.tensor()?)?.squeeze(0)?;
        w.o.bias = Some(match &w.o.bias {
            Some(bias) => (bias + more)?,
            None => more,
        });
        w.v.bias = Some(bias.zeros_like()?);
        a.out_bias = true;
    }
    Ok(())
}
