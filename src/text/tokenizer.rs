//! A model's own tokenizer, and tokens that know which bytes of the prompt they are.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::added::{Added, Facts};
use super::align::{Spelled, align};
use super::bos::{difference, find_bos, find_eos};
use super::chat::{Chat, InChat, Template};
use super::class::{class, class_of_pair, heeds_prefix_space};
use super::files::Files;
use super::guarded::{AddedToken, Encoded, Failed, Guarded};
use super::ids::literal;
use super::kind::what_it_is;
use super::older::{from_pair, put_ends};
use super::pick;
use super::spelling::{Spelling, legible};
use crate::error::{Error, Result, Said, said};

/// What to do about the token that begins a text (BOS, such as `<s>` or `<|endoftext|>`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bos {
    /// What the tokenizer does by itself: Llama's puts one, GPT-2's does not.
    #[default]
    AsTokenizer,
    /// Put one first, unless the text already begins with it.
    Always,
    /// Leave out whatever the tokenizer would put before the text.
    Never,
}

/// One token of a prompt. What it shares with all tokens of its id is a [`Word`], which it is seen as: `token.text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    word: Arc<Word>,
    /// The half-open range of bytes of the prompt that it stands for; none for a token that is not in the prompt, such as
    /// a BOS that the tokenizer added, or for a prompt given as ids. It can be empty, and can begin or end inside a
    /// character.
    pub bytes: Option<Range<usize>>,
}

/// What all tokens of one id have in common. Prompts share it: of many, tokens would take more memory than all else.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    /// Its row in the embedding.
    pub id: u32,
    /// As it is written in the vocabulary: `Ġthe`, `▁the`, `<0xF0>`; `#17` where there is no such entry.
    pub piece: String,
    /// What it spells: ` the`; bytes that are not text by themselves as `\xF0`.
    pub text: String,
    /// The bytes that it spells; none where there is no such entry.
    pub spells: Vec<u8>,
    /// True for control tokens such as `<s>`, false for tokens of ordinary text.
    pub special: bool,
}

impl From<Word> for Token {
    fn from(word: Word) -> Self {
        Self { word: word.into(), bytes: None }
    }
}

impl std::ops::Deref for Token {
    type Target = Word;

    fn deref(&self) -> &Word {
        &self.word
    }
}

impl Token {
    /// Takes the word of an equal token that is among `known`, and adds its own if there is none.
    pub(super) fn share(&mut self, known: &mut HashMap<u32, Arc<Word>>) {
        let shared = known.entry(self.word.id).or_insert_with(|| self.word.clone());
        if *shared == self.word {
            self.word = shared.clone();
        }
    }
}

/// A model's tokenizer.
pub struct Tokenizer {
    inner: Guarded,
    spelling: Spelling,
    /// The tokens added to the vocabulary, which are written as they are. Asking the tokenizer itself for their names
    /// would give what its normalizer makes of them, such as `▁<s>`.
    added: HashMap<u32, AddedToken>,
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    vocab_size: usize,
    /// The tokenizer puts a space before the text, so that `Mary` and ` Mary` begin with the same piece.
    prepends_space: bool,
    note: Option<Said>,
    chat: Template,
    /// How many bytes of a text a token can stand for, if that is bounded: it is looked for when it is asked for.
    longest: OnceLock<Option<usize>>,
}

