//! GPT-J (Wang and Komatsuzaki 2021): parallel sublayers after one norm, adjacent dimensions rotated in pairs.

use super::decoder::{GPT2, attentions, decoder, layer_norm, parallel_shared};
use super::names::{self, Names, Qkv};
use super::{Family, gpt2};
use crate::arch::config::Config;
use crate::arch::spec::{Pairing, Position, RopeScaling, Rotary, Spec};
use crate::error::Result;

const NAMES: Names = Names {
    qkv: Qkv::Apart(["attn.q_proj", "attn.k_proj", "attn.v_proj"]),
    o: "attn.out_proj",
    mlp_in: "mlp.fc_in",
    mlp_out: "mlp.fc_out",
    in_out: false,
    ..names::GPT2
};

pub(super) const FAMILY: Family =
    Family { model_type: "gptj", spec, source: |spec, slot| NAMES.source(spec, slot), ..gpt2::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = decoder(c, &GPT2, layer_norm(c, "layer_norm_epsilon")?)?;
    parallel_shared(&mut spec);
    let rotary =
        Rotary { dims: c.size("rotary_dim")?, pairing: Pairing::Adjacent, theta: 10_000.0, scaling: RopeScaling::None };
    for a in attentions(&mut spec) {
        (a.qkv_bias, a.out_bias) = (false, false);
        a.position = Position::Rotary(rotary.clone());
    }
    spec.unembedding.bias = true;
    Ok(spec)
}
