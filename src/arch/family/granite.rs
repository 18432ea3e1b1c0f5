//! Granite (IBM 2024): Llama with a factor on the embeddings, on what is added to the stream, on the scores and on
//! the logits.

use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "granite", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = llama::spec(c)?;
    let factor = |key: &str| c.need::<f64>(key);
    spec.embedding.scale = Some(factor("embedding_multiplier")?);
    spec.unembedding.scale = Some(1.0 / factor("logits_scaling")?);
    let (scale, residual_scale) = (factor("attention_multiplier")?, factor("residual_multiplier")?);
    for block in &mut spec.blocks {
        block.attention.inner.scale = scale;
        block.residual_scale = Some(residual_scale);
    }
    Ok(spec)
}
