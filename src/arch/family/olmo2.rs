//! OLMo 2 (2024): norms after the sublayers instead of before, and one on all queries and on all keys.

use super::decoder::{LLAMA, decoder, rms_norm, rotate};
use super::{Family, gemma2, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Pairing, QkNorm, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "olmo2", spec, source: gemma2::FAMILY.source, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let norm = rms_norm(c)?;
    let mut spec = decoder(c, &LLAMA, norm)?;
    rotate(c, &mut spec, Pairing::Halves)?;
    for block in &mut spec.blocks {
        block.attention.inner.qk_norm = Some(QkNorm { norm, per_head: false });
        block.attention.post_norm = block.attention.pre_norm.take();
        if let Some(mlp) = &mut block.mlp {
            mlp.post_norm = mlp.pre_norm.take();
        }
    }
    Ok(spec)
}
