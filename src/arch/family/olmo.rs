//! OLMo (Groeneveld et al. 2024): Llama with a norm that has no weights, and clamped queries, keys and values.

use super::decoder::{LLAMA, attentions, decoder, rotate};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Gain, Norm, NormKind, Pairing, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "olmo", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let norm = Norm { kind: NormKind::Layer, eps: 1e-5, gain: Gain::None, bias: false };
    let mut spec = decoder(c, &LLAMA, norm)?;
    rotate(c, &mut spec, Pairing::Halves)?;
    let clip: Option<f64> = c.get("clip_qkv")?;
    attentions(&mut spec).for_each(|a| a.clip_qkv = clip);
    Ok(spec)
}
