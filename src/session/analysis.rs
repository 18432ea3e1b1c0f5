//! What an analysis is: a type whose fields are its options. From it come its command, its folder, its figures and its documentation.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::plan::available;
use super::shards::Join;
use super::{Plan, Session, Sink, Tables};
use crate::error::Result;
use crate::model::Hardware;
use crate::sweep::{Need, Watch};
use crate::table::Provenance;
use crate::text::Prompt;

/// A question that can be asked of a model. Its fields are its options, whose doc comments say what they mean.
pub trait Analysis: Clone + Default + Serialize + DeserializeOwned {
    /// What it is called: the command, and the first word of its folder.
    const NAME: &'static str;
    /// Other files that it writes.
    const FILES: &'static [&'static str] = &[];
    /// Where its results go.
    const RESULTS: Results = Results::Folder;
    /// Whether a terminal shows all of its tables that are drawn, one after another, and not the last alone.
    const SHOWS_ALL: bool = false;
    /// Whether figures of its tables are files beside them.
    const DRAWS: bool = true;
    /// Whether what is done of it is kept where it is stopped, so that it can go on from there.
    const RESUMES: bool = false;
    /// Whether that is kept in [`Pieces`](super::Pieces), of which the analysis itself makes its tables: then the shards of several
    /// processes are joined by running it on what they leave.
    const PIECES: bool = false;
    /// How its shards become one, where several processes can share its pairs or prompts.
    const JOINS: Option<Join> = None;
    /// How it makes a page of what somebody types, where it serves pages.
    const PAGE: Option<Page<Self>> = None;
    /// The rows of the tables that it may write, the one for stdout first: one type, a tuple of several, or `()`.
    type Tables: Tables;
    /// What it is asked of.
    type On: On;
    /// What is run.
    type Input: Input;

    /// What it needs of memory, beside the weights.
    ///
    /// # Errors
    /// When options, input and model do not fit.
    fn need(&self, on: &Self::On, input: &Self::Input) -> Result<Need> {
        let _ = (on, input);
        Ok(Need::default())
    }

    /// Answers it, and gives the rows to `out`.
    ///
    /// # Errors
    /// When options, input and model do not fit; whatever the run or `out` says.
    fn run(&self, on: &Self::On, input: &Self::Input, out: &mut Sink<'_>) -> Result<()>;
}

/// Makes the page of an analysis, and writes nothing. It says of itself what the provenance says.
pub type MakePage<A> = fn(&A, &<A as Analysis>::On, &<A as Analysis>::Input, Provenance, &dyn Watch) -> Result<Vec<u8>>;

/// The page that an analysis writes, as it is served.
pub struct Page<A: Analysis> {
    /// Makes it.
    pub make: MakePage<A>,
    /// What it may load and run, as a content security policy.
    pub policy: &'static str,
}

/// Where the results of an analysis go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Results {
    /// To a folder of their own.
    Folder,
    /// To the folder of a data set, which grows block by block.
    Dataset,
    /// To a folder where one is named, else only to the screen.
    FolderIfNamed,
    /// To the screen.
    Screen,
}

/// What an analysis can be asked of.
pub trait On {
    /// What of it decides the results.
    fn identity(&self) -> Value;

    /// What every file says of it. Table and version are the writer's.
    fn provenance(&self, command: Vec<String>) -> Provenance;

    /// The memory for activations, if the results depend on it.
    fn memory(&self) -> Option<usize> {
        None
    }

    /// What a request needs that needs this beside what is loaded already; none where nothing is computed.
    fn plan(&self, need: Need) -> Option<Plan> {
        let _ = need;
        None
    }

    /// Refuses a plan that does not fit into what there is of memory; a warning where it fits but is slow.
    ///
    /// # Errors
    /// When it does not fit, with what would.
    fn fits(&self, plan: &Plan) -> Result<Option<String>> {
        let _ = plan;
        Ok(None)
    }
}

/// What an analysis is run on. As JSON it is its content, of which the request's hash is made.
pub trait Input: Serialize {
    /// How many prompts or pairs.
    fn len(&self) -> usize;

    /// Which, where they are prompts.
    fn prompts(&self) -> &[Prompt] {
        &[]
    }

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How it would be given to the command line, and what comes after all options, as far as it can be said there.
    fn words(&self, on: &Session) -> [Vec<String>; 2] {
        let _ = on;
        Default::default()
    }
}

/// Nothing is run.
impl Input for () {
    fn len(&self) -> usize {
        0
    }
}

impl On for Session {
    fn identity(&self) -> Value {
        // What decides the numbers, where it is not as it is by itself.
        let mut identity = serde_json::json!({
            "model": self.source.id, "weights": self.weights_hash, "files": self.files_hash, "processed": self.model.spec().processed,
            "accepted_config": self.source.accepted, "dtype": self.placement.kept.map(|kept| kept.name()),
            "device": (self.placement.place != Hardware::Cpu).then(|| format!("{:?}", self.placement.place)),
        });
        if let Some(fields) = identity.as_object_mut() {
            fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        }
        identity
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        Session::provenance(self, command)
    }

    fn memory(&self) -> Option<usize> {
        Some(self.memory_bytes)
    }

    fn plan(&self, need: Need) -> Option<Plan> {
        Some(Plan { weights: self.footprint, need })
    }

    fn fits(&self, plan: &Plan) -> Result<Option<String>> {
        plan.check_loaded(&self.placement, available())
    }
}
