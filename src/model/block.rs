//! One block: what each sublayer reads, and how it writes to the stream.

use candle_core::Tensor;

use super::Model;
use super::norm::{LN1, LN1_POST, LN2, LN2_POST, MLP_LN, read, through};
use super::run::{Pack, Stream};
use super::weights::{BlockWeights, FeedForwardWeights, NeuronWeights};
use crate::arch::spec::Arrangement;
use crate::error::{Error, Result};
use crate::hook::{Site, Tap};
use crate::ops::Kernels;
use crate::ops::activation::activate;
use crate::ops::attention::KeysValues;
use crate::ops::linear::add;
use crate::ops::norm::NormWeights;
use crate::ops::rows::Rows;

impl Model {
    /// The stream before block `layer` to the stream after it, of the rows that ask, with the block's keys and values.
    pub(crate) fn block(
        &self,
        layer: usize,
        pack: &Pack,
        tap: &mut Tap,
        Stream { resid, positions }: Stream,
    ) -> Result<(Stream, KeysValues)> {
        tap.enter(Some(layer));
        let kernels = pack.kernels;
        let resid_pre = tap.at(Site::ResidPre, resid)?;

        let attn_in = self.attention_reads(layer, kernels, tap, &resid_pre)?;
        let (attn_out, keys_values) = self.attention(layer, pack, tap, &attn_in, positions.as_ref())?;
        // From here on only the rows that asked.
        let (resid_pre, attn_in) = (pack.asking(&resid_pre)?, pack.asking(&attn_in)?);
        let attn_out = self.attention_write(layer, kernels, tap, attn_out)?;
        let attn_out = tap.at(Site::AttnOut, attn_out)?;

        let after = |resid| (Stream { resid, positions }, keys_values);
        let spec = &self.spec.blocks[layer];
        if spec.mlp.is_none() {
            let resid_post = add(kernels, &resid_pre, &attn_out)?;
            return Ok(after(tap.at(Site::ResidPost, resid_post)?));
        }
        let (resid, mlp_in) = match spec.arrangement {
            Arrangement::Sequential => {
                let resid_mid = tap.at(Site::ResidMid, add(kernels, &resid_pre, &attn_out)?)?;
                let mlp_in = self.mlp_reads(layer, kernels, tap, &resid_mid)?;
                (resid_mid, mlp_in)
            }
            Arrangement::Parallel => {
                let mlp_in = self.mlp_reads(layer, kernels, tap, &resid_pre)?;
                (add(kernels, &resid_pre, &attn_out)?, mlp_in)
            }
            Arrangement::ParallelSharedNorm => (add(kernels, &resid_pre, &attn_out)?, attn_in),
        };
        let mlp_out = self.mlp(layer, kernels, tap, &mlp_in)?;
        let mlp_out = tap.at(Site::MlpOut, mlp_out)?;
        let resid_post = add(kernels, &resid, &mlp_out)?;
        Ok(after(tap.at(Site::ResidPost, resid_post)?))
    }

    /// What attention reads of the stream `[t, d]`: through its norm, where it has one.
    pub(super) fn attention_reads(
        &self,
        layer: usize,
        kernels: Kernels,
        tap: &mut Tap,
        resid: &Tensor,
    ) -> Result<Tensor> {
        read(kernels, tap, self.weights.blocks[layer].ln1.as_ref(), LN1, resid)
    }

    /// What the MLP reads, where it has a norm of its own.
    fn mlp_reads(&self, layer: usize, kernels: Kernels, tap: &mut Tap, resid: &Tensor) -> Result<Tensor> {
        let norm = self.weights.blocks[layer].mlp.as_ref().and_then(|mlp| mlp.ln2.as_ref());
        read(kernels, tap, norm, LN2, resid)
    }

    /// What the MLP makes of what it reads: what is added to the stream.
    fn mlp(&self, layer: usize, kernels: Kernels, tap: &mut Tap, x: &Tensor) -> Result<Tensor> {
        let mlp = self.weights.blocks[layer].mlp.as_ref();
        let mlp = mlp.ok_or_else(|| Error::compute(format!("block {layer} has no MLP")).fault())?;
        let out = match &mlp.inner {
            FeedForwardWeights::Dense(neurons) => neurons.apply(kernels, tap, x)?,
            FeedForwardWeights::Experts(experts) => experts.apply(kernels, tap, x)?,
        };
        self.mlp_write(layer, kernels, tap, out)
    }

