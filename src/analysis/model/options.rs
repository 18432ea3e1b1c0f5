//! A model as a question: what it is.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::facts;
use crate::analysis::ModelRow;
use crate::arch::Spec;
use crate::error::Result;
use crate::model::{Model as Loaded, Placement, WeightBytes};
use crate::session::{Analysis, On, Plan, Results, Sink};
use crate::table::Provenance;
use crate::text::{DEMO, ModelSource};
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
        let mut say = |property: &str, value: String| out.push(ModelRow { property: property.into(), value });
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
        say("instructions", crate::model::instructions().into())
    }
}

impl Seen for ModelRow {
    const DRAWN: bool = false;
}
