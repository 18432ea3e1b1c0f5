//! Gemma 3's text model (Kamath et al. 2025): Gemma 2 with a norm on queries and keys instead of caps, and two
//! rotations, one for the layers with a window and one for those without.

use super::decoder::{attentions, n_ctx, slide_some};
use super::{Family, gemma2, rope};
use crate::arch::config::Config;
use crate::arch::spec::{Mask, Position, QkNorm, Rotary, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "gemma3_text", spec, ..gemma2::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = gemma2::unrotated(c, [None, None])?;
    // With an underscore it is what transformers writes and does not read.
    c.ignore(&["_sliding_window_pattern"]);
    let period: usize = c.get("sliding_window_pattern")?.unwrap_or(6).max(1);
    slide_some(c, &mut spec, |l| (l + 1) % period != 0)?;
    let (d_head, n_ctx) = (spec.blocks[0].attention.inner.d_head, n_ctx(&spec)?);
    let (full, sliding) = rotations(c, d_head, n_ctx)?;
    let qk_norm = spec.final_norm.map(|norm| QkNorm { norm, per_head: true });
    for a in attentions(&mut spec) {
        a.qk_norm = qk_norm;
        a.position = Position::Rotary(if a.mask == Mask::Causal { full.clone() } else { sliding.clone() });
    }
    Ok(spec)
}

/// The rotations of full and of sliding layers, in today's spelling or the older one.
fn rotations(c: &Config, d_head: usize, n_ctx: usize) -> Result<(Rotary, Rotary)> {
    let global = rope::Usual { theta: 1_000_000.0, ..rope::USUAL };
    let of = |c: &Config, usual| rope::within(c, d_head, n_ctx, usual);
    let Some(both) = c.object("rope_parameters")? else {
        let theta = c.get("rope_local_base_freq")?.unwrap_or(rope::USUAL.theta);
        let full = rope::rotary(c, d_head, n_ctx, &global)?;
        let sliding = of(&Config::parse("{}")?, &rope::Usual { theta, ..rope::USUAL })?;
        return Ok((full, sliding));
    };
    let kind = |key: &str, usual| match both.object(key)? {
        Some(inner) => of(&inner, usual),
        None => of(&Config::parse("{}")?, usual),
    };
    let pair = (kind("full_attention", &global)?, kind("sliding_attention", &rope::USUAL)?);
    both.finish()?;
    Ok(pair)
}
