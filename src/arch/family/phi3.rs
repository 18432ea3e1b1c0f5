//! Phi-3 (Abdin et al. 2024): Llama with fused qkv, fused gate and partner, and a sliding window.

use super::decoder::{LLAMA, decoder, rms_norm, rotate, slide_everywhere};
use super::names::{self, Names, Qkv};
use super::{Family, llama, rope};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

const NAMES: Names = Names {
    qkv: Qkv::Joined("self_attn.qkv_proj"),
    mlp_in: "mlp.gate_up_proj",
    mlp_linear: "mlp.gate_up_proj",
    ..names::LLAMA
};

pub(super) const FAMILY: Family =
    Family { model_type: "phi3", spec, source: |spec, slot| NAMES.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    // Only the scalings for long contexts read it, and those are refused.
    c.ignore(&["original_max_position_embeddings"]);
    let mut spec = decoder(c, &LLAMA, rms_norm(c, 1e-5)?)?;
    rotate(c, &mut spec, &rope::USUAL)?;
    slide_everywhere(c, &mut spec, None)?;
    Ok(spec)
}
