//! Models of pictures, sound and words, which have a language model inside: `config.json` describes it in `text_config`.

use super::FAMILIES;
use crate::arch::config::Config;
use crate::error::{Error, Result};
use crate::visible::shortened;

/// Where such configurations describe their language model.
const INSIDE: [&str; 3] = ["text_config", "llm_config", "language_config"];

/// Refuses a model that is no family of ours and has a language model inside, with what that is.
pub(super) fn refuse(config: &Config, model_type: &str) -> Result<()> {
    if FAMILIES.iter().any(|family| family.model_type == model_type) {
        return Ok(());
    }
    for key in INSIDE {
        let inside = config.get::<serde_json::Value>(key)?.unwrap_or_default();
        let Some(inside) = inside["model_type"].as_str() else { continue };
        let (outer, inner) = (shortened(model_type, 40), shortened(inside, 40));
        return Err(Error::bad_model(format!(
            "config.json is of a `{outer}`, which has a language model (`{inner}`) inside one for pictures or sound, and pellucid \
             runs language models alone"
        ))
        .hint("docs/files.md has the lines of Python that take the language model out; or name a model of text alone"));
    }
    Ok(())
}
