//! GPT-NeoX and Pythia (Black et al. 2022, Biderman et al. 2023): parallel sublayers with a norm each, rotary
//! positions on part of each head, qkv fused head by head.

use super::decoder::{GPT2, Usual, decoder, layer_norm, rotate};
use super::names::{self, Names, Qkv};
use super::{Family, rope};
use crate::arch::config::Config;
use crate::arch::spec::{Arrangement, Spec};
use crate::error::Result;

const NAMES: Names = Names {
    embed: "embed_in",
    final_norm: "final_layer_norm",
    unembed: "embed_out",
    qkv: Qkv::Grouped("attention.query_key_value"),
    o: "attention.dense",
    mlp_in: "mlp.dense_h_to_4h",
    mlp_out: "mlp.dense_4h_to_h",
    ..names::LLAMA
};

pub(super) const FAMILY: Family = Family {
    model_type: "gpt_neox",
    spec,
    source: |spec, slot| NAMES.source(spec, slot),
    prefixes: &["gpt_neox.", ""],
    buffers: &[".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"],
};

fn spec(c: &Config) -> Result<Spec> {
    // Dropout by older names, and what generation asks of every decoder.
    c.ignore(&["attention_probs_dropout_prob", "hidden_dropout_prob", "is_decoder"]);
    let usual = Usual { tied: false, activation: "gelu", ..GPT2 };
    let mut spec = decoder(c, &usual, layer_norm(c, "layer_norm_eps")?)?;
    rotate(c, &mut spec, &rope::Usual { share: 0.25, ..rope::USUAL })?;
    if c.get("use_parallel_residual")?.unwrap_or(true) {
        spec.blocks.iter_mut().for_each(|b| b.arrangement = Arrangement::Parallel);
    }
    Ok(spec)
}
