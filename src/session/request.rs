//! A request: what decides the results, so that the name of their folder can be made of it.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::folder::request_hash;
use super::{Analysis, Input, On, Results, Session, Shard, Tables, Targeted};
use crate::error::{Error, Result};
use crate::sweep::Align;
use crate::table::HOOK_NAMES;
use crate::text::chat::Role;
use crate::text::{Pair, Prompt};

/// A request. It is written to the hash piece by piece: of many prompts, nothing is held twice.
#[derive(Serialize)]
pub struct Request<'a, I> {
    analysis: &'static str,
    /// Name and version of each table.
    tables: Vec<(&'static str, u32)>,
    hook_names: u32,
    on: Value,
    /// Options that are not what they are by themselves.
    options: BTreeMap<String, Value>,
    input: &'a I,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<usize>,
    /// Which part of it; none of the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

impl<'a, I: Input> Request<'a, I> {
    /// What `analysis` asks of `on`, run on `input`.
    ///
    /// # Errors
    /// When an option cannot be written as JSON.
    pub fn new<A: Analysis<Input = I>>(analysis: &A, on: &A::On, input: &'a I) -> Result<Self> {
        Ok(Self {
            analysis: A::NAME,
            tables: A::Tables::ALL.iter().map(|table| (table.info().name, table.info().version)).collect(),
            hook_names: HOOK_NAMES,
            on: on.identity(),
            options: chosen(analysis)?.into_iter().collect(),
            input,
            // A data set is the same bytes whatever memory each of its machines has.
            memory: on.memory().filter(|_| A::RESULTS != Results::Dataset),
            shard: None,
        })
    }
}

/// Longer values are told by their hashes.
const TOLD: usize = 80;
/// Of more prompts or pairs, all are told by one hash.
const APART: usize = 64;

impl<I: Input> Request<'_, I> {
    /// What it is made of, by names such as `options.top` and `input.prompts.0`: short values as they are, of others a hash. The hash of
    /// the request changes when one of these does, and only then.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn made_of(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        let head = serde_json::json!({
            "analysis": self.analysis, "tables": self.tables.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>(),
            "hook_names": self.hook_names, "on": self.on, "options": self.options, "memory": self.memory,
        });
        flat("", &head, 2, &mut all);
        match self.input.len() > APART {
            true => drop(all.insert("input".to_owned(), request_hash(self.input)?)),
            false => {
                let input = serde_json::to_value(self.input).map_err(|e| Error::compute(e.to_string()).fault())?;
                flat("input", &input, 2, &mut all);
            }
        }
        Ok(all)
    }
}

/// The values in `value`, as deep as `depth`, by their names.
fn flat(name: &str, value: &Value, depth: usize, all: &mut BTreeMap<String, String>) {
    let inside = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Null => {}
        Value::Object(fields) if depth > 0 => {
            fields.iter().for_each(|(key, value)| flat(&inside(key), value, depth - 1, all));
        }
        Value::Array(items) if depth > 0 && items.iter().any(|item| item.is_array() || item.is_object()) => {
            items.iter().enumerate().for_each(|(i, item)| flat(&inside(&i.to_string()), item, depth - 1, all));
        }
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let told = if text.chars().count() <= TOLD && !text.contains(char::is_control) {
                text
            } else {
                format!("blake3:{}", &blake3::hash(text.as_bytes()).to_hex()[..16])
            };
            all.insert(name.to_owned(), told);
        }
    }
}

/// The options of `analysis` that are not what they are by themselves, by name, in the order in which they are
/// declared: another option with a default changes no request.
///
/// # Errors
/// When one cannot be written as JSON.
pub fn chosen<A: Analysis>(analysis: &A) -> Result<Map<String, Value>> {
    let default = options(&A::default())?;
    let mut chosen = options(analysis)?;
    chosen.retain(|name, value| default.get(name) != Some(value));
    Ok(chosen)
}

