//! GPT-BigCode, as in SantaCoder and StarCoder (Ben Allal et al. 2023): GPT-2 with one key and value head for all
//! queries.

use super::decoder::{GPT2, attentions, decoder, layer_norm, learn_positions};
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
    let mut spec = decoder(c, &GPT2, layer_norm(c, "layer_norm_epsilon")?)?;
    learn_positions(&mut spec, 0)?;
    let shared: bool = c.need("multi_query")?;
    let scaled: bool = c.need("scale_attn_weights")?;
    // What newer files say of it beside `multi_query`, which is what is read.
    c.only("num_key_value_heads", if shared { 1 } else { spec.blocks[0].attention.inner.n_heads })?;
    for a in attentions(&mut spec) {
        a.n_kv_heads = if shared { 1 } else { a.n_heads };
        a.scale = if scaled { a.scale } else { 1.0 };
    }
    Ok(spec)
}
