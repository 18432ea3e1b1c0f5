//! GPT-BigCode, as in SantaCoder and StarCoder (Ben Allal et al. 2023): GPT-2 with one key and value head for all
//! queries.

use super::decoder::{GPT2, Usual, attentions, decoder, layer_norm, learn_positions};
use super::names::{self, Names, Qkv};
use super::{Family, gpt2};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

const NAMES: Names = Names { qkv: Qkv::Grouped("attn.c_attn"), in_out: false, ..names::GPT2 };

pub(super) const FAMILY: Family =
    Family { model_type: "gpt_bigcode", spec, source: |spec, slot| NAMES.source(spec, slot), ..gpt2::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    c.only("add_cross_attention", false)?;
    // Arithmetic for half precision, and settings of an inference server.
    c.ignore(&["attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", "inference_runner", "max_batch_size"]);
    c.ignore(&["max_sequence_length", "pad_key_length", "pre_allocate_kv_cache", "validate_runner_input"]);
    let usual = Usual { activation: "gelu_pytorch_tanh", ..GPT2 };
    let mut spec = decoder(c, &usual, layer_norm(c, "layer_norm_epsilon")?)?;
    learn_positions(&mut spec, 0)?;
    let shared = c.get("multi_query")?.unwrap_or(true);
    let scaled = c.get("scale_attn_weights")?.unwrap_or(true);
    for a in attentions(&mut spec) {
        a.n_kv_heads = if shared { 1 } else { a.n_heads };
        a.scale = if scaled { a.scale } else { 1.0 };
    }
    Ok(spec)
}
