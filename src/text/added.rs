//! The tokens that a model's files add to its vocabulary: in tokenizer_config.json, added_tokens.json or
//! special_tokens_map.json, where tokenizer.json does not have them itself.
//!
//! Which of them are added, as what, and in which order is what transformers does (`_from_pretrained` and
//! `TokenizersBackend.__init__` of 5.24), because an added token that is not in the vocabulary gets the next free id.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::bos::json_file;
use super::class::{NAMED, default_tokens};
use super::files::Files;
use super::guarded::AddedToken;
use crate::error::{Error, Result};

/// What the small files beside a tokenizer say.
pub(super) struct Facts {
    /// tokenizer_config.json.
    pub tokenizer: Value,
    /// special_tokens_map.json.
    pub special: Value,
    /// added_tokens.json.
    added: Value,
    /// config.json.
    pub model: Value,
}

impl Facts {
    /// Reads those that are there; the others are null.
    pub fn read(files: &Files) -> Result<Self> {
        Ok(Self {
            tokenizer: json_file(files, "tokenizer_config.json")?,
            special: json_file(files, "special_tokens_map.json")?,
            added: json_file(files, "added_tokens.json")?,
            model: json_file(files, "config.json")?,
        })
    }

    /// Whether tokenizer_config.json says `key`, if it says anything of it.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.tokenizer[key].as_bool()
    }
}

/// A special token as a file names it.
#[derive(Clone)]
enum Named {
    /// By its text alone.
    Text(String),
    /// With how it is found in a text.
    Token(AddedToken),
}

impl Named {
    /// From a string, or an object with `content`; `special` is what an object without that key is.
    fn read(value: &Value, special: bool) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Object(object) => token(object, special).map(Self::Token),
            _ => None,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Token(token) => &token.content,
        }
    }
}

/// An added token as files write it. What is left out is false, but for `normalized`, which is true of tokens of text.
fn token(object: &Map<String, Value>, special: bool) -> Option<AddedToken> {
    let flag = |key: &str| object.get(key).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(special);
    Some(AddedToken {
        content: object.get("content")?.as_str()?.to_owned(),
        single_word: flag("single_word").unwrap_or(false),
        lstrip: flag("lstrip").unwrap_or(false),
        rstrip: flag("rstrip").unwrap_or(false),
        normalized: flag("normalized").unwrap_or(!special),
        special,
    })
}

/// All special tokens that files or the class name, and what is added to the vocabulary.
pub(super) struct Added {
    /// Those with a name of their own, such as `bos_token`.
    named: Vec<(String, Named)>,
    /// To be added, in this order.
    pub tokens: Vec<AddedToken>,
}

