//! `pellucid lens`

use clap::Args;
use serde_json::json;

use super::args::{ModelArgs, PromptArgs, RunArgs, command, request};
use super::grid;
use super::out::Out;
use crate::analysis::{LensOptions, lens};
use crate::chart;
use crate::error::Result;
use crate::run::{Loaded, RunFolder};
use crate::table::{Format, LogitLens, TableWriter};

/// The logit lens: what would the model say if it stopped at each layer?
#[derive(Args, Debug)]
#[command(after_help = "Writes logit_lens.parquet (see `pellucid tables logit_lens`) and one SVG for each prompt.")]
pub(super) struct Lens {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// Which values of the stream to decode: resid_pre, resid_mid, resid_post, attn_out, mlp_out, or a pattern of hook names
    #[arg(long, default_value = "resid_post", value_name = "HOOKS")]
    at: String,
    /// Only these positions, such as 0,3,-1; negative ones count from the end [default: all]
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_hyphen_values = true)]
    pos: Option<Vec<isize>>,
    /// How many tokens to keep for each hook and position
    #[arg(long, default_value_t = 5, value_name = "K")]
    top: usize,
    /// A word to follow through the layers, such as " Mary", or a token id, such as #17
    #[arg(long, value_name = "TOKEN")]
    target: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

impl Lens {
    pub fn run(&self, out: &Out) -> Result<()> {
        let loaded = Loaded::open(&self.model.model)?;
        out.loaded(&loaded);
        let prompts = self.prompts.build(&loaded)?;
        let options = LensOptions {
            at: self.at.clone(),
            positions: self.pos.clone(),
            top: self.top,
            target: self.target.as_deref().map(|t| loaded.target(t)).transpose()?,
            memory_bytes: self.run.memory,
        };
        let asked = json!({"at": self.at, "pos": self.pos, "top": self.top, "target": options.target});
        // Listens to Ctrl-C from here on, so that nothing is left by it.
        let watch = out.watch("lens");
        let mut folder =
            RunFolder::create(self.run.out.as_deref(), "lens", &request("lens", &loaded, &prompts, asked))?;
        let path = folder.file("logit_lens.parquet");
        let mut table = TableWriter::create(&path, loaded.provenance(command()))?;
        // The figures say what the table says, so that they are the same when they are drawn from it.
        let provenance = table.provenance_mut().clone();
        // What is shown is kept; the rest only goes to the file.
        let shown = chart::Options::default().max_prompts as u32;
        let mut rows: Vec<LogitLens> = vec![];
        lens(&loaded.model, &prompts, &|id| loaded.spell(id), &options, &watch, &mut |row| {
            table.push(&row)?;
            if row.prompt < shown || out.format != Format::Table {
                rows.push(row);
            }
            Ok(())
        })?;
        table.finish()?;
        let drawn: Vec<LogitLens> = rows.iter().filter(|r| r.prompt < shown).cloned().collect();
        for figure in chart::logit_lens(&drawn, &provenance)? {
            folder.write(&format!("{}.svg", figure.name), figure.svg.as_bytes())?;
        }
        out.wrote(&folder.finish(&command())?);
        match out.format {
            Format::Table => out.print(|w| grid::lens(&drawn, prompts.len(), w)),
            _ => out.rows(&rows),
        }
    }
}
