//! Which token begins a text and which ends it, as far as a model's files say, and who puts them there.

use serde_json::Value;

use super::added::Facts;
use super::class::in_transformers_4;
use super::files::Files;
use super::guarded::{Encoded, Failed, Guarded};
use super::kind::what_it_is;
use super::tokenizer::quoted;
use crate::error::{Error, Result, Said, give, words};

/// The small files beside a tokenizer: the largest known, an added_tokens.json, has two. In bytes.
const LARGEST: u64 = 16 << 20;

/// The JSON file `name`; null when it is not there.
pub(super) fn json_file(files: &Files, name: &str) -> Result<Value> {
    let Some(file) = files.file(name) else { return Ok(Value::Null) };
    if file.size()? > LARGEST {
        return Err(Error::bad_model(format!(
            "{file} is larger than the {} MB of any file of that name",
            LARGEST >> 20
        ))
        .hint("fetch it again, or take it away"));
    }
    let text = file.read()?;
    what_it_is(&file, &text)?;
    serde_json::from_slice(&text).map_err(|e| {
        let sentence = Error::bad_model(format!("{file} is not valid JSON: {e}"));
        sentence.because(e).hint("get the file from the model's source again")
    })
}

/// The id of the token that begins a text (BOS).
///
/// Asked in this order: `bos_token` in tokenizer_config.json, then in special_tokens_map.json; what the post-processor
/// puts first; and, unless one of the two files says `null`, `bos_token_id` in config.json and GPT-2's `<|endoftext|>`.
///
/// # Errors
/// When the tokenizer cannot be used at all.
pub(super) fn find_bos(facts: &Facts, tokenizer: &Guarded) -> Result<Option<u32>, Failed> {
    let mut says_none = false;
    for file in [&facts.tokenizer, &facts.special] {
        let Some(token) = file.get("bos_token") else { continue };
        says_none |= token.is_null();
        if let Some(id) = text_of(token).and_then(|t| tokenizer.id_of(t)) {
            return Ok(Some(id));
        }
    }
    if let Some(first) = ends(tokenizer)?.0 {
        return Ok(Some(first));
    }
    if says_none {
        return Ok(None);
    }
    let id = facts.model["bos_token_id"].as_u64().and_then(|id| u32::try_from(id).ok());
    if let Some(id) = id.filter(|&id| tokenizer.entry(id).is_some()) {
        return Ok(Some(id));
    }
    // GPT-2's class adds its token to vocabularies that lack it, and then no model knows it.
    let known = |id: &u32| facts.model["vocab_size"].as_u64().is_none_or(|size| u64::from(*id) < size);
    let end_of_text = tokenizer.id_of("<|endoftext|>").filter(known);
    Ok(end_of_text.filter(|_| tokenizer.is_special("<|endoftext|>")))
}

/// The id of the token that ends a text (EOS), as transformers' `eos_token`: tokenizer_config.json says it, else
/// special_tokens_map.json; else `eos_token_id` in config.json, of several the first.
pub(super) fn find_eos(facts: &Facts, tokenizer: &Guarded) -> Option<u32> {
    let said = [&facts.tokenizer, &facts.special].into_iter().find_map(|file| text_of(file.get("eos_token")?));
    let id = &facts.model["eos_token_id"];
    let id = || u32::try_from(id.as_u64().or_else(|| id[0].as_u64())?).ok().filter(|id| tokenizer.entry(*id).is_some());
    said.and_then(|text| tokenizer.id_of(text)).or_else(id)
}

/// Either the token itself, or an object with its content.
fn text_of(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// What tokenizer.json lets be put before a text and after it. Nothing where a text of one letter is none that can be read.
fn ends(tokenizer: &Guarded) -> Result<(Option<u32>, Option<u32>), Failed> {
    let Encoded { ids, added, .. } = match tokenizer.encode("a", true) {
        Ok(encoded) => encoded,
        Err(Failed::Text(_)) => return Ok((None, None)),
        Err(e) => return Err(e),
    };
    let end = |at: Option<usize>| at.filter(|&i| added.get(i) == Some(&true)).and_then(|i| ids.get(i)).copied();
    Ok((end(Some(0)), end(ids.len().checked_sub(1))))
}

/// Where transformers 4 puts another BOS or EOS around a text than tokenizer.json says, which version 5 and pellucid follow:
/// that, and what to do for the other. DeepSeek's distilled models are such.
pub(super) fn difference(facts: &Facts, tokenizer: &Guarded) -> Option<Said> {
    let stated = facts.tokenizer["tokenizer_class"].as_str()?;
    let by_itself = in_transformers_4(stated)?;
    let (bos, eos) = ends(tokenizer).ok()?;
    let name = |key: &str| [&facts.tokenizer, &facts.special].into_iter().find_map(|file| text_of(&file[key]));
    let says = |put: Option<bool>, key: &str| match put {
        Some(put) => format!("tokenizer_config.json says `{key}: {put}`"),
        None => format!("a {stated} puts one where tokenizer_config.json says nothing of it"),
    };
    let wants = facts.flag("add_bos_token");
    if let Some(token) = name("bos_token")
        && wants.unwrap_or(by_itself) != bos.is_some()
    {
        let token = quoted(token);
        let as_it_has = "is put before a text, as tokenizer.json has it and as transformers 5 does, though";
        let (said, other, option) = match bos {
            None => ("no BOS".to_owned(), token, "bos"),
            Some(_) => (token, "none".to_owned(), "no_bos"),
        };
        let said =
            format!("{said} {as_it_has} {}; transformers 4 puts {other}, and so does ", says(wants, "add_bos_token"));
        return Some(words(said) + give(option));
    }
    let wants = facts.flag("add_eos_token");
    let token = quoted(name("eos_token").filter(|_| wants.unwrap_or(false) != eos.is_some())?);
    let (done, other) = if eos.is_some() { ("", "none") } else { ("no ", "it") };
    Some(words(format!(
        "{done}{token} is put after a text, as tokenizer.json has it and as transformers 5 does; transformers 4 puts {other}"
    )))
}
