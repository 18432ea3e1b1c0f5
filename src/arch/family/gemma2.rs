//! Gemma 2 (Riviere et al. 2024): Gemma with norms after the sublayers too, capped scores and logits, and a window
//! in every other layer.

use super::decoder::{rotate, slide_some};
use super::names::{self, Names};
use super::{Family, gemma, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Activation, Pairing, Spec};
use crate::error::Result;

pub(super) const NAMES: Names = Names {
    ln1_post: "post_attention_layernorm",
    ln2: "pre_feedforward_layernorm",
    ln2_post: "post_feedforward_layernorm",
    ..names::LLAMA
};

pub(super) const FAMILY: Family =
    Family { model_type: "gemma2", spec, source: |spec, slot| NAMES.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = unrotated(c)?;
    rotate(c, &mut spec, Pairing::Halves)?;
    slide_some(c, &mut spec, true, |l| l % 2 == 0)?;
    Ok(spec)
}

/// What Gemma 3 kept.
pub(super) fn unrotated(c: &Config) -> Result<Spec> {
    let mut spec = gemma::unrotated(c, Activation::GeluErf)?;
    // Gemma 3 does not read it.
    let cap = c.get("attn_logit_softcapping")?;
    let scalar = c.need_positive("query_pre_attn_scalar")?;
    for block in &mut spec.blocks {
        block.attention.post_norm = block.attention.pre_norm;
        block.attention.inner.scale = scalar.powf(-0.5);
        block.attention.inner.cap = cap;
        if let Some(mlp) = &mut block.mlp {
            mlp.post_norm = mlp.pre_norm;
        }
    }
    spec.unembedding.cap = c.get("final_logit_softcapping")?;
    Ok(spec)
}
