//! A model as a question: what it is.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::facts;
use crate::analysis::ModelRow;
use crate::arch::Spec;
use crate::error::{Result, Said, said, words};
use crate::model::{Model as Loaded, Placement, WeightBytes};
use crate::session::{Analysis, On, Plan, Results, Sink};
use crate::table::{Provenance, visible};
use crate::text::{Bos, DEMO, ModelSource, Tokenizer};
use crate::view::Seen;

/// What a model is: architecture, parameters, memory, files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Model {}

/// A model whose configuration was read, and no weight of it.
pub struct Described {
    /// Its files.
    pub source: ModelSource,
    /// What it is.
    pub spec: Spec,
}

impl Described {
    /// Reads the configuration of a model that was found.
    ///
    /// # Errors
    /// When it is one that cannot be run.
    pub fn new(source: ModelSource) -> Result<Self> {
        let (_, spec) = Loaded::read_spec(&source)?;
        Ok(Self { source, spec })
    }

    /// The built-in model.
    ///
    /// # Errors
    /// None that are known.
    pub fn demo() -> Result<Self> {
        Self::new(ModelSource::resolve(DEMO)?)
    }
}

impl On for Described {
    fn identity(&self) -> Value {
        json!({ "model": self.source.id })
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        let spec = serde_json::to_value(&self.spec).unwrap_or_default();
        let (model, revision) = (self.source.id.clone(), self.source.revision.clone());
        Provenance { model, revision, spec, command, complete: true, ..Provenance::default() }
    }
}

impl Analysis for Model {
    const NAME: &'static str = "model";
    const RESULTS: Results = Results::Screen;
    type Tables = ModelRow;
    type On = Described;
    type Input = ();

    fn run(&self, on: &Described, (): &(), out: &mut Sink<'_>) -> Result<()> {
        let source = &on.source;
        out.push(ModelRow { property: "model".into(), value: source.id.clone() })?;
        facts(&on.spec).into_iter().try_for_each(|fact| out.push(fact))?;
        let mut noted = vec![];
        let mut say = |property: &str, value: String| out.push(ModelRow { property: property.into(), value });
        // One that cannot be used is said by whoever uses it.
        if let Some(tokenizer) = Tokenizer::from_files(&source.files).ok().flatten() {
            let (value, note) = begins(&tokenizer);
            say("bos", value)?;
            note.into_iter().for_each(|said| noted.push(said));
        }
        let files = WeightBytes::open(source)?;
        let weights = Loaded::footprint(source, &files, &Placement::default(), false)?;
        say("memory", Plan::of_weights(weights).to_string())?;
        if let Some(revision) = &source.revision {
            say("revision", revision.clone())?;
        }
        say("folder", source.files.to_string())?;
        for file in source.weights()? {
            say("weights", format!("{}, {:.1} MB", file.name(), file.size()? as f64 * 1e-6))?;
        }
        say("instructions", crate::model::instructions().into())?;
        noted.into_iter().for_each(|said| out.note(said));
        Ok(())
    }
}

/// Which token begins a text, and what to do for the numbers of who puts it there.
fn begins(tokenizer: &Tokenizer) -> (String, Option<Said>) {
    let Some(id) = tokenizer.bos() else {
        return ("none: no file says which token begins a text".into(), None);
    };
    let token = visible(&tokenizer.token_text(id));
    let first = tokenizer.encode("a", Bos::AsTokenizer).ok().and_then(|tokens| tokens.first().map(|first| first.id));
    match first == Some(id) {
        true => (format!("{token}, which the tokenizer puts before a text"), None),
        false => {
            let note = words(format!("the tokenizer puts no BOS before a text, and TransformerLens puts {token}: "));
            (format!("{token}, which the tokenizer does not put before a text"), Some(note + said("{bos} does too")))
        }
    }
}

impl Seen for ModelRow {
    const DRAWN: bool = false;
}
