//! GPT-Neo (Black et al. 2021): GPT-2 with every other layer in a local window, and scores that are not scaled.

use super::decoder::{GPT2, attentions, decoder, layer_norm, learn_positions};
use super::names::{self, Names, Qkv};
use super::{Family, gpt2};
use crate::arch::config::{Config, MOST_LAYERS, as_published};
use crate::arch::spec::{Mask, Spec};
use crate::error::{Error, Result};

const NAMES: Names = Names {
    qkv: Qkv::Apart(["attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"]),
    o: "attn.attention.out_proj",
    in_out: false,
    ..names::GPT2
};

pub(super) const FAMILY: Family = Family {
    model_type: "gpt_neo",
    spec,
    source: |spec, slot| NAMES.source(spec, slot),
    buffers: &[".attn.attention.bias", ".attn.attention.masked_bias"],
    ..gpt2::FAMILY
};

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = decoder(c, &GPT2, layer_norm(c, "layer_norm_epsilon")?)?;
    learn_positions(&mut spec, 0)?;
    let window = c.size("window_size")?;
    let layers = layers(c, spec.n_layers())?;
    for (a, layer) in attentions(&mut spec).zip(&layers) {
        (a.qkv_bias, a.scale) = (false, 1.0);
        a.mask = match layer.as_str() {
            "global" => Mask::Causal,
            "local" => Mask::Window(window),
            other => {
                return Err(Error::bad_model(format!(
                    "config.json: pellucid does not know the attention type `{other}`"
                ))
                .hint("known are global, local"));
            }
        };
    }
    Ok(spec)
}

/// `attention_types` is a list of patterns, each with how often it repeats; `attention_layers` is the same, written out.
fn layers(c: &Config, n: usize) -> Result<Vec<String>> {
    let written: Option<Vec<String>> = c.get("attention_layers")?;
    let patterns: Vec<(Vec<String>, usize)> = c.need("attention_types")?;
    let times =
        patterns.iter().fold(0_usize, |sum, (types, times)| sum.saturating_add(types.len().saturating_mul(*times)));
    if times > MOST_LAYERS {
        return Err(Error::bad_model(format!(
            "config.json: `attention_types` is for {times} blocks, which no model has"
        ))
        .hint(as_published("attention_types")));
    }
    let layers = patterns.iter().flat_map(|(types, times)| vec![types.clone(); *times].concat()).collect::<Vec<_>>();
    if written.is_some_and(|written| written != layers) {
        return Err(Error::bad_model("config.json: `attention_layers` is not what `attention_types` means")
            .hint("leave out `attention_layers`, which says the same"));
    }
    if layers.len() != n {
        return Err(Error::bad_model(format!(
            "config.json: the attention types are for {} blocks, not {n}",
            layers.len()
        ))
        .hint(as_published("attention_types")));
    }
    Ok(layers)
}
