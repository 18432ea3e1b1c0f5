//! One block: what each sublayer reads, and how it writes to the stream.

use candle_core::Tensor;

use super::Model;
use super::run::Pack;
use super::weights::{BlockWeights, FeedForwardWeights, NeuronWeights};
use crate::arch::spec::{Arrangement, Block};
use crate::error::Result;
use crate::hook::{Site, Tap};
use crate::ops::Path;
use crate::ops::activation::activate;
use crate::ops::attention::KeysValues;
use crate::ops::linear::add;
use crate::ops::norm::NormWeights;

impl Model {
    /// `resid_pre [t, d]` to `resid_post [t, d]`, with the block's keys and values.
    pub(super) fn block(
        &self,
        layer: usize,
        pack: &Pack,
        tap: &mut Tap,
        resid_pre: Tensor,
    ) -> Result<(Tensor, KeysValues)> {
        let (spec, w) = (&self.spec.blocks[layer], &self.weights.blocks[layer]);
        let path = pack.path;
        let resid_pre = tap.at(Site::ResidPre, resid_pre)?;

        let attn_in = read(path, tap, w.ln1.as_ref(), LN1, &resid_pre)?;
        let (attn_out, keys_values) = self.attention(layer, pack, tap, &attn_in)?;
        // From here on only the rows that asked.
        let (resid_pre, attn_in) = (pack.asking(&resid_pre)?, pack.asking(&attn_in)?);
        let attn_out = write(path, tap, spec, w.ln1_post.as_ref(), LN1_POST, attn_out)?;
        let attn_out = tap.at(Site::AttnOut, attn_out)?;

        let Some(mlp) = &w.mlp else {
            let resid_post = add(path, &resid_pre, &attn_out)?;
            return Ok((tap.at(Site::ResidPost, resid_post)?, keys_values));
        };
        let (resid, mlp_in) = match spec.arrangement {
            Arrangement::Sequential => {
                let resid_mid = tap.at(Site::ResidMid, add(path, &resid_pre, &attn_out)?)?;
                let mlp_in = read(path, tap, mlp.ln2.as_ref(), LN2, &resid_mid)?;
                (resid_mid, mlp_in)
            }
            Arrangement::Parallel => {
                let mlp_in = read(path, tap, mlp.ln2.as_ref(), LN2, &resid_pre)?;
                (add(path, &resid_pre, &attn_out)?, mlp_in)
            }
            Arrangement::ParallelSharedNorm => (add(path, &resid_pre, &attn_out)?, attn_in),
        };
        let mlp_out = match &mlp.inner {
            FeedForwardWeights::Dense(neurons) => neurons.apply(path, tap, &mlp_in)?,
            FeedForwardWeights::Experts(experts) => experts.apply(path, tap, &mlp_in)?,
        };
        let mlp_out = write(path, tap, spec, mlp.ln2_post.as_ref(), LN2_POST, mlp_out)?;
        let mlp_out = tap.at(Site::MlpOut, mlp_out)?;
        let resid_post = tap.at(Site::ResidPost, add(path, &resid, &mlp_out)?)?;
        Ok((resid_post, keys_values))
    }
}

/// The sites of a norm: its scale, the value divided by it, and, of a norm that something reads through, what is read.
pub(super) const LN1: [Site; 3] = [Site::Ln1Scale, Site::Ln1Normalized, Site::Ln1Out];
pub(super) const LN2: [Site; 3] = [Site::Ln2Scale, Site::Ln2Normalized, Site::Ln2Out];
pub(super) const MLP_LN: [Site; 3] = [Site::MlpLnScale, Site::MlpLnNormalized, Site::MlpLnOut];
pub(super) const LN_FINAL: [Site; 3] = [Site::FinalScale, Site::FinalNormalized, Site::FinalOut];
pub(super) const LN1_POST: [Site; 2] = [Site::Ln1PostScale, Site::Ln1PostNormalized];
pub(super) const LN2_POST: [Site; 2] = [Site::Ln2PostScale, Site::Ln2PostNormalized];

/// What a sublayer reads: the stream through its norm, where it has one. The output map of an MLP reads neurons in the same
/// way, and the unembedding the last stream.
pub(super) fn read(
    path: Path,
    tap: &mut Tap,
    norm: Option<&NormWeights>,
    [scale, normalized, out]: [Site; 3],
    x: &Tensor,
) -> Result<Tensor> {
    let Some(norm) = norm else { return Ok(x.clone()) };
    let read = through(path, tap, norm, [scale, normalized], x)?;
    tap.at(out, read)
}

/// `x` through a norm, which is taken apart only where somebody wants its parts.
fn through(
    path: Path,
    tap: &mut Tap,
    norm: &NormWeights,
    [scale_site, normalized_site]: [Site; 2],
    x: &Tensor,
) -> Result<Tensor> {
    let scale = tap.wants(scale_site).then(|| tap.at(scale_site, norm.scale(path, x)?)).transpose()?;
    if !tap.wants(normalized_site) {
        return norm.apply(path, x, scale.as_ref());
    }
    let normalized = tap.at(normalized_site, norm.normalize(path, x, scale.as_ref())?)?;
    norm.apply_gain(&normalized)
}

/// What is added to the stream: a sublayer's output after its norm and factor, where it has them.
pub(super) fn write(
    path: Path,
    tap: &mut Tap,
    spec: &Block,
    norm: Option<&NormWeights>,
    sites: [Site; 2],
    x: Tensor,
) -> Result<Tensor> {
    let x = match norm {
        Some(norm) => through(path, tap, norm, sites, &x)?,
        None => x,
    };
    Ok(match spec.residual_scale {
        Some(scale) => (x * scale)?,
        None => x,
    })
}

impl NeuronWeights {
    /// `[t, d]` to `[t, d]`, through the neurons.
    pub(super) fn apply(&self, path: Path, tap: &mut Tap, x: &Tensor) -> Result<Tensor> {
        let pre = tap.at(Site::MlpPre, self.input.apply(path, x)?)?;
        let linear = match &self.linear {
            Some(map) => Some(tap.at(Site::MlpPreLinear, map.apply(path, x)?)?),
            None => None,
        };
        let mut post = activate(path, self.activation, &pre, linear.as_ref())?;
        if let Some(bias) = &self.post_bias {
            post = post.broadcast_add(bias)?;
        }
        if self.norm.is_some() {
            let mid = tap.at(Site::MlpMid, post)?;
            post = read(path, tap, self.norm.as_ref(), MLP_LN, &mid)?;
        }
        let post = tap.at(Site::MlpPost, post)?;
        self.output.apply(path, &post)
    }
}

impl BlockWeights {
    /// Each head's own write, `[t, h, d]`: `z [t, h, e]` times its rows of the output map.
    pub(super) fn result(&self, z: &Tensor) -> Result<Tensor> {
        let (_, h, e) = z.dims3()?;
        let d = self.o.weight.dim(1)?;
        let maps = self.o.weight.tensor()?.contiguous()?.reshape((h, e, d))?;
        Ok(z.transpose(0, 1)?.contiguous()?.matmul(&maps)?.transpose(0, 1)?.contiguous()?)
    }
}
