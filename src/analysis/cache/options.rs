//! Raw activations as a question: its options.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{FORMAT, FORMAT_VERSION, need, save_activations};
use crate::error::Result;
use crate::session::{Analysis, Prompts, Session, Sink};
use crate::sweep::{Budget, Need};
use crate::table::METADATA_KEY;

/// What the file is called.
const FILE: &str = "activations.safetensors";

/// Raw activations of any hooks, as one safetensors file with TransformerLens names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes activations.safetensors: f32, rows first; `rows [t, 2]` holds each row's prompt and position, `input_ids [t]` its token; the
metadata has how it was made (`pellucid`, as in every table) and the prompts' ids (`prompts`, a list that `rows` counts in).
Scores and patterns are [head, query, key] for each prompt; with several prompts `.prompt{i}` follows their names."
    )
)]
pub struct Cache {
    /// Which hooks, such as 'blocks.*.hook_resid_post,blocks.1.attn.*,logits' (`pellucid hooks` lists them)
    #[cfg_attr(feature = "cli", arg(long, visible_alias = "at", value_name = "HOOKS"))]
    pub hooks: String,
}

impl Analysis for Cache {
    const NAME: &'static str = "cache";
    const FILES: &'static [&'static str] = &[FILE];
    type Tables = ();
    type On = Session;
    type Input = Prompts;

    fn need(&self, on: &Session, input: &Prompts) -> Result<Need> {
        need(on.model.spec(), &input.prompts, &self.hooks, Budget(on.memory_bytes))
    }

    fn run(&self, on: &Session, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        let path = out.file(FILE)?;
        out.provenance().stamp_as(FORMAT, FORMAT_VERSION);
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), out.provenance().to_json())]);
        save_activations(&on.model, &input.prompts, &self.hooks, Budget(on.memory_bytes), metadata, out.watch, &path)
    }
}
