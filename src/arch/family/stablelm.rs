//! StableLM (Bellagente et al. 2024): Llama with layer norm, rotary positions on part of each head, and optionally
//! parallel sublayers after one norm.

use super::decoder::{LLAMA, attentions, decoder, layer_norm, parallel_shared, rotate};
use super::{Family, llama, rope};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "stablelm", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    c.only("qk_layernorm", false)?;
    let mut spec = decoder(c, &LLAMA, layer_norm(c, "layer_norm_eps")?)?;
    rotate(c, &mut spec, &rope::Usual { share: 0.25, ..rope::USUAL })?;
    let bias = c.get("use_qkv_bias")?.unwrap_or(false);
    attentions(&mut spec).for_each(|a| a.qkv_bias = bias);
    if c.get("use_parallel_residual")?.unwrap_or(false) {
        parallel_shared(&mut spec);
    }
    Ok(spec)
}
