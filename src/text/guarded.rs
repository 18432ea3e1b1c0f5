//! The tokenizers crate behind one door: every call into it goes through here. It panics on some files that contradict themselves,
//! and a few of their bytes can ask for any amount of memory; here the first is an error, and the second is refused before.

use std::collections::HashMap;
use std::fmt::Display;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
pub(super) use tokenizers::AddedToken;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::utils::SysRegex;
use tokenizers::{
    AddedVocabulary, DecoderWrapper, Model, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential,
    OffsetType, PostProcessorWrapper, PreTokenizer, PreTokenizerWrapper, Tokenizer,
};

use super::growth::{
    Pattern, Step, check_parts, check_tables, keeps_all, most_in_one_step, most_normalized, most_shrunk, shortened,
    steps,
};
use super::spelling::byte_alphabet;
use crate::guard::guarded;

/// Why something could not be done.
#[derive(Debug)]
pub(super) enum Failed {
    /// The text is one that this tokenizer cannot read.
    Text(String),
    /// The tokenizer's files are at fault.
    Files(String),
}

/// A tokenizer of that crate.
pub(super) struct Guarded {
    inner: Tokenizer,
    steps: Vec<Running>,
}

/// One step of the normalizer, and how it is run.
struct Running {
    step: Step,
    normalizer: NormalizerWrapper,
}

/// A word of a text, which an added token is none of, and its tokens.
pub(super) type Cut = (Option<String>, Vec<u32>);

/// A text as tokens.
pub(super) struct Encoded {
    pub ids: Vec<u32>,
    /// Which of them are not in the text.
    pub added: Vec<bool>,
    /// The bytes of the text that each stands for.
    pub offsets: Vec<(usize, usize)>,
}

/// What merges pairs of symbols (BPE), taken apart.
pub(super) struct Pairs {
    /// Each pair with its rank and what it becomes.
    pub merges: HashMap<(u32, u32), (u32, u32)>,
    /// Whether a word that is an entry of the vocabulary is that token, whatever the merges say.
    pub ignored_for_whole_words: bool,
    /// The same model without merges: its tokens are the symbols that merging begins with.
    bare: BPE,
}

impl Pairs {
    /// The symbols that the merges of a word begin with.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn symbols(&self, word: &str) -> Result<Vec<u32>, String> {
        call(|| self.bare.tokenize(word)).map(|tokens| tokens.into_iter().map(|token| token.id).collect())
    }
}

/// What of a tokenizer.json is looked at before the crate reads it.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default, rename = "model")]
    _model: IgnoredAny,
}

/// What `call` gives, in words where it fails.
fn call<T, E: Display>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match guarded(call) {
        Some(Ok(value)) => Ok(value),
        Some(Err(e)) => Err(shortened(&e.to_string()).to_owned()),
        None => Err("its contents contradict each other".into()),
    }
}

/// A part as the crate itself writes it, so that older ways to write it are none to think of.
fn canonical<T: serde::de::DeserializeOwned + serde::Serialize>(json: &Value) -> Result<Value, String> {
    match json {
        Value::Null => Ok(Value::Null),
        json => call(|| serde_json::from_value::<T>(json.clone()).and_then(serde_json::to_value)),
    }
}

