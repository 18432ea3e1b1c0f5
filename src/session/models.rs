//! Several models that are asked the same: of one at a time there are weights in memory.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::open::{MEMORY, hash, hash_of_files};
use super::plan::{Plan, available};
use super::run::{Tables, asked};
use super::words::{chosen_words, command, option};
use super::{Analysis, On};
use crate::arch::Spec;
use crate::error::{Error, Result, Said};
use crate::model::{Footprint, Model, Placement, Processing, WeightBytes};
use crate::sweep::{Need, Watch};
use crate::table::Provenance;
use crate::text::{Checkpoint, Fetching, Hub, ModelSource, Tokenizer, checkpoints};

/// Several models, the first of which the others are compared with. None where what is asked needs no model.
pub struct Models {
    /// The models, each called by another name.
    pub all: Vec<Member>,
    /// In which ways the weights of each are processed.
    pub process: Vec<Processing>,
    /// How each is loaded.
    pub placement: Placement,
    /// Memory for activations and logits, in bytes.
    pub memory_bytes: usize,
}

/// One of several models: what it is, without its weights.
pub struct Member {
    /// What it is called: its id, or the name that it was found by where two have the same.
    pub name: String,
    /// Its files.
    pub source: ModelSource,
    /// What it is, before its weights are processed.
    pub spec: Spec,
    /// Its tokenizer, where it has one and that was wanted.
    pub tokenizer: Option<Tokenizer>,
    /// Of a checkpoint, after how many steps of training; the number in its name.
    pub step: Option<u64>,
    weights: OnceLock<Weighed>,
}

/// What is known of weights that are not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Hash over their files.
    pub hash: String,
    /// What they take when they are loaded.
    pub footprint: Footprint,
    /// Hash over the configuration and the files of the tokenizer.
    pub files: String,
}

impl Member {
    /// The model whose files are `source`, with its tokenizer.
    ///
    /// # Errors
    /// When its configuration cannot be run, or its tokenizer not be read.
    pub fn new(name: impl Into<String>, source: ModelSource) -> Result<Self> {
        let (_, spec) = Model::read_spec(&source)?;
        let tokenizer = Tokenizer::from_files(&source.files)?;
        Ok(Self { name: name.into(), source, spec, tokenizer, step: None, weights: OnceLock::new() })
    }

    /// Its weights, where they were looked at.
    pub fn weights(&self) -> Option<&Weighed> {
        self.weights.get()
    }

    /// What a token spells.
    pub fn spell(&self, id: u32) -> String {
        self.tokenizer.as_ref().map_or_else(|| format!("#{id}"), |tokenizer| tokenizer.token_text(id))
    }
}

impl Models {
    /// These models, as they are by themselves.
    pub fn new(all: Vec<Member>) -> Self {
        Self { all, process: vec![], placement: Placement::default(), memory_bytes: MEMORY }
    }

    /// The models of these names: `demo`, folders, Hugging Face ids, or patterns for [`checkpoints`] of training.
    ///
    /// # Errors
    /// As [`Session::open`](super::Session::open) and [`checkpoints`]; when a name is there twice.
    pub fn open<N: AsRef<str>>(names: &[N]) -> Result<Self> {
        let models = Self::new(members(&expanded(names, &Hub::from_env(), &())?, ModelSource::resolve)?);
        models.weigh()?;
        Ok(models)
    }

    /// Looks at the weights of every model: reads their bytes, and keeps nothing but what they are.
    ///
    /// # Errors
    /// When they cannot be read, or what is copied of them does not fit into memory.
    pub fn weigh(&self) -> Result<()> {
        for member in self.all.iter().filter(|member| member.weights().is_none()) {
            let files = WeightBytes::open(&member.source)?;
            let footprint = Model::footprint(&member.source, &files, &self.placement, !self.process.is_empty())?;
            Plan::of_weights(footprint).check(&self.placement, available())?;
            let weighed = Weighed { hash: hash(&files), footprint, files: hash_of_files(&member.source)? };
            // Nobody else has done it meanwhile who would have found anything else.
            let _ = member.weights.set(weighed);
        }
        Ok(())
    }

    /// Loads one of them.
    ///
    /// # Errors
    /// As [`Session::placed`](super::Session::placed).
    pub fn load(&self, member: &Member) -> Result<Model> {
        let files = WeightBytes::open(&member.source)?;
        Model::place(&member.source, &files, &self.placement)?.processed(&self.process)
    }

    /// Asks all of them: runs `analysis` on `input`, and gives its tables.
    ///
    /// # Errors
    /// As [`Session::run`](super::Session::run).
    pub fn run<A: Analysis<On = Self>>(
        &self,
        analysis: &A,
        input: impl Into<A::Input>,
    ) -> Result<<A::Tables as Tables>::Found> {
        self.run_with(analysis, input, &(), &|_| {})
    }

