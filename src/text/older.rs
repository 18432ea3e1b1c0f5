//! GPT-2's older pair of files, a vocabulary and its merges, from before there was tokenizer.json.

use serde_json::{Map, Value, json};

use super::added::Added;
use super::class::{GPT2, QWEN2};
use super::files::{File, Files};
use super::guarded::Guarded;
use super::tokenizer::unusable;
use crate::error::{Error, Result};

/// How Qwen 2 cuts a text before its merges, which `Qwen2Tokenizer` of transformers has in its code and in no file.
const QWEN2_PIECES: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The tokenizer of `class` from its vocabulary and its merges, without added tokens.
///
/// # Errors
/// When a file is not understood, or the class is one whose other rules are not known here.
pub(super) fn from_pair(files: &Files, vocab: &File, merges: &File, class: &str) -> Result<Guarded> {
    if ![GPT2, "CodeGenTokenizer", QWEN2].contains(&class) {
        return Err(Error::bad_model(format!("{files} has the older files of a {class}, which are not read")).hint(
            "save it with transformers as a tokenizer.json: AutoTokenizer.from_pretrained(..).save_pretrained(..)",
        ));
    }
    let entries = serde_json::from_slice(&vocab.read()?).map_err(|e| unusable(vocab, e))?;
    let mut pairs = Guarded::from_merges(entries, read_merges(merges)?).map_err(|e| unusable(vocab, e))?;
    let bytes = |by_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": by_regex});
    let pieces = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": QWEN2_PIECES}, "behavior": "Isolated", "invert": false}, bytes(false)]});
    let steps = match class {
        QWEN2 => vec![("normalizer", json!({"type": "NFC"})), ("pre_tokenizer", pieces), ("decoder", bytes(true))],
        _ => vec![("pre_tokenizer", bytes(true)), ("decoder", bytes(true))],
    };
    for (part, json) in steps {
        pairs.set(part, &json).map_err(|e| unusable(files, e))?;
    }
    Ok(pairs)
}

/// Lets `inner` put BOS before a text and EOS after it, where the files say so and which tokens these are.
pub(super) fn put_ends(files: &Files, inner: &mut Guarded, added: &Added, bos: bool, eos: bool) -> Result<()> {
    let end = |wanted: bool, name: &str| {
        let token = added.named(name).filter(|_| wanted)?;
        Some((token.to_owned(), inner.id_of(token)?))
    };
    let (bos, eos) = (end(bos, "bos_token"), end(eos, "eos_token"));
    if bos.is_none() && eos.is_none() {
        return Ok(());
    }
    let text = |which: &str, type_id: u32| json!({"Sequence": {"id": which, "type_id": type_id}});
    let put = |(token, _): &(String, u32)| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let single: Vec<Value> = bos.iter().map(put).chain([text("A", 0)]).chain(eos.iter().map(put)).collect();
    let named = |(token, id): (String, u32)| (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]}));
    let special: Map<String, Value> = [bos, eos].into_iter().flatten().map(named).collect();
    let template = json!({"type": "TemplateProcessing", "single": single, "pair": [text("A", 0), text("B", 1)], "special_tokens": special});
    inner.set("post_processor", &template).map_err(|e| unusable(files, e))
}

/// The pairs of merges.txt, one a line.
fn read_merges(merges: &File) -> Result<Vec<(String, String)>> {
    let text = String::from_utf8(merges.read()?).map_err(|e| unusable(merges, e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version"));
    let pair = |(i, line): (usize, &str)| match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
        _ => Err(unusable(merges, format!("its line {} is not a pair", i + 1))),
    };
    lines.map(pair).collect()
}
