//! Phi-3 (Abdin et al. 2024): Llama with fused qkv, fused gate and partner, and a sliding window.

use super::decoder::{attentions, slide_everywhere};
use super::names::{self, Names, Qkv};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Attention, Position, RopeScaling, Spec};
use crate::error::{Error, Result};

const NAMES: Names = Names {
    qkv: Qkv::Joined("self_attn.qkv_proj"),
    mlp_in: "mlp.gate_up_proj",
    mlp_linear: "mlp.gate_up_proj",
    ..names::LLAMA
};

pub(super) const FAMILY: Family =
    Family { model_type: "phi3", spec, source: |spec, slot| NAMES.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = llama::spec(c)?;
    // transformers has one other scaling for these files, longrope, and takes "yarn" for another name of it.
    let scaled = |a: &mut Attention| matches!(&a.position, Position::Rotary(r) if r.scaling != RopeScaling::None);
    if attentions(&mut spec).any(scaled) {
        return Err(Error::bad_model("config.json: pellucid computes this family without rotary scaling only")
            .hint("take a version of the model with the shorter context, such as the 4k ones of Phi-3"));
    }
    slide_everywhere(c, &mut spec)?;
    Ok(spec)
}
