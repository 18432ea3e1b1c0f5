//! StableLM (Bellagente et al. 2024): Llama with layer norm, rotary positions on part of each head, and optionally
//! parallel sublayers after one norm.

use super::decoder::{LLAMA, attentions, decoder, layer_norm, parallel_shared, rotate};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Pairing, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "stablelm", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    c.only("qk_layernorm", false)?;
    let mut spec = decoder(c, &LLAMA, layer_norm(c, "layer_norm_eps")?)?;
    rotate(c, &mut spec, Pairing::Halves)?;
    let bias = c.need("use_qkv_bias")?;
    attentions(&mut spec).for_each(|a| a.qkv_bias = bias);
    if c.need("use_parallel_residual")? {
        parallel_shared(&mut spec);
    }
    Ok(spec)
}