/// All options of `analysis` that decide its results, by name.
///
/// # Errors
/// When one cannot be written as JSON.
pub fn options<A: Analysis>(analysis: &A) -> Result<Map<String, Value>> {
    let unwritten = |e: serde_json::Error| Error::compute(e.to_string()).fault();
    match serde_json::to_value(analysis).map_err(unwritten)? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// Prompts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Prompts {
    /// The prompts: of each, its name and its ids count.
    #[serde(serialize_with = "named")]
    pub prompts: Vec<Prompt>,
}

/// Prompts, and others that means and resampled values are taken from.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WithDataset {
    /// The prompts: of each, its name and its ids count.
    #[serde(serialize_with = "named")]
    pub prompts: Vec<Prompt>,
    /// The others; the prompts themselves where there are none.
    #[serde(serialize_with = "unnamed_if_any")]
    pub dataset: Option<Vec<Prompt>>,
    /// What is right and wrong after each prompt, in their order; empty where that is not said of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answers>,
}

/// What is right and wrong after a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// The answers, each of one token, or the only one of several.
    pub answers: Vec<Vec<u32>>,
    /// The foils.
    pub foils: Vec<u32>,
}

impl From<&Pair> for Answers {
    fn from(pair: &Pair) -> Self {
        let answers = match pair.rest.is_empty() {
            true => pair.answers.iter().map(|id| vec![*id]).collect(),
            false => vec![[&pair.answers[..], &pair.rest].concat()],
        };
        Self { answers, foils: pair.foils.clone() }
    }
}

/// Pairs of prompts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pairs {
    /// The pairs.
    #[serde(serialize_with = "asked")]
    pub pairs: Vec<Pair>,
    /// Where positions of different pairs are the same.
    pub align: Align,
}

/// Pairs of prompts, and what is put into their runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Swept {
    /// The pairs.
    #[serde(flatten)]
    pub pairs: Pairs,
    /// Prompts that means and resampled values are taken from.
    #[serde(serialize_with = "unnamed")]
    pub dataset: Vec<Prompt>,
    /// A vector to add, `[d]` in f32.
    #[serde(serialize_with = "numbers")]
    pub vector: Option<Tensor>,
}

/// Prompts, and a vector that is added to their runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Steered {
    /// The prompts: of each, its name and its ids count.
    #[serde(serialize_with = "named")]
    pub prompts: Vec<Prompt>,
    /// The vector, `[d]` in f32.
    #[serde(serialize_with = "numbers")]
    pub steer: Option<Tensor>,
}

impl Input for Steered {
    fn len(&self) -> usize {
        self.prompts.len()
    }

    fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }
}

impl Input for Prompts {
    fn len(&self) -> usize {
        self.prompts.len()
    }

    fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    fn words(&self, on: &Session) -> [Vec<String>; 2] {
        on.prompt_words(&self.prompts)
    }
}

impl Input for WithDataset {
    fn len(&self) -> usize {
        self.prompts.len()
    }

    fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    fn words(&self, on: &Session) -> [Vec<String>; 2] {
        let [mut options, last] = match self.answers.is_empty() {
            true => on.prompt_words(&self.prompts),
            false => [Session::elsewhere("pairs"), vec![]],
        };
        options.extend(Session::source_words(self.dataset.is_some(), false));
        [options, last]
    }
}

impl Input for Pairs {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn words(&self, on: &Session) -> [Vec<String>; 2] {
        [on.pair_words(self), vec![]]
    }
}

impl Input for Swept {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn words(&self, on: &Session) -> [Vec<String>; 2] {
        let mut words = on.pair_words(&self.pairs);
        words.extend(Session::source_words(!self.dataset.is_empty(), self.vector.is_some()));
        [words, vec![]]
    }
}

/// Prompts that were made one by one are numbered as they stand here.
impl From<&[Prompt]> for Prompts {
    fn from(prompts: &[Prompt]) -> Self {
        let numbered = |(i, prompt): (usize, &Prompt)| prompt.clone().numbered(i as u32);
        Self { prompts: prompts.iter().enumerate().map(numbered).collect() }
    }
}