impl Added {
    /// The text of the token that is called `name`.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(n, _)| n == name).map(|(_, token)| token.text())
    }

    /// The names of those that have one, and their texts.
    pub fn texts(self) -> Vec<(String, String)> {
        self.named.into_iter().map(|(name, token)| (name, token.text().to_owned())).collect()
    }

    /// What `facts` add to a tokenizer of `class` that has the added tokens `own` already.
    ///
    /// # Errors
    /// When a file names an added token without its text.
    pub fn gather(files: &Files, facts: &Facts, class: &str, own: &HashMap<u32, AddedToken>) -> Result<Self> {
        let (mut named, mut extra) = stated(facts, class);
        let mut by_id: BTreeMap<u64, AddedToken> = BTreeMap::new();
        if let Some(decoder) = facts.tokenizer["added_tokens_decoder"].as_object() {
            for (id, value) in decoder {
                let place = || files.shown("tokenizer_config.json");
                let bad = || {
                    Error::bad_model(format!("{}: the added token {id} has no text", place()))
                        .hint("get the tokenizer's files from the model's source again")
                };
                let id = id.parse().map_err(|_| bad())?;
                by_id.insert(id, value.as_object().and_then(|o| token(o, false)).ok_or_else(bad)?);
            }
        } else {
            override_by_map(&facts.special, &mut named, &mut extra);
            let special = |text: &str| named.iter().map(|(_, n)| n).chain(&extra).any(|n| n.text() == text);
            for (text, id) in facts.added.as_object().into_iter().flatten() {
                let bad = || {
                    Error::bad_model(format!("{}: {id} is not a token id", files.shown("added_tokens.json")))
                        .hint("get the tokenizer's files from the model's source again")
                };
                let is_special = special(text);
                by_id.insert(id.as_u64().ok_or_else(bad)?, AddedToken::from(text.clone(), is_special));
            }
        }
        // A file that says more of a token than its text is believed.
        let by_text: HashMap<&str, &AddedToken> = own.values().map(|token| (&token.content[..], token)).collect();
        let known =
            |text: &str| by_id.values().find(|t| t.content == text).or_else(|| by_text.get(text).copied()).cloned();
        for (_, entry) in &mut named {
            if let Some(token) = known(entry.text()) {
                *entry = Named::Token(token);
            }
        }
        let mut tokens: Vec<AddedToken> =
            by_id.into_values().filter(|token| by_text.get(&token.content[..]) != Some(&token)).collect();
        for entry in named.iter().map(|(_, entry)| entry).chain(&extra) {
            let text = entry.text();
            if !by_text.contains_key(text) && tokens.iter().all(|token| token.content != text) {
                tokens.push(match entry {
                    Named::Text(text) => AddedToken::from(text.clone(), true),
                    Named::Token(token) => token.clone(),
                });
            }
        }
        for token in &mut tokens {
            token.special |= named.iter().any(|(_, entry)| entry.text() == token.content);
        }
        Ok(Self { named, tokens })
    }
}

/// The special tokens of the class and of tokenizer_config.json: those with names, and the others.
fn stated(facts: &Facts, class: &str) -> (Vec<(String, Named)>, Vec<Named>) {
    let config = &facts.tokenizer;
    let mut named: Vec<(String, Named)> = vec![];
    for name in NAMED {
        let default =
            default_tokens(class).iter().find(|(n, _)| *n == name).map(|(_, text)| Named::Text((*text).into()));
        // A null says that there is none.
        let token = if config.get(name).is_some() { Named::read(&config[name], false) } else { default };
        named.extend(token.map(|token| (name.to_owned(), token)));
    }
    let lists = [&config["extra_special_tokens"], &config["additional_special_tokens"]];
    let list = lists.into_iter().find(|list| list.as_array().is_some_and(|l| !l.is_empty()));
    let extra = list.and_then(Value::as_array).into_iter().flatten().filter_map(|v| Named::read(v, true)).collect();
    // Tokens of a model's own, such as `image_token`.
    let own = config
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.ends_with("_token") && !NAMED.contains(&key.as_str()) && value.is_string());
    let more = config["extra_special_tokens"].as_object().into_iter().flatten();
    named.extend(own.chain(more).filter_map(|(key, value)| Some((key.clone(), Named::read(value, true)?))));
    (named, extra)
}

/// What special_tokens_map.json says in place of that.
fn override_by_map(map: &Value, named: &mut Vec<(String, Named)>, extra: &mut Vec<Named>) {
    for name in NAMED {
        let Some(token) = map.get(name).and_then(|value| Named::read(value, true)) else { continue };
        match named.iter_mut().find(|(n, _)| n == name) {
            Some((_, entry)) => *entry = token,
            None => {
                let order = |n: &str| NAMED.iter().position(|known| *known == n).unwrap_or(NAMED.len());
                let at = named.iter().position(|(n, _)| order(n) > order(name)).unwrap_or(named.len());
                named.insert(at, (name.to_owned(), token));
            }
        }
    }
    for key in ["additional_special_tokens", "extra_special_tokens"] {
        let Some(list) = map[key].as_array() else { continue };
        for token in list.iter().filter_map(|value| Named::read(value, true)) {
            if extra.iter().all(|known| known.text() != token.text()) {
                extra.push(token);
            }
        }
    }
}
