//! Rotary settings of a `config.json`, in today's spelling (`rope_parameters`) and the older one
//! (`rope_theta`, `rope_scaling`).

use crate::arch::config::Config;
use crate::arch::spec::{Pairing, RopeScaling, Rotary};
use crate::error::{Error, Result};

/// What is said of the rotation beside the object that holds its settings, and where that is silent.
pub(super) struct Usual {
    pub theta: f64,
    /// How much of each head is rotated; none where the family rotates whole heads, and does not read how much.
    pub share: Option<f64>,
    /// The context length before extension, which comes before the object's own.
    pub original_ctx: Option<f64>,
    pub pairing: Pairing,
}

/// Reads the rotary settings for heads of `d_head` dimensions. `n_ctx` is the context length after extension.
///
/// # Errors
/// Unknown kinds of scaling, and keys inside them that nobody handles.
pub(super) fn rotary(c: &Config, d_head: usize, n_ctx: usize, pairing: Pairing) -> Result<Rotary> {
    // GPT-NeoX has names of its own for the two.
    let theta = if c.reads("rotary_emb_base") { "rotary_emb_base" } else { "rope_theta" };
    let usual = Usual {
        theta: c.need_positive(theta)?,
        share: c.first(&["partial_rotary_factor", "rotary_pct"])?,
        original_ctx: c.positive("original_max_position_embeddings")?,
        pairing,
    };
    let inner = match (c.object("rope_parameters")?, c.object("rope_scaling")?) {
        (Some(_), Some(_)) => {
            return Err(Error::bad_model(
                "config.json has both `rope_parameters` and `rope_scaling`, which say the same",
            )
            .hint("remove the one that is not meant"));
        }
        (Some(new), None) => new,
        (None, Some(old)) => old,
        (None, None) => Config::empty(),
    };
    within(&inner, d_head, n_ctx, &usual)
}

/// Reads the settings in an object of their own.
///
/// # Errors
/// As [`rotary`].
pub(super) fn within(r: &Config, d_head: usize, n_ctx: usize, usual: &Usual) -> Result<Rotary> {
    let theta = r.positive("rope_theta")?.unwrap_or(usual.theta);
    let share = match usual.share {
        Some(usual) => r.get("partial_rotary_factor")?.unwrap_or(usual),
        // Read by none of these families; at 1 it says what they do.
        None => {
            r.only("partial_rotary_factor", 1.0)?;
            1.0
        }
    };
    let scaling = scaling(r, n_ctx, usual.original_ctx)?;
    r.finish()?;
    Ok(Rotary { dims: (d_head as f64 * share) as usize, pairing: usual.pairing, theta, scaling })
}

fn scaling(r: &Config, n_ctx: usize, first: Option<f64>) -> Result<RopeScaling> {
    let kind: Option<String> = r.first(&["rope_type", "type"])?;
    let original = |r: &Config| -> Result<f64> {
        let own = r.positive("original_max_position_embeddings")?;
        Ok(first.or(own).unwrap_or(n_ctx as f64))
    };
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
