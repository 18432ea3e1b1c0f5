//! Phi 1 and 2 (Gunasekar et al. 2023): parallel sublayers after one norm, rotary positions on half of each head.

use super::decoder::{GPT2, decoder, layer_norm, parallel_shared, rotate};
use super::names::{self, Names};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Pairing, Spec};
use crate::error::Result;

const NAMES: Names = Names {
    final_norm: "final_layernorm",
    o: "self_attn.dense",
    mlp_in: "mlp.fc1",
    mlp_linear: "",
    mlp_out: "mlp.fc2",
    ..names::LLAMA
};

pub(super) const FAMILY: Family =
    Family { model_type: "phi", spec, source: |spec, slot| NAMES.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    c.only("qk_layernorm", false)?;
    let mut spec = decoder(c, &GPT2, layer_norm(c, "layer_norm_eps")?)?;
    parallel_shared(&mut spec);
    rotate(c, &mut spec, Pairing::Halves)?;
    spec.unembedding.bias = true;
    Ok(spec)
}