impl Tokenizer {
    /// The tokenizer in the model folder `dir`, as [`Tokenizer::from_files`].
    ///
    /// # Errors
    /// As there.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        Self::from_files(&Files::Folder(dir.to_owned()))
    }

    /// The tokenizer among a model's files: tokenizer.json, or GPT-2's older pair of files (vocab.json or encoder.json,
    /// with merges.txt or vocab.bpe). None when there is neither.
    ///
    /// What tokenizer_config.json, special_tokens_map.json and added_tokens.json say beside it is heeded as transformers 5
    /// heeds it: added tokens, `add_prefix_space`, `split_special_tokens`; `add_bos_token` and `add_eos_token` only with the
    /// older pair, for tokenizer.json says itself what is put around a text.
    ///
    /// Truncation, padding and BPE dropout that tokenizer.json may ask for are switched off: they would lose tokens, add
    /// some, or make two runs differ.
    ///
    /// # Errors
    /// When a file is there but cannot be read or is not understood.
    pub fn from_files(files: &Files) -> Result<Option<Self>> {
        let first = |names: [&str; 2]| names.into_iter().find_map(|name| files.file(name));
        if let Some(json) = files.file("tokenizer.json") {
            let bytes = json.read()?;
            what_it_is(&json, &bytes)?;
            let facts = Facts::read(files)?;
            let class = class(&facts.tokenizer, &facts.model, Some(&bytes));
            let mut inner = Guarded::from_json(&bytes).map_err(|e| unusable(&json, e))?;
            let added = complete(files, &facts, &class, &mut inner)?;
            let note = difference(&facts, &inner);
            return Self::new(files, &facts, inner, note, added).map(Some);
        }
        let (Some(vocab), Some(merges)) = (first(pick::VOCABULARIES), first(pick::MERGES)) else {
            return Ok(None);
        };
        let facts = Facts::read(files)?;
        let class = class_of_pair(&facts.tokenizer, &facts.model);
        let mut inner = from_pair(files, &vocab, &merges, &class)?;
        let added = complete(files, &facts, &class, &mut inner)?;
        let says = |key: &str| facts.flag(key) == Some(true);
        put_ends(files, &mut inner, &added, says("add_bos_token"), says("add_eos_token"))?;
        Self::new(files, &facts, inner, None, added).map(Some)
    }

    fn new(files: &Files, facts: &Facts, inner: Guarded, note: Option<Said>, names: Added) -> Result<Self> {
        let spelling = Spelling::new(&inner.decoder(), &inner.pre_tokenizer());
        let added = inner.added();
        let past_added = added.keys().max().map_or(0, |&id| id as usize + 1);
        let bos = find_bos(facts, &inner).map_err(|e| match e {
            Failed::Text(e) | Failed::Files(e) => unusable(files, e),
        })?;
        let mut tokenizer = Self {
            bos,
            eos: find_eos(facts, &inner),
            note,
            chat: Template::new(files, facts.tokenizer["chat_template"].clone(), names.texts()),
            unknown: inner.unknown(),
            vocab_size: inner.size().max(past_added),
            spelling,
            added,
            inner,
            prepends_space: false,
            longest: OnceLock::new(),
        };
        let letter = tokenizer.without_special("a")?;
        tokenizer.prepends_space = letter.first().is_some_and(|&id| tokenizer.bytes_of(id).first() == Some(&b' '));
        Ok(tokenizer)
    }

    /// `text` as tokens, with what the tokenizer's own post-processor adds, and `bos` heeded.
    ///
    /// # Errors
    /// When `bos` is [`Bos::Always`] and the model's files do not say which token that is; when the tokenizer fails.
    pub fn encode(&self, text: &str, bos: Bos) -> Result<Vec<Token>> {
        let tokens = self.laid(text, true)?;
        match bos {
            Bos::AsTokenizer => Ok(tokens),
            Bos::Never => Ok(tokens.into_iter().skip_while(|t| t.bytes.is_none()).collect()),
            Bos::Always => {
                let first = self.bos.ok_or_else(|| {
                    Error::bad_input("this model's files do not say which token begins a text (BOS)")
                        .hint("leave BOS as the tokenizer has it, or give the prompt as token ids")
                })?;
                let mut tokens = tokens;
                if tokens.first().is_none_or(|t| t.id != first) {
                    tokens.insert(0, self.token(first));
                }
                Ok(tokens)
            }
        }
    }

    /// What `user` says in `chat`, as the tokenizer's chat template writes it, and where in that it stands.
    ///
    /// # Errors
    /// When it has no template, or one that is none, fails, or refuses this chat.
    pub fn in_chat(&self, user: &str, chat: &Arc<Chat>) -> Result<(String, InChat)> {
        self.chat.apply(chat, user)
    }

    /// `text` as the tokens that it is, with nothing put around it.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn encode_alone(&self, text: &str) -> Result<Vec<Token>> {
        self.laid(text, false)
    }

    /// `text` as tokens that know where they are in it, with what the tokenizer puts around it or without.
    fn laid(&self, text: &str, with_special: bool) -> Result<Vec<Token>> {
        let Encoded { ids, added, offsets } = self.encoding(text, with_special)?;
        let spelled: Vec<Spelled> = (0..ids.len())
            .filter(|&i| !added[i])
            .map(|i| Spelled { bytes: self.bytes_of(ids[i]), reported: offsets[i].0..offsets[i].1 })
            .collect();
        let mut ranges = align(text, &spelled).into_iter();
        let tokens = ids.into_iter().zip(added).map(|(id, added)| {
            let bytes = if added { None } else { ranges.next() };
            Token { bytes, ..self.token(id) }
        });
        Ok(tokens.collect())
    }

    /// How few tokens a text of `n` bytes can be, whatever they are: by the longest that there is. 0 where nothing bounds that.
    pub fn least_tokens(&self, n: usize) -> usize {
        let longest = self.longest.get_or_init(|| self.inner.longest());
        longest.map_or(0, |longest| n.div_ceil(longest.max(1)))
    }

    /// The token `id` outside of any prompt: its `bytes` are none. An id that is not in the vocabulary is called `#17`.
    pub fn token(&self, id: u32) -> Token {
        let special = self.added.get(&id).is_some_and(|token| token.special);
        let spells = self.bytes_of(id);
        Word { id, piece: self.piece(id), text: self.token_text(id), spells, special }.into()
    }

    /// What token `id` spells: ` the`; bytes that are not text by themselves as `\xF0`; `#17` if there is no such token.
    pub fn token_text(&self, id: u32) -> String {
        self.spelled(id).map_or_else(|| id_label(id), |bytes| legible(&bytes))
    }

    /// Token `id` as it is written in the vocabulary: `Ġthe`; `#17` if there is no such token.
    pub fn piece(&self, id: u32) -> String {
        self.entry(id).unwrap_or_else(|| id_label(id))
    }

    /// How many tokens there are, added ones included. A model's embedding often has a few rows more.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The token that begins a text, if the model's files say which.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if the model's files say which.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// What versions of transformers disagree about in these files, and what was done, in one sentence.
    pub fn note(&self) -> Option<&Said> {
        self.note.as_ref()
    }

    /// The text that `ids` spell together, special tokens included, just as Hugging Face decodes it. Bytes that are not
    /// UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails. Ids outside the vocabulary are left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids).map_err(|e| {
            Error::bad_input(format!("cannot decode these tokens: {e}"))
                .hint("check the decoder in tokenizer.json, and that the ids are of this tokenizer")
        })
    }

    /// The id of the one token that `text` is, for answers and targets such as ` Mary`.
    ///
    /// - The text counts as it is, with its leading space: in GPT-2 ` Mary` and `Mary` are two different tokens. Where the
    ///   tokenizer itself puts a space before every text (Llama 2), both are the word-initial piece.
    /// - `#123` is the token with that id, which is the way to name one that cannot be written. `##123` is the text `#123`.
    ///
    /// # Errors
    /// When the text is not exactly one token, is unknown to the tokenizer, or the id is not in the vocabulary.
    pub fn single_token(&self, text: &str) -> Result<u32> {
        if let Some(id) = token_of_id(text, self.vocab_size) {
            return id;
        }
        let text = literal(text);
        let ids = self.without_special(text)?;
        if let Some(id) = self.only(&ids, text) {
            if Some(id) == self.unknown && self.bytes_of(id) != text.as_bytes() {
                let stands_in = quoted(&self.token_text(id));
                return Err(Error::no_such(format!(
                    "{} is unknown to this tokenizer, which reads {stands_in}",
                    quoted(text)
                ))
                .hint("choose a word that is in the vocabulary, or give a token id as #123"));
            }
            return Ok(id);
        }
        if self.prepends_space
            && let Some(word) = text.strip_prefix(' ').filter(|word| !word.is_empty() && !word.starts_with(' '))
            && let Some(id) = self.only(&self.without_special(word)?, word)
        {
            return Ok(id);
        }
        Err(self.not_single(text, &ids)?)
    }

    /// The tokens of a text that continues another; as [`Tokenizer::single_token`] reads one, of any length.
    ///
    /// # Errors
    /// When the text is empty, or has something that is unknown to the tokenizer.
    pub fn continuation(&self, text: &str) -> Result<Vec<u32>> {
        if let Some(id) = token_of_id(text, self.vocab_size) {
            return id.map(|id| vec![id]);
        }
        let text = literal(text);
        // The tokenizer puts a space first by itself.
        let own = text.strip_prefix(' ').filter(|rest| self.prepends_space && !rest.starts_with(' '));
        let ids = self.without_special(own.unwrap_or(text))?;
        if ids.is_empty() {
            return Err(Error::bad_input("an empty text is no continuation").hint("give at least one token"));
        }
        if let Some(unknown) = self.unknown.filter(|unknown| ids.contains(unknown)) {
            let stands_in = quoted(&self.token_text(unknown));
            let says = format!("{} has something unknown to this tokenizer, which reads {stands_in}", quoted(text));
            return Err(
                Error::no_such(says).hint("choose words that are in the vocabulary, or give a token id as #123")
            );
        }
        Ok(ids)
    }

    /// The one token that `ids`, which `text` was made into, consist of. A space that the tokenizer put first, and that
    /// stayed a token of its own, does not count.
    fn only(&self, ids: &[u32], text: &str) -> Option<u32> {
        match *ids {
            [id] => Some(id),
            [space, id]
                if self.prepends_space && self.bytes_of(space) == b" " && self.bytes_of(id) == text.as_bytes() =>
            {
                Some(id)
            }
            _ => None,
        }
    }

    /// The error that says which tokens `text` is, and what would be one.
    fn not_single(&self, text: &str, ids: &[u32]) -> Result<Error> {
        const SHOWN: usize = 8;
        let mut pieces: Vec<String> = ids.iter().take(SHOWN).map(|&id| quoted(&self.token_text(id))).collect();
        if ids.len() > SHOWN {
            pieces.push("...".into());
        }
        let message = match ids.len() {
            0 => format!("{} is no token at all", quoted(text)),
            n => format!("{} is {n} tokens: {}", quoted(text), pieces.join(" + ")),
        };
        let (other, how) = match text.strip_prefix(' ') {
            Some(word) => (word.to_owned(), "without the leading space"),
            None => (format!(" {text}"), "with a leading space"),
        };
        let hint = if !other.is_empty() && self.without_special(&other)?.len() == 1 {
            format!("{how}, {} is one token", quoted(&other))
        } else {
            "choose a word that is one token, or give a token id as #123".to_owned()
        };
        Ok(Error::bad_input(message).hint(hint))
    }

    fn without_special(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encoding(text, false)?.ids)
    }

    fn encoding(&self, text: &str, with_special: bool) -> Result<Encoded> {
        self.inner.encode(text, with_special).map_err(|e| match e {
            Failed::Text(e) => Error::bad_input(format!("the tokenizer cannot read this text: {e}"))
                .hint(said("write it with words that the vocabulary has[, or give token ids with {ids}|]")),
            Failed::Files(e) => unusable("this model's files", e),
        })
    }

    /// The tokenizer behind its door.
    pub(super) fn inner(&self) -> &Guarded {
        &self.inner
    }

    /// Token `id` as it is written in the vocabulary, if there is one.
    fn entry(&self, id: u32) -> Option<String> {
        self.added.get(&id).map(|token| token.content.clone()).or_else(|| self.inner.entry(id))
    }

    /// The bytes that token `id` spells, if there is one.
    fn spelled(&self, id: u32) -> Option<Vec<u8>> {
        let entry = self.entry(id)?;
        Some(if self.added.contains_key(&id) { entry.into_bytes() } else { self.spelling.bytes(&entry) })
    }

    fn bytes_of(&self, id: u32) -> Vec<u8> {
        self.spelled(id).unwrap_or_default()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the vocabulary, which is thousands of lines.
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size)
            .field("bos", &self.bos)
            .finish_non_exhaustive()
    }
}

