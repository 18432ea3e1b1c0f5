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
    // An arithmetic order for half precision; the same numbers in f32.
    c.ignore(&["reorder_and_upcast_attn", "n_ctx"]);
    let by_layer = c.get("scale_attn_by_inverse_layer_idx")?.unwrap_or(false);
    let by_width = c.get("scale_attn_weights")?.unwrap_or(true);
    for (l, block) in spec.blocks.iter_mut().enumerate() {
        let a = &mut block.attention.inner;
        a.scale = if by_width { a.scale } else { 1.0 } / if by_layer { (l + 1) as f64 } else { 1.0 };
    }
    Ok(spec)
}