impl Guarded {
    /// The tokenizer that a tokenizer.json holds. Truncation, padding and BPE dropout are switched off.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let parts: Parts = serde_json::from_slice(json).map_err(|e| shortened(&e.to_string()).to_owned())?;
        let running = Self::checked(&parts)?;
        check_added(&running, &parts.added_tokens)?;
        let inner = call(|| Tokenizer::from_bytes(json)).map_err(|e| lacking(json).unwrap_or(e))?;
        Self::steady(Self { inner, steps: running })
    }

    /// A vocabulary of bytes with its merges, and nothing else.
    pub fn from_merges(vocabulary: HashMap<String, u32>, merges: Vec<(String, String)>) -> Result<Self, String> {
        let product = |(left, right): &(String, String)| format!("{left}{right}");
        if let Some(lacks) = merges.iter().map(product).find(|token| !vocabulary.contains_key(token)) {
            return Err(lacking_product(&lacks));
        }
        let model =
            call(|| BPE::builder().vocab_and_merges(vocabulary.into_iter().collect::<Vocab>(), merges).build())?;
        Ok(Self { inner: Tokenizer::new(model), steps: vec![] })
    }

    /// The steps of the normalizer, after all parts were found to be harmless.
    fn checked(parts: &Parts) -> Result<Vec<Running>, String> {
        check_tables(&parts.normalizer)?;
        let normalizer = canonical::<NormalizerWrapper>(&parts.normalizer)?;
        check_parts(
            &canonical::<PreTokenizerWrapper>(&parts.pre_tokenizer)?,
            &canonical::<PostProcessorWrapper>(&parts.post_processor)?,
            &canonical::<DecoderWrapper>(&parts.decoder)?,
        )?;
        let running = |step: Step| {
            let normalizer = call(|| serde_json::from_value(step.json.clone()))?;
            Ok(Running { step, normalizer })
        };
        steps(&normalizer)?.into_iter().map(running).collect()
    }

    fn steady(mut self) -> Result<Self, String> {
        let inner = &mut self.inner;
        call(|| {
            inner.with_padding(None);
            inner.with_truncation(None)?;
            if let ModelWrapper::BPE(bpe) = inner.get_model()
                && bpe.dropout.is_some()
            {
                let mut steady = bpe.clone();
                steady.dropout = None;
                inner.with_model(steady);
            }
            Ok::<_, tokenizers::Error>(())
        })?;
        Ok(self)
    }

    /// Puts one part, as tokenizer.json has it, in place of the one that is there.
    pub fn set(&mut self, part: &str, json: &Value) -> Result<(), String> {
        let of = |name: &str| if name == part { json.clone() } else { Value::Null };
        let parts = Parts {
            normalizer: of("normalizer"),
            pre_tokenizer: of("pre_tokenizer"),
            post_processor: of("post_processor"),
            decoder: of("decoder"),
            added_tokens: vec![],
            _model: IgnoredAny,
        };
        let steps = Self::checked(&parts)?;
        let inner = &mut self.inner;
        call(|| {
            let json = json.clone();
            match part {
                "normalizer" => {
                    inner.with_normalizer(Some(serde_json::from_value::<NormalizerWrapper>(json)?))?;
                }
                "pre_tokenizer" => {
                    inner.with_pre_tokenizer(Some(serde_json::from_value::<PreTokenizerWrapper>(json)?));
                }
                "post_processor" => {
                    inner.with_post_processor(Some(serde_json::from_value::<PostProcessorWrapper>(json)?));
                }
                _ => {
                    inner.with_decoder(Some(serde_json::from_value::<DecoderWrapper>(json)?));
                }
            }
            Ok::<_, tokenizers::Error>(())
        })?;
        if part == "normalizer" {
            self.steps = steps;
        }
        Ok(())
    }

    /// Adds tokens to the vocabulary.
    pub fn add(&mut self, tokens: Vec<AddedToken>) -> Result<(), String> {
        check_added(&self.steps, &tokens)?;
        call(|| self.inner.add_tokens(tokens)).map(drop)
    }

    /// Whether special tokens in a text are read as text.
    pub fn split_special(&mut self, split: bool) {
        guarded(|| self.inner.set_encode_special_tokens(split));
    }

    /// `text` as tokens, with what the post-processor puts around it or without.
    ///
    /// # Errors
    /// When the text cannot be read, or the files are at fault.
    pub fn encode(&self, text: &str, with_special: bool) -> Result<Encoded, Failed> {
        if !self.may_normalize(text) {
            return Err(Failed::Files(too_long(text)));
        }
        let encoding = match guarded(|| self.inner.encode(text, with_special)) {
            Some(Ok(encoding)) => encoding,
            Some(Err(e)) => return Err(Failed::Text(shortened(&e.to_string()).to_owned())),
            None => return Err(Failed::Files("its contents contradict each other".into())),
        };
        Ok(Encoded {
            ids: encoding.get_ids().to_vec(),
            added: encoding.get_special_tokens_mask().iter().map(|added| *added != 0).collect(),
            offsets: encoding.get_offsets().to_vec(),
        })
    }

    /// The words that `text` is cut into, in order, each with its tokens: the model reads one at a time. No word, where an added token was
    /// found in the text.
    ///
    /// # Errors
    /// With what is wrong. The text is one that [`Guarded::encode`] can read.
    pub fn words(&self, text: &str) -> Result<Vec<Cut>, String> {
        let inner = &self.inner;
        call(|| {
            let mut cut = inner.get_added_vocabulary().extract_and_normalize(inner.get_normalizer(), text);
            if let Some(words) = inner.get_pre_tokenizer() {
                words.pre_tokenize(&mut cut)?;
            }
            let pieces = cut.get_splits(OffsetReferential::Original, OffsetType::None);
            let ids = |tokens: &[tokenizers::Token]| tokens.iter().map(|token| token.id).collect();
            let word = |(word, _, found): (&str, _, &Option<Vec<tokenizers::Token>>)| match found {
                Some(tokens) => Ok((None, ids(tokens))),
                None => Ok((Some(word.to_owned()), ids(&inner.get_model().tokenize(word)?))),
            };
            pieces.into_iter().map(word).collect::<tokenizers::Result<_>>()
        })
    }

    /// What its model is called; of BPE, its merges.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn pairs(&self) -> Result<Pairs, &'static str> {
        let bpe = match self.inner.get_model() {
            ModelWrapper::BPE(bpe) => bpe,
            ModelWrapper::Unigram(_) => return Err("Unigram"),
            ModelWrapper::WordPiece(_) => return Err("WordPiece"),
            ModelWrapper::WordLevel(_) => return Err("WordLevel"),
        };
        let made = guarded(|| {
            let marked = bpe.continuing_subword_prefix.as_ref().map_or(0, String::len);
            // The crate gives its merges, in order, only as it writes them.
            let listed: Vec<(String, String)> =
                serde_json::from_value(serde_json::to_value(bpe).ok()?["merges"].take()).ok()?;
            let pair = |(rank, (left, right)): (usize, &(String, String))| {
                let merged = format!("{left}{}", right.get(marked..)?);
                let id = |token: &str| bpe.token_to_id(token);
                Some(((id(left)?, id(right)?), (u32::try_from(rank).ok()?, id(&merged)?)))
            };
            let merges = listed.iter().enumerate().map(pair).collect::<Option<_>>()?;
            let vocabulary = bpe.get_vocab().into_iter().collect::<Vocab>();
            let mut bare = BPE::builder().vocab_and_merges(vocabulary, vec![]).build().ok()?;
            bare.unk_token = bpe.unk_token.clone();
            bare.continuing_subword_prefix = bpe.continuing_subword_prefix.clone();
            bare.end_of_word_suffix = bpe.end_of_word_suffix.clone();
            (bare.fuse_unk, bare.byte_fallback) = (bpe.fuse_unk, bpe.byte_fallback);
            Some(Pairs { merges, ignored_for_whole_words: bpe.ignore_merges, bare })
        });
        made.flatten().ok_or("a kind whose merges cannot be read")
    }

    /// Whether the normalizer leaves `text` within what [`most_normalized`] allows. By what its steps can do at most or, where
    /// that is too much, one step after the other, each only after it is known how much it makes.
    fn may_normalize(&self, text: &str) -> bool {
        let most = self.steps.iter().fold(text.len(), |n, running| running.step.most(n));
        if most <= most_normalized(text.len()) {
            return true;
        }
        guarded(|| {
            // Between the tokens that are found before a text is normalized.
            let mut vocabulary = AddedVocabulary::new();
            let found_before = self.inner.get_added_tokens_decoder().into_values().filter(|token| !token.normalized);
            let added = vocabulary.add_tokens(found_before, self.inner.get_model(), None::<&NormalizerWrapper>);
            vocabulary.set_encode_special_tokens(self.inner.get_encode_special_tokens());
            let cut = vocabulary.extract_and_normalize(None::<&NormalizerWrapper>, text);
            let pieces = cut.get_splits(OffsetReferential::Original, OffsetType::None);
            let pieces = pieces.iter().filter(|(_, _, token)| token.is_none()).map(|(piece, ..)| *piece);
            added.is_ok() && fits(&self.steps, pieces, text.len())
        })
        .unwrap_or(false)
    }

    /// How many bytes of a text a token can stand for at most. None where nothing bounds it: where bytes may be left out, several unknown
    /// ones may become one token, or a token may swallow the spaces beside it.
    pub fn longest(&self) -> Option<usize> {
        guarded(|| {
            let ModelWrapper::BPE(bpe) = self.inner.get_model() else { return None };
            let shrunk = most_shrunk(&self.steps.iter().map(|running| running.step.clone()).collect::<Vec<_>>())?;
            let (keeps, byte_level) = keeps_all(&self.pre_tokenizer());
            let has = |token: &str| bpe.token_to_id(token).is_some();
            let bytes = match byte_level {
                // Those that text in UTF-8 has.
                true => byte_alphabet()
                    .iter()
                    .all(|(name, byte)| matches!(byte, 0xc0 | 0xc1 | 0xf5..) || has(name.encode_utf8(&mut [0; 4]))),
                false => bpe.byte_fallback && (0..=u8::MAX).all(|byte| has(&format!("<0x{byte:02X}>"))),
            };
            let empty = |mark: &Option<String>| mark.as_ref().is_none_or(String::is_empty);
            let plain = empty(&bpe.continuing_subword_prefix) && empty(&bpe.end_of_word_suffix);
            let added = self.inner.get_added_tokens_decoder();
            if !keeps || !bytes || !plain || added.values().any(|token| token.lstrip || token.rstrip) {
                return None;
            }
            // In that alphabet, a byte is a character.
            let length = |token: &String| if byte_level { token.chars().count() } else { token.len() };
            let longest = bpe.get_vocab().keys().map(length).max()?;
            Some(shrunk * added.values().map(|token| token.content.len()).max().unwrap_or_default().max(longest))
        })?
    }

    /// The text that `ids` spell together, special tokens included.
    pub fn decode(&self, ids: &[u32]) -> Result<String, String> {
        call(|| self.inner.decode(ids, false))
    }

    /// The id of a token of the vocabulary, added ones included.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        guarded(|| self.inner.token_to_id(token))?
    }

    /// A token of the vocabulary as it is written there.
    pub fn entry(&self, id: u32) -> Option<String> {
        guarded(|| self.inner.id_to_token(id))?
    }

    /// The added tokens by their ids.
    pub fn added(&self) -> HashMap<u32, AddedToken> {
        guarded(|| self.inner.get_added_tokens_decoder().into_iter().collect()).unwrap_or_default()
    }

    /// Whether a token is one of control.
    pub fn is_special(&self, token: &str) -> bool {
        guarded(|| self.inner.get_added_vocabulary().is_special_token(token)).unwrap_or(false)
    }

    /// How many entries the vocabulary has, added ones included.
    pub fn size(&self) -> usize {
        guarded(|| self.inner.get_vocab_size(true)).unwrap_or_default()
    }

    /// The token that stands for what is not in the vocabulary.
    pub fn unknown(&self) -> Option<u32> {
        let token = guarded(|| match self.inner.get_model() {
            ModelWrapper::BPE(bpe) => bpe.unk_token.clone(),
            ModelWrapper::WordLevel(words) => Some(words.unk_token.clone()),
            ModelWrapper::WordPiece(pieces) => Some(pieces.unk_token.clone()),
            ModelWrapper::Unigram(_) => Some("<unk>".to_owned()),
        })??;
        self.id_of(&token)
    }

    /// The pre-tokenizer as tokenizer.json would have it; null where there is none.
    pub fn pre_tokenizer(&self) -> Value {
        guarded(|| serde_json::to_value(self.inner.get_pre_tokenizer()).ok()).flatten().unwrap_or_default()
    }

    /// The decoder as tokenizer.json would have it; null where there is none.
    pub fn decoder(&self) -> Value {
        guarded(|| serde_json::to_value(self.inner.get_decoder()).ok()).flatten().unwrap_or_default()
    }
}

