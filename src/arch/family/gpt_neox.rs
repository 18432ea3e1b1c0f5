//! GPT-NeoX and Pythia (Black et al. 2022, Biderman et al. 2023): parallel sublayers with a norm each, rotary
//! positions on part of each head, qkv fused head by head.

use super::Family;
use super::decoder::{GPT2, decoder, layer_norm, rotate};
use super::names::{self, Names, Qkv};
use crate::arch::config::Config;
use crate::arch::spec::{Arrangement, Pairing, Spec};
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
    let mut spec = decoder(c, &GPT2, layer_norm(c, "layer_norm_eps")?)?;
    // transformers rotates heads of that width, and computes those of the usual one.
    c.only("head_dim", spec.d_model / spec.blocks[0].attention.inner.n_heads)?;
    rotate(c, &mut spec, Pairing::Halves)?;
    if c.need("use_parallel_residual")? {
        spec.blocks.iter_mut().for_each(|b| b.arrangement = Arrangement::Parallel);
    }
    Ok(spec)
}
