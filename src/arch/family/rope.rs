//! Rotary settings of a `config.json`, in today's spelling (`rope_parameters`) and the older one
//! (`rope_theta`, `rope_scaling`).

use crate::arch::config::Config;
use crate::arch::spec::{Pairing, RopeScaling, Rotary};
use crate::error::{Error, Result};

/// Reads the rotary settings for heads of `d_head` dimensions. `n_ctx` is the context length after extension.
///
/// # Errors
/// Unknown kinds of scaling, and keys inside them that nobody handles.
pub(super) fn rotary(c: &Config, d_head: usize, n_ctx: usize) -> Result<Rotary> {
    let old_theta: Option<f64> = c.positive("rope_theta")?;
    let old_part: Option<f64> = c.first(&["partial_rotary_factor", "rotary_pct"])?;
    let inner = match (c.object("rope_parameters")?, c.object("rope_scaling")?) {
        (Some(_), Some(_)) => {
            return Err(Error::bad_model(
                "config.json has both `rope_parameters` and `rope_scaling`, which say the same",
            )
            .hint("remove the one that is not meant"));
        }
        (Some(new), None) => Some(new),
        (None, old) => old,
    };
    let (mut theta, mut part, mut scaling) = (old_theta, old_part, RopeScaling::None);
    if let Some(r) = inner {
        theta = r.positive("rope_theta")?.or(theta);
        part = r.get("partial_rotary_factor")?.or(part);
        scaling = self::scaling(&r, n_ctx)?;
        r.finish()?;
    }
    let dims = part.map_or(d_head, |p| (d_head as f64 * p) as usize);
    if dims == 0 || dims % 2 != 0 || dims > d_head {
        return Err(Error::bad_model(format!(
            "config.json: {dims} of {d_head} head dimensions cannot be rotated in pairs"
        )));
    }
    Ok(Rotary { dims, pairing: Pairing::Halves, theta: theta.unwrap_or(10_000.0), scaling })
}

fn scaling(r: &Config, n_ctx: usize) -> Result<RopeScaling> {
    let kind: Option<String> = r.first(&["rope_type", "type"])?;
    let original =
        |r: &Config| -> Result<f64> { Ok(r.positive("original_max_position_embeddings")?.unwrap_or(n_ctx as f64)) };
    Ok(match kind.as_deref().unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: r.need_positive("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: r.need_positive("factor")?,
            low_freq: r.need_positive("low_freq_factor")?,
            high_freq: r.need_positive("high_freq_factor")?,
            original_ctx: original(r)?,
        },
        "yarn" => {
            let factor = r.need_positive("factor")?;
            // The temperature of YaRN's equation 22, and DeepSeek's variant of it with two coefficients.
            let mscale = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
            let given: Option<f64> = r.get("attention_factor")?;
            let pair: (Option<f64>, Option<f64>) = (r.get("mscale")?, r.get("mscale_all_dim")?);
            let default = match pair {
                (Some(m), Some(all)) if m != 0.0 && all != 0.0 => mscale(m) / mscale(all),
                _ => mscale(1.0),
            };
            RopeScaling::Yarn {
                factor,
                beta_fast: r.get("beta_fast")?.unwrap_or(32.0),
                beta_slow: r.get("beta_slow")?.unwrap_or(1.0),
                original_ctx: original(r)?,
                attention_factor: given.unwrap_or(default),
                truncate: r.get("truncate")?.unwrap_or(true),
            }
        }
        other => {
            return Err(Error::bad_model(format!("config.json: pellucid does not know the rotary scaling `{other}`"))
                .hint("known are default, linear, llama3, yarn"));
        }
    })
}