/// The merge of a tokenizer.json whose product its vocabulary lacks: on that the crate panics, and says nothing.
fn lacking(json: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(json).ok()?;
    let vocabulary = json["model"]["vocab"].as_object()?;
    let product = |merge: &Value| match merge {
        Value::String(pair) => Some(pair.split_once(' ')?).map(|(left, right)| format!("{left}{right}")),
        pair => Some(format!("{}{}", pair[0].as_str()?, pair[1].as_str()?)),
    };
    let mut products = json["model"]["merges"].as_array()?.iter().filter_map(product);
    products.find(|token| !vocabulary.contains_key(token)).map(|token| lacking_product(&token))
}

fn lacking_product(token: &str) -> String {
    format!("a merge makes `{}`, which is not in its vocabulary", shortened(token))
}

/// Refuses added tokens that the normalizer makes too long.
fn check_added(steps: &[Running], tokens: &[AddedToken]) -> Result<(), String> {
    let grown = |token: &&AddedToken| token.normalized && !fits(steps, [token.content.as_str()], token.content.len());
    tokens.iter().find(grown).map_or(Ok(()), |token| Err(too_long(&token.content)))
}

fn too_long(text: &str) -> String {
    format!("its normalizer makes more than {} bytes of {}", most_normalized(text.len()), text.len())
}

