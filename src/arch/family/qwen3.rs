//! Qwen 3 (Yang et al. 2025): Qwen 2 with a norm on each head's queries and keys instead of biases.

use super::decoder::attentions;
use super::{Family, llama, qwen2};
use crate::arch::config::Config;
use crate::arch::spec::{QkNorm, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "qwen3", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = windowless(c)?;
    qwen2::upper_windows(c, &mut spec)?;
    Ok(spec)
}

/// All but the windows.
pub(super) fn windowless(c: &Config) -> Result<Spec> {
    let mut spec = llama::spec(c)?;
    let qk_norm = spec.final_norm.map(|norm| QkNorm { norm, per_head: true });
    attentions(&mut spec).for_each(|a| a.qk_norm = qk_norm);
    Ok(spec)
}
