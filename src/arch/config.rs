//! `config.json`, read so that nothing in it can be overlooked: a key that is neither used nor known to be
//! harmless is an error that names it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Keys that never change what a trained model computes: bookkeeping, training, generation.
const HARMLESS: &[&str] = &[
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_pdrop",
    "auto_map",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "embd_pdrop",
    "embed_dropout",
    "embedding_dropout",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "init_std",
    "initializer_range",
    "keys_to_ignore_at_inference",
    "label2id",
    "layerdrop",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "resid_dropout",
    "resid_pdrop",
    "residual_dropout",
    "return_dict",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    "unk_token_id",
    "use_cache",
];

/// No model has a size above this. Below it, what sizes are multiplied to cannot overflow, and a wrong one is an error
/// instead of an allocation that ends the program.
pub const LARGEST_SIZE: usize = 1 << 24;

/// No model has more blocks than this.
pub const MOST_LAYERS: usize = 1 << 12;

/// No model has more experts than this, those of all blocks together.
pub const MOST_EXPERTS: usize = 1 << 16;

/// A `config.json` that remembers which of its keys were read.
pub struct Config {
    values: Map<String, Value>,
    used: RefCell<BTreeSet<String>>,
    /// How errors call this object: `config.json`, or a path inside it.
    place: String,
}

