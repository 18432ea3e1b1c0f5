//! Gemma 3's text model (Kamath et al. 2025): Gemma 2 with a norm on queries and keys instead of caps, and two
//! rotations, one for the layers with a window and one for those without.

use super::decoder::{attentions, n_ctx, slide_some};
use super::rope::{self, Usual};
use super::{Family, gemma2};
use crate::arch::config::Config;
use crate::arch::spec::{Mask, Pairing, Position, QkNorm, Rotary, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "gemma3_text", spec, ..gemma2::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = gemma2::unrotated(c)?;
    let period: usize = c.size("sliding_window_pattern")?;
    slide_some(c, &mut spec, true, |l| (l + 1) % period != 0)?;
    let (d_head, n_ctx) = (spec.blocks[0].attention.inner.d_head, n_ctx(&spec)?);
    let (full, sliding) = rotations(c, d_head, n_ctx)?;
    let qk_norm = spec.final_norm.map(|norm| QkNorm { norm, per_head: true });
    for a in attentions(&mut spec) {
        a.qk_norm = qk_norm;
        a.position = Position::Rotary(if a.mask == Mask::Causal { full.clone() } else { sliding.clone() });
    }
    Ok(spec)
}

/// The rotations of full and of sliding layers, in today's spelling (an object for each) or the older one, whose
/// `rope_scaling` is of full layers.
fn rotations(c: &Config, d_head: usize, n_ctx: usize) -> Result<(Rotary, Rotary)> {
    let usual = |key: &str| -> Result<Usual> {
        Ok(Usual { theta: c.need_positive(key)?, share: None, original_ctx: None, pairing: Pairing::Halves })
    };
    let (global, local) = (usual("rope_theta")?, usual("rope_local_base_freq")?);
    let of = |object: Option<Config>, usual| rope::within(&object.unwrap_or_else(Config::empty), d_head, n_ctx, usual);
    let Some(both) = c.object("rope_parameters")? else {
        return Ok((of(c.object("rope_scaling")?, &global)?, of(None, &local)?));
    };
    c.only("rope_scaling", serde_json::Value::Null)?;
    let pair = (of(both.object("full_attention")?, &global)?, of(both.object("sliding_attention")?, &local)?);
    both.finish()?;
    Ok(pair)
}