    /// As [`Models::run`]. `watch` is told how far it is, and asked whether to go on; `noted` is told what a reader of the results
    /// should know.
    ///
    /// # Errors
    /// As [`Models::run`]; what `watch` says.
    pub fn run_with<A: Analysis<On = Self>>(
        &self,
        analysis: &A,
        input: impl Into<A::Input>,
        watch: &dyn Watch,
        noted: &dyn Fn(&Said),
    ) -> Result<<A::Tables as Tables>::Found> {
        let mut words: Vec<String> = self.all.iter().flat_map(|member| option("model", member.name.clone())).collect();
        words.extend(chosen_words(analysis)?);
        asked(self, analysis, &input.into(), command(A::NAME, words, vec![]), watch, noted)
    }
}

/// These names, and in place of each pattern the checkpoints that it stands for.
///
/// # Errors
/// As [`checkpoints`].
pub fn expanded<N: AsRef<str>>(names: &[N], hub: &Hub, told: &dyn Fetching) -> Result<Vec<Checkpoint>> {
    let mut all = vec![];
    for name in names.iter().map(AsRef::as_ref) {
        let one = || vec![Checkpoint { name: name.to_owned(), step: None }];
        all.extend(checkpoints(name, hub, told)?.unwrap_or_else(one));
    }
    Ok(all)
}

/// Finds each of these models, and reads what it is.
///
/// # Errors
/// As [`each_found`] and [`Member::new`].
pub fn members(names: &[Checkpoint], find: impl FnMut(&str) -> Result<ModelSource>) -> Result<Vec<Member>> {
    let found = each_found(&names.iter().map(|named| &named.name).collect::<Vec<_>>(), find)?;
    let member = |((name, source), named): ((String, ModelSource), &Checkpoint)| {
        Ok(Member { step: named.step, ..Member::new(name, source)? })
    };
    found.into_iter().zip(names).map(member).collect()
}

/// Finds each of these models, and says what it is called: its id, or the name it was found by where another has the same.
///
/// # Errors
/// When a name is there twice; what `find` says.
pub fn each_found<N: AsRef<str>>(
    names: &[N],
    mut find: impl FnMut(&str) -> Result<ModelSource>,
) -> Result<Vec<(String, ModelSource)>> {
    let mut all: Vec<(String, ModelSource)> = vec![];
    for (i, name) in names.iter().map(AsRef::as_ref).enumerate() {
        if names[..i].iter().any(|other| other.as_ref() == name) {
            return Err(Error::bad_input(format!("the model {name} is named twice")).hint("name each one once"));
        }
        let source = find(name)?;
        // Folders of one name, or revisions of one model, are called as they were named.
        let taken = all.iter().any(|(_, other)| other.id == source.id);
        let called = if taken { name.to_owned() } else { source.id.clone() };
        all.push((called, source));
    }
    Ok(all)
}

impl On for Models {
    fn identity(&self) -> Value {
        if self.all.is_empty() {
            return Value::Null;
        }
        let member = |member: &Member| {
            let (weights, files) = member.weights().map(|w| (&w.hash, &w.files)).unzip();
            json!({
                "model": member.name, "weights": weights, "files": files,
                "spec": if weights.is_none() { serde_json::to_value(&member.spec).unwrap_or_default() } else { Value::Null },
                "accepted_config": member.source.accepted,
            })
        };
        json!({
            "models": self.all.iter().map(member).collect::<Vec<_>>(),
            "processed": self.process, "dtype": self.placement.kept.map(|kept| kept.name()),
            "device": format!("{:?}", self.placement.place),
        })
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        let joined =
            |of: &dyn Fn(&Member) -> Option<String>| self.all.iter().filter_map(of).collect::<Vec<String>>().join(", ");
        let weighed = self.all.iter().any(|member| member.weights().is_some());
        Provenance {
            model: joined(&|member| Some(member.name.clone())),
            weights_hash: joined(&|member| Some(member.weights()?.hash.clone())),
            accepted_config: self.all.iter().flat_map(|member| member.source.accepted.iter().cloned()).collect(),
            device: self
                .placement
                .place
                .device()
                .map(|d| format!("{:?}", d.location()).to_lowercase())
                .unwrap_or_default(),
            instructions: if weighed { crate::model::instructions().into() } else { String::new() },
            command,
            complete: true,
            ..Provenance::default()
        }
    }

    fn memory(&self) -> Option<usize> {
        (!self.all.is_empty()).then_some(self.memory_bytes)
    }

    fn plan(&self, need: Need) -> Option<Plan> {
        let weights = self.all.iter().filter_map(|member| Some(member.weights()?.footprint));
        // One at a time: the largest.
        let weights = weights.max_by_key(|of| (of.copied, of.mapped))?;
        Some(Plan { weights, need })
    }

    fn fits(&self, plan: &Plan) -> Result<Option<String>> {
        plan.check(&self.placement, available())
    }
}
