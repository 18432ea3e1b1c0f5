//! Parts of a block that see rows only, apart from the run that they belong to: what a sublayer makes of some rows of the
//! stream, and what it adds for some of its output. No hook sees them.

use candle_core::Tensor;

use super::Model;
use super::attention::{normed, project};
use super::block::{LN1, LN1_POST, LN2, LN2_POST, read, write};
use super::weights::FeedForwardWeights;
use crate::arch::spec::Arrangement;
use crate::error::{Error, Result};
use crate::hook::{Site, Tap};
use crate::ops::linear::add;
use crate::ops::rows::Rows;

impl Model {
    /// Queries, keys or values as projected, or queries or keys after their norm, of rows of the stream before block
    /// `layer`: `resid_pre [t, d]` to `[t, heads, e]`. `positions [t, d]` are the rows' position vectors beside the stream, where the model has such.
    ///
    /// # Errors
    /// When `site` is none of them, or `resid_pre` has another width.
    pub(crate) fn project(
        &self,
        layer: usize,
        site: Site,
        resid_pre: &Tensor,
        positions: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (spec, w, path) = (&self.spec.blocks[layer].attention.inner, &self.weights.blocks[layer], self.path());
        let mut tap = unseen(resid_pre)?;
        let x = read(path, &mut tap, w.ln1.as_ref(), LN1, resid_pre)?;
        let placed = || Ok::<_, Error>(positions.map(|p| add(path, &x, p)).transpose()?.unwrap_or_else(|| x.clone()));
        let made = |map, x: &Tensor| project(path, map, spec.d_head, x);
        match (site, &w.q_norm, &w.k_norm) {
            (Site::Q, ..) => made(&w.q, &placed()?),
            (Site::K, ..) => made(&w.k, &placed()?),
            (Site::V, ..) => made(&w.v, &x),
            (Site::QNormed, Some(norm), _) => normed(path, spec, norm, &made(&w.q, &placed()?)?),
            (Site::KNormed, _, Some(norm)) => normed(path, spec, norm, &made(&w.k, &placed()?)?),
            (other, ..) => Err(Error::compute(format!("{} is not projected from the stream", other.short())).fault()),
        }
    }

    /// What the MLP of block `layer` adds, `[t, d]`, where the stream that it reads has these rows `[t, d]`.
    ///
    /// # Errors
    /// When the block has none, or the rows have another width.
    pub(crate) fn feed_forward(&self, layer: usize, resid: &Tensor) -> Result<Tensor> {
        let (spec, w, path) = (&self.spec.blocks[layer], &self.weights.blocks[layer], self.path());
        let mlp = w.mlp.as_ref().ok_or_else(|| Error::compute(format!("block {layer} has no MLP")).fault())?;
        let mut tap = unseen(resid)?;
        let norm = match spec.arrangement {
            Arrangement::ParallelSharedNorm => w.ln1.as_ref(),
            Arrangement::Sequential | Arrangement::Parallel => mlp.ln2.as_ref(),
        };
        let x = read(path, &mut tap, norm, LN2, resid)?;
        let out = match &mlp.inner {
            FeedForwardWeights::Dense(neurons) => neurons.apply(path, &mut tap, &x)?,
            FeedForwardWeights::Experts(experts) => experts.apply(path, &mut tap, &x)?,
        };
        self.mlp_write(layer, out)
    }

    /// What attention of block `layer` adds for what comes out of its output map: after its norm and factor, where it has
    /// them. `[t, d]` to `[t, d]`.
    ///
    /// # Errors
    /// When `out` has another width.
    pub(crate) fn attention_write(&self, layer: usize, out: Tensor) -> Result<Tensor> {
        let norm = self.weights.blocks[layer].ln1_post.as_ref();
        write(self.path(), &mut unseen(&out)?, &self.spec.blocks[layer], norm, LN1_POST, out)
    }

    /// The same of the MLP.
    ///
    /// # Errors
    /// When `out` has another width.
    pub(crate) fn mlp_write(&self, layer: usize, out: Tensor) -> Result<Tensor> {
        let norm = self.weights.blocks[layer].mlp.as_ref().and_then(|mlp| mlp.ln2_post.as_ref());
        write(self.path(), &mut unseen(&out)?, &self.spec.blocks[layer], norm, LN2_POST, out)
    }

    /// The stream before the first block for what is written there, token embeddings and positions together: through the
    /// norm on it, where the model has one. `[t, d]` to `[t, d]`.
    ///
    /// # Errors
    /// When `written` has another width.
    pub(crate) fn embedding_write(&self, written: Tensor) -> Result<Tensor> {
        match &self.weights.embed_norm {
            Some(norm) => norm.apply(self.path(), &written, None),
            None => Ok(written),
        }
    }
}

fn unseen(x: &Tensor) -> Result<Tap<'static, 'static>> {
    Ok(Tap::new(&mut [], Rows::pack([(0, x.dim(0)?)])))
}
