//! The keys of `config.json` as transformers knows them: which it reads in each family, what it takes for those left out, and
//! which change nothing. `docs/config_tables.py` makes the table from transformers' own classes and models; `docs/config.md` shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

/// The whole table.
pub static TABLE: LazyLock<Table> =
    // A table that could not be read would refuse every key; a test reads it.
    LazyLock::new(|| serde_json::from_str(include_str!("keys.json")).unwrap_or_default());

/// What `docs/config_tables.py` found.
#[derive(Debug, Default, Deserialize)]
pub struct Table {
    /// The release of transformers whose models were built and run.
    pub transformers: String,
    /// Older releases whose sources were read as well.
    pub releases: Vec<String>,
    /// By `model_type`.
    pub families: BTreeMap<String, FamilyKeys>,
    /// Keys that belong to no family.
    pub harmless: Harmless,
}

/// The keys of one family.
#[derive(Debug, Default, Deserialize)]
pub struct FamilyKeys {
    /// What `architectures` says: the class of the family's language models.
    pub architecture: String,
    /// Keys that change what transformers computes, each with what it takes where the key is absent. Null: nothing, or what the
    /// family works out from other keys.
    pub model: BTreeMap<String, Value>,
    /// Keys that the family's configuration class declares and no logit depends on, with their defaults.
    pub inert: BTreeMap<String, Value>,
    /// Other names of keys in `model`.
    pub spelled: BTreeMap<String, String>,
    /// Defaults of older releases where they are not today's: by key, the default as JSON and the releases that had it.
    pub earlier: BTreeMap<String, BTreeMap<String, String>>,
    /// Keys that the class does not declare and published files of the family have.
    pub harmless: BTreeMap<String, Rule>,
}

/// Keys that change nothing in any family.
#[derive(Debug, Default, Deserialize)]
pub struct Harmless {
    /// How a model was made, what its labels are called, what a run returns.
    pub bookkeeping: BTreeSet<String>,
    /// Settings of generation.
    pub generation: BTreeSet<String>,
    /// Keys that are harmless under a rule.
    pub at: BTreeMap<String, Rule>,
}

/// When a key that a family does not read is harmless. With neither `at` nor `like`, at any value.
#[derive(Debug, Default, Deserialize)]
pub struct Rule {
    /// At these values, and null, alone.
    pub at: Option<Vec<Value>>,
    /// Where it says what this other key says.
    #[serde(rename = "as")]
    pub like: Option<String>,
    /// What another value is known to mean.
    pub changes: Option<String>,
}

/// What is known of a key that a family does not read.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// It changes nothing.
    Harmless,
    /// It would change nothing at another value.
    OnlyUnder(&'a Rule),
    /// The family reads it, and what pellucid computes left it aside.
    Read,
    /// Another family reads it, this one does not.
    OfOthers,
    /// Nothing.
    Unknown,
}

impl FamilyKeys {
    /// The keys of the family called `model_type`; none for families that transformers does not have.
    pub fn of(model_type: &str) -> Option<&'static Self> {
        TABLE.families.get(model_type)
    }

    /// The `model_type` of a file that says what class of model it is of and not which family.
    pub fn named_by(architecture: &str) -> Option<&'static str> {
        TABLE.families.iter().find(|(_, keys)| keys.architecture == architecture).map(|(family, _)| family.as_str())
    }

    /// The name under which `model` has a key.
    pub fn canonical<'k>(&'k self, key: &'k str) -> &'k str {
        self.spelled.get(key).map_or(key, String::as_str)
    }

    /// Whether the key, under any of its names, changes what the family computes.
    pub fn reads(&self, key: &str) -> bool {
        self.model.contains_key(self.canonical(key))
    }

    /// Every name of a key that `model` has, its own first.
    pub fn names<'k>(&'k self, canonical: &'k str) -> impl Iterator<Item = &'k str> {
        let others = self.spelled.iter().filter(move |(_, to)| *to == canonical).map(|(name, _)| name.as_str());
        [canonical].into_iter().chain(others)
    }
}

/// What is known of a key that nobody read. `other` gives the value of another key of the same file.
pub fn judge(
    family: Option<&'static FamilyKeys>,
    key: &str,
    value: &Value,
    other: impl Fn(&str) -> Option<Value>,
) -> Verdict<'static> {
    let shared = &TABLE.harmless;
    if family.is_some_and(|f| f.reads(key)) {
        return Verdict::Read;
    }
    if family.is_some_and(|f| f.inert.contains_key(key))
        || shared.bookkeeping.contains(key)
        || shared.generation.contains(key)
    {
        return Verdict::Harmless;
    }
    if let Some(rule) = family.and_then(|f| f.harmless.get(key)).or_else(|| shared.at.get(key)) {
        return if rule.holds(value, other) { Verdict::Harmless } else { Verdict::OnlyUnder(rule) };
    }
    let of_others = TABLE.families.values().any(|f| f.reads(key) || f.inert.contains_key(key));
    match (of_others, value) {
        // What a family has no use for is not there.
        (true, Value::Null) => Verdict::Harmless,
        (true, _) => Verdict::OfOthers,
        (false, _) => Verdict::Unknown,
    }
}

impl Rule {
    fn holds(&self, value: &Value, other: impl Fn(&str) -> Option<Value>) -> bool {
        let at = self.at.as_ref().is_none_or(|values| value.is_null() || values.iter().any(|v| same(v, value)));
        at && self.like.as_ref().is_none_or(|key| value.is_null() || other(key).is_some_and(|v| same(&v, value)))
    }

    /// Where it holds, in words that follow "known to change nothing".
    pub fn words(&self) -> String {
        let at = self.at.as_ref().map(|values| {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            if values.is_empty() {
                "where it is null".to_owned()
            } else {
                format!("where it is {}", values.join(" or "))
            }
        });
        let like = self.like.as_ref().map(|key| format!("where it is what `{key}` is"));
        at.or(like).unwrap_or_else(|| "at any value".to_owned())
    }
}

/// Whether two values mean the same: 0 and 0.0 do.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
