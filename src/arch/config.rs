//! `config.json`, read so that nothing in it can be overlooked, and nothing applied that transformers does not read: a family is
//! given the keys that the table of [`super::keys`] has for it, and a key that nobody read and nobody knows to be harmless is
//! an error that names it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::keys::{FamilyKeys, Verdict, judge, same};
use crate::error::{Error, Result, Sentence, give_as, leave_out, said, words};
use crate::visible::shortened;

/// No model has a size above this. Below it, what sizes are multiplied to cannot overflow, and a wrong one is an error
/// instead of an allocation that ends the program.
pub const LARGEST_SIZE: usize = 1 << 24;

/// No model has more blocks than this.
pub const MOST_LAYERS: usize = 1 << 12;

/// No model has more experts than this, those of all blocks together.
pub const MOST_EXPERTS: usize = 1 << 16;

/// How a `config.json` is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigOptions {
    /// Unknown keys that are let through: the caller knows that they do not change what the model computes. A key inside an
    /// object is written with a dot: `rope_scaling.note`.
    pub accept: BTreeSet<String>,
}

impl ConfigOptions {
    /// The same options, with these unknown keys let through.
    pub fn accepting<K: AsRef<str>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.accept.extend(keys.into_iter().map(|key| key.as_ref().to_owned()));
        self
    }
}

/// A `config.json` that remembers which of its keys were read.
pub struct Config {
    values: Map<String, Value>,
    /// What transformers reads in the model's family. None inside an object, and for families that it does not have: there
    /// every key can be read, and an absent one has no value.
    keys: Option<&'static FamilyKeys>,
    options: Rc<ConfigOptions>,
    used: RefCell<BTreeSet<String>>,
    /// Everything that was asked for, in the file or not, the family's or not.
    asked: RefCell<BTreeSet<String>>,
    /// The object's own key, where it is not the whole file.
    inside: Option<String>,
}

