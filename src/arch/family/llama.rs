//! Llama (Touvron et al. 2023) and its descendants that kept the name: RMS norm, rotary positions in all their
//! scalings, SwiGLU, grouped-query attention.

use super::decoder::{LLAMA, decoder, rms_norm, rotate};
use super::{Family, names};
use crate::arch::config::Config;
use crate::arch::spec::{Pairing, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family {
    model_type: "llama",
    spec,
    source: |spec, slot| names::LLAMA.source(spec, slot),
    prefixes: &["model.", ""],
    buffers: &[".rotary_emb.inv_freq"],
};

/// Also where a descendant starts that says what it does differently.
pub(super) fn spec(c: &Config) -> Result<Spec> {
    let mut spec = decoder(c, &LLAMA, rms_norm(c)?)?;
    rotate(c, &mut spec, Pairing::Halves)?;
    Ok(spec)
}
