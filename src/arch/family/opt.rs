//! OPT (Zhang et al. 2022): GPT-2's shape with ReLU, and a table of positions that starts at row 2.

use super::decoder::{GPT2, decoder, learn_positions};
use super::names::{self, Names};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Gain, Norm, NormKind, Spec};
use crate::error::Result;

const NAMES: Names = Names {
    embed: "decoder.embed_tokens",
    positions: "decoder.embed_positions",
    final_norm: "decoder.final_layer_norm",
    blocks: "decoder.layers",
    ln1: "self_attn_layer_norm",
    ln2: "final_layer_norm",
    o: "self_attn.out_proj",
    mlp_in: "fc1",
    mlp_linear: "",
    mlp_out: "fc2",
    ..names::LLAMA
};

pub(super) const FAMILY: Family =
    Family { model_type: "opt", spec, source: |spec, slot| NAMES.source(spec, slot), buffers: &[], ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    // The 350m model alone: norms after the sublayers, and embeddings of another width.
    c.only("do_layer_norm_before", true)?;
    c.only("_remove_final_layer_norm", false)?;
    c.only("layer_norm_elementwise_affine", true)?;
    c.only("enable_bias", true)?;
    // Its files have no key for the epsilon.
    let norm = Norm { kind: NormKind::Layer, eps: 1e-5, gain: Gain::Weight, bias: true };
    let mut spec = decoder(c, &GPT2, norm)?;
    c.only("word_embed_proj_dim", spec.d_model)?;
    learn_positions(&mut spec, 2)?;
    Ok(spec)
}
