//! GPT-2's older pair of files, a vocabulary and its merges, from before there was tokenizer.json.

use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{PreTokenizerWrapper, Tokenizer};

use super::added::Added;
use super::class::{GPT2, QWEN2};
use super::files::{File, Files};
use super::tokenizer::unusable;
use crate::error::{Error, Result};

/// How Qwen 2 cuts a text before its merges, which `Qwen2Tokenizer` of transformers has in its code and in no file.
const QWEN2_PIECES: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The tokenizer of `class` from its vocabulary and its merges, without added tokens.
///
/// # Errors
/// When a file is not understood, or the class is one whose other rules are not known here.
pub(super) fn from_pair(files: &Files, vocab: &File, merges: &File, class: &str) -> Result<Tokenizer> {
    if ![GPT2, "CodeGenTokenizer", QWEN2].contains(&class) {
        return Err(Error::bad_model(format!("{files} has the older files of a {class}, which are not read")).hint(
            "save it with transformers as a tokenizer.json: AutoTokenizer.from_pretrained(..).save_pretrained(..)",
        ));
    }
    let entries: Vocab = serde_json::from_slice(&vocab.read()?).map_err(|e| unusable(vocab, e))?;
    let bpe = BPE::builder().vocab_and_merges(entries, read_merges(merges)?).build().map_err(|e| unusable(vocab, e))?;
    let mut inner = Tokenizer::new(bpe);
    if class == QWEN2 {
        inner.with_normalizer(Some(NFC)).map_err(|e| unusable(files, e))?;
        let steps = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": QWEN2_PIECES}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
        inner.with_pre_tokenizer(Some(pre_tokenizer(files, steps)?));
    } else {
        inner.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
    }
    inner.with_decoder(Some(ByteLevel::default()));
    Ok(inner)
}

/// A pre-tokenizer as tokenizer.json would have it.
pub(super) fn pre_tokenizer(files: &Files, json: Value) -> Result<PreTokenizerWrapper> {
    serde_json::from_value(json).map_err(|e| unusable(files, e))
}

/// Lets `inner` put BOS before a text and EOS after it, where the files say so and which tokens these are.
pub(super) fn put_ends(files: &Files, inner: &mut Tokenizer, added: &Added, bos: bool, eos: bool) -> Result<()> {
    let end = |wanted: bool, name: &str| {
        let token = added.named(name).filter(|_| wanted)?;
        Some((token.to_owned(), inner.token_to_id(token)?))
    };
    let (bos, eos) = (end(bos, "bos_token"), end(eos, "eos_token"));
    if bos.is_none() && eos.is_none() {
        return Ok(());
    }
    let name = |end: &Option<(String, u32)>| end.as_ref().map(|(token, _)| token.clone());
    let single: Vec<String> = [name(&bos), Some("$A".to_owned()), name(&eos)].into_iter().flatten().collect();
    let mut specials: Vec<(String, u32)> = [bos, eos].into_iter().flatten().collect();
    specials.dedup();
    let template = TemplateProcessing::builder()
        .try_single(single)
        .map_err(|e| unusable(files, e))?
        .special_tokens(specials)
        .build()
        .map_err(|e| unusable(files, e))?;
    inner.with_post_processor(Some(template));
    Ok(())
}

/// The pairs of merges.txt, one a line.
fn read_merges(merges: &File) -> Result<Merges> {
    let text = String::from_utf8(merges.read()?).map_err(|e| unusable(merges, e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version"));
    let pair = |(i, line): (usize, &str)| match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
        _ => Err(unusable(merges, format!("its line {} is not a pair", i + 1))),
    };
    lines.map(pair).collect()
}
