//! Qwen 2 (Yang et al. 2024): Llama with biases on queries, keys and values, and windows in the upper layers.

use super::decoder::{attentions, slide_some};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "qwen2", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = llama::spec(c)?;
    attentions(&mut spec).for_each(|a| (a.qkv_bias, a.out_bias) = (true, false));
    upper_windows(c, &mut spec)?;
    Ok(spec)
}

/// Windows from layer `max_window_layers` on, where `use_sliding_window` turns them on.
pub(super) fn upper_windows(c: &Config, spec: &mut Spec) -> Result<()> {
    let on = c.need("use_sliding_window")?;
    let first: usize = c.need("max_window_layers")?;
    slide_some(c, spec, on, |l| l >= first)
}
