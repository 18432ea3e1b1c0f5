//! Cohere's Command R (2024): parallel sublayers after one norm without bias, adjacent dimensions rotated in pairs,
//! scaled logits.

use super::decoder::{LLAMA, decoder, layer_norm, parallel_shared, rotate};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Norm, Pairing, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "cohere", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    c.only("use_qk_norm", false)?;
    let norm = Norm { bias: false, ..layer_norm(c, "layer_norm_eps")? };
    let mut spec = decoder(c, &LLAMA, norm)?;
    parallel_shared(&mut spec);
    rotate(c, &mut spec, Pairing::Adjacent)?;
    spec.unembedding.scale = Some(c.need("logit_scale")?);
    Ok(spec)
}
