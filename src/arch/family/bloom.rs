//! BLOOM (Le Scao et al. 2022): ALiBi, a norm on the embedding, qkv fused head by head.

use super::decoder::{GPT2, Usual, attentions, decoder, layer_norm};
use super::names::{self, Names, Qkv};
use super::{Family, gpt2};
use crate::arch::config::Config;
use crate::arch::spec::{Activation, Position, Spec};
use crate::error::Result;

/// Falcon's files use them too.
pub(super) const NAMES: Names = Names {
    embed: "word_embeddings",
    embed_norm: "word_embeddings_layernorm",
    final_norm: "ln_f",
    blocks: "h",
    qkv: Qkv::Grouped("self_attention.query_key_value"),
    o: "self_attention.dense",
    mlp_in: "mlp.dense_h_to_4h",
    mlp_linear: "",
    mlp_out: "mlp.dense_4h_to_h",
    ..names::LLAMA
};

pub(super) const FAMILY: Family =
    Family { model_type: "bloom", spec, source: |spec, slot| NAMES.source(spec, slot), buffers: &[], ..gpt2::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    c.only("apply_residual_connection_post_layernorm", false)?;
    let norm = layer_norm(c, "layer_norm_epsilon")?;
    let mut spec = decoder(c, &Usual { activation: Some(Activation::GeluTanh), ..GPT2 }, norm)?;
    spec.embedding.norm = Some(norm);
    attentions(&mut spec).for_each(|a| a.position = Position::Alibi);
    Ok(spec)
}
