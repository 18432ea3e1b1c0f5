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
    // Windows in all layers or in none, unlike the dense models, whose `max_window_layers` these files carry unread.
    c.ignore(&["sliding_window", "max_window_layers"]);
    if c.get("use_sliding_window")?.unwrap_or(false) {
        slide_everywhere(c, &mut spec, Some(4096))?;
    }
    let mixture = Mixture {
        d_mlp: Some(c.size("moe_intermediate_size")?),
        renormalized: c.get("norm_topk_prob")?.unwrap_or(false),
    };
    let step = c.optional_size("decoder_sparse_step")?.unwrap_or(1);
    let dense: Vec<usize> = c.get("mlp_only_layers")?.unwrap_or_default();
    mix(c, &mut spec, &mixture, |l| !dense.contains(&l) && (l + 1).is_multiple_of(step))?;
    Ok(spec)
}
