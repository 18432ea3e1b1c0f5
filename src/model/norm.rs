//! Norms of the stream: what a sublayer reads through one, and what it writes through another.

use candle_core::Tensor;

use crate::error::Result;
use crate::hook::{Site, Tap};
use crate::ops::Kernels;
use crate::ops::norm::NormWeights;

/// The sites of a norm: its scale, the value divided by it, and, of a norm that something reads through, what is read.
pub(super) const LN1: [Site; 3] = [Site::Ln1Scale, Site::Ln1Normalized, Site::Ln1Out];
pub(super) const LN2: [Site; 3] = [Site::Ln2Scale, Site::Ln2Normalized, Site::Ln2Out];
pub(super) const MLP_LN: [Site; 3] = [Site::MlpLnScale, Site::MlpLnNormalized, Site::MlpLnOut];
pub(super) const LN_FINAL: [Site; 3] = [Site::FinalScale, Site::FinalNormalized, Site::FinalOut];
pub(super) const LN1_POST: [Site; 2] = [Site::Ln1PostScale, Site::Ln1PostNormalized];
pub(super) const LN2_POST: [Site; 2] = [Site::Ln2PostScale, Site::Ln2PostNormalized];

/// What a sublayer reads: the stream through its norm, where it has one. The output projection of an MLP reads neurons in the same
/// way, and the unembedding the last stream.
pub(super) fn read(
    kernels: Kernels,
    tap: &mut Tap,
    norm: Option<&NormWeights>,
    [scale, normalized, out]: [Site; 3],
    x: &Tensor,
) -> Result<Tensor> {
    let Some(norm) = norm else { return Ok(x.clone()) };
    let read = through(kernels, tap, norm, [scale, normalized], x)?;
    tap.at(out, read)
}

/// `x` through a norm, which is taken apart only where somebody wants its parts.
pub(super) fn through(
    kernels: Kernels,
    tap: &mut Tap,
    norm: &NormWeights,
    [scale_site, normalized_site]: [Site; 2],
    x: &Tensor,
) -> Result<Tensor> {
    let scale = tap.wants(scale_site).then(|| tap.at(scale_site, norm.scale(kernels, x)?)).transpose()?;
    if !tap.wants(normalized_site) {
        return norm.apply(kernels, x, scale.as_ref());
    }
    let normalized = tap.at(normalized_site, norm.normalize(kernels, x, scale.as_ref())?)?;
    norm.apply_gain(&normalized)
}
