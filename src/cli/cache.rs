//! `pellucid cache`

use std::collections::HashMap;

use clap::Args;
use serde_json::json;

use super::args::{LoadArgs, PromptArgs, RunArgs, command};
use super::out::Out;
use super::request::request;
use crate::analysis::cache::{FORMAT, FORMAT_VERSION, need};
use crate::analysis::save_activations;
use crate::error::Result;
use crate::table::METADATA_KEY;

/// What the file is called.
const FILE: &str = "activations.safetensors";

/// Raw activations of any hooks, as one safetensors file with TransformerLens names.
#[derive(Args, Debug)]
#[command(
    after_help = "Writes activations.safetensors: f32, rows first; `rows [t, 2]` holds each row's prompt and position, `input_ids [t]` its token; the
metadata has how it was made (`pellucid`, as in every table) and the prompts' ids (`prompts`, a list that `rows` counts in).
Scores and patterns are [head, query, key] for each prompt; with several prompts `.prompt{i}` follows their names."
)]
pub(super) struct Cache {
    #[command(flatten)]
    model: LoadArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// Which hooks, such as 'blocks.*.hook_resid_post,blocks.1.attn.*,logits' (`pellucid hooks` lists them)
    #[arg(long, value_name = "HOOKS")]
    hooks: String,
    #[command(flatten)]
    run: RunArgs,
}

impl Cache {
    pub fn run(&self, out: &Out) -> Result<()> {
        let loaded = self.model.load(out)?;
        let prompts = self.prompts.build(&loaded)?;
        self.run.plan(out, &loaded, need(loaded.model.spec(), &prompts, &self.hooks, self.run.memory)?)?;
        let asked = request("cache", &loaded, &prompts, json!({"hooks": self.hooks}));
        // Listens to Ctrl-C from here on, so that nothing is left by it.
        let watch = out.watch("cache");
        let mut folder = self.run.folder(out, "cache", &[FILE], &asked)?;
        let path = folder.file(FILE);
        let mut provenance = loaded.provenance(command());
        provenance.stamp_as(FORMAT, FORMAT_VERSION);
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), provenance.to_json())]);
        save_activations(&loaded.model, &prompts, &self.hooks, self.run.memory, metadata, &watch, &path)?;
        let finished = folder.finish(&command())?;
        out.wrote(&finished);
        out.data(|w| writeln!(w, "{}", finished.path.join(FILE).display()))
    }
}
