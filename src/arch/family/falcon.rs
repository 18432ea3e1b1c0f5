//! Falcon (Almazrouei et al. 2023): parallel sublayers, rotary positions, keys and values shared by all queries (7B,
//! one norm for both sublayers) or by groups of them (40B, a norm each).

use super::decoder::{GPT2, Usual, attentions, decoder, layer_norm, parallel_shared, rotate};
use super::names::Names;
use super::{Family, bloom, gpt2};
use crate::arch::config::Config;
use crate::arch::spec::{Arrangement, Pairing, Spec};
use crate::error::Result;

const TWO_NORMS: Names = Names { ln1: "ln_attn", ln2: "ln_mlp", ..bloom::NAMES };

pub(super) const FAMILY: Family = Family {
    model_type: "falcon",
    spec,
    source: |spec, slot| match spec.blocks[0].arrangement {
        Arrangement::Parallel => TWO_NORMS.source(spec, slot),
        _ => bloom::NAMES.source(spec, slot),
    },
    buffers: &[".rotary_emb.inv_freq"],
    ..gpt2::FAMILY
};

fn spec(c: &Config) -> Result<Spec> {
    c.only("alibi", false)?;
    c.only("parallel_attn", true)?;
    let usual = Usual { bias: c.need("bias")?, ..GPT2 };
    let mut spec = decoder(c, &usual, layer_norm(c, "layer_norm_epsilon")?)?;
    rotate(c, &mut spec, Pairing::Halves)?;

    let grouped = c.need("new_decoder_architecture")?;
    let shared_by_all = c.need("multi_query")?;
    let n_heads = spec.blocks[0].attention.inner.n_heads;
    let stated = c.optional_size("num_kv_heads")?.unwrap_or(n_heads);
    let n_kv_heads = if grouped {
        stated
    } else if shared_by_all {
        1
    } else {
        n_heads
    };
    attentions(&mut spec).for_each(|a| a.n_kv_heads = n_kv_heads);

    let norms: Option<usize> = c.get("num_ln_in_parallel_attn")?;
    if grouped && norms.unwrap_or(2) == 2 {
        spec.blocks.iter_mut().for_each(|b| b.arrangement = Arrangement::Parallel);
    } else {
        c.only("num_ln_in_parallel_attn", 1)?;
        parallel_shared(&mut spec);
    }
    Ok(spec)
}
