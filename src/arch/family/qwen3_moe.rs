//! Qwen 3 with experts (Yang et al. 2025): in all blocks, in every so many, or not in those that are named.

use super::decoder::slide_everywhere;
use super::experts::{Mixture, mix};
use super::{Family, llama, names, qwen3};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

pub(super) const FAMILY: Family =
    Family { model_type: "qwen3_moe", spec, source: |spec, slot| names::EXPERTS.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = qwen3::windowless(c)?;
    // Windows in all layers or in none, unlike the dense models.
    match c.need("use_sliding_window")? {
        true => slide_everywhere(c, &mut spec)?,
        false => c.ignore(&["sliding_window"]),
    }
    let mixture = Mixture { d_mlp: Some(c.size("moe_intermediate_size")?), renormalized: c.need("norm_topk_prob")? };
    let step = c.size("decoder_sparse_step")?;
    let dense: Vec<usize> = c.get("mlp_only_layers")?.unwrap_or_default();
    mix(c, &mut spec, &mixture, |l| !dense.contains(&l) && (l + 1).is_multiple_of(step))?;
    Ok(spec)
}