/// What a token is called when there is no word for it: `#17`.
pub(super) fn id_label(id: u32) -> String {
    format!("#{id}")
}

/// The token that `#123` names, of `size`: a model often has a few more than its tokenizer. None where `text` is not of that
/// form.
///
/// # Errors
/// When there is no such token.
pub fn token_of_id(text: &str, size: usize) -> Option<Result<u32>> {
    let digits = text.strip_prefix('#').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))?;
    let id = digits.parse::<u32>().ok().filter(|&id| (id as usize) < size);
    Some(id.ok_or_else(|| {
        Error::no_such(format!("there is no token {text}: there are {size}"))
            .hint(format!("the last one is #{}; for the text {text}, write #{text}", size.saturating_sub(1)))
    }))
}

/// `text` in quotes, on one line.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"))
}

pub(super) fn unusable(place: impl std::fmt::Display, cause: impl std::fmt::Display) -> Error {
    Error::bad_model(format!("the tokenizer in {place} cannot be used: {cause}"))
        .hint("get the tokenizer's files from the model's source again, or give token ids")
}

/// Adds to `inner` what the files beside it say, and returns the special tokens that have names.
fn complete(files: &Files, facts: &Facts, class: &str, inner: &mut Guarded) -> Result<Added> {
    let mut added = Added::gather(files, facts, class, &inner.added())?;
    if !added.tokens.is_empty() {
        inner.add(std::mem::take(&mut added.tokens)).map_err(|e| unusable(files, e))?;
    }
    inner.split_special(facts.flag("split_special_tokens") == Some(true));
    let mut steps = inner.pre_tokenizer();
    if heeds_prefix_space(class) && set_prefix_space(&mut steps, facts.flag("add_prefix_space")) {
        inner.set("pre_tokenizer", &steps).map_err(|e| unusable(files, e))?;
    }
    Ok(added)
}

/// Lets the step that turns text into bytes put a space first, or none, and says whether that changes it. Where it is one
/// of several steps, only if the files say so themselves.
fn set_prefix_space(steps: &mut Value, says: Option<bool>) -> bool {
    let alone = steps["type"] == "ByteLevel";
    let Some(put) = says.or(alone.then_some(false)) else { return false };
    let step = match steps["pretokenizers"].as_array_mut() {
        Some(all) => all.iter_mut().find(|step| step["type"] == "ByteLevel"),
        None => Some(steps).filter(|_| alone),
    };
    let Some(step) = step.filter(|step| step["add_prefix_space"] != put) else { return false };
    step["add_prefix_space"] = put.into();
    true
}
