//! SmolLM 3 (2025): Llama without rotation in every fourth layer.

use super::decoder::{attentions, slide_some};
use super::{Family, llama, one_for_each_block};
use crate::arch::config::Config;
use crate::arch::spec::{Position, Spec};
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "smollm3", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = llama::spec(c)?;
    let n = spec.n_layers();
    // Written as whether a layer does rotate, in spite of the key's name.
    let period = c.size("no_rope_layer_interval")?;
    let rotated: Vec<usize> =
        c.get("no_rope_layers")?.unwrap_or_else(|| (1..=n).map(|l| usize::from(l % period != 0)).collect());
    one_for_each_block("no_rope_layers", rotated.len(), n)?;
    for (a, rotated) in attentions(&mut spec).zip(&rotated) {
        if *rotated == 0 {
            a.position = Position::None;
        }
    }
    let windows: bool = c.need("use_sliding_window")?;
    slide_some(c, &mut spec, true, |l| windows && rotated[l] == 0)?;
    Ok(spec)
}
