//! StarCoder 2 (Lozhkov et al. 2024): layer norm and biases, a plain MLP, rotary positions, a sliding window.

use super::decoder::{GPT2, Usual, decoder, layer_norm, rotate, slide_everywhere};
use super::names::{self, Names};
use super::{Family, llama, rope};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

const NAMES: Names = Names { mlp_in: "mlp.c_fc", mlp_linear: "", mlp_out: "mlp.c_proj", ..names::LLAMA };

pub(super) const FAMILY: Family =
    Family { model_type: "starcoder2", spec, source: |spec, slot| NAMES.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    c.only("mlp_type", "default".to_owned())?;
    c.only("norm_type", "layer_norm".to_owned())?;
    let usual = Usual { bias: c.get("use_bias")?.unwrap_or(true), activation: "gelu_pytorch_tanh", ..GPT2 };
    let mut spec = decoder(c, &usual, layer_norm(c, "norm_epsilon")?)?;
    rotate(c, &mut spec, &rope::USUAL)?;
    slide_everywhere(c, &mut spec, None)?;
    Ok(spec)
}
