//! Qwen 2 (Yang et al. 2024): Llama with biases on queries, keys and values, and windows in the upper layers.

use super::decoder::{attentions, slide_some};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "qwen2", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    c.only("use_mrope", false)?;
    let mut spec = llama::spec(c)?;
    attentions(&mut spec).for_each(|a| (a.qkv_bias, a.out_bias) = (true, false));
    upper_windows(c, &mut spec)?;
    Ok(spec)
}

/// Windows from layer `max_window_layers` on, where `use_sliding_window` turns them on.
pub(super) fn upper_windows(c: &Config, spec: &mut Spec) -> Result<()> {
    let on = c.get("use_sliding_window")?.unwrap_or(false);
    let first: usize = c.get("max_window_layers")?.unwrap_or(28);
    slide_some(c, spec, |l| on && l >= first)
}
