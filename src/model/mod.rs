//! The one forward pass, which serves every family and never pads.

mod attention;
pub mod batch;
mod block;
mod cast;
pub mod effective;
mod experts;
mod files;
mod growing;
mod load;
mod norm;
mod pickle;
mod place;
mod process;
pub mod run;
mod torch;
mod toward;
pub mod weights;

use candle_core::{DType, Device};

use crate::arch::Spec;
pub use crate::arch::process::Processing;
use crate::error::Result;
pub use crate::ops::simd::instructions;
pub(crate) use attention::clamp;
pub use batch::{Batch, Prefix, Sequence};
pub(crate) use block::unseen;
pub use files::WeightBytes;
pub use growing::Growing;
pub use load::Footprint;
pub use place::{Hardware, Placement};
pub(crate) use run::{Asking, Pack, Stream};
pub use run::{Output, Run, Unembed};
pub use weights::Weights;

/// A loaded model.
///
/// ```
/// use pellucid::hook::{Cache, Edit};
/// use pellucid::model::{Batch, Model};
/// # fn main() -> pellucid::Result<()> {
/// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt2");
/// let model = Model::load(dir.as_ref())?;
/// let batch = Batch::one([3, 1, 4, 1, 5]);
///
/// // Capture: say what you want before the run.
/// let mut cache = Cache::new(model.spec(), "blocks.*.hook_resid_post,pattern")?;
/// let logits_tv = model.forward(&batch, &mut [&mut cache])?;
/// let pattern_hqk = cache.get("blocks.0.attn.hook_pattern")?;
/// assert_eq!(pattern_hqk.dims(), [4, 5, 5]);
///
/// // Edit: head 2 of block 1 is silenced at the last position. A later hook sees what an earlier one changed.
/// let mut silence = Edit::zero(model.spec(), "blocks.1.attn.hook_z")?.heads([2]).positions([-1]);
/// let mut after = Cache::new(model.spec(), "blocks.1.attn.hook_z")?;
/// let edited_tv = model.forward(&batch, &mut [&mut silence, &mut after])?;
/// assert_ne!(logits_tv.to_vec2::<f32>()?[4], edited_tv.to_vec2::<f32>()?[4]);
/// assert_eq!(logits_tv.to_vec2::<f32>()?[3], edited_tv.to_vec2::<f32>()?[3]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) spec: Spec,
    pub(crate) weights: Weights,
    device: Device,
    dtype: DType,
    /// What its tensors were stored in, where they came from files.
    stored: Vec<DType>,
}

impl Model {
    /// A model of given weights, all on one device in one dtype.
    ///
    /// # Errors
    /// When the weights have no device or dtype in common.
    pub fn new(spec: Spec, weights: Weights) -> Result<Self> {
        let (device, dtype) = (weights.embed.device().clone(), weights.embed.computes_in());
        Ok(Self { spec, weights, device, dtype, stored: vec![] })
    }

    /// What the model is.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What it computes in. Weights may be kept in fewer bits.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// In what the weights are and what is computed, in words: `f32`, or as in `f16 weights rounded from f32, f32
    /// activations`.
    pub fn numbers(&self) -> String {
        let kept = self.weights.kept_in();
        let names = |dtypes: &[DType]| dtypes.iter().map(|d| d.as_str()).collect::<Vec<_>>().join(" and ");
        // Upcasting is exact; f64 is always rounded, which is no choice, but is said as well.
        let least = kept.iter().map(DType::size_in_bytes).min().unwrap_or(0);
        let changed = |from: &DType| from.size_in_bytes() > least || from.size_in_bytes() == least && least == 2;
        let rounded: Vec<DType> = self.stored.iter().copied().filter(|d| !kept.contains(d) && changed(d)).collect();
        let from = if rounded.is_empty() { String::new() } else { format!(" rounded from {}", names(&rounded)) };
        match kept[..] == [self.dtype] && from.is_empty() {
            true => names(&kept),
            false => format!("{} weights{from}, {} activations", names(&kept), self.dtype.as_str()),
        }
    }
}