impl From<&[Prompt]> for WithDataset {
    fn from(prompts: &[Prompt]) -> Self {
        Self { prompts: Prompts::from(prompts).prompts, dataset: None, answers: vec![] }
    }
}

/// The clean prompts, with the answers and foils of each.
impl From<&[Pair]> for WithDataset {
    fn from(pairs: &[Pair]) -> Self {
        let clean = |(i, pair): (usize, &Pair)| Prompt { id: pair.id.clone(), ..pair.clean.clone() }.numbered(i as u32);
        Self {
            prompts: pairs.iter().enumerate().map(clean).collect(),
            dataset: None,
            answers: pairs.iter().map(Answers::from).collect(),
        }
    }
}

/// Pairs that were made one by one are numbered as they stand here. Where they name positions, these are the same.
impl From<&[Pair]> for Pairs {
    fn from(pairs: &[Pair]) -> Self {
        let numbered = |(i, pair): (usize, &Pair)| pair.clone().numbered(i as u32);
        let named = pairs.iter().any(|pair| !pair.positions.is_empty());
        let align = if named { Align::Named } else { Align::default() };
        Self { pairs: pairs.iter().enumerate().map(numbered).collect(), align }
    }
}

impl From<&[Pair]> for Swept {
    fn from(pairs: &[Pair]) -> Self {
        Self { pairs: pairs.into(), ..Self::default() }
    }
}

macro_rules! from_lists {
    ($($of:ident => $to:ident),*) => {$(
        impl<const N: usize> From<&[$of; N]> for $to {
            fn from(list: &[$of; N]) -> Self {
                list.as_slice().into()
            }
        }

        impl From<&Vec<$of>> for $to {
            fn from(list: &Vec<$of>) -> Self {
                list.as_slice().into()
            }
        }
    )*};
}
from_lists!(Prompt => Prompts, Prompt => Targeted, Prompt => WithDataset, Pair => WithDataset, Pair => Pairs, Pair => Swept);

pub(super) fn named<S: Serializer>(prompts: &[Prompt], to: S) -> Result<S::Ok, S::Error> {
    /// Who says what in a chat is shown by `tokens`, and not decided by ids.
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Named<'a> {
        Plain(&'a str, Vec<u32>),
        Chat(&'a str, Vec<u32>, &'a Option<Vec<(Role, std::ops::Range<usize>)>>),
    }
    to.collect_seq(prompts.iter().map(|p| match &p.chat {
        None => Named::Plain(&p.id, p.ids()),
        Some(chat) => Named::Chat(&p.id, p.ids(), &chat.said),
    }))
}

fn unnamed<S: Serializer>(prompts: &[Prompt], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(prompts.iter().map(Prompt::ids))
}

fn unnamed_if_any<S: Serializer>(prompts: &Option<Vec<Prompt>>, to: S) -> Result<S::Ok, S::Error> {
    match prompts {
        Some(prompts) => unnamed(prompts, to),
        None => to.serialize_none(),
    }
}

fn asked<S: Serializer>(pairs: &[Pair], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(pairs.iter().map(|pair| Asked {
        id: &pair.id,
        clean: pair.clean.ids(),
        corrupt: pair.corrupt.as_ref().map(Prompt::ids),
        answers: &pair.answers,
        foils: &pair.foils,
        rest: &pair.rest,
        positions: pair.positions.iter().map(|named| (&*named.name, named.at)).collect(),
    }))
}

/// What of a pair decides the results.
#[derive(Serialize)]
struct Asked<'a> {
    id: &'a str,
    clean: Vec<u32>,
    corrupt: Option<Vec<u32>>,
    answers: &'a [u32],
    foils: &'a [u32],
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    rest: &'a [u32],
    positions: Vec<(&'a str, usize)>,
}

fn numbers<S: Serializer>(vector: &Option<Tensor>, to: S) -> Result<S::Ok, S::Error> {
    let numbers = vector.as_ref().map(|v| v.flatten_all()?.to_vec1::<f32>()).transpose();
    // As bits: what JSON makes of a number is not all of it.
    let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    numbers.map_err(serde::ser::Error::custom)?.map(bits).serialize(to)
}