impl Config {
    /// Parses `text`.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        let values = match serde_json::from_str(text) {
            Ok(Value::Object(map)) => map,
            Ok(_) => {
                return Err(Error::bad_model("config.json is not a JSON object")
                    .hint("it begins with { and ends with }; fetch the file that belongs to these weights"));
            }
            Err(e) => {
                return Err(Error::bad_model(format!("config.json cannot be parsed: {e}"))
                    .hint("was the download complete? fetch the file again"));
            }
        };
        Ok(Self::new(values, Rc::default(), None))
    }

    fn new(values: Map<String, Value>, options: Rc<ConfigOptions>, inside: Option<String>) -> Self {
        Self { values, keys: None, options, used: RefCell::default(), asked: RefCell::default(), inside }
    }

    /// The same file, read as this family's and with these options.
    ///
    /// # Errors
    /// When a key that is to be accepted is not there, or is known to change the model.
    pub fn of_family(mut self, keys: Option<&'static FamilyKeys>, options: &ConfigOptions) -> Result<Self> {
        (self.keys, self.options) = (keys, Rc::new(options.clone()));
        for path in &options.accept {
            self.check_accepted(path)?;
        }
        Ok(self)
    }

    /// An empty object, in which every key is absent.
    pub fn empty() -> Self {
        Self::new(Map::new(), Rc::default(), None)
    }

    /// How errors call this object: `config.json`, or a path inside it.
    fn place(&self) -> String {
        self.inside.as_ref().map_or_else(|| "config.json".to_owned(), |key| format!("config.json: `{key}`"))
    }

    fn bad(&self, key: &str, what: impl std::fmt::Display) -> Sentence {
        Error::bad_model(format!("{}: `{key}` {what}", self.place()))
    }

    /// Whether `key` is there, with a value or null.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Whether transformers reads this key in this family, so that [`Config::get`] gives it.
    pub fn reads(&self, key: &str) -> bool {
        self.keys.is_none_or(|keys| keys.reads(key))
    }

    /// The keys of the file that were read, by the names that they have there.
    pub fn used(&self) -> BTreeSet<String> {
        self.used.borrow().clone()
    }

    /// The keys that were asked for, whether the file has them or not.
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// The value of a key under the name that it has in the file; where it is absent, what transformers takes. A key that
    /// transformers does not read in this family stays unread.
    fn look(&self, key: &str) -> Result<Option<(String, Value)>> {
        self.asked.borrow_mut().insert(key.to_owned());
        let Some(keys) = self.keys else {
            self.used.borrow_mut().insert(key.to_owned());
            return Ok(self.values.get(key).filter(|v| !v.is_null()).map(|v| (key.to_owned(), v.clone())));
        };
        let canonical = keys.canonical(key);
        let Some(default) = keys.model.get(canonical) else { return Ok(None) };
        let mut found: Option<(&str, &Value)> = None;
        for name in keys.names(canonical) {
            let Some(value) = self.values.get(name) else { continue };
            self.used.borrow_mut().insert(name.to_owned());
            match found {
                Some((first, a)) if !a.is_null() && !value.is_null() && !same(a, value) => {
                    let (a, b) = (shortened(&a.to_string(), 40), shortened(&value.to_string(), 40));
                    return Err(self
                        .bad(first, format!("is {a} and `{name}` is {b}, which should be the same"))
                        .hint("they are two names of one thing: leave the wrong one out"));
                }
                Some((_, a)) if !a.is_null() => {}
                _ => found = Some((name, value)),
            }
        }
        let (name, value) = found.unwrap_or((canonical, default));
        Ok((!value.is_null()).then(|| (name.to_owned(), value.clone())))
    }

    /// The value of `key`, or what transformers takes where the file does not have it; `None` when it is null, or when
    /// transformers does not read it in this family.
    ///
    /// # Errors
    /// When the value has another type, or two spellings of the key differ.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some((name, value)) = self.look(key)? else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|e| {
            let (value, e) = (shortened(&value.to_string(), 60), shortened(&e.to_string(), 120));
            self.bad(&name, format!("is {value}, which cannot be used: {e}")).hint(as_published(&name))
        })
    }

    /// The value of `key`, or `usual` where it is absent; null is `None`, for it says that there is none.
    ///
    /// # Errors
    /// As [`Config::get`].
    pub fn stated<T: DeserializeOwned>(&self, key: &str, usual: Option<T>) -> Result<Option<T>> {
        if self.values.contains_key(key) { self.get(key) } else { Ok(usual) }
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
    /// When it is absent and has no default, when it is null or of another type.
    pub fn need<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.get(key)?.ok_or_else(|| self.lacks(key))
    }

    /// A size: at least 1, at most [`LARGEST_SIZE`].
    ///
    /// # Errors
    /// As [`Config::need`], and when it is out of these bounds.
    pub fn size(&self, key: &str) -> Result<usize> {
        self.optional_size(key)?.ok_or_else(|| self.lacks(key))
    }

    /// As [`Config::size`], for a key that may be absent or null.
    ///
    /// # Errors
    /// As there, but for absence.
    pub fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        self.within(key, LARGEST_SIZE)
    }

    /// A number of layers, at most [`MOST_LAYERS`].
    ///
    /// # Errors
    /// As [`Config::size`].
    pub fn layers(&self, key: &str) -> Result<usize> {
        self.within(key, MOST_LAYERS)?.ok_or_else(|| self.lacks(key))
    }

    fn within(&self, key: &str, most: usize) -> Result<Option<usize>> {
        let name = self.look(key)?.map_or_else(|| key.to_owned(), |(name, _)| name);
        match self.get(key)? {
            Some(0) => Err(self.bad(&name, "is 0").hint(as_published(&name))),
            Some(n) if n > most => Err(self
                .bad(&name, format!("is {n}, and no model has more than {most}"))
                .hint("was the file damaged? fetch it again")),
            n => Ok(n),
        }
    }

    /// A number above 0; `None` when it is absent or null.
    ///
    /// # Errors
    /// As [`Config::get`], and when it is 0 or less.
    pub fn positive(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key)? {
            Some(x) if x <= 0.0 => {
                Err(self.bad(key, format!("is {x}, and it must be above 0")).hint(as_published(key)))
            }
            x => Ok(x),
        }
    }

    /// As [`Config::positive`], for a key that must be there or have a default.
    ///
    /// # Errors
    /// As there, and when it has no value.
    pub fn need_positive(&self, key: &str) -> Result<f64> {
        self.positive(key)?.ok_or_else(|| self.lacks(key))
    }

    fn lacks(&self, key: &str) -> Error {
        let canonical = self.keys.map_or(key, |keys| keys.canonical(key));
        let mut names = [canonical].into_iter().chain(self.keys.into_iter().flat_map(|keys| keys.names(canonical)));
        match names.find(|name| self.has(name)) {
            Some(name) => self.bad(name, "is null, and it must have a value").hint(as_published(name)),
            None => Error::bad_model(format!("{} has no `{canonical}`", self.place())).hint(as_published(canonical)),
        }
    }

    /// Accepts `key` only while it has the one value that the forward pass implements (or is absent or null).
    ///
    /// # Errors
    /// When it has another value.
    pub fn only<T: DeserializeOwned + PartialEq + std::fmt::Debug>(&self, key: &str, supported: T) -> Result<()> {
        match self.get::<T>(key)? {
            Some(value) if value != supported => {
                let what = format!("is {value:?}, and pellucid computes this model only with {supported:?}");
                Err(self.bad(key, what).hint("unless the file is wrong, pellucid cannot run this model"))
            }
            _ => Ok(()),
        }
    }

    /// Marks keys as read that carry nothing this crate needs for this family.
    pub fn ignore(&self, keys: &[&str]) {
        self.used.borrow_mut().extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// An object inside this one, checked like it.
    ///
    /// # Errors
    /// When the value is not an object.
    pub fn object(&self, key: &str) -> Result<Option<Config>> {
        let inside = self.inside.as_ref().map_or_else(|| key.to_owned(), |outer| format!("{outer}.{key}"));
        let values = self.get::<Map<String, Value>>(key)?;
        Ok(values.map(|values| Config::new(values, Rc::clone(&self.options), Some(inside))))
    }

    /// Refuses what nobody read.
    ///
    /// # Errors
    /// Names every key that was neither read nor is known to be harmless nor was let through.
    pub fn finish(&self) -> Result<()> {
        let used = self.used.borrow();
        let mut unknown = vec![];
        for (key, value) in self.values.iter().filter(|(key, _)| !used.contains(*key)) {
            let path = self.inside.as_ref().map_or_else(|| key.clone(), |outer| format!("{outer}.{key}"));
            if self.options.accept.contains(&path) {
                continue;
            }
            match self.verdict(key, value) {
                Verdict::Harmless => {}
                verdict @ (Verdict::OnlyUnder(_) | Verdict::Read | Verdict::OfOthers) => {
                    return Err(self.refused(key, value, verdict));
                }
                Verdict::Unknown => unknown.push((path, key, value)),
            }
        }
        self.refuse_unknown(unknown)
    }

    fn verdict(&self, key: &str, value: &Value) -> Verdict<'static> {
        match &self.inside {
            Some(_) => Verdict::Unknown,
            None => judge(self.keys, key, value, |other| self.values.get(other).cloned()),
        }
    }

    /// The error for a key of which something is known.
    fn refused(&self, key: &str, value: &Value, verdict: Verdict) -> Error {
        let value = shortened(&value.to_string(), 40);
        let accept =
            words("if you know that it changes nothing here either, let it through: ") + give_as("accept_config", key);
        match verdict {
            Verdict::OnlyUnder(rule) => match &rule.changes {
                Some(changes) => self
                    .bad(key, format!("is {value}, which means {changes}; it is harmless only {}", rule.words()))
                    .hint("pellucid cannot run this model"),
                None => self
                    .bad(key, format!("is {value}, and it is known to change nothing only {}", rule.words()))
                    .hint(accept),
            },
            Verdict::OfOthers => self
                .bad(key, format!("is {value}, and transformers reads this key in other families, not in this one"))
                .hint(words("to leave it unread, as transformers does: ") + give_as("accept_config", key)),
            Verdict::Read => self
                .bad(key, format!("is {value}, which changes the model in a way that pellucid does not compute"))
                .hint("pellucid cannot run this model"),
            Verdict::Harmless | Verdict::Unknown => self.bad(key, format!("is {value}")).hint(accept),
        }
    }

    fn refuse_unknown(&self, unknown: Vec<(String, &String, &Value)>) -> Result<()> {
        const SHOWN: usize = 5;
        if unknown.is_empty() {
            return Ok(());
        }
        let noun = if unknown.len() == 1 { "a key" } else { "keys" };
        let shown = unknown.iter().take(SHOWN);
        let mut list: Vec<String> =
            shown.map(|(_, k, v)| format!("`{}` = {}", shortened(k, 40), shortened(&v.to_string(), 40))).collect();
        if unknown.len() > SHOWN {
            list.push(format!("and {} more", unknown.len() - SHOWN));
        }
        let mut remedy = words(
            "it may change what the model computes, so it is not ignored; if you know that it does not, let it through:",
        );
        for (path, ..) in unknown.iter().take(SHOWN) {
            remedy = remedy + " " + give_as("accept_config", shortened(path, 60));
        }
        Err(Error::bad_model(format!("{} has {noun} that pellucid does not know: {}", self.place(), list.join(", ")))
            .hint(remedy))
    }

    /// Refuses to let through what is not there and what is known to change the model.
    fn check_accepted(&self, path: &str) -> Result<()> {
        let (key, inner) = path.split_once('.').map_or((path, None), |(key, inner)| (key, Some(inner)));
        // Keys may have dots of their own: `transformers.js_config`.
        let (key, inner) = if self.has(path) { (path, None) } else { (key, inner) };
        let held = self.values.get(key).and_then(|value| match inner {
            Some(inner) => value.get(inner),
            None => Some(value),
        });
        let Some(value) = held else {
            let error = Error::no_such(format!("config.json has no `{path}`, so there is nothing to accept"));
            return Err(error.nearest_or(
                path,
                self.values.keys().map(String::as_str),
                said("leave out {!accept_config}, or name a key that the file has"),
            ));
        };
        if inner.is_some() {
            return Ok(());
        }
        match self.verdict(key, value) {
            Verdict::Read => Err(Error::bad_input(format!(
                "`{key}` is a key that this family reads: it changes what the model computes, and cannot be left unread"
            ))
            .hint(words("leave out ") + leave_out("accept_config", key))),
            verdict @ Verdict::OnlyUnder(rule) if rule.changes.is_some() => Err(self.refused(key, value, verdict)),
            _ => Ok(()),
        }
    }
}