impl Config {
    /// Parses `text`.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        let values = match serde_json::from_str(text) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(Error::bad_model("config.json is not a JSON object")),
            Err(e) => {
                return Err(Error::bad_model(format!("config.json cannot be parsed: {e}"))
                    .hint("was the download complete? fetch the file again"));
            }
        };
        Ok(Self::new(values, "config.json".into()))
    }

    fn new(values: Map<String, Value>, place: String) -> Self {
        Self { values, used: RefCell::default(), place }
    }

    /// Whether `key` is there, with a value or null.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    fn touch(&self, key: &str) -> Option<&Value> {
        self.used.borrow_mut().insert(key.to_owned());
        self.values.get(key).filter(|v| !v.is_null())
    }

    /// The value of `key`; `None` when it is absent or null.
    ///
    /// # Errors
    /// When the value has another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.touch(key) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|e| {
            let (value, e) = (shortened(&value.to_string(), 60), shortened(&e.to_string(), 120));
            Error::bad_model(format!("{}: `{key}` is {value}, which cannot be used: {e}", self.place))
        })
    }

    /// The value of `key`, or `usual` where it is absent; null is `None`, for it says that there is none.
    ///
    /// # Errors
    /// As [`Config::get`].
    pub fn stated<T: DeserializeOwned>(&self, key: &str, usual: Option<T>) -> Result<Option<T>> {
        if self.values.contains_key(key) { self.get(key) } else { Ok(usual) }
    }

    /// The value of whichever of `keys` is there: spellings of one thing.
    ///
    /// # Errors
    /// As [`Config::get`], and when two of them are there and differ.
    pub fn agreed<T: DeserializeOwned + PartialEq + std::fmt::Debug>(&self, keys: &[&str]) -> Result<Option<T>> {
        Ok(self.spelled(keys)?.map(|(_, value)| value))
    }

    /// The value and the first of its spellings that is there.
    fn spelled<'k, T: DeserializeOwned + PartialEq + std::fmt::Debug>(
        &self,
        keys: &[&'k str],
    ) -> Result<Option<(&'k str, T)>> {
        let mut found: Option<(&'k str, T)> = None;
        for key in keys {
            match (&found, self.get::<T>(key)?) {
                (Some((first, a)), Some(b)) if *a != b => {
                    return Err(Error::bad_model(format!(
                        "{}: `{first}` is {a:?} and `{key}` is {b:?}, which should be the same",
                        self.place
                    )));
                }
                (None, Some(value)) => found = Some((key, value)),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The value of the first of `keys` that is there.
    ///
    /// # Errors
    /// As [`Config::get`].
    pub fn first<T: DeserializeOwned>(&self, keys: &[&str]) -> Result<Option<T>> {
        let mut found = None;
        for key in keys {
            let value = self.get(key)?;
            found = found.or(value);
        }
        Ok(found)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// When it is absent, null or of another type.
    pub fn need<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.get(key)?.ok_or_else(|| self.lacks(key))
    }

    /// A size: at least 1, at most [`LARGEST_SIZE`].
    ///
    /// # Errors
    /// As [`Config::need`], and when it is out of these bounds.
    pub fn size(&self, key: &str) -> Result<usize> {
        self.within(key, self.get(key)?, LARGEST_SIZE)?.ok_or_else(|| self.lacks(key))
    }

    /// As [`Config::size`], for a key that may be absent or null.
    ///
    /// # Errors
    /// As there, but for absence.
    pub fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        self.within(key, self.get(key)?, LARGEST_SIZE)
    }

    fn within(&self, key: &str, size: Option<usize>, most: usize) -> Result<Option<usize>> {
        match size {
            Some(0) => Err(Error::bad_model(format!("{}: `{key}` is 0", self.place))),
            Some(n) if n > most => {
                Err(Error::bad_model(format!("{}: `{key}` is {n}, and no model has more than {most}", self.place))
                    .hint("was the file damaged? fetch it again"))
            }
            n => Ok(n),
        }
    }

    /// A size that has several spellings, of which those that are there must agree; `None` when none is.
    ///
    /// # Errors
    /// When they disagree, and as [`Config::optional_size`].
    pub fn agreed_size(&self, keys: &[&str]) -> Result<Option<usize>> {
        let (key, size) = self.spelled(keys)?.unzip();
        self.within(key.unwrap_or_default(), size, LARGEST_SIZE)
    }

    /// A number of layers under one of several spellings.
    ///
    /// # Errors
    /// When none is there, and as [`Config::optional_size`].
    pub fn agreed_layers(&self, keys: &[&str]) -> Result<usize> {
        let (key, size) = self.spelled(keys)?.unzip();
        self.within(key.unwrap_or_default(), size, MOST_LAYERS)?.ok_or_else(|| self.lacks(&keys.join("` nor `")))
    }

    /// A number above 0; `None` when it is absent or null.
    ///
    /// # Errors
    /// As [`Config::get`], and when it is 0 or less.
    pub fn positive(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key)? {
            Some(x) if x <= 0.0 => {
                Err(Error::bad_model(format!("{}: `{key}` is {x}, and it must be above 0", self.place)))
            }
            x => Ok(x),
        }
    }

    /// As [`Config::positive`], for a key that must be there.
    ///
    /// # Errors
    /// As there, and when it is absent.
    pub fn need_positive(&self, key: &str) -> Result<f64> {
        self.positive(key)?.ok_or_else(|| self.lacks(key))
    }

    fn lacks(&self, key: &str) -> Error {
        Error::bad_model(format!("{} has no `{key}`", self.place))
    }

    /// Accepts `key` only while it has the one value that the forward pass implements (or is absent).
    ///
    /// # Errors
    /// When it has another value.
    pub fn only<T: DeserializeOwned + PartialEq + std::fmt::Debug>(&self, key: &str, supported: T) -> Result<()> {
        match self.get::<T>(key)? {
            Some(value) if value != supported => Err(Error::bad_model(format!(
                "{}: `{key}` is {value:?}, and pellucid computes this model only with {supported:?}",
                self.place
            ))),
            _ => Ok(()),
        }
    }

    /// Marks keys as read that carry nothing this crate needs for this family.
    pub fn ignore(&self, keys: &[&str]) {
        for key in keys {
            self.touch(key);
        }
    }

    /// An object inside this one, checked like it.
    ///
    /// # Errors
    /// When the value is not an object.
    pub fn object(&self, key: &str) -> Result<Option<Config>> {
        Ok(self.get::<Map<String, Value>>(key)?.map(|m| Config::new(m, format!("{}: `{key}`", self.place))))
    }

    /// Refuses what nobody read.
    ///
    /// # Errors
    /// Names every key that was neither read nor is known to be harmless.
    pub fn finish(&self) -> Result<()> {
        let used = self.used.borrow();
        const SHOWN: usize = 5;
        let unread = |k: &str| !used.contains(k) && !HARMLESS.contains(&k);
        let mut unknown: Vec<_> = (self.values.iter())
            .filter(|(k, _)| unread(k))
            .map(|(k, v)| format!("`{}` = {}", shortened(k, 40), shortened(&v.to_string(), 40)))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if unknown.len() > SHOWN {
            let more = unknown.split_off(SHOWN).len();
            unknown.push(format!("and {more} more"));
        }
        let noun = if unknown.len() == 1 { "a key" } else { "keys" };
        Err(Error::bad_model(format!("{} has {noun} that pellucid does not know: {}", self.place, unknown.join(", ")))
            .hint(
                "it may change what the model computes, so it is not ignored; remove it if you know that it does not",
            ))
    }
}

/// The beginning of a text that may be of any length.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unread_key_is_named() {
        let config = Config::parse(r#"{"n_embd": 4, "sliding_mystery": 3, "use_cache": true}"#).unwrap();
        assert_eq!(config.size("n_embd").unwrap(), 4);
        let error = config.finish().unwrap_err();
        assert!(error.message().contains("`sliding_mystery` = 3"), "{error}");
        assert!(!error.message().contains("use_cache"), "{error}");
    }

    #[test]
    fn null_is_absent_and_types_are_checked() {
        let config = Config::parse(r#"{"a": null, "b": "x", "c": 0}"#).unwrap();
        assert_eq!(config.get::<usize>("a").unwrap(), None);
        assert!(config.get::<usize>("b").unwrap_err().message().contains("`b` is \"x\""));
        assert!(config.size("c").unwrap_err().message().contains("`c` is 0"));
        assert!(config.need::<usize>("d").unwrap_err().message().contains("no `d`"));
    }
}