/// Whether `steps` make no more of these pieces of a text of `n` bytes than is allowed. Where one cannot be run, that is not for
/// here to say.
fn fits<'a>(steps: &[Running], pieces: impl IntoIterator<Item = &'a str>, n: usize) -> bool {
    let mut total = 0;
    for piece in pieces {
        let mut text = NormalizedString::from(piece);
        for Running { step, normalizer } in steps {
            let before = text.get();
            let next = match step.replaces() {
                Some((Pattern::Text(pattern), content)) => before.len() + before.matches(pattern).count() * content,
                Some((Pattern::Regex(pattern), content)) => {
                    let matches =
                        SysRegex::new(pattern).map_or(before.len() + 1, |regex| regex.find_iter(before).count());
                    before.len() + matches * content
                }
                None => step.most(before.len()),
            };
            if total + next > most_in_one_step(n) {
                return false;
            }
            if guarded(|| normalizer.normalize(&mut text)).is_none_or(|done| done.is_err()) {
                return true;
            }
            if total + text.get().len() > most_normalized(n) {
                return false;
            }
        }
        total += text.get().len();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_the_one_that_tokenizers_use() {
        let ours = byte_alphabet();
        assert_eq!(ours.len(), 256);
        for c in tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet() {
            assert!(ours.contains_key(&c), "{c:?}");
        }
    }
}