    /// What the MLP of block `layer` adds, `[t, d]`, where the stream that it reads has these rows `[t, d]`, apart from any run:
    /// no hook sees it.
    ///
    /// # Errors
    /// When the block has none, or the rows have another width.
    pub(crate) fn feed_forward(&self, layer: usize, resid: &Tensor) -> Result<Tensor> {
        let (kernels, tap) = (self.kernels(), &mut unseen(resid)?);
        let x = match self.spec.blocks[layer].arrangement {
            Arrangement::ParallelSharedNorm => self.attention_reads(layer, kernels, tap, resid)?,
            Arrangement::Sequential | Arrangement::Parallel => self.mlp_reads(layer, kernels, tap, resid)?,
        };
        self.mlp(layer, kernels, tap, &x)
    }

    /// What attention adds to the stream for what comes out of its output projection, `[t, d]`: after its norm and factor,
    /// where it has them.
    ///
    /// # Errors
    /// When `out` has another width.
    pub(crate) fn attention_write(&self, layer: usize, kernels: Kernels, tap: &mut Tap, out: Tensor) -> Result<Tensor> {
        self.write(layer, kernels, tap, self.weights.blocks[layer].ln1_post.as_ref(), LN1_POST, out)
    }

    /// The same of the MLP.
    ///
    /// # Errors
    /// When `out` has another width.
    pub(crate) fn mlp_write(&self, layer: usize, kernels: Kernels, tap: &mut Tap, out: Tensor) -> Result<Tensor> {
        let norm = self.weights.blocks[layer].mlp.as_ref().and_then(|mlp| mlp.ln2_post.as_ref());
        self.write(layer, kernels, tap, norm, LN2_POST, out)
    }

    fn write(
        &self,
        layer: usize,
        kernels: Kernels,
        tap: &mut Tap,
        norm: Option<&NormWeights>,
        sites: [Site; 2],
        x: Tensor,
    ) -> Result<Tensor> {
        let x = match norm {
            Some(norm) => through(kernels, tap, norm, sites, &x)?,
            None => x,
        };
        Ok(match self.spec.blocks[layer].residual_scale {
            Some(scale) => (x * scale)?,
            None => x,
        })
    }

    /// The stream before the first block for what is written there, token embeddings and positions together: through the
    /// norm on it, where the model has one. `[t, d]` to `[t, d]`.
    ///
    /// # Errors
    /// When `written` has another width.
    pub(crate) fn embedding_write(&self, kernels: Kernels, written: Tensor) -> Result<Tensor> {
        match &self.weights.embed_norm {
            Some(norm) => norm.apply(kernels, &written, None),
            None => Ok(written),
        }
    }
}

/// For parts of a block on rows alone, apart from a run: a tap without hooks.
pub(crate) fn unseen(x: &Tensor) -> Result<Tap<'static, 'static>> {
    Ok(Tap::new(&mut [], Rows::pack([(0, x.dim(0)?)])))
}

impl NeuronWeights {
    /// `[t, d]` to `[t, d]`, through the neurons.
    pub(super) fn apply(&self, kernels: Kernels, tap: &mut Tap, x: &Tensor) -> Result<Tensor> {
        let pre = tap.at(Site::MlpPre, self.input.apply(kernels, x)?)?;
        let linear = match &self.linear {
            Some(map) => Some(tap.at(Site::MlpPreLinear, map.apply(kernels, x)?)?),
            None => None,
        };
        let mut post = activate(kernels, self.activation, &pre, linear.as_ref())?;
        if let Some(bias) = &self.post_bias {
            post = post.broadcast_add(bias)?;
        }
        if self.norm.is_some() {
            let mid = tap.at(Site::MlpMid, post)?;
            post = read(kernels, tap, self.norm.as_ref(), MLP_LN, &mid)?;
        }
        let post = tap.at(Site::MlpPost, post)?;
        self.output.apply(kernels, &post)
    }
}

impl BlockWeights {
    /// Each head's own write, `[t, h, d]`: `z [t, h, e]` times its rows of the output projection.
    pub(crate) fn result(&self, z: &Tensor) -> Result<Tensor> {
        let (_, h, e) = z.dims3()?;
        let d = self.o.weight.dim(1)?;
        let maps = self.o.weight.tensor()?.contiguous()?.reshape((h, e, d))?;
        Ok(z.transpose(0, 1)?.contiguous()?.matmul(&maps)?.transpose(0, 1)?.contiguous()?)
    }
}
