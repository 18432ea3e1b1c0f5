//! OLMoE (Muennighoff et al. 2024): Llama with experts, a norm on all queries and on all keys, and OLMo's clamps.

use super::decoder::attentions;
use super::experts::{Mixture, mix};
use super::{Family, llama, names};
use crate::arch::config::Config;
use crate::arch::spec::{QkNorm, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family =
    Family { model_type: "olmoe", spec, source: |spec, slot| names::EXPERTS.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = llama::spec(c)?;
    let clip: Option<f64> = c.get("clip_qkv")?;
    let qk_norm = spec.final_norm.map(|norm| QkNorm { norm, per_head: false });
    attentions(&mut spec).for_each(|a| (a.qk_norm, a.clip_qkv) = (qk_norm, clip));
    let renormalized = c.need("norm_topk_prob")?;
    mix(c, &mut spec, &Mixture { d_mlp: None, renormalized }, |_| true)?;
    Ok(spec)
}
