//! Which token begins a text, as far as a model's files say.

use serde_json::Value;
use tokenizers::Tokenizer;

use super::files::Files;
use crate::error::{Error, Result};

/// The JSON file `name`; null when it is not there.
pub(super) fn json_file(files: &Files, name: &str) -> Result<Value> {
    let Some(text) = files.read(name)? else { return Ok(Value::Null) };
    serde_json::from_slice(&text)
        .map_err(|e| Error::bad_model(format!("{} is not valid JSON: {e}", files.shown(name))).because(e))
}

/// The id of the token that begins a text (BOS).
///
/// Asked in this order: `bos_token` in tokenizer_config.json, then in special_tokens_map.json; what the post-processor
/// puts first; and, unless one of the two files says `null`, `bos_token_id` in config.json and GPT-2's `<|endoftext|>`.
pub(super) fn find_bos(files: &Files, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    let mut says_none = false;
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        let facts = json_file(files, file)?;
        let Some(token) = facts.get("bos_token") else { continue };
        says_none |= token.is_null();
        // Either the token itself, or an object with its content.
        let content = token.as_str().or_else(|| token["content"].as_str());
        if let Some(id) = content.and_then(|t| tokenizer.token_to_id(t)) {
            return Ok(Some(id));
        }
    }
    if let Ok(encoding) = tokenizer.encode("a", true)
        && encoding.get_special_tokens_mask().first() == Some(&1)
    {
        return Ok(encoding.get_ids().first().copied());
    }
    if says_none {
        return Ok(None);
    }
    let id = json_file(files, "config.json")?["bos_token_id"].as_u64().and_then(|id| u32::try_from(id).ok());
    if let Some(id) = id.filter(|&id| tokenizer.id_to_token(id).is_some()) {
        return Ok(Some(id));
    }
    let end_of_text = tokenizer.token_to_id("<|endoftext|>");
    Ok(end_of_text.filter(|_| tokenizer.get_added_vocabulary().is_special_token("<|endoftext|>")))
}
