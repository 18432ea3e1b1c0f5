//! Which of a model's files are read, of all that lie beside each other in a folder or a repository.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path};

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::error::Category;

use crate::error::Error;

/// Shards of one model. Their names have five digits, and the largest models have hundreds.
const MOST_SHARDS: usize = 9999;

/// What every model has.
pub(super) const CONFIG: &str = "config.json";

/// What tokenizers are read from: one file, or GPT-2's older pair under either of its names.
const TOKENIZER: &str = "tokenizer.json";
pub(super) const VOCABULARIES: [&str; 2] = ["vocab.json", "encoder.json"];
pub(super) const MERGES: [&str; 2] = ["merges.txt", "vocab.bpe"];
/// What tokenizers say beside that: added tokens, which token begins a text, whether it is put there, and how a chat is written.
const TOKENIZER_FACTS: [&str; 4] =
    ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", super::chat::TEMPLATE];

/// How other programs generate with it, where it says so: shown, and used where that is asked for.
pub(super) const GENERATION: &str = "generation_config.json";

/// The files that hold a model's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// One file.
    One(String),
    /// The files that this index names.
    Sharded(String),
    /// All shards, by their names, which say how many there are: without an index.
    Parts(Vec<String>),
}

/// Why it cannot be said which files hold the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    /// Either could be meant.
    Two([String; 2]),
    /// The first shard that is not there, and how many there should be.
    Missing(String, usize),
}

impl Unclear {
    /// As an error about the files of `subject`; `two` says what to do about two that could be meant.
    pub fn error(self, subject: impl std::fmt::Display, two: &str) -> Error {
        match self {
            Self::Two([one, other]) => {
                Error::bad_model(format!("{subject} has {one} and {other}, and only one file of weights is read"))
                    .hint(two)
            }
            Self::Missing(name, of) => {
                Error::bad_model(format!("{subject} has not all of its {of} shards: {name} is missing"))
                    .hint(format!("fetch {name} from where the model came from"))
            }
        }
    }
}

/// The weights among `names`: model.safetensors or its shards, else pytorch_model.bin or its shards, else the one .pt or .pth
/// file. Shards are those that an index names, or, without one, as many as their names say (`model-00001-of-00002.safetensors`).
/// None when there are none.
///
/// # Errors
/// When several files could be meant, or shards without an index are not complete and there is nothing else.
pub(super) fn weights(names: &[String]) -> Result<Option<Weights>, Unclear> {
    let mut incomplete = None;
    for (stem, end) in [("model", "safetensors"), ("pytorch_model", "bin")] {
        let name = format!("{stem}.{end}");
        if has(names, &name) {
            return Ok(Some(Weights::One(name)));
        }
        let index = format!("{name}.index.json");
        if has(names, &index) {
            return Ok(Some(Weights::Sharded(index)));
        }
        match parts(names, stem, end) {
            Ok(Some(parts)) => return Ok(Some(Weights::Parts(parts))),
            Ok(None) => {}
            Err(unclear) => incomplete = incomplete.or(Some(unclear)),
        }
    }
    let state_dicts: Vec<&String> = names.iter().filter(|name| is_state_dict(name)).collect();
    match (incomplete, &state_dicts[..]) {
        (Some(unclear), _) => Err(unclear),
        (None, []) => Ok(None),
        (None, [one]) => Ok(Some(Weights::One((*one).clone()))),
        (None, [one, other, ..]) => Err(Unclear::Two([(*one).clone(), (*other).clone()])),
    }
}

/// The shards `stem-00001-of-00002.end` and so on among `names`, if there are any.
fn parts(names: &[String], stem: &str, end: &str) -> Result<Option<Vec<String>>, Unclear> {
    let total = |name: &String| -> Option<usize> {
        let middle = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(end)?.strip_suffix('.')?;
        let (number, of) = middle.split_once("-of-")?;
        let plain = [number, of].iter().all(|n| n.len() == 5 && n.bytes().all(|b| b.is_ascii_digit()));
        of.parse().ok().filter(|of| plain && *of > 0)
    };
    let mut totals: Vec<(usize, &String)> = names.iter().filter_map(|name| Some((total(name)?, name))).collect();
    totals.sort();
    let (Some((of, first)), Some((other, last))) = (totals.first(), totals.last()) else { return Ok(None) };
    if of != other {
        return Err(Unclear::Two([(*first).clone(), (*last).clone()]));
    }
    let all: Vec<String> = (1..=*of).map(|n| format!("{stem}-{n:05}-of-{of:05}.{end}")).collect();
    match all.iter().find(|name| !has(names, name)) {
        Some(missing) => Err(Unclear::Missing(missing.clone(), *of)),
        None => Ok(Some(all)),
    }
}

