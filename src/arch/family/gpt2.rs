//! GPT-2 (Radford et al. 2019): learned positions, layer norm, fused qkv in `Conv1D` layout.

use super::decoder::{GPT2, decoder, layer_norm, learn_positions};
use super::{Family, names};
use crate::arch::config::Config;
use crate::arch::spec::*;
use crate::error::Result;

pub(super) const FAMILY: Family = Family {
    model_type: "gpt2",
    spec,
    source: |spec, slot| names::GPT2.source(spec, slot),
    prefixes: &["transformer.", ""],
    buffers: &[".attn.bias", ".attn.masked_bias"],
};

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = decoder(c, &GPT2, layer_norm(c, "layer_norm_epsilon")?)?;
    learn_positions(&mut spec, 0)?;
    c.only("add_cross_attention", false)?;
    let by_layer: bool = c.need("scale_attn_by_inverse_layer_idx")?;
    let by_width: bool = c.need("scale_attn_weights")?;
    for (l, block) in spec.blocks.iter_mut().enumerate() {
        let a = &mut block.attention.inner;
        a.scale = if by_width { a.scale } else { 1.0 } / if by_layer { (l + 1) as f64 } else { 1.0 };
    }
    Ok(spec)
}
