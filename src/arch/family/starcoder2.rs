//! StarCoder 2 (Lozhkov et al. 2024): layer norm and biases, a plain MLP, rotary positions, a sliding window.

use super::decoder::{GPT2, Usual, decoder, layer_norm, rotate, slide_everywhere};
use super::names::{self, Names};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Pairing, Spec};
use crate::error::Result;

const NAMES: Names = Names { mlp_in: "mlp.c_fc", mlp_linear: "", mlp_out: "mlp.c_proj", ..names::LLAMA };

pub(super) const FAMILY: Family =
    Family { model_type: "starcoder2", spec, source: |spec, slot| NAMES.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let usual = Usual { bias: c.need("use_bias")?, ..GPT2 };
    let mut spec = decoder(c, &usual, layer_norm(c, "norm_epsilon")?)?;
    rotate(c, &mut spec, Pairing::Halves)?;
    slide_everywhere(c, &mut spec)?;
    Ok(spec)
}