/// What to do about a value that no model has.
pub(super) fn as_published(key: &str) -> String {
    format!("give `{key}` the value that it has in the config.json that was published with the model")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant: A configuration key that nothing reads is an error that names it.
    #[test]
    fn an_unread_key_is_named() {
        let config = Config::parse(r#"{"n_embd": 4, "sliding_mystery": 3, "use_cache": true}"#).unwrap();
        assert_eq!(config.size("n_embd").unwrap(), 4);
        let error = config.finish().unwrap_err();
        assert!(error.message().contains("`sliding_mystery` = 3"), "{error}");
        assert!(!error.message().contains("use_cache"), "{error}");
        assert!(error.hint_text().unwrap().contains("`accept_config = sliding_mystery`"), "{error:?}");
    }

    #[test]
    fn null_is_absent_and_types_are_checked() {
        let config = Config::parse(r#"{"a": null, "b": "x", "c": 0}"#).unwrap();
        assert_eq!(config.get::<usize>("a").unwrap(), None);
        assert!(config.get::<usize>("b").unwrap_err().message().contains("`b` is \"x\""));
        assert!(config.size("c").unwrap_err().message().contains("`c` is 0"));
        assert!(config.need::<usize>("d").unwrap_err().message().contains("no `d`"));
    }

    /// A family is given its own keys under all their names, and what transformers takes for those left out.
    #[test]
    fn a_family_is_given_its_own_keys() {
        let of = |text: &str, family| {
            let keys = Some(FamilyKeys::of(family).unwrap());
            Config::parse(text).unwrap().of_family(keys, &ConfigOptions::default()).unwrap()
        };
        let gpt2 = of(r#"{"hidden_size": 8, "n_layer": 3, "num_hidden_layers": 4, "rope_theta": 5.0}"#, "gpt2");
        assert_eq!(gpt2.size("n_embd").unwrap(), 8);
        assert_eq!(gpt2.size("n_head").unwrap(), 12);
        assert_eq!(gpt2.get::<f64>("rope_theta").unwrap(), None);
        let error = gpt2.layers("n_layer").unwrap_err();
        assert!(error.message().contains("`n_layer` is 3 and `num_hidden_layers` is 4"), "{error}");
        let error = gpt2.finish().unwrap_err();
        assert!(error.message().contains("`rope_theta` is 5.0, and transformers reads"), "{error}");
        let llama = of(r#"{"n_embd": 4}"#, "llama");
        assert_eq!((llama.size("hidden_size").unwrap(), llama.optional_size("n_embd").unwrap()), (4096, None));
    }
}