/// Whether a file may be weights that torch.save wrote, and not something else that training leaves beside them.
fn is_state_dict(name: &str) -> bool {
    let beside = ["optimizer", "scheduler", "scaler", "rng_state"];
    (name.ends_with(".pt") || name.ends_with(".pth")) && !beside.iter().any(|b| name.starts_with(b))
}

/// The files that the tokenizer is made of; empty when `names` has none that is read.
pub(super) fn tokenizer(names: &[String]) -> Vec<&'static str> {
    let first = |of: [&'static str; 2]| of.into_iter().find(|name| has(names, name));
    let mut files = match (has(names, TOKENIZER), first(VOCABULARIES), first(MERGES)) {
        (true, ..) => vec![TOKENIZER],
        (false, Some(vocabulary), Some(merges)) => vec![vocabulary, merges],
        _ => return vec![],
    };
    files.extend(TOKENIZER_FACTS.into_iter().filter(|name| has(names, name)));
    files
}

/// Whether there is a vocabulary or merges of the older pair.
pub(super) fn half_a_tokenizer(names: &[String]) -> bool {
    VOCABULARIES.iter().chain(&MERGES).any(|name| has(names, name))
}

/// The shards that an index names, each once, in the order of their names.
///
/// # Errors
/// With what is wrong with the index.
pub(super) fn shards(index: &[u8]) -> Result<BTreeSet<String>, String> {
    const NONE: &str = "has no \"weight_map\"";
    let index: Index = serde_json::from_slice(index).map_err(|e| match (e.classify(), e.to_string()) {
        (Category::Data, said) if said.starts_with("puts ") || said.starts_with("names ") => said,
        (Category::Data, _) => NONE.to_owned(),
        _ => format!("is not valid JSON: {e}"),
    })?;
    let names = index.weight_map.ok_or(NONE)?.0;
    if names.is_empty() { Err("names no shards".to_owned()) } else { Ok(names) }
}

/// How many bytes all numbers of all shards have, as an index says it.
pub(super) fn total_bytes(index: &[u8]) -> Option<u64> {
    // Of an index that may have millions of entries, this alone.
    #[derive(Deserialize)]
    struct Index {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        total_size: Value,
    }
    let total = serde_json::from_slice::<Index>(index).ok()?.metadata.total_size;
    // Some writers have it as a float.
    total.as_u64().or_else(|| total.as_f64().map(|bytes| bytes as u64))
}

/// Whether a file of this name holds weights.
pub(super) fn is_weights(name: &str) -> bool {
    [".safetensors", ".bin", ".pt", ".pth"].iter().any(|end| name.ends_with(end))
}

/// An index of shards. Of its millions of entries only the shards are held.
#[derive(Deserialize)]
struct Index {
    weight_map: Option<Shards>,
}

struct Shards(BTreeSet<String>);

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Shards;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with a shard for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shards, A::Error> {
                let mut names = BTreeSet::new();
                while let Some(tensor) = map.next_key::<Cow<'_, str>>()? {
                    // The index is part of what was downloaded: it must not reach files outside of its folder.
                    let shard: Value = map.next_value()?;
                    let Some(name) = shard.as_str().filter(|name| is_plain_name(name)) else {
                        let what = format!("puts `{tensor}` into {shard}, which is not a file name");
                        return Err(de::Error::custom(what));
                    };
                    if !names.contains(name) {
                        names.insert(name.to_owned());
                    }
                    if names.len() > MOST_SHARDS {
                        return Err(de::Error::custom(format!("names more than {MOST_SHARDS} shards")));
                    }
                }
                Ok(Shards(names))
            }
        }
        json.deserialize_map(Names)
    }
}

/// Whether `name` is one step of a path, and no other way to write it.
pub(super) fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name)
        && !name.contains('\\')
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|n| n == name)
}
