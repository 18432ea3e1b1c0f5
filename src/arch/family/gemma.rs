//! Gemma (Mesnard et al. 2024): Llama with embeddings scaled by the root of their width, gains stored minus one, and
//! a GELU gate.

use super::decoder::{LLAMA, Usual, decoder, rms_norm, rotate};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::{Activation, Gain, Norm, Pairing, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "gemma", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    // The first releases say "gelu" and mean its tanh approximation.
    let mut spec = unrotated(c, Activation::GeluTanh)?;
    rotate(c, &mut spec, Pairing::Halves)?;
    Ok(spec)
}

/// What all generations share, but for what they mean by "gelu".
pub(super) fn unrotated(c: &Config, gelu: Activation) -> Result<Spec> {
    c.only("use_bidirectional_attention", false)?;
    let norm = Norm { gain: Gain::OnePlusWeight, ..rms_norm(c)? };
    let mut spec = decoder(c, &Usual { gelu, ..LLAMA }, norm)?;
    // Rounded to f32, as it is where the model is run: it is part of what was trained.
    spec.embedding.scale = Some(f64::from((spec.d_model as f32).sqrt()));
    Ok(spec)
}
